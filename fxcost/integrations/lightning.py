"""Callbacks for Lightning's Trainer: what the model costs, when fitting starts; how fast it trains, and MFU."""

from __future__ import annotations

from typing import Any

from ..analyze import analyze
from ..errors import MissingLibraryError
from ..report import Report
from . import metrics
from .throughput import Throughput, lengths_of

try:
    from lightning.pytorch import Callback
    from lightning.pytorch.utilities import rank_zero_only
except ImportError:
    try:  # the older package
        from pytorch_lightning import Callback
        from pytorch_lightning.utilities import rank_zero_only
    except ImportError as error:
        raise MissingLibraryError("fxcost.integrations.lightning needs Lightning: `pip install lightning`") from error


class CostCallback(Callback):  # type: ignore[misc, unused-ignore]  # which of both is installed is not known
    """Analyse the module once, on `inputs`, on its `example_input_array`, or else on its first batch.

    Of a batch that is a tuple or a list the first entry is what forward takes. The report is `callback.report`, and its
    totals go to the trainer's loggers as `fxcost/…`.

    Args:
        inputs: what `forward` takes, as for :func:`fxcost.analyze`.
        show: print the table, on the process of rank 0.
        options: further arguments of :func:`fxcost.analyze`.
    """

    def __init__(self, inputs: Any = None, *, show: bool = True, **options: Any) -> None:
        super().__init__()
        self.inputs, self.show, self.options = inputs, show, options
        self.report: Report | None = None

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Analyse now if inputs are known."""
        inputs = self.inputs if self.inputs is not None else getattr(pl_module, "example_input_array", None)
        if inputs is not None:
            self._analyse(trainer, pl_module, inputs)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Analyse on the first batch if no inputs were known before."""
        if self.report is None:
            self._analyse(trainer, pl_module, batch[0] if isinstance(batch, (tuple, list)) and batch else batch)

    def _analyse(self, trainer: Any, module: Any, inputs: Any) -> None:
        self.report = analyze(module, inputs, **self.options)
        if self.show:
            rank_zero_only(print)(self.report)
        for logger in trainer.loggers:
            logger.log_metrics(metrics(self.report), step=trainer.global_step)


class ThroughputCallback(Callback):  # type: ignore[misc, unused-ignore]
    """Log `tokens_per_second`, `flops_per_second` and `mfu` after each batch."""

    def __init__(self, meter: Throughput) -> None:
        super().__init__()
        self.meter = meter

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """A batch begins here."""
        self.meter.start()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """And ends here."""
        lengths = lengths_of(batch)
        if lengths:
            pl_module.log_dict(self.meter.step(lengths))
