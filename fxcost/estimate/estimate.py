"""How long a model takes on a device that is not at hand, with the error that such estimates had.

The kernels of the run (work.py, fusion.py) get their times from the profile of the device's class (times.py). The host
starts them one after the other; it runs ahead of the device as long as kernels take longer than starting them does, so
the overhead of launches hides behind long kernels and shows between short ones.

A range goes with each estimate: the 10th and 90th percentile of measured ÷ estimated time over models that the profile
was not fitted on. The roofline stays the bound: no estimate is below that of its own kernels.

Not here: communication, the transfer of inputs, CUDA graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import Any

from ..errors import UnknownNameError, shown
from ..errors.arguments import checked
from ..memory.analysis import Analysis
from ..records.cost import NodeCost
from ..speed.devices import Device
from ..speed.dtypes import dtype_key
from ..text import units
from .fusion import compiled
from .profile import MODES, Errors, Profile, profile_for
from .steps import backward_works, optimizer_work
from .times import columns, kernel_seconds, vector_peak
from .work import Work, eager, works_alone

BOUNDS = ("compute", "memory", "launch")
"""What can bound a kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEstimate:
    """A node's share of the time (`seconds`), in `kernels` that begin there, and what bounds the longest of them.

    `kind` is what the longest kernel does; "" for a node that starts none, whose time is that of the host.
    """

    name: str
    module: str
    family: str
    kind: str
    seconds: float
    kernels: int
    bound: str


@checked
@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The estimated time of a model's run on a device, in seconds; `low` and `high` hold 80 % of such estimates.

    `nodes` are in execution order and add up to `seconds`; of a training step come the forward pass's nodes with their
    backward passes, then the optimizer. `memory_bytes` is the peak of memory that the run needs there at least.
    """

    model_type: str
    device: Device
    mode: str
    dtype: str
    training: bool
    profile: Profile
    nodes: tuple[NodeEstimate, ...]
    memory_bytes: int
    notes: tuple[str, ...] = ()

    @cached_property
    def seconds(self) -> float:
        """All nodes one after the other."""
        return sum(node.seconds for node in self.nodes)

    @property
    def errors(self) -> Errors:
        """The error of estimates with this profile."""
        return self.profile.error("training" if self.training else self.mode)

    @property
    def low(self) -> float:
        """Of ten such estimates one was measured to be faster."""
        return self.seconds * self.errors.low

    @property
    def high(self) -> float:
        """Of ten such estimates one was measured to be slower."""
        return self.seconds * self.errors.high

    @property
    def fits(self) -> bool:
        """True if the device has the memory; also where its size is not known."""
        return not self.device.memory_bytes or self.memory_bytes <= self.device.memory_bytes

    def by_family(self) -> dict[str, float]:
        """Seconds by family of operators, longest first."""
        return self._summed(lambda node: node.family)

    def by_kind(self) -> dict[str, float]:
        """Seconds by kind of kernel, longest first."""
        return self._summed(lambda node: node.kind)

    def by_bound(self) -> dict[str, float]:
        """Seconds by what bounds the nodes: "compute", "memory", "launch", longest first."""
        return self._summed(lambda node: node.bound)

    def by_module(self) -> dict[str, float]:
        """Seconds by module FQN, children included; "" is the root."""
        sums: dict[str, float] = {"": 0.0}
        for node in self.nodes:
            name = node.module
            while True:
                sums[name] = sums.get(name, 0.0) + node.seconds
                if not name:
                    break
                name = name.rpartition(".")[0]
        return sums

    def _summed(self, key: Callable[[NodeEstimate], str]) -> dict[str, float]:
        sums: dict[str, float] = {}
        for node in self.nodes:
            if node.seconds:
                sums[key(node)] = sums.get(key(node), 0.0) + node.seconds
        return dict(sorted(sums.items(), key=lambda item: -item[1]))

    def table(self, top: int | None = 20, format: str = "rounded_outline", *, sort: bool = True) -> str:  # noqa: A002
        """The estimate with its range, and a row for each node that takes time, in any format of tabulate.

        Args:
            top: only so many rows; None for all.
            format: any format of the tabulate library.
            sort: the longest first; else in execution order.

        Raises:
            UnknownNameError: the format is not known.
        """
        from .as_estimate import estimate_table

        return estimate_table(self, top, format, sort)

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw the time of each kind of kernel, by what bounds it (the extra `fxcost[plot]`).

        Raises:
            MissingLibraryError: matplotlib is not installed.
            UnknownNameError: the ending of the path is no format of a picture.
        """
        from .as_estimate_plot import plot_estimate

        plot_estimate(self, path)

    def __str__(self) -> str:
        return self.table()


def estimate(
    report: Analysis, device: Device | str, mode: str = "eager", dtype: Any = None, profile: str | Profile | None = None
) -> Estimate:
    """The estimated time of a report's run. See :meth:`fxcost.Report.estimate`.

    Raises:
        DeviceError: no such device, no profile for it, or no peak for a dtype that the model computes in.
        UnknownNameError: no such mode or profile.
    """
    found = Device.named(device)
    if mode not in MODES:
        raise UnknownNameError(f"there is no mode {shown(mode)}; choose from {', '.join(MODES)}")
    chosen = profile_for(found, profile)
    wanted = dtype_key(dtype) if dtype is not None else ""
    works = eager(report.nodes) if mode == "eager" else compiled(report.nodes)
    views = _views(report.nodes) if mode == "eager" else [0] * len(report.nodes)
    step = report.training
    if step is not None:
        works = [*works, *backward_works(works, report.nodes, step, len(report.nodes))]
        works.append(optimizer_work(step, 2 * len(report.nodes)))
        views = [*views, *views[::-1], 0]
    factor = 1.0 if step is None else chosen.training_factor
    nodes = _timed(report.nodes, works, views, found, chosen, wanted, factor)
    need = step.peak_bytes if step is not None else report.memory.peak_bytes
    return Estimate(
        model_type=report.model_type,
        device=found,
        mode=mode,
        dtype=wanted,
        training=step is not None,
        profile=chosen,
        nodes=nodes,
        memory_bytes=need,
        notes=tuple(_notes(report, found, chosen, mode, need)),
    )


def _views(nodes: Sequence[NodeCost]) -> list[int]:
    """How many operators of each node start no kernel: the host runs them all the same."""
    return [sum(not works_alone(op) for op in node.operations) for node in nodes]


@dataclass(slots=True)
class _Share:
    """What a node takes of the time, and the work that took most of it."""

    seconds: float = 0.0
    kernels: int = 0
    most: float = 0.0
    work: Work | None = None
    waited: bool = False

    def add(self, work: Work, took: float, waited: bool) -> None:
        """A kernel has run; `waited` says that the device waited for the host longer than it worked."""
        self.seconds += took
        self.kernels += 1
        if took > self.most:
            self.most, self.work, self.waited = took, work, waited

    def of(self, node: NodeCost, device: Device, dtype: str) -> NodeEstimate:
        """The estimate of a node."""
        work = self.work
        bound = ("launch" if self.seconds else "") if work is None else _bound(work, device, dtype)
        return NodeEstimate(
            name=node.name,
            module=node.module,
            family=_family(node),
            kind=work.kind if work is not None else "",
            seconds=self.seconds,
            kernels=self.kernels,
            bound="launch" if self.waited else bound,
        )


@dataclass(slots=True)
class _Clock:
    """The host, which launches kernels and makes `views`, against the device, which runs them one after the other."""

    views: Sequence[int]
    profile: Profile
    host: float = 0.0
    end: float = 0.0
    issued: int = 0

    def run(self, position: int, time: float) -> tuple[float, bool]:
        """A kernel of a node runs for so long: by how much later the device is done, and if it waited for the host."""
        while self.issued < len(self.views) and self.issued <= position:
            self.host += self.views[self.issued] * self.profile.view_s
            self.issued += 1
        self.host += self.profile.launch_s
        waits, start = self.host > self.end, max(self.host, self.end)
        took, self.end = start + time - self.end, start + time
        return took, waits


def _timed(
    nodes: Sequence[NodeCost],
    works: Sequence[Work],
    views: Sequence[int],
    device: Device,
    profile: Profile,
    dtype: str,
    factor: float,
) -> tuple[NodeEstimate, ...]:
    """Run the host and the device against each other; positions past the nodes are their backward passes, reversed."""
    busy: list[float] = []
    if works:
        at = columns(works, device, dtype)
        busy = (factor * kernel_seconds(at, profile.tensors(), device)).tolist()
    clock, optimizer = _Clock(views, profile), 0.0
    shares = [_Share() for _ in nodes]
    for work, time in zip(works, busy, strict=True):
        took, waits = clock.run(work.node, time)
        place = work.node if work.node < len(nodes) else 2 * len(nodes) - 1 - work.node
        if place < 0:
            optimizer += took
        else:
            shares[place].add(work, took, waits and took > 2 * time)
    if clock.host > clock.end and shares:
        shares[-1].seconds += clock.host - clock.end
    found = [share.of(node, device, dtype) for node, share in zip(nodes, shares, strict=True)]
    if optimizer:
        found.append(
            NodeEstimate(
                name="optimizer", module="", family="optimizer", kind="pointwise", seconds=optimizer, kernels=1,
                bound="memory",
            )
        )  # fmt: skip
    return tuple(found)


def _family(node: NodeCost) -> str:
    """The family of the operator that does most."""
    heaviest = max(node.operations, key=lambda op: (op.cost.flops, op.cost.bytes_moved), default=None)
    return heaviest.family if heaviest is not None else ""


def _bound(work: Work, device: Device, dtype: str) -> str:
    kind = (dtype or work.dtype) if work.flops else ""
    peak = device.peak(kind) if kind else vector_peak(device)
    compute = (work.flops or work.others) / peak
    return "compute" if compute > (work.reads + work.writes) / device.bytes_per_s else "memory"


def _notes(report: Analysis, device: Device, profile: Profile, mode: str, need: int) -> list[str]:
    notes = [profile.note] if profile.note else []
    asked = mode if report.training is None else "training"
    if asked not in profile.errors:
        notes.append(f"{asked} runs were never measured with this profile: its range is that of others")
    if device.memory_bytes and need > device.memory_bytes:
        missing = units.byte_size(need - device.memory_bytes)
        notes.append(f"it does not fit: {units.byte_size(need)} are needed at the peak, {missing} more than there are")
    if report.uncosted:
        runs = units.plural(sum(report.uncosted.values()), "run")
        notes.append(f"{runs} of operators without a rule: their arithmetic is missing")
    return notes
