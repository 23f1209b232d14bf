"""Records the ATen operators that run, on whatever path they come: the bottom of both ways of capturing.

An :class:`OpRecorder` is a dispatch mode. While it is active, every operator runs on meta tensors: factories make meta
tensors whatever device they were asked for, and a real tensor that turns up (a constant, a weight captured in a
closure) is replaced by a meta twin, so nothing of the user's is ever computed with or written to.

The second time that an operator is asked the same, it is answered and recorded from memory (answers.py).

Not here: graph nodes. The caller opens a :class:`Segment` per node and gets what ran meanwhile.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Container, Iterable
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from ..records.recording import Operator, OpRecord, TensorSpec
from .answers import Answer, Answers, answers_by_metadata, describe, returns_fresh
from .autocast import cast, cast_to
from .cells import STRANGER, tensors
from .higher_order import flex_attention, handler, run_on_one_score
from .kernels import kernel_for, run_on_meta
from .nested import dense_parts, is_nested, refuse
from .questions import Asker
from .segments import PLAIN_DATA, Segment, in_memory, is_plain, shape_of, unwrapped
from .sparse import meta_copy, stored
from .storages import META, Storages
from .units import composite_kernel

_MISSING = object()
_NO_DISPATCH: Any = torch._C._disabled_torch_dispatch_impl
_PLAIN_TYPES = frozenset({Tensor, torch.nn.Parameter, torch.nn.Buffer})


def _runs_operators(kind: Any) -> bool:
    """True for a subclass of tensors that has a `__torch_dispatch__` of its own."""
    return kind.__torch_dispatch__ is not _NO_DISPATCH


@lru_cache(maxsize=4096)
def _signature(op: Operator) -> tuple[tuple[str, Any], ...]:
    schema = getattr(op, "_schema", None)
    if schema is None:
        return ()
    return tuple((a.name, a.default_value if a.has_default_value() else _MISSING) for a in schema.arguments)


@lru_cache(maxsize=4096)
def _draws(op: Operator) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(op, "tags", ())


@lru_cache(maxsize=4096)
def _device_position(op: Operator) -> int | None:
    """Where in its schema an operator takes a device; None if it takes none."""
    names = [name for name, _ in _signature(op)]
    return names.index("device") if "device" in names else None


@lru_cache(maxsize=4096)
def _composite(op: Operator) -> Callable[..., Any] | None:
    return composite_kernel(op) if isinstance(op, torch._ops.OpOverload) else None


class OpRecorder(TorchDispatchMode):
    """Runs every operator on meta tensors and records it into the open :class:`Segment`.

    With `real`, operators run on the tensors that they are given, on their device: for models whose control flow needs
    the values.
    `orphan` is called with the segment of an operator that ran while no segment was open, and with its arguments and
    result. `deaths` says of each storage that died how many operations had run until then, `ticks` how many have run.
    """

    supports_higher_order_operators = True
    around_hooks = False
    """Whether what a module's hooks do belongs to the module; else to the one around it."""
    rank: int | None = None
    """The number of the rank that is run, of a model that is sharded."""

    def __init__(self, storages: Storages, *, real: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.storages = storages
        storages.on_free = self._freed
        self.deaths: dict[int, int] = {}
        self.ticks = 0
        self.gathered: dict[int, None] = {}
        """Numbers of the storages that parameters of a sharded model have while they are whole."""
        self.changes = 0
        """How often something may have changed the shape of a tensor that exists (`t_`, `x.data = y`)."""
        self.real = real
        self.segment: Segment | None = None
        self.region: torch.dtype | None = None
        """Dtype of the autocast region that runs; whoever opens a segment says so, as operators can't see it."""
        self.orphan: Callable[[Operator, Any, Any, Any, Segment], None] | None = None
        self._asker = Asker(storages, self.followed())
        self.inside: Callable[[str], AbstractContextManager[None]] | None = None
        """Opens the scope of a module, for work that is done for it outside of its forward."""
        self._answers = Answers()
        self._repeating: dict[int, tuple[Operator, bool]] = {}
        self._randomness: dict[torch.device | None, Tensor] = {}
        self.drew = False
        """Set once a real run has drawn a random number."""
        self._twins: dict[int, tuple[weakref.ref[torch.UntypedStorage], torch.UntypedStorage]] = {}
        """Memory on meta by the address of the real one that it stands for, as long as that lives."""

    def __torch_dispatch__(
        self, func: Operator, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return self.seen(func, types, args, kwargs)

    def seen(self, func: Operator, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
        """An operator is called. For subclasses to override: PyTorch wraps each `__torch_dispatch__`, which is slow."""
        if not _PLAIN_TYPES.issuperset(types) and any(map(_runs_operators, types)):
            return NotImplemented  # a tensor subclass: it comes back as what it does with the tensors inside it
        kwargs = kwargs or {}
        segment, key = self.segment, None
        if segment is not None and self.region is None and self._repeats(func):
            key = self._asker.question(func, args, kwargs, segment.slots)
            answer = self._answers.get(key) if key is not None else None
            if answer is not None:
                return self._repeated(answer, args, kwargs, segment)
        if not self.real:
            args, kwargs = self._on_meta(func, args, kwargs)
            args = self._autocast(func, args)
        elif (parts := dense_parts(func, args)) is not None:
            with self:
                return parts(*args, **kwargs)
        if (body := handler(func)) is not None:
            with self:  # the operators in its body are recorded, not the operator itself
                return body(self, *args, **kwargs)
        if (parts := _composite(func)) is not None:
            with self:
                return parts(*args, **kwargs)
        if segment is not None:
            return self._ask(func, args, kwargs, segment, key)
        segment = self.segment = Segment()
        try:
            out = self._ask(func, args, kwargs, segment, None)
        finally:
            self.segment = None
        if self.orphan is not None:
            self.orphan(func, args, kwargs, out, segment)
        return out

    # ------------------------------------------------------------------------------------------------------ repetition

    def _ask(
        self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], segment: Segment, question: Any
    ) -> Any:
        """Run an operator and record it; the answer is remembered for when the `question` is asked again."""
        out = self.run(func, args, kwargs)
        record = self.record(func, args, kwargs, out, segment)
        segment.operations.append(record)
        self.noted(record)
        if torch.Tag.inplace_view in getattr(func, "tags", ()):
            self.changes += 1
        if question is not None and self._is_settled(out):
            made = describe(out, args) if returns_fresh(func) else None
            self._answers.put(question, Answer(made, isinstance(out, Tensor), kernel_for(func, args), record))
        return out

    def _repeats(self, func: Operator) -> bool:
        known = self._repeating.get(id(func))  # hashing an operator is Python code
        if known is None:
            body = handler(func) is not None or _composite(func) is not None
            known = self._repeating[id(func)] = func, not self.real and not body and answers_by_metadata(func)
        return known[1]

    def _is_settled(self, out: Any) -> bool:
        """True if what an operator returned follows from the metadata of what it was given."""
        return all(
            t is None or (t.is_meta and is_plain(t)) for t in (out if isinstance(out, (tuple, list)) else (out,))
        )

    def _repeated(self, answer: Answer, args: Any, kwargs: dict[str, Any], segment: Segment) -> Any:
        out = answer.results(args, kwargs)
        slots, number_of = segment.slots, self.storages.number_of
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if tensor is not None:
                slots.setdefault(number_of(tensor.untyped_storage()), len(slots))
        known = answer.record
        record = OpRecord(known.op, known.args, known.outputs, segment.scope)  # its own: records are told apart by it
        segment.operations.append(record)
        self.ticks += 1
        self.noted(record)
        return out

    def followed(self) -> Container[int]:
        """Numbers of the storages of whose contents something is known. For subclasses that follow values."""
        return ()

    def noted(self, record: OpRecord) -> None:
        """An operator has run and been recorded. For subclasses that say whose it is."""

    def run(self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operator."""
        if self.real:
            return self._drawing_apart(func, args, kwargs) if _draws(func) else func(*args, **kwargs)
        if isinstance(func, torch._ops.HigherOrderOperator) and func.name() == "flex_attention":
            return flex_attention(self, *args, **kwargs)
        return run_on_meta(func, args, kwargs)

    def _drawing_apart(self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator that draws random numbers, without a draw from the generators of the process."""
        here = next((t.device for t in tensors(args) if t.device.type == "cuda"), None)
        get = torch.get_rng_state if here is None else partial(torch.cuda.get_rng_state, here)
        put: Any = torch.set_rng_state if here is None else partial(torch.cuda.set_rng_state, device=here)
        before = get()
        start = self._randomness.get(here, before)
        generator = next((v for v in (*args, *kwargs.values()) if isinstance(v, torch.Generator)), None)
        given = generator.get_state() if generator is not None else None
        put(start)
        try:
            return func(*args, **kwargs)
        finally:
            self._randomness[here] = now = get()
            put(before)
            own = given is not None and not torch.equal(given, generator.get_state())  # type: ignore[union-attr]
            self.drew = self.drew or own or not torch.equal(start, now)

    # ------------------------------------------------------------------------------------------- everything on meta

    def _on_meta(self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        position = _device_position(func)
        if position is not None:
            if position < len(args):
                args = (*args[:position], META, *args[position + 1 :])
            elif kwargs.get("device") is not None or not any(isinstance(a, Tensor) for a in args):
                kwargs = {**kwargs, "device": META}
        if self._has_real(args) or (kwargs and self._has_real(tuple(kwargs.values()))):
            args = self._swap(args)
            kwargs = self._swap(kwargs)
        return args, kwargs

    def _has_real(self, values: tuple[Any, ...] | list[Any]) -> bool:
        for value in values:
            if isinstance(value, Tensor):
                if not value.is_meta:
                    return True
            elif isinstance(value, (tuple, list)) and self._has_real(value):
                return True
        return False

    def _swap(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return value if value.is_meta else self.twin(value)
        if isinstance(value, (tuple, list)):
            return type(value)(self._swap(v) for v in value)
        if isinstance(value, dict):
            return {k: self._swap(v) for k, v in value.items()}
        return value

    def twin(self, tensor: Tensor) -> Tensor:
        """The meta tensor that stands for a real one; views of one storage have twins that share one too."""
        with _disable_current_modes(), torch._C.DisableTorchFunction():  # making it is no call of the model's
            return self._twin(tensor)

    def _twin(self, tensor: Tensor) -> Tensor:
        if is_nested(tensor):
            refuse()
        if tensor.layout is not torch.strided:
            return meta_copy(tensor)
        storage = tensor.untyped_storage()
        address, twins = storage._cdata, self._twins
        if address not in twins:
            meta = torch.UntypedStorage(storage.nbytes(), device="meta")
            twins[address] = weakref.ref(storage, lambda _: twins.pop(address)), meta
            self.adopted(tensor, meta)
            if isinstance(tensor, torch.nn.Parameter) or (tensor.requires_grad and tensor.is_leaf):
                self.assume(STRANGER)
        meta = twins[address][1]
        empty = torch.empty(0, dtype=tensor.dtype, device=META)
        return empty.set_(meta, tensor.storage_offset(), tensor.shape, tensor.stride())

    def value_of(self, tensor: Tensor) -> Tensor | None:
        """A tensor's value if it is known; this recorder knows none."""
        return None

    def need(self, why: str) -> None:
        """A value that is not known decides. For subclasses that know whether a real run is possible."""

    def with_gradients(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """What a function is given. For subclasses that differentiate, and have stand-ins for leaves of the user's."""
        return args, kwargs

    def assume(self, text: str) -> None:
        """Something was taken for granted. For subclasses that collect assumptions."""

    def adopted(self, tensor: Tensor, meta: torch.UntypedStorage) -> None:
        """A real tensor was replaced by a meta one. For subclasses that follow values."""

    def _autocast(self, func: Operator, args: tuple[Any, ...]) -> tuple[Any, ...]:
        wanted = cast_to(func, self.region) if self.region is not None else None
        if wanted is None:
            return args
        region, self.region = self.region, None
        with self:
            args = tuple([cast(a, wanted) for a in args])  # casts are operators too, and are recorded
        self.region = region
        return args

    # ----------------------------------------------------------------------------------------------------- recording

    def record(
        self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, segment: Segment
    ) -> OpRecord:
        """Describe one run, its arguments in the order of the operator's schema."""
        signature = _signature(func)
        if not signature and func.name() == "flex_attention":
            args = (*args[:3], self._on_one_score(*args), *args[4:])
        values = [*self._all_described(args, segment)]
        for name, default in signature[len(values) :]:
            value = kwargs.get(name, default)
            values.append(None if value is _MISSING else self._described(value, segment))
        if not signature:
            values.extend(self._described(v, segment) for v in kwargs.values())
        outputs: list[TensorSpec | None] = []
        self._flatten(out, segment, outputs)
        self.ticks += 1
        return OpRecord(func, tuple(values), tuple(outputs), segment.scope)

    def _on_one_score(self, query: Tensor, key: Any, value: Any, score_mod: Any, *rest: Any) -> tuple[OpRecord, ...]:
        """What the `score_mod` of flex attention runs: its operators on one score and its four indices."""
        apart = OpRecorder(Storages())
        segment = apart.segment = Segment()
        with _disable_current_modes(), apart:
            run_on_one_score(score_mod, query, *(rest[3] if len(rest) > 3 else ()))
        return tuple(segment.operations)

    def _freed(self, number: int) -> None:
        self.deaths[number] = self.ticks
        segment = self.segment
        if segment is not None and number in segment.slots:
            segment.freed.append((segment.slots[number], len(segment.operations)))

    def held(self, tensor: Tensor) -> Tensor:
        """What is in memory of a tensor: itself. For subclasses that run a part of a model."""
        return tensor

    def spec(self, tensor: Tensor) -> TensorSpec:
        """Describe a tensor, its storage numbered through the graph."""
        if (inner := unwrapped(tensor)) is not tensor:
            return TensorSpec(shape_of(tensor), tensor.dtype, storage=self.spec(inner).storage)
        if not in_memory(tensor) and (tensor.layout is torch.strided or tensor.is_meta or self.real):
            return TensorSpec(shape_of(tensor), tensor.dtype, stored=stored(tensor))
        if not tensor.is_meta and not self.real:
            tensor = self.twin(tensor)
            if not is_plain(tensor):
                return TensorSpec(shape_of(tensor), tensor.dtype, stored=stored(tensor))
        number = self.storages.number_of(tensor.untyped_storage())
        return TensorSpec(tuple(tensor.shape), tensor.dtype, tensor.stride(), int(tensor.storage_offset()), number)

    def _local(self, tensor: Tensor, segment: Segment) -> TensorSpec:
        if not in_memory(tensor):
            return TensorSpec(shape_of(tensor), tensor.dtype, stored=stored(tensor))
        number, slots = self.storages.number_of(tensor.untyped_storage()), segment.slots
        slot = slots.get(number)
        if slot is None:
            slot = slots[number] = len(slots)
        return TensorSpec(tuple(tensor.shape), tensor.dtype, tensor.stride(), int(tensor.storage_offset()), slot)

    def _described(self, value: Any, segment: Segment) -> Any:
        if type(value) in PLAIN_DATA:
            return value
        if isinstance(value, Tensor):
            return self._local(value, segment)
        if isinstance(value, (tuple, list)):
            return tuple(value) if PLAIN_DATA.issuperset(map(type, value)) else self._all_described(value, segment)
        if isinstance(value, dict):
            return self._all_described(value.values(), segment)
        if isinstance(value, torch.ScriptObject) and hasattr(value, "unpack"):
            weight = value.unpack()[0]  # packed quantized weights: what rules need is their shape
            return TensorSpec(tuple(weight.shape), weight.dtype)
        return value

    def _all_described(self, values: Iterable[Any], segment: Segment) -> tuple[Any, ...]:
        return tuple([self._described(value, segment) for value in values])

    def _flatten(self, out: Any, segment: Segment, into: list[TensorSpec | None]) -> None:
        if isinstance(out, Tensor):
            into.append(self._local(out, segment))
        elif isinstance(out, (tuple, list)):
            for item in out:
                self._flatten(item, segment, into)
        elif out is None:
            into.append(None)
