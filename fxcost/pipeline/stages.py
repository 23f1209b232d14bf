"""The stages of a pipeline, with what they cost, hold and send."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..errors import PipelineError, shown
from ..errors.arguments import checked
from ..memory.analysis import Analysis
from ..memory.memory import forward_memory
from ..records.cost import Cost, NodeCost
from ..records.recording import NodeRecord, ParameterRecord, Recording, TensorSpec
from ..text.choice import choose
from .cutting import cheapest_cuts, smallest_largest
from .stage import Cut, Stage
from .units import Unit, across, crossing_bytes, dependences, units

if TYPE_CHECKING:
    from torch import fx

BY = ("module", "node")
COSTS: dict[str, Callable[[Cost], int]] = {
    "flops": lambda cost: cost.flops,
    "macs": lambda cost: cost.macs,
    "bytes": lambda cost: cost.bytes_moved,
}
"""What stages can be balanced by."""


@checked
@dataclass(frozen=True, kw_only=True)
class Stages:
    """A model in the stages of a pipeline, in order, and the cuts between them; `balanced` names a number of costs."""

    model_type: str
    by: str
    balanced: str
    stages: tuple[Stage, ...]
    cuts: tuple[Cut, ...]

    @property
    def costs(self) -> tuple[int, ...]:
        """What the stages are balanced by."""
        return tuple(COSTS[self.balanced](stage.cost) for stage in self.stages)

    @property
    def imbalance(self) -> float:
        """The cost of the slowest stage over the mean: 1.0 is perfect."""
        whole = sum(self.costs)
        return max(self.costs) * len(self.costs) / whole if whole else 1.0

    @checked
    def bubble(self, microbatches: int) -> float:
        """The share of the time in which a stage waits, on average, with so many microbatches (GPipe and 1F1B).

        A step takes as long as the slowest stage needs for m + k − 1 microbatches, and the mean stage works for m
        (Narayanan et al., "Efficient large-scale language model training on GPU clusters using Megatron-LM", 2021: (k −
        1)/m of the ideal time, if all stages are equal).

        Raises:
            PipelineError: there is no microbatch.
        """
        if microbatches < 1:
            raise PipelineError(f"{microbatches} microbatches: give 1 or more")
        k = len(self.stages)
        return 1 - microbatches / (self.imbalance * (microbatches + k - 1))

    def split_spec(self) -> dict[str, Any]:
        """The cuts as `torch.distributed.pipelining.pipeline(…, split_spec=…)` takes them.

        Raises:
            PipelineError: the stages are cut between nodes; :meth:`part` is for `split_module`.
        """
        from torch.distributed.pipelining import SplitPoint

        if self.by != "module":
            raise PipelineError("stages that are cut between nodes have no split points: give by='module'")
        return {cut.before: SplitPoint.BEGINNING for cut in self.cuts}

    def part(self, node: fx.Node) -> int:
        """The stage of a node of `report.graph`, for `split_module(report.graph, None, stages.part)`."""
        return self._part[node.name]

    @cached_property
    def _part(self) -> dict[str, int]:
        return {name: i for i, stage in enumerate(self.stages) for name in stage.nodes}

    def table(self, format: str = "rounded_outline") -> str:  # noqa: A002  tabulate's name for it
        """A row for each stage, with what it sends to the next, as text in any format of tabulate.

        Raises:
            UnknownNameError: the format is not known.
        """
        from .as_table import stages_table

        return stages_table(self.stages, self.cuts, self.balanced, self.imbalance, format)

    def __str__(self) -> str:
        return self.table()


@checked
def stages(report: Any, k: int, *, by: str = "module", balance: str = "flops", slack: float = 0.05) -> Stages:
    """Where to cut a model into `k` stages of a pipeline: of equal cost as far as can be, with little to send.

    >>> import fxcost, torch
    >>> model = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(6)))
    >>> found = fxcost.stages(fxcost.analyze(model, (4, 8)), 3)
    >>> [cut.before for cut in found.cuts], found.imbalance
    (['2', '4'], 1.0)

    Args:
        report: of :func:`analyze`, on the inputs of one microbatch.
        k: how many stages.
        by: "module" cuts before modules (members of the outermost lists, such as a transformer's blocks, and what
            stands beside these), "node" anywhere in the graph.
        balance: what the stages are balanced by: "flops", "macs" or "bytes".
        slack: by how much the slowest stage may be above the least that is possible, where less is then sent.

    Raises:
        PipelineError: there are not so many units, or an argument can't be.
        UnknownNameError: there is no such `by` or `balance`.
    """
    if not isinstance(report, Analysis):
        raise PipelineError(f"stages are those of a report of fxcost.analyze(model, inputs), not of {shown(report)}")
    choose("way to cut, by", by, BY)
    price = COSTS[choose("cost to balance", balance, tuple(COSTS))]
    if not 0 <= slack < 1e6:
        raise PipelineError(f"slack={slack}: give 0 or more, such as 0.05")
    found = units(report.recording, by)
    if not 1 <= k <= len(found):
        many = f"{len(found)} {by}s" if len(found) != 1 else f"one {by}"
        hint = "; by='node' cuts anywhere" if by == "module" else ""
        raise PipelineError(f"k={k}: the model has {many} in which to cut it, so k is 1 to {len(found)}{hint}")
    nodes, graph = report.nodes, dependences(report.nodes)
    costs = [sum(price(node.cost) for node in nodes[unit.start : unit.stop]) for unit in found]
    crossing = crossing_bytes(nodes, graph)
    most = smallest_largest(costs, k)
    places = cheapest_cuts(costs, [crossing[unit.start] for unit in found], k, most + int(most * slack))
    borders = [0, *places, len(found)]
    parts = [found[a:b] for a, b in pairwise(borders)]
    tensors = [across(nodes, graph, found[place].start) for place in places]
    return Stages(
        model_type=report.model_type,
        by=by,
        balanced=balance,
        stages=tuple(_stage(report, part, *_ends(tensors, i)) for i, part in enumerate(parts)),
        cuts=tuple(
            _cut(nodes, found[place], made, given) for place, (made, given) in zip(places, tensors, strict=True)
        ),
    )


Ends = tuple[list[TensorSpec], list[TensorSpec]]


def _ends(tensors: Sequence[Ends], i: int) -> Ends:
    """What stage i receives, and what it hands on."""
    received = [*tensors[i - 1][0], *tensors[i - 1][1]] if i else []
    return received, (tensors[i][0] if i < len(tensors) else [])


def _cut(nodes: Sequence[NodeCost], unit: Unit, made: list[TensorSpec], given: list[TensorSpec]) -> Cut:
    return Cut(
        before=unit.module,
        node=nodes[unit.start].name,
        bytes=sum(spec.nbytes for spec in made),
        input_bytes=sum(spec.nbytes for spec in given),
    )


def _stage(report: Analysis, part: Sequence[Unit], received: list[TensorSpec], sent: list[TensorSpec]) -> Stage:
    nodes = report.nodes[part[0].start : part[-1].stop]
    memory = forward_memory(_alone(report.recording, nodes, received, sent))
    saved = None
    if report.training is not None:
        names = {node.name for node in nodes}
        saved = sum(node.cost.saved_bytes for node in report.training.nodes if node.name in names)
    return Stage(
        units=tuple(unit.module for unit in part if unit.module),
        nodes=tuple(node.name for node in nodes),
        cost=Cost.total(node.cost for node in nodes),
        param_bytes=memory.parameter_bytes,
        peak_bytes=memory.peak_bytes,
        saved_bytes=saved,
    )


def _alone(
    recording: Recording, nodes: Sequence[NodeCost], received: list[TensorSpec], sent: list[TensorSpec]
) -> Recording:
    """A stage as a recording of its own: it is given what it receives, and returns what it hands on."""
    records = [node.record for node in nodes]
    start = [NodeRecord(f"received_{i}", "placeholder", "", "", outputs=(spec,)) for i, spec in enumerate(received)]
    end = [NodeRecord("sent", "output", "output", "", inputs=tuple(sent))] if sent else []
    used = {number for record in records for number in record.storages}
    held = tuple(p for p in recording.parameters if _is_used(p, used))
    return replace(recording, nodes=(*start, *records, *end), parameters=held, deaths=None)


def _is_used(parameter: ParameterRecord, storages: set[int]) -> bool:
    return any(spec.storage in storages for spec in parameter.held)
