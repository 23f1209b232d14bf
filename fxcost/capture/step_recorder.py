"""Records a training step: which forward operator each operator of the backward pass belongs to, and what is saved.

Autograd numbers its nodes in the order in which the forward pass makes them; an operator of the backward pass belongs
to the forward operator after which the number of its autograd node had been given out.

Deep models run the same operators over and over, and a step runs every one of them. So what an operator returned and
how it was recorded is remembered by what it was given (:class:`_Answer`): the second time neither a meta kernel runs
nor a tensor is described. This holds for operators on plain tensors of whose values nothing is known, before and
after; all others take the common road.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..meta.autocast import cast_to
from ..meta.autocast_gradients import AutocastRegionError
from ..meta.kernels import Made, describe, fresh, kernel_for, returns_fresh
from ..meta.recorder import Segment, is_plain, runs_as_one
from ..meta.storages import Storages
from ..meta.values import ValueRecorder
from ..records.recording import NodeRecord, Operator, OpRecord

NOBODY = -1
"""Owner of backward operators that belong to no forward node: gradients that add up at a parameter."""

_SCALARS = frozenset({int, float, bool})
_SETTINGS = frozenset({str, type(None), torch.dtype, torch.memory_format, torch.layout})
_SEQUENCES = frozenset({tuple, list, torch.Size})


@dataclass(frozen=True, slots=True)
class _Answer:
    """What to do when an operator is asked the same again: make these results, or run this, and note this record."""

    made: Made | None
    single: bool
    kernel: Callable[..., Any]
    record: OpRecord


class _UnusualError(Exception):
    """An argument that can't stand in a question."""


def _repeats(op: Operator) -> bool:
    """True if what an operator does follows from its arguments' metadata alone, and it is recorded as it comes."""
    if not isinstance(op, torch._ops.OpOverload) or torch.Tag.inplace_view in op.tags or not runs_as_one(op):
        return False
    return bool(op._schema.returns) and all(str(r.type) in ("Tensor", "List[Tensor]") for r in op._schema.returns)


class StepRecorder(ValueRecorder):
    """A recorder that knows, in the backward pass, which forward operator each operator belongs to.

    `casts` says that autocast regions are taken care of (autocast_gradients.py).
    """

    def __init__(self, storages: Storages, *, real: bool = False, casts: bool = False) -> None:
        super().__init__(storages, real=real)
        self.casts = casts
        self.forward: list[OpRecord] = []
        self.backward: list[Segment] = []
        """What the backward pass ran, a segment for each operator."""
        self.owners: list[int] = []
        """For each backward operator the position of its owner in `forward`, or NOBODY."""
        self.recomputed: list[bool] = []
        self.saved: list[tuple[int, Segment | None, int]] = []
        """Storage, segment that was open, and operators that had run, for each tensor saved for backward."""
        self.in_backward = False
        self._numbers: list[int] = []
        self._numbered: list[int] = []
        self._answers: dict[Any, _Answer] = {}
        self._repeating: dict[int, tuple[Operator, bool]] = {}
        self._owner = NOBODY
        """Of the operator of the backward pass that runs."""

    def __torch_dispatch__(
        self, func: Operator, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self.in_backward:
            self._begin()
        segment = self.segment
        if segment is None or self.real or not self._repeats(func) or (self.region is not None and not self.casts):
            return super().__torch_dispatch__(func, types, args, kwargs)
        key = self._question(func, args, kwargs, segment)
        answer = self._answers.get(key) if key is not None else None
        if answer is not None:
            return self._repeated(answer, args, kwargs or {}, segment)
        before, used, self.values_used = self.ticks, self.values_used, False
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if key is not None and self.ticks == before + 1 and not self.values_used:
            self._remember(key, func, out, args, segment)
        self.values_used = used or self.values_used
        return out

    # ------------------------------------------------------------------------------------------------------ repetition

    def _repeats(self, func: Operator) -> bool:
        known = self._repeating.get(id(func))  # hashing an operator is Python code
        if known is None:
            known = self._repeating[id(func)] = func, _repeats(func)
        return known[1]

    def _question(self, func: Operator, args: Any, kwargs: Any, segment: Segment) -> Any:
        """What decides an operator's answer and record, hashable; None if it can't be told."""
        slots = segment.slots
        if not any(isinstance(a, Tensor) for a in args):
            return None
        try:
            asked = tuple([self._asked(a, slots) for a in args])
            named = tuple([(k, self._asked(v, slots)) for k, v in kwargs.items()]) if kwargs else ()
        except _UnusualError:
            return None
        return (id(func), segment.scope, len(slots), asked, named)

    def _asked(self, value: Any, slots: dict[int, int]) -> Any:
        kind = type(value)
        if kind is Tensor or kind is torch.nn.Parameter:
            plain = value.layout is torch.strided and value.is_meta and not (value.is_nested or value.is_quantized)
            number = self.storages.number(value) if plain else -1
            dtype = value.dtype
            if not plain or number in self.cells or dtype.is_complex:
                raise _UnusualError
            return (value.shape, value.stride(), dtype, value.storage_offset(), slots.setdefault(number, len(slots)))
        if kind in _SETTINGS:
            return value
        if kind in _SCALARS:
            return (kind, value)  # 1, 1.0 and True are equal, and not the same argument
        if kind in _SEQUENCES:
            return tuple([self._asked(v, slots) for v in value])
        raise _UnusualError

    def _remember(self, key: Any, func: Operator, out: Any, args: Any, segment: Segment) -> None:
        """Keep an answer, unless something is known of the results' values."""
        results = [t for t in (out if isinstance(out, (tuple, list)) else (out,)) if t is not None]
        record = segment.operations[-1] if segment.operations else None
        if record is None or record.op is not func or not all(map(is_plain, results)):
            return
        if not any(n in self.cells or n in self.ranges for n in map(self.storages.number, results)):
            made = describe(out, args) if returns_fresh(func) else None
            self._answers[key] = _Answer(made, isinstance(out, Tensor), kernel_for(func, args), record)

    def _repeated(self, answer: _Answer, args: Any, kwargs: dict[str, Any], segment: Segment) -> Any:
        out = answer.kernel(*args, **kwargs) if answer.made is None else fresh(answer.made, answer.single)
        slots, number = segment.slots, self.storages.number
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if tensor is not None:
                slots.setdefault(number(tensor), len(slots))
        record = answer.record
        if not self.in_backward:  # there an operator is known by its record
            record = OpRecord(record.op, record.args, record.outputs, record.scope)
        self.ticks += 1
        self._note(record)
        segment.operations.append(record)
        return out

    # ------------------------------------------------------------------------------------------------------- ownership

    def record(
        self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, segment: Segment
    ) -> OpRecord:
        """Describe one run; in the backward pass its scope is that of its owner."""
        record = super().record(func, args, kwargs, out, segment)
        self._note(record)
        return record

    def _begin(self) -> None:
        """Open a segment for an operator of the backward pass."""
        owner = self._owner = self._find_owner()
        self.segment = Segment()
        self.segment.scope = self.forward[owner].scope if owner != NOBODY else ""
        self.backward.append(self.segment)

    def _note(self, record: OpRecord) -> None:
        """Say whose an operator is, and which numbers autograd has given out by now."""
        if not self.in_backward:
            owner = len(self.forward)
            self.forward.append(record)
        else:
            owner = self._owner
            again = torch.is_grad_enabled()  # the backward pass itself runs without
            self.owners.append(owner)
            self.recomputed.append(again)
            if not again:
                return
        self._numbers.append(torch.autograd._get_sequence_nr())  # type: ignore[attr-defined]
        self._numbered.append(owner)

    def _find_owner(self) -> int:
        node = torch._C._current_autograd_node()
        if node is None or node.name().endswith("AccumulateGrad"):  # these have no number that says anything
            return NOBODY
        i = bisect_right(self._numbers, node._sequence_nr())
        return self._numbered[i] if i < len(self._numbered) else NOBODY

    def backward_nodes(self) -> tuple[NodeRecord, ...]:
        """What the backward pass ran, in its order."""
        return tuple(_node(segment) for segment in self.backward if segment.operations)

    # ---------------------------------------------------------------------------------------------- saving and casting

    def _autocast(self, func: Operator, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Casts are made above autograd; a step that is not prepared for that must start again."""
        if self.region is not None and not self.casts and cast_to(func, self.region) is not None:
            raise AutocastRegionError
        return args

    def save(self, tensor: Tensor) -> Tensor:
        """The hook that autograd calls with every tensor that it saves for the backward pass."""
        if is_plain(tensor):
            self.saved.append((self.storages.number(tensor), self.segment, len(self.forward)))
        return tensor


def _node(segment: Segment) -> NodeRecord:
    operations, storages = tuple(segment.operations), tuple(segment.slots)
    return NodeRecord("backward", "call_function", "backward", "", operations=operations, storages=storages)
