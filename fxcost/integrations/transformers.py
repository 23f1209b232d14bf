"""Callbacks for the Trainer of transformers: what the model costs, as training begins; how fast it trains, and MFU."""

from __future__ import annotations

from typing import Any

from ..analyze import analyze
from ..errors import MissingLibraryError
from ..report import Report
from ..sources.hf_defaults import default_inputs
from . import metrics
from .throughput import Throughput, lengths_of

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise MissingLibraryError("fxcost.integrations.transformers needs it: `pip install transformers`") from error


class CostCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]  # transformers is not typed everywhere
    """Analyse the model once, on `inputs` or else on the default inputs of its type at the batch size of the training.

    No batch is taken from the data, so that the order of the training is what it would be. The report is
    `callback.report`; its totals stand in `state.log_history`.

    Args:
        inputs: keyword inputs of the model, as for :func:`fxcost.analyze`.
        show: print the table, on the process of rank 0.
        options: further arguments of :func:`fxcost.analyze`.
    """

    def __init__(self, inputs: dict[str, Any] | None = None, *, show: bool = True, **options: Any) -> None:
        self.inputs, self.show, self.options = inputs, show, options
        self.report: Report | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Analyse the model that is about to be trained."""
        model = kwargs["model"]
        if self.inputs is not None:
            positional, named = (), dict(self.inputs)
        else:
            given = default_inputs(model, args.per_device_train_batch_size)
            positional, named = given.args, dict(given.kwargs)
        self.report = analyze(model, list(positional), named, **self.options)
        if self.show and state.is_world_process_zero:
            print(self.report)
        state.log_history.append({**metrics(self.report), "step": state.global_step})


class ThroughputCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """The logs get `tokens_per_second`, `flops_per_second` and `mfu` of each step.

    The lengths of a step are those of what the model was called with, over all steps that are accumulated.
    """

    def __init__(self, meter: Throughput) -> None:
        self.meter = meter
        self.lengths: list[int] = []
        self.rates: dict[str, float] = {}
        self._hook: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Watch what the model is called with, from now on."""
        self._hook = model.register_forward_pre_hook(self._seen, with_kwargs=True)
        self.meter.start()

    def _seen(self, module: Any, args: Any, kwargs: Any) -> None:
        if module.training:
            self.lengths += lengths_of(kwargs or args)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure the step."""
        if self.lengths:
            self.rates = self.meter.step(self.lengths)
            self.lengths = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Add the rates to what is logged."""
        if logs is not None and "loss" in logs:
            logs.update(self.rates)
            if state.log_history:
                state.log_history[-1].update(self.rates)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Watch no longer."""
        if self._hook is not None:
            self._hook.remove()
