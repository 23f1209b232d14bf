"""Which modules of a model to checkpoint, so that a training step fits.

Not here: checkpoints around parts of a module's forward, what is kept selectively inside one, offloading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..analyze import check_model
from ..capture.capture import Loss, record
from ..capture.record_step import record_step
from ..errors import InputError, MissingLibraryError
from ..errors.arguments import checked
from ..memory.optimizers import Optimizer, check_optimizer
from ..memory.training import Training, training_of
from ..meta.autocast_gradients import autocast_region
from ..model.inputs import as_autocast_dtype, as_float_dtype, check_nesting
from ..records.cost import Cost
from ..records.recording import Recording
from ..rules import default_registry
from ..text import units
from ..text.amounts import parse_bytes
from .steps import Step

if TYPE_CHECKING:
    from .search import Search


@dataclass(frozen=True, slots=True)
class Point:
    """A choice of modules that no other beats in both: its peak in bytes, and the FLOPs that it runs again."""

    peak_bytes: int
    recomputed_flops: int
    modules: tuple[str, ...]


@checked
@dataclass(frozen=True, kw_only=True, repr=False)
class Plan:
    """Modules to checkpoint so that a training step fits into `limit` bytes, at the least recomputation.

    `peak_bytes` and `recomputed` are those of `training`, a step with these modules checkpointed that was run on meta
    tensors; `base_peak_bytes` is the peak with nothing checkpointed. `frontier` has choices from the cheapest to that
    of the lowest peak; all but the plan itself are foreseen, from `steps` steps that were run. `notes`: what to mind.
    """

    model_type: str
    limit: int
    modules: tuple[str, ...]
    base_peak_bytes: int
    frontier: tuple[Point, ...]
    notes: tuple[str, ...]
    steps: int
    training: Training = field(compare=False)

    @property
    def peak_bytes(self) -> int:
        """Everything together at the worst moment of a step with these modules checkpointed."""
        return self.training.peak_bytes

    @property
    def recomputed(self) -> Cost:
        """What is run again in each step."""
        return self.training.recomputed

    @property
    def recomputed_flops(self) -> int:
        """FLOPs that are run again in each step."""
        return self.recomputed.flops

    @property
    def recomputed_macs(self) -> int:
        """MACs that are run again in each step."""
        return self.recomputed.macs

    @property
    def step_flops(self) -> int:
        """FLOPs of a step without checkpoints."""
        return self.training.total.flops - self.recomputed_flops

    @property
    def code(self) -> str:
        """Python code that checkpoints these modules of `model`; empty if there are none."""
        from .as_plan import code_of

        return code_of(self.modules)

    def table(self, format: str = "rounded_outline") -> str:  # noqa: A002  tabulate's name for it
        """The frontier as text in any format of tabulate.

        Raises:
            UnknownNameError: the format is not known.
        """
        from .as_plan import frontier_table

        rows = [(point.peak_bytes, point.recomputed_flops, point.modules) for point in self.frontier]
        return frontier_table(rows, self.step_flops, self.modules, format)

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw the frontier with matplotlib (the extra `fxcost[plot]`) into a file.

        Raises:
            MissingLibraryError: matplotlib is not installed.
            UnknownNameError: the ending of the path is no format of a picture.
        """
        from .as_plan import plot_frontier

        rows = [(point.peak_bytes, point.recomputed_flops) for point in self.frontier]
        plot_frontier(rows, self.step_flops, (self.peak_bytes, self.recomputed_flops), self.limit, path)

    def to_dict(self) -> dict[str, Any]:
        """All of it but the step itself, as plain data: bytes, FLOPs and names."""
        return {
            "model_type": self.model_type,
            "limit_bytes": self.limit,
            "modules": list(self.modules),
            "peak_bytes": self.peak_bytes,
            "base_peak_bytes": self.base_peak_bytes,
            "recomputed_flops": self.recomputed_flops,
            "recomputed_macs": self.recomputed_macs,
            "step_flops": self.step_flops,
            "optimizer": self.training.optimizer,
            "frontier": [
                {"peak_bytes": p.peak_bytes, "recomputed_flops": p.recomputed_flops, "modules": list(p.modules)}
                for p in self.frontier
            ],
            "notes": list(self.notes),
            "steps": self.steps,
        }

    def to_json(self, path: str | PathLike[str] | None = None) -> str:
        """:meth:`to_dict` as JSON text, also written to `path` if given.

        Raises:
            OSError: the file can't be written.
        """
        from .as_plan import as_json

        return as_json(self.to_dict(), path)

    def text(self, format: str = "rounded_outline") -> str:  # noqa: A002
        """All of it for people: the answer, the frontier in any format of tabulate, and the code.

        Raises:
            UnknownNameError: the format is not known.
        """
        from .as_plan import plan_text

        return plan_text(self.to_dict(), self.table(format), self.code)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        peak, base = units.byte_size(self.peak_bytes), units.byte_size(self.base_peak_bytes)
        again = units.percent(self.recomputed_flops, self.step_flops)
        if not self.modules:
            return f"<Plan: {self.model_type} fits without checkpoints: {peak} of {units.byte_size(self.limit)}>"
        chosen = units.plural(len(self.modules), "module")
        return f"<Plan: checkpoint {chosen} of {self.model_type}: {peak} instead of {base}, {again} more FLOPs>"

    def _repr_html_(self) -> str:
        from ..text.notebook import preformatted

        return preformatted(str(self))


@checked
def plan(
    model: Any,
    inputs: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    memory: int | str,
    optimizer: Optimizer | None = None,
    loss: Loss | None = None,
    reserve: int | str = 0,
    dtype: torch.dtype | str | None = None,
    autocast: torch.dtype | str | None = None,
) -> Plan:
    """Which modules to checkpoint so that a training step fits into memory, at the fewest FLOPs run again.

    >>> import fxcost, torch
    >>> blocks = [torch.nn.TransformerEncoderLayer(64, 4, 256, dropout=0.0) for _ in range(4)]
    >>> fxcost.plan(torch.nn.Sequential(*blocks), (64, 16, 64), memory="10MiB", optimizer="sgd")
    <Plan: checkpoint 2 modules of Sequential: 9.63 MiB instead of 15.19 MiB, 17.1% more FLOPs>

    The model trains as it is, on meta tensors: call `.train()` first. It is never changed; `plan.code` does that.

    Args:
        model: an `nn.Module`, as for :func:`analyze`.
        inputs: as for :func:`analyze`.
        kwargs: further keyword inputs.
        memory: the limit: bytes, or text such as "24GiB" or "80GB".
        optimizer: as for :func:`analyze`.
        loss: as for :func:`analyze`.
        reserve: bytes, or text, to leave free for what is not counted (CUDA's context, workspaces, fragmentation).
        dtype: as for :func:`analyze`.
        autocast: as for :func:`analyze`.

    Raises:
        PlanError: no choice of modules fits (the message says by how much), or there is nothing to checkpoint.
        InputError: a size can't be read, or the model is no module.
        MissingLibraryError: scipy is not installed.
        FxcostError: as :func:`analyze` with `training=True`.
    """
    limit = parse_bytes(memory) - parse_bytes(reserve)
    check_model(model)
    check_nesting((inputs, kwargs))
    chosen: Optimizer = "adamw" if optimizer is None else optimizer
    check_optimizer(chosen)
    if not isinstance(model, nn.Module):
        raise InputError(f"a {type(model).__name__} has no modules to checkpoint: give an nn.Module")
    try:
        import scipy.optimize  # noqa: F401
    except ImportError as error:
        raise MissingLibraryError("a plan needs scipy: pip install 'fxcost[plan]'") from error
    wanted = as_float_dtype(dtype) if dtype is not None else None
    with autocast_region(as_autocast_dtype(autocast)):
        recording, search = search_of(model, inputs, dict(kwargs or {}), chosen, loss, wanted)
        names, step, frontier = search.answer(limit)
    return Plan(
        model_type=recording.model_type,
        limit=limit,
        modules=names,
        base_peak_bytes=search.base.training.peak_bytes,
        frontier=tuple(Point(*choice) for choice in frontier),
        notes=(*search.notes, *_to_mind(step), *step.training.assumptions),
        steps=search.steps,
        training=step.training,
    )


def search_of(
    model: nn.Module,
    inputs: Any,
    kwargs: dict[str, Any],
    optimizer: Optimizer = "adamw",
    loss: Loss | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Recording, Search]:
    """A model's recording, and the search of its plans.

    Raises:
        PlanError: the model has checkpoints already.
        FxcostError: as :func:`analyze` with `training=True`.
    """
    from .search import Search

    recording = record(model, inputs, kwargs, dtype=dtype)

    def run(names: Sequence[str]) -> Step:
        ran = record_step(model, inputs, kwargs, recording, dtype=dtype, loss=loss, checkpointed=tuple(names))
        return Step.of(ran, training_of(ran, recording.modules, default_registry(None), optimizer))

    return recording, Search(run, _called(recording))


def _called(recording: Recording) -> set[str]:
    """Names of the modules that ran, also within modules that stay whole."""
    inner = {
        f"{node.module}.{call.target}".strip(".") for node in recording.nodes for call in node.calls if call.is_module
    }
    return inner | {call.module for call in recording.calls}


def _to_mind(step: Step) -> list[str]:
    """What checkpointing changes beside memory and time."""
    ran = (op for node in step.record.backward for op in node.operations)
    again = [str(op.op) for op, repeated in zip(ran, step.record.recomputed, strict=True) if repeated]
    if any("batch_norm" in name for name in again):
        return ["batch norms that are run again update their running statistics twice a step"]
    return []
