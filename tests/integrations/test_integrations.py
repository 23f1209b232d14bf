"""Reports in trainers and trackers: with the real libraries, where they are installed."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fxcost
from fxcost import cli
from fxcost.integrations import log_mlflow, log_tensorboard, log_wandb, metrics


@pytest.fixture
def report() -> Any:
    """A small report with a training step."""
    return fxcost.analyze(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), (3, 4), training=True)


def test_metrics_are_exact_ints(report: Any) -> None:
    """Names and numbers are those of the report; all are ints, as JSON and trackers take them."""
    found = metrics(report)
    assert found["fxcost/macs"] == 3 * (4 * 8 + 8 * 2)
    assert found["fxcost/params"] == 4 * 8 + 8 + 8 * 2 + 2
    assert found["fxcost/training_macs"] == report.training.total.macs
    assert found["fxcost/peak_bytes"] == report.memory.peak_bytes
    assert all(type(value) is int for value in found.values())
    assert json.loads(json.dumps(found)) == found
    assert set(metrics(report, prefix="")) == {name.removeprefix("fxcost/") for name in found}


def test_tensorboard(report: Any, tmp_path: Path) -> None:
    """What TensorBoard itself reads back from the files."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        log_tensorboard(writer, report, step=7)
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    for name, value in metrics(report).items():
        (event,) = read.Scalars(name)
        assert (event.step, event.value) == (7, value)
    assert "fxcost/text_summary" in read.Tags()["tensors"]


def test_wandb(report: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its offline mode keeps the numbers in the run's summary."""
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(mode="offline", dir=str(tmp_path), project="fxcost")
    try:
        log_wandb(run, report)
        assert {name: run.summary[name] for name in metrics(report)} == metrics(report)
    finally:
        run.finish()


def test_mlflow(report: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its store on disk has the numbers."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(tmp_path.as_uri())
    mlflow.set_experiment("fxcost")
    with mlflow.start_run() as run:
        log_mlflow(report)
    assert mlflow.get_run(run.info.run_id).data.metrics == {name: float(n) for name, n in metrics(report).items()}


def test_lightning(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A fit prints the report once and logs it; from an example input, from inputs, or from the first batch."""
    lightning = pytest.importorskip("lightning")
    from fxcost.integrations.lightning import CostCallback

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self, example: bool) -> None:
            super().__init__()
            self.net = nn.Linear(4, 2)
            if example:
                self.example_input_array = torch.rand(5, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return nn.functional.mse_loss(self(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    data = torch.utils.data.TensorDataset(torch.rand(6, 4), torch.rand(6, 2))
    quiet = {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    for example, given, batch in ((True, None, 5), (False, None, 3), (False, (7, 4), 7)):
        logger = lightning.pytorch.loggers.CSVLogger(str(tmp_path / f"{batch}"))
        callback = CostCallback(inputs=given)
        trainer = lightning.Trainer(callbacks=[callback], logger=logger, default_root_dir=str(tmp_path), **quiet)
        trainer.fit(Module(example), torch.utils.data.DataLoader(data, batch_size=3))
        assert callback.report is not None
        assert callback.report.macs == batch * 8
        assert capsys.readouterr().out.count("Coverage") == 1
        assert "fxcost/macs" in next((tmp_path / f"{batch}").rglob("metrics.csv")).read_text()


def test_transformers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A training prints the report at its beginning, and its history has the totals."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from fxcost.integrations.transformers import CostCallback

    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=30
    )
    model = transformers.BertForSequenceClassification(config)
    rows = [{"input_ids": torch.arange(8), "labels": torch.tensor(i % 2)} for i in range(2)]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=1,
        per_device_train_batch_size=2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    callback = CostCallback(inputs={"input_ids": fxcost.spec(2, 8, dtype="int64")})
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[callback])
    trainer.train()
    assert callback.report is not None
    assert "Coverage" in capsys.readouterr().out
    history = [entry for entry in trainer.state.log_history if "fxcost/macs" in entry]
    assert [entry["fxcost/macs"] for entry in history] == [callback.report.macs]


def test_chrome_trace(report: Any, tmp_path: Path) -> None:
    """Events of nodes follow each other without gaps and add up to the lower bound; modules enclose their nodes."""
    roofline = report.roofline("h100")
    events = json.loads(roofline.to_chrome_trace(tmp_path / "t.json"))["traceEvents"]
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"] == events
    nodes = [event for event in events if event.get("cat") == "node"]
    assert sum(event["dur"] for event in nodes) == pytest.approx(1e6 * roofline.latency_s)
    for before, after in itertools.pairwise(nodes):
        assert after["ts"] == pytest.approx(before["ts"] + before["dur"])
    spans = {
        event["name"]: (event["ts"], event["ts"] + event["dur"]) for event in events if event.get("cat") == "module"
    }
    for event in nodes:
        node = next(n for n in roofline.nodes if n.name == event["name"])
        if node.module:
            start, stop = spans[node.module]
            assert start <= event["ts"]
            assert event["ts"] + event["dur"] <= stop * (1 + 1e-9)


def test_card_and_trace_on_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`--card` prints one line; `--chrome-trace` needs a device."""
    model = ("torch.nn:Linear", "--arg", "in_features=4", "--arg", "out_features=2", "--input", "1,4", "--quiet")
    assert cli.main([*model, "--card"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("**Linear** on float32\\[1,4\\]: 10 parameters (40 B), 8 MACs, 16 FLOPs")
    path = tmp_path / "t.json"
    assert cli.main([*model, "--chrome-trace", str(path)]) == 2
    assert "--chrome-trace is for --device" in capsys.readouterr().err
    assert cli.main([*model, "--device", "a100", "--chrome-trace", str(path)]) == 0
    assert json.loads(path.read_text())["otherData"]["device"].startswith("NVIDIA A100")
