"""Recorders of one rank: collectives are operators like others, storages may change their size, hooks have a module.

What is recorded of a DTensor is what the rank holds of it. A storage that changes its size (FSDP frees its unsharded
parameters so, and fills them again) dies and is born again: a record of `aten.empty` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from ..capture.step_recorder import StepRecorder
from ..meta.cells import window
from ..meta.segments import Segment
from ..meta.storages import META
from ..meta.values import ValueRecorder
from ..records.communication import NO_COLLECTIVES, Group
from ..records.recording import Operator, OpRecord, TensorSpec
from .collectives import Named, by_name, communicates, packet_name, result, tensors_of
from .experts import ALL_ROWS, EVEN, GROUPED, Key, computed
from .private import held, is_propagating, recomputes
from .symmetry import follow

_PLAIN = frozenset({Tensor, torch.nn.Parameter, torch.nn.Buffer})
_GROUPS = ("process_group", "group_name")
_EMPTY = torch.ops.aten.empty.memory_format


class RankRecorder(ValueRecorder):
    """A recorder of what one rank runs.

    `group_of` says which ranks a process group has; `names` has the FQN of each module by its id; `rank` is the one
    that is run; `experts` says of which stacks of experts' weights this rank has a part.
    """

    group_of: Callable[[Any], Group]
    names: Mapping[int, str]
    rank: int = 0
    experts: Mapping[Key, tuple[int, int]] = MappingProxyType({})
    around_hooks = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shares: dict[int, tuple[int, int]] = {}
        self._of_backward: set[int] = set()
        """Numbers of the storages that stages of a pipeline send and receive in the backward pass."""
        self._beside = 0
        """How many contexts are open in which collectives run beside the model's operators."""

    def seen(self, func: Operator, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
        """An operator is called: of a rank, or while DTensor finds out shapes, or to tell a profiler where a run is."""
        if is_propagating(types) or getattr(func, "namespace", "") == "profiler":
            return func(*args, **(kwargs or {}))
        if communicates(func) and _PLAIN.issuperset(types):
            return self._communicate(func, *self._on_meta(func, args, kwargs or {}))
        return super().seen(func, types, args, kwargs)

    def held(self, tensor: Tensor) -> Tensor:
        """What the rank has in memory of a tensor."""
        return held(tensor)

    def spec(self, tensor: Tensor) -> TensorSpec:
        """Describe what the rank holds of a tensor."""
        return super().spec(held(tensor))

    def value_or_sample(self, tensor: Tensor) -> tuple[Tensor | None, bool]:
        """A tensor's value, and whether it comes from noise; None if nobody knows it."""
        cell = self.cell_of(tensor) if tensor.is_meta else None
        if cell is None:
            return (None if tensor.is_meta else tensor), False
        value = window(cell.get(), tensor).clone()
        return value, cell.sampled

    def set_value(self, tensor: Tensor, value: Tensor, sampled: bool) -> None:
        """Say what is in a tensor from now on."""
        if tensor.is_meta:
            self._attach(tensor, value, sampled)

    # ----------------------------------------------------------------------------------------------------- collectives

    def _communicate(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        named = by_name(func, args, kwargs)
        place = next((name for name in _GROUPS if named.get(name) is not None), None)
        group = self.group_of(named[place]) if place is not None else Group((0,))
        out = result(func, named, group.size)
        if packet_name(func) in NO_COLLECTIVES:
            return out
        follow(self, func, named, out, group)
        back = self._of_backward and any(self.storages.number(t) in self._of_backward for t in tensors_of(args))
        with self.going_back() if back else nullcontext():
            self._noted_as(func, named, out, group, place)
        return out

    def _noted_as(self, func: Any, named: Named, out: Any, group: Group, place: str | None) -> None:
        """Record a collective, its process group by the ranks that it has."""
        if place is not None:
            named[place] = group
        if self._beside and "async_op" in named:
            named["async_op"] = True  # FSDP's collectives run on a stream of their own
        self._note(func, named, out)

    @contextmanager
    def going_back(self) -> Iterator[None]:
        """While active, a stage of a pipeline runs its backward pass, which a forward pass alone has not."""
        yield

    def sent_back(self, tensors: Iterable[Tensor]) -> None:
        """Stages of a pipeline send or receive these in the backward pass."""
        self._of_backward.update(self.storages.number(held(t)) for t in tensors)

    def _note(self, func: Any, named: Named, out: Any) -> None:
        """Record an operator that ran here."""
        values = tuple([None if isinstance(value, torch.ScriptObject) else value for value in named.values()])
        segment = self._open()
        fresh = segment is None
        if segment is None:
            segment = self.segment = Segment()
        try:
            record = self.record(func, values, {}, out, segment)
            segment.operations.append(record)
            self.noted(record)
        finally:
            if fresh:
                self.segment = None
        if fresh and self.orphan is not None:
            self.orphan(func, values, {}, out, segment)

    def record(
        self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, segment: Segment
    ) -> OpRecord:
        """Describe one run; of a product over experts the rows that this rank computes."""
        if getattr(func, "overloadpacket", None) is GROUPED:
            args, kwargs = tuple(by_name(func, args, kwargs).values()), {}
            share = self._share(args[1], args[2])
            if self._leaves_out(args[0], args[1], args[2]):
                self.assume(ALL_ROWS if share is None else EVEN.format(local=share[0], total=share[1]))
                args, out = (args, out) if share is None else computed(args, out, share)
        return super().record(func, args, kwargs, out, segment)

    def _share(self, weights: Tensor, ends: Tensor | None) -> tuple[int, int] | None:
        """Experts here and in all; of a gradient of weights, those of the product with the same groups."""
        if ends is None:
            return None
        if weights.dim() == 3:
            found = self.experts.get((weights.shape[0], frozenset(weights.shape[1:])))
            if found is not None:
                self._shares[self.storages.number(ends)] = found
            return found
        return self._shares.get(self.storages.number(ends))

    def _leaves_out(self, a: Tensor, b: Tensor, ends: Tensor | None) -> bool:
        """True if the last group ends before the last row."""
        if ends is None:
            return False
        with _disable_current_modes():
            value, _ = self.value_or_sample(ends)
        return value is not None and int(value.max()) < (a.shape[1] if b.dim() == 2 else a.shape[0])

    def _open(self) -> Segment | None:
        """The segment in which the next operator is recorded."""
        return self.segment

    # ---------------------------------------------------------------------------------------------- storages and hooks

    def resized(self, storage: torch.UntypedStorage, change: Callable[[], Any]) -> None:
        """A storage changes its size: what was there is let go, what comes is new memory."""
        if storage.device != META:
            change()
            return
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            if (number := self.storages.let_go(storage)) is not None:
                self.gathered[number] = None
            change()
            nbytes = storage.nbytes()
            if nbytes:
                out = torch.empty(0, dtype=torch.uint8, device=META).set_(storage, 0, (nbytes,), (1,))
                self.gathered[self.storages.number(out)] = None
                self._note(_EMPTY, by_name(_EMPTY, ((nbytes,),), {"dtype": torch.uint8}), out)

    @contextmanager
    def serving(self, group: Any) -> Iterator[None]:
        """While active, a group of FSDP's parameters is gathered or reduced, for the module that it belongs to."""
        name = self.names.get(id(group.modules[0]))
        scoped = name is not None and self.inside is not None and self.segment is None
        self._beside += 1
        try:
            with self.inside(name) if scoped else nullcontext():  # type: ignore[arg-type, misc]
                yield
        finally:
            self._beside -= 1


class RankStepRecorder(RankRecorder, StepRecorder):
    """A recorder of a training step of one rank."""

    _served: str | None = None
    detaches = False
    """Whether what is saved is let go with the graph that saved it, also where no backward pass goes through all of it.

    A result that its own node saves as it is, and not without a hook, would keep that node alive.
    """
    _by_turns = False
    """True once a stage of a pipeline has run a backward pass."""

    def save(self, tensor: Tensor) -> Tensor:
        """The hook that autograd calls: what the rank holds of a tensor is saved."""
        super().save(held(tensor))
        if self.detaches and type(tensor) is Tensor and tensor.grad_fn is not None:
            with _disable_current_modes():
                return tensor.detach()
        return tensor

    @contextmanager
    def going_back(self) -> Iterator[None]:
        """While active, what runs belongs to the backward pass."""
        if self.in_backward:
            yield
            return
        before, self.segment = self.segment, Segment()  # so that calls of functions make no nodes
        self.in_backward = self._by_turns = True
        try:
            yield
        finally:
            self.in_backward, self.segment = False, before

    def _open(self) -> Segment | None:
        if self.in_backward:
            self._begin()
        return self.segment

    def repeats(self, op: Operator) -> bool:
        """As on one device; but collectives have gradients, and run without them as DTensor does between operators.

        What stages of a pipeline do around a backward pass repeats nothing.
        """
        if self._by_turns and torch._C._current_autograd_node() is None:
            return False
        return torch.is_grad_enabled() or recomputes() or (not communicates(op) and super().repeats(op))

    def _find_owner(self) -> int:
        return super()._find_owner() if self._served is None else -1

    def _begin(self) -> None:
        super()._begin()
        if self._served is not None and self.segment is not None:
            self.segment.scope = self._served

    @contextmanager
    def serving(self, group: Any) -> Iterator[None]:
        """As in the forward pass; in the backward pass the work belongs to no operator, and to that module."""
        if not self.in_backward:
            with super().serving(group):
                yield
            return
        before, self._served = self._served, self.names.get(id(group.modules[0]))
        self._beside += 1
        try:
            yield
        finally:
            self._served = before
            self._beside -= 1
