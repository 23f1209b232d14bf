"""What calls did before, so that an equal call need not run: a :class:`Question` is what decides what a call does, a
:class:`Replay` what it did.

What is replayed must be proven to be the same: PyTorch's own functions, methods and unhooked modules are functions of
their arguments and configuration, and so are functions of the user's whose code says so (purity.py). What hangs on
the value of a tensor is never replayed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .autocast import region_dtype
from .modules import configuration, module_tensors
from .recorder import Segment, is_plain
from .records import InnerCall, OpRecord, TensorSpec, tensor_specs
from .remembered import World, memory
from .values import ValueRecorder

_SCALARS = frozenset({float, int, bool})
_ATOMS = frozenset({type(None), str, type(...), torch.dtype, torch.device, torch.memory_format, torch.layout})


class Ran(NamedTuple):
    """What ran in a call, as a :class:`~fxcost.recorder.Segment` has it."""

    operations: tuple[OpRecord, ...] = ()
    storages: tuple[int, ...] = ()
    calls: tuple[InnerCall, ...] = ()
    freed: tuple[tuple[int, int], ...] = ()

    @staticmethod
    def of(segment: Segment) -> Ran:
        """What ran in a segment that is done."""
        return Ran(tuple(segment.operations), tuple(segment.slots), tuple(segment.calls), tuple(segment.freed))


@dataclass(frozen=True, slots=True)
class Replay:
    """What a call did, in terms of its own storages: the first are those that it was given, the rest are new.

    `output` is what it returned, specs in place of tensors; `new_bytes` has the sizes of the new storages.
    """

    ran: Ran
    output: Any
    new_bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """In place of a result that is one of the tensors given: which of them."""

    position: int


_CHANGED = object()
_RESULTS = frozenset({*_SCALARS, type(None), str, torch.dtype, torch.device, torch.Size, TensorSpec, Given})


class Memo:
    """What was done in this analysis, and what is remembered of earlier ones."""

    def __init__(self) -> None:
        self._here: dict[Any, Replay | None] = {}
        self._world = World()
        self._earlier = memory(self._world)
        self._targets: dict[Any, Any] = {}

    def get(self, key: Any) -> Replay | None:
        """How to replay a call; None to run it."""
        found: Replay | None = self._earlier.get(key)
        return self._here.get(key) if found is None else found

    def holds(self, target: Any) -> bool:
        """True if PyTorch's code for a module or function is what it was when the analysis began."""
        return self._world.holds(target)

    def target(self, function: Any) -> Any:
        """What stands for a function in keys; None for one that must run, as it may depend on anything."""
        if function not in self._targets:
            self._targets[function] = self._earlier.target(function)
        return self._targets[function]

    def put(self, key: Any, replay: Replay | None) -> None:
        """Note how to replay a call."""
        self._here[key] = replay
        if replay is not None:
            self._earlier.keep(key, replay, replay.ran.operations)


class Question:
    """What a call is given, read into a hashable `key`; None if there is none, so that the call must run.

    `slots` numbers the storages of its tensors in the order in which they are read.
    """

    __slots__ = ("_knew", "_recorder", "key", "slots", "tensors")

    def __init__(self, recorder: ValueRecorder) -> None:
        self.key: Any = None
        self.slots: dict[int, int] = {}
        self.tensors: dict[int, tuple[Tensor, TensorSpec, int]] = {}
        """Tensors that were read, by their id, and how many were read before."""
        self._recorder = recorder
        self._knew: tuple[bool, ...] = ()

    def ask(self, memo: Memo, kind: str, target: Any, args: Any, kwargs: Any) -> Replay | None:
        """What a call did before: an opcode, a module or what else is called, and with what. Sets the key."""
        try:
            if kind == "call_function":
                target = memo.target(target)
                if target is None:
                    return None
            elif kind == "call_module":
                config = configuration(target)
                if config is None:
                    return None
                target = config, tuple([self._tensor(t) for t in module_tensors(target)])
            given = self._frozen(args), self._frozen(kwargs) if kwargs else None
            self._knew = self._recorder.knows(self.slots)
            key = kind, target, given, self._knew, region_dtype(), torch.get_default_dtype()
            found = memo.get(key)
        except TypeError:  # something that can't stand in a key
            return None
        self.key = key
        return found

    def _tensor(self, tensor: Tensor) -> Any:
        known = self.tensors.get(id(tensor))
        if known is None:
            if not is_plain(tensor) or not tensor.is_meta or tensor.is_complex():  # may be a lazy conjugate
                raise TypeError("no spec describes it completely")
            known = self.tensors[id(tensor)] = tensor, self._recorder.spec(tensor), len(self.tensors)
        return known[2], self._local(known[1])  # one tensor given twice is not two that are alike

    def spec(self, tensor: Tensor) -> TensorSpec:
        """The spec of a tensor, as it was when it was read."""
        known = self.tensors.get(id(tensor))
        return self._recorder.spec(tensor) if known is None else known[1]

    def _local(self, spec: TensorSpec) -> tuple[Any, ...]:
        slot = self.slots.setdefault(spec.storage, len(self.slots))
        return (spec.shape, spec.dtype, spec.stride, spec.offset, slot)

    def _frozen(self, value: Any) -> Any:
        """A hashable stand-in for an argument.

        Raises:
            TypeError: an object that can't stand in a key.
        """
        kind = type(value)
        if kind is TensorSpec:
            return self._local(value)
        if kind is Tensor or kind is nn.Parameter:
            return self._tensor(value)
        if kind in _SCALARS:
            return (kind, value)  # 1, 1.0 and True are equal, and not the same argument
        if kind in _ATOMS:
            return value
        if kind is tuple or kind is list or kind is torch.Size:
            return (kind, *[self._frozen(v) for v in value])
        if kind is dict:
            return (kind, *[(k, self._frozen(v)) for k, v in value.items()])
        if kind is slice:
            return (kind, self._frozen(value.start), self._frozen(value.stop), self._frozen(value.step))
        raise TypeError(f"{kind} can't stand in a key")

    def described(self, out: Any) -> Any:
        """What a call on tensors returned, specs and :class:`Given` in place of tensors.

        A tensor that no spec describes stays. If the shape of what was given has changed, it is `_CHANGED`. Neither can
        be replayed.
        """
        if any(self._recorder.spec(tensor) != spec for tensor, spec, _ in self.tensors.values()):
            return _CHANGED
        places = {key: Given(i) for i, key in enumerate(self.tensors)}

        def change(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            if id(leaf) in places:
                return places[id(leaf)]
            plain = is_plain(leaf) and leaf.is_meta and not leaf.is_complex() and not leaf.requires_grad
            return self._recorder.spec(leaf) if plain else leaf

        return mapped(out, change)

    def answer(self, replay: Replay) -> tuple[Any, Ran]:
        """What a call returns that is not run: new tensors, those of one storage as views of it."""
        recorder, given = self._recorder, [tensor for tensor, *_ in self.tensors.values()]
        numbers = [*self.slots, *map(recorder.storages.reserve, replay.new_bytes)]

        def change(leaf: Any) -> Any:
            kind = type(leaf)
            if kind is TensorSpec:
                spec = renumbered(leaf, numbers)
                tensor = recorder.storages.tensor(spec)
                self.tensors[id(tensor)] = tensor, spec, -1
                return tensor
            return given[leaf.position] if kind is Given else leaf

        with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
            out = mapped(replay.output, change)
        recorder.skipped([(numbers[slot], after) for slot, after in replay.ran.freed], len(replay.ran.operations))
        return out, replay.ran._replace(storages=tuple(numbers))

    def replay(self, ran: Ran, result: Any) -> Replay | None:
        """How to replay the call that has run and returned `result`.

        None if it hangs on values, or neither ran an operator nor returned a tensor: it may have changed a setting, and
        is no node of a graph.
        """
        recorder = self._recorder
        local = {number: i for i, number in enumerate(ran.storages)}
        results = [spec.storage for spec in tensor_specs(result)]
        for number in results:
            local.setdefault(number, len(local))
        new = list(local)[len(self.slots) :]
        made = [number for number in results if number not in self.slots]
        known = any(number in recorder.cells or number in recorder.ranges for number in made)
        if recorder.values_used or known or recorder.knows(self.slots) != self._knew or not _only_specs(result):
            return None
        if not ran.operations and not _has_tensor(result):
            return None
        sizes = tuple([recorder.storages.nbytes[number] for number in new])
        return Replay(ran, renumbered(result, local), sizes)


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """A nest of tuples (named ones, `torch.return_types`), lists and dicts with each leaf changed."""
    kind = type(value)
    if kind is tuple or kind is list:
        return kind([mapped(v, change) for v in value])
    if kind is dict:
        return {k: mapped(v, change) for k, v in value.items()}
    if isinstance(value, tuple) and kind is not torch.Size:
        items = [mapped(v, change) for v in value]
        return kind(*items) if hasattr(kind, "_fields") else kind(items)
    return change(value)


def renumbered(value: Any, numbers: Any) -> Any:
    """A nest with specs in it, the storages `numbers` in place of theirs."""

    def change(leaf: Any) -> Any:
        if type(leaf) is not TensorSpec:
            return leaf
        return TensorSpec(leaf.shape, leaf.dtype, leaf.stride, leaf.offset, numbers[leaf.storage])

    return mapped(value, change)


def _only_specs(value: Any) -> bool:
    kind = type(value)
    if kind in _RESULTS:
        return True
    if isinstance(value, (tuple, list)):
        return all(_only_specs(v) for v in value)
    return kind is dict and all(_only_specs(v) for v in value.values())


def _has_tensor(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_has_tensor, value))
    return any(map(_has_tensor, value.values())) if type(value) is dict else type(value) in (TensorSpec, Given)
