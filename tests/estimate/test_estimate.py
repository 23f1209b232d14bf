"""Estimates: sums, ranges, launches that hide and show, the bound that holds, bad input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import fxcost
from fxcost.estimate.profile import profile_for, profiles
from fxcost.estimate.rank import devices_for, rank
from fxcost.estimate.times import columns, kernel_seconds, vector_peak
from fxcost.estimate.work import PRODUCTS, Work

MODEL = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10)).eval()
REPORT = fxcost.analyze(MODEL, (4, 3, 8, 8))


def chain(length: int, size: int) -> fxcost.Report:
    """So many additions, one after the other."""

    def run(x: torch.Tensor) -> Any:
        for _ in range(length):
            x = x + 1.0
        return x

    return fxcost.analyze(run, (size,))


@pytest.mark.parametrize("mode", ["eager", "compiled"])
@pytest.mark.parametrize("device", ["rtx3090", "rtx4090", "a100", "h100", "rtx5090", "i9-10940x"])
def test_an_estimate_adds_up(device: str, mode: str) -> None:
    """Nodes, families, kinds, bounds and the root module have the same sum; the range is around it."""
    found = REPORT.estimate(device, mode)
    for sums in (found.by_family(), found.by_kind(), found.by_bound()):
        assert sum(sums.values()) == pytest.approx(found.seconds)
    assert found.by_module()[""] == pytest.approx(found.seconds)
    assert 0 < found.low < found.seconds * 1.2
    assert found.high > found.seconds * 0.9


@pytest.mark.parametrize("device", ["rtx3090", "rtx4090", "a100", "h100", "b200", "rtx-pro-6000-max-q"])
@pytest.mark.parametrize("model", [MODEL, nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval()])
def test_nothing_beats_the_roofline(model: nn.Module, device: str) -> None:
    """An estimate is never below the bound of the same run."""
    shape = (4, 3, 8, 8) if model is MODEL else (2, 16, 32)
    report = fxcost.analyze(model, shape)
    assert report.estimate(device).seconds >= report.roofline(device).latency_s


@given(
    kind=st.sampled_from(PRODUCTS),
    profile=st.sampled_from(sorted(profiles())),
    m=st.integers(1, 10**6),
    n=st.integers(1, 10**5),
    k=st.integers(1, 10**5),
    batch=st.integers(1, 1000),
)
@settings(max_examples=100, deadline=None)
def test_no_kernel_is_faster_than_its_bound(kind: str, profile: str, m: int, n: int, k: int, batch: int) -> None:
    """For any size, kind and profile; and more rows never take less time."""
    device = fxcost.Device.named("a100")
    flops, moved = 2 * m * n * k * batch, 2 * (m * k + k * n + m * n) * batch
    sizes = {"m": m, "n": n, "k": k, "batch": batch, "node": 0}
    one = Work(
        kind=kind, layout="channels_last", dtype="float16", flops=flops, others=0, reads=moved, writes=0, **sizes
    )
    sizes["m"] = 2 * m
    two = Work(
        kind=kind,
        layout="channels_last",
        dtype="float16",
        flops=2 * flops,
        others=0,
        reads=2 * moved,
        writes=0,
        **sizes,
    )
    parameters = profiles()[profile].tensors()
    first, second = kernel_seconds(columns([one, two], device, ""), parameters, device).tolist()
    peak = vector_peak(device) if kind.startswith("conv_depthwise") else device.peak("float16")
    assert first >= max(flops / peak, moved / device.bytes_per_s)
    assert second >= first


def test_launches_show_between_short_kernels_and_hide_behind_long_ones() -> None:
    """A hundred tiny additions take as long as starting them; a hundred large ones as long as they run."""
    profile = profile_for(fxcost.Device.named("rtx4090"))
    short = chain(100, 8).estimate("rtx4090")
    assert short.seconds == pytest.approx(100 * profile.launch_s, rel=0.05)
    assert set(short.by_bound()) == {"launch"}
    long = chain(100, 2**26).estimate("rtx4090")
    assert long.seconds == pytest.approx(100 * 2 * 2**28 / (1.008e12 * 0.9), rel=0.15)
    assert "launch" not in long.by_bound()


def test_compiling_helps_where_traffic_is_saved() -> None:
    """Ten additions in a row are one kernel of a tenth of the traffic."""
    report = chain(10, 2**26)
    ratio = report.estimate("rtx4090").seconds / report.estimate("rtx4090", "compiled").seconds
    assert 8 < ratio < 12


@pytest.mark.parametrize(
    ("name", "device", "batch", "measured"),
    [
        # throughputs published in results/ of huggingface/pytorch-image-models, pt240-cu124 and pt291-cu128, as seconds
        ("vit_base_patch16_224", "rtx3090", 1024, 0.6519),
        ("vit_small_patch16_224", "rtx3090", 1024, 0.2233),
    ],
)
def test_published_times_are_met(name: str, device: str, batch: int, measured: float) -> None:
    """Within what nine of ten models were off by."""
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        model = timm.create_model(name).eval()
    found = fxcost.analyze(model, (batch, 3, 224, 224), autocast="float16", capture="concrete").estimate(device)
    assert found.seconds == pytest.approx(measured, rel=found.errors.p90)


def test_a_training_step_takes_longer_than_its_forward_pass() -> None:
    """Backward passes do twice the products; the optimizer's time stands apart."""
    forward = fxcost.analyze(MODEL, (64, 3, 8, 8)).estimate("rtx3090")
    step = fxcost.analyze(MODEL, (64, 3, 8, 8), training=True).estimate("rtx3090")
    assert step.training
    assert step.nodes[-1].name == "optimizer"
    assert step.seconds > 2 * forward.seconds


def test_a_model_that_does_not_fit_gets_its_time_and_a_note() -> None:
    """And by how much it does not."""
    small = fxcost.Device(
        name="NVIDIA RTX 4099",
        flops_per_s={"float32": 1e13},
        bytes_per_s=1e12,
        memory_bytes=REPORT.memory.peak_bytes - 1024,
    )
    found = REPORT.estimate(small)
    assert not found.fits
    assert found.seconds > 0
    assert "1.00 KiB more than there are" in "".join(found.notes)
    assert found.profile.name == "ada"


def test_bad_input_is_refused_in_words() -> None:
    """A class without a profile, a dtype without a peak, unknown names."""
    with pytest.raises(fxcost.errors.DeviceError, match="no profile is known for NVIDIA V100"):
        REPORT.estimate("v100")
    with pytest.raises(fxcost.errors.DeviceError, match="has no peak for float64"):
        fxcost.analyze(nn.Linear(4, 4).double(), (2, 4)).estimate("l4")
    with pytest.raises(fxcost.errors.UnknownNameError, match="choose from eager, compiled"):
        REPORT.estimate("h100", "fast")
    with pytest.raises(fxcost.errors.UnknownNameError, match="there is no profile"):
        REPORT.estimate("h100", profile="hoper")
    assert REPORT.estimate("v100", profile="ampere").seconds > 0


def test_a_model_that_does_nothing_takes_no_time() -> None:
    """Views alone cost the host a little."""
    found = fxcost.analyze(lambda x: x.view(-1), (2, 3)).estimate("rtx4090")
    assert found.seconds < 5e-6
    assert fxcost.analyze(nn.Identity(), (2, 3)).estimate("rtx4090").seconds == 0
    assert "nothing" in str(fxcost.analyze(nn.Identity(), (2, 3)).estimate("rtx4090"))


def test_rankings() -> None:
    """Models by time per sample, devices by whether they fit and time."""
    small, large = chain(1, 2**20), chain(8, 2**26)
    ranked = rank({"large": large, "small": small}, "rtx4090", samples={"large": 1, "small": 1})
    assert [name for name, _, _ in ranked.estimates] == ["small", "large"]
    assert "samples/s" in str(ranked)
    found = devices_for(large)
    times = [(not e.fits, e.seconds) for e in found.estimates]
    assert times == sorted(times)
    assert "NVIDIA V100 SXM2 32GB" in [name for name, _ in found.left_out]
    assert "Without a profile" in str(found)


def test_views(tmp_path: Any) -> None:
    """The table says the range, the error and the source; the plot is a picture."""
    found = REPORT.estimate("rtx4090")
    text = found.table(top=2)
    assert "timm models held out" in text
    assert "more node" in text
    assert "eager, forward pass" in text
    pytest.importorskip("matplotlib")
    found.plot(tmp_path / "time.png")
    assert (tmp_path / "time.png").read_bytes().startswith(b"\x89PNG")
