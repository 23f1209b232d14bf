"""Reports in the tools around: plain numbers for a log, callbacks for trainers, writers for experiment trackers.

`metrics` needs no library, and neither does `throughput.py`, which times a plain loop. `lightning.py` and
`transformers.py` have a `CostCallback` and a `ThroughputCallback` each, imported from there, because each is a class of
its library: `from fxcost.integrations.lightning import CostCallback`. Trackers are handed in: nothing is imported for
them but mlflow.

In: a report, or `PerToken`. Out: numbers by name, or calls of the library's own functions. May use `report`, `analyze`
and `serving`.
"""

from __future__ import annotations

from typing import Any

from ..report import Report

__all__ = ["log_mlflow", "log_tensorboard", "log_wandb", "metrics"]


def metrics(report: Report, prefix: str = "fxcost/") -> dict[str, int]:
    """A report's totals by name, as a tracker takes them: exact ints; bytes end in `_bytes`.

    >>> import fxcost, torch
    >>> metrics(fxcost.analyze(torch.nn.Linear(3, 4), (2, 3)))["fxcost/flops"]
    48
    """
    cost, memory = report.cost, report.memory
    numbers: dict[str, int | None] = {
        "params": report.params,
        "trainable_params": report.trainable_params,
        "param_bytes": report.param_bytes,
        "macs": cost.macs,
        "flops": cost.flops,
        "moved_bytes": cost.bytes_moved,
        "activations": cost.activations,
        "peak_bytes": memory.peak_bytes,
        "peak_eager_bytes": memory.peak_eager_bytes,
        "uncosted_runs": sum(report.uncosted.values()),
    }
    if report.training is not None:
        step = report.training
        numbers |= {
            "training_macs": step.total.macs,
            "training_flops": step.total.flops,
            "training_saved_bytes": step.saved_bytes,
            "training_peak_bytes": step.peak_bytes,
        }
    return {f"{prefix}{name}": number for name, number in numbers.items() if number is not None}


def log_tensorboard(writer: Any, report: Report, step: int = 0) -> None:
    """Write the totals as scalars and the report as text with a `torch.utils.tensorboard.SummaryWriter`."""
    for name, value in metrics(report).items():
        writer.add_scalar(name, value, step)
    writer.add_text("fxcost", report.to_markdown(), step)


def log_wandb(run: Any, report: Report) -> None:
    """Put the totals into the summary of a W&B run (what `wandb.init` returned)."""
    run.summary.update(metrics(report))


def log_mlflow(report: Report, step: int = 0, **options: Any) -> None:
    """Log the totals to MLflow's active run, or to the one that `run_id=` names.

    Raises:
        MissingLibraryError: mlflow is not installed.
    """
    try:
        import mlflow
    except ImportError as error:
        from ..errors import MissingLibraryError

        raise MissingLibraryError("logging to MLflow needs mlflow: pip install mlflow") from error
    mlflow.log_metrics({name: float(value) for name, value in metrics(report).items()}, step=step, **options)
