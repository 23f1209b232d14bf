"""A callback for the Trainer of transformers: prints what the model costs as training begins, and notes it."""

from __future__ import annotations

from typing import Any

from ..analyze import analyze
from ..errors import MissingLibraryError
from ..report import Report
from ..sources.hf_defaults import default_inputs
from . import metrics

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
