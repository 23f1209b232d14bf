"""Throughput and MFU in loops: a plain one with a clock of ours, transformers' Trainer, and Lightning's."""

from __future__ import annotations

import importlib
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

import fxcost
from fxcost.integrations.throughput import Throughput, lengths_of
from tests.serving.test_per_token import llama


def test_a_plain_loop() -> None:
    """Each step lasts from the last one's end; two seconds on this clock."""
    flops = fxcost.per_token(llama())
    ticks = count(0.0, 2.0)
    meter = Throughput(flops, "a100", devices=2, clock=lambda: next(ticks))
    rates = meter.step(seq_lens=[64, 32])
    total = flops([64, 32]).total
    assert rates == {
        "step_seconds": 2.0, "tokens_per_second": 48.0, "flops_per_second": total / 2,
        "mfu": pytest.approx(total / (2 * 2 * 312e12)),
    }  # fmt: skip
    batch = {"input_ids": torch.zeros(2, 8), "attention_mask": torch.tensor([[1] * 8, [1] * 5 + [0] * 3])}
    assert meter.step(batch=batch)["tokens_per_second"] == 13 / 2
    with pytest.raises(fxcost.InputError, match="lengths of sequences"):
        meter.step(batch=None)


def test_lengths_of_batches() -> None:
    """Tensors, tuples, and what has none."""
    assert lengths_of(torch.zeros(3, 7)) == [7, 7, 7]
    assert lengths_of((torch.zeros(2, 4), torch.zeros(2))) == [4, 4]
    assert lengths_of({"labels": torch.zeros(1, 3)}) == [3]
    assert lengths_of(5) == []


def test_transformers_trainer_logs_it(tmp_path: Path) -> None:
    """A real Trainer on a tiny model: each log has rates of what the model was called with."""
    pytest.importorskip("accelerate")
    import transformers

    from fxcost.integrations.transformers import ThroughputCallback

    model = transformers.LlamaForCausalLM(llama().config)
    meter = Throughput(fxcost.per_token(model), "a100")
    data = [{"input_ids": torch.arange(16), "labels": torch.arange(16)}] * 4
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=2, logging_steps=1, report_to=[],
        use_cpu=True, disable_tqdm=True, save_strategy="no",
    )  # fmt: skip
    trainer = transformers.Trainer(model, arguments, train_dataset=data, callbacks=[ThroughputCallback(meter)])
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(logs) == 2
    assert all(entry["mfu"] > 0 and entry["tokens_per_second"] > 0 for entry in logs)
    assert not model._forward_pre_hooks


def test_lightning_logs_it(tmp_path: Path) -> None:
    """A real Trainer of Lightning's on a tiny model."""
    pytest.importorskip("lightning")
    import lightning
    import transformers

    from fxcost.integrations.lightning import ThroughputCallback

    class Module(lightning.LightningModule):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.model = transformers.LlamaForCausalLM(llama().config)

        def training_step(self, batch: Any, _: int) -> Any:
            return self.model(input_ids=batch, labels=batch).loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    module = Module()
    meter = Throughput(fxcost.per_token(module.model), "a100")
    trainer = lightning.Trainer(
        max_steps=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        default_root_dir=str(tmp_path), callbacks=[ThroughputCallback(meter)],
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(torch.arange(64).view(4, 16), batch_size=2))
    assert trainer.callback_metrics["mfu"] > 0


@pytest.mark.parametrize(
    ("room", "libraries"),
    [("lightning", ("lightning", "lightning.pytorch", "pytorch_lightning")), ("transformers", ("transformers",))],
)
def test_a_library_that_is_missing_is_said(
    room: str, libraries: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what to install."""
    for name in libraries:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"fxcost.integrations.{room}", raising=False)
    with pytest.raises(fxcost.MissingLibraryError, match=f"pip install {room}"):
        importlib.import_module(f"fxcost.integrations.{room}")
