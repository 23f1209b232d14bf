"""The scripts that fit profiles: they find what made the times, know their error, and refuse other tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fxcost
from fxcost.estimate.profile import profiles
from fxcost.estimate.times import KINDS

pytest.importorskip("timm")
FOLDER = str(Path(__file__).parent.parent.parent / "benchmarks")
DEVICE = fxcost.Device.named("rtx3090")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The scripts, which import one another by name."""
    monkeypatch.syspath_prepend(FOLDER)
    import estimates_fit
    import estimates_operators
    import estimates_records

    yield estimates_records, estimates_fit, estimates_operators
    for name in ("estimates_fit", "estimates_operators", "estimates_records"):
        sys.modules.pop(name, None)


def records(fields: tuple[str, ...], models: int) -> dict[str, dict[str, Any]]:
    """Models of a few products and additions each, of sizes drawn at random."""
    draw = np.random.default_rng(0)
    found: dict[str, dict[str, Any]] = {}
    for i in range(models):
        works = np.zeros((6, len(fields)))
        for row, work in enumerate(works):
            product = row % 2
            m, n, k = 2 ** draw.integers(8, 14), 2 ** draw.integers(5, 11), 2 ** draw.integers(5, 11)
            values = {
                "kind": KINDS.index("gemm" if product else "pointwise"), "m": m, "n": n, "k": k, "batch": 1,
                "aligned": 1, "varies": 1, "count": draw.integers(1, 9), "flops": 2 * m * n * k * product,
                "moved": 2 * (m * k + k * n + m * n), "others": 0 if product else m * n,
            }  # fmt: skip
            work[:] = [values.get(name, 0) for name in fields]
        found[f"model{i}@224"] = {"params": 1e6, "batch": 64, "views": 0, "eager": works, "compiled": works}
    return found


def test_the_fit_finds_what_made_the_times(scripts: Any) -> None:
    """Times with 5 % of noise: held-out models are off by the noise, and 80 % of them lie in the range."""
    records_, fit, _ = scripts
    made = records(records_.FIELDS, 120)
    rows = [records_.Row(name.partition("@")[0], 224, 64, 1.0, 1.0) for name in made]
    table = fit.table_of("made", "eager", DEVICE, rows, made)
    true = {**fit.prior()}
    true["compute"], true["memory"] = true["compute"] - 1.0, true["memory"] + 0.7
    noise = torch.tensor(np.random.default_rng(1).normal(0, 0.05, len(rows)))
    table.seconds = fit.predicted(true, table) * noise.exp()
    (error,) = fit.held_out([table])
    said = fit.summary(error)
    assert said["median"] < 0.05  # of the noise alone it is 0.034
    ratio = 1 / (1 + error)
    inside = float(np.mean((ratio >= said["low"]) & (ratio <= said["high"])))
    assert inside == pytest.approx(0.8, abs=0.02)
    unfitted = fit.summary(fit.errors(fit.prior(), table))
    assert unfitted["median"] > 2 * said["median"]


def test_rows_of_another_model_of_the_same_name_are_left_out(scripts: Any) -> None:
    """A table's parameters tell whether it is the model that is built now."""
    records_, fit, _ = scripts
    made = records(records_.FIELDS, 2)
    rows = [records_.Row("model0", 224, 64, 1.0, 1.0), records_.Row("model1", 224, 64, 1.0, 2.0)]
    assert [r.model for r in fit.table_of("made", "eager", DEVICE, rows, made).rows] == ["model0"]


def test_a_table_with_other_columns_is_refused(scripts: Any, tmp_path: Path) -> None:
    """With the columns that are missing; also of an empty file, and of operators."""
    records_, _, operators = scripts
    path = tmp_path / "mine.csv"
    path.write_text("model,infer_img_size,latency\nresnet50,224,3.1\n")
    with pytest.raises(SystemExit, match=r"no column infer_batch_size, infer_samples_per_sec, param_count; it takes"):
        records_.read_table(path)
    path.write_text("")
    with pytest.raises(SystemExit, match="no column model"):
        records_.read_table(path)
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.DataFrame({"m": [1], "n": [1], "k": [1]}).to_parquet(tmp_path / "gemm.parquet")
    with pytest.raises(SystemExit, match="no column gemm_dtype, latency"):
        operators.read(tmp_path / "gemm.parquet", "gemm", 10)


def test_profiles_say_where_they_are_from_and_how_far_off() -> None:
    """Source, sensible errors and shares for each class."""
    for profile in profiles().values():
        assert profile.source
        for error in profile.errors.values():
            assert 0 < error.median <= error.p90
            assert error.low < 1 < error.high
            assert error.rows >= 20
        for name in ("compute", "memory"):
            assert all(0 < share <= 1 for share in profile.parameters[name].values())
