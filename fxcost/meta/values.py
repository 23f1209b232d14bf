"""Follows the values of small tensors while everything runs on meta.

Models read values: `.item()`, `mask.nonzero()`, `x[indices]`, `torch.split(x, lengths.tolist())`. On meta tensors there
are none. So each meta *storage* may own a :class:`Cell`, a real CPU storage of the same size; the value of a tensor is
the same window (offset, shape, stride) onto it, so views and in-place writes stay coherent without rules of their own.

- *Known*: an operator whose inputs are all known is also run on the CPU (integers up to 16 M elements, floats to 1 M).
- *Pending*: integers and booleans that come from unknown floats (a router's top-k, a comparison) keep how they come
  about. Only if the model asks for them are they evaluated, unknown floats being seeded noise, unknown integers zero.
  What then hangs on a sampled value is said in `assumptions`.
- *Unknown*: everything else. A float's own value is never made up: asking for it raises.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from ..errors import UnknownValueError
from ..records.recording import Operator, written_arguments
from .bounds import BOUNDED, check_bounds
from .cells import (
    CPU,
    FLOAT_LIMIT,
    INTEGER_LIMIT,
    PARAMETER_LIMIT,
    Cell,
    Evaluation,
    Source,
    evaluation,
    is_integer,
    lazily,
    left_aligned,
    small,
    small_size,
    tensors,
    window,
    written_later,
)
from .recorder import OpRecorder
from .segments import Segment
from .storages import META, Storages
from .user_code import asking_line
from .value_kinds import CLAMPING, DYNAMIC, EMPTY, INDEXING, OVERWRITING, SUPPRESSION, UNDEFINED, VALUE_FREE

aten = torch.ops.aten

_ASKING = frozenset({aten._local_scalar_dense, aten.equal, aten._is_all_true, aten._is_any_true})
"""Operators that hand a value to Python; those of a size that hangs on values are `DYNAMIC`."""


class NeedsRealRunError(UnknownValueError):
    """Control flow hangs on a value that only a real run can tell."""


class ValueRecorder(OpRecorder):
    """An OpRecorder that follows values.

    `real_available` says that a real run is possible, so that control flow on a sampled value asks for one
    (:class:`NeedsRealRunError`) instead of believing the sample. `assumptions` collects what the run took for granted.
    """

    def __init__(self, storages: Storages, *, real: bool = False, real_available: bool = False) -> None:
        self.cells: dict[int, Cell] = {}
        super().__init__(storages, real=real)
        self.assumptions: dict[str, None] = {}
        self.values_used = False
        """Set when a value, or what follows from one, decided what an operator did: it is not remembered."""
        self.given: Callable[[], frozenset[int]] = frozenset
        """Says at which addresses the storages are that stand for the user's."""
        self.home = CPU
        """Where the user's tensors are: what code is told that asks for a device."""
        self.running = "the model"
        """What messages name where no line of the model's code is running, as when a graph is propagated."""
        self._real_available = real_available
        self._noise = torch.Generator().manual_seed(0)
        self.ranges: dict[int, tuple[float, float]] = {}
        """Storage → between which values it was clamped: noise in its place lies there too."""

    # --------------------------------------------------------------------------------------------------- known values

    def know(self, meta: Tensor, real: Tensor) -> None:
        """Say that `meta` stands for `real`, whose memory is only read."""
        limit = PARAMETER_LIMIT if isinstance(meta, torch.nn.Parameter) else INTEGER_LIMIT
        if real.is_floating_point() and not isinstance(meta, torch.nn.Parameter):
            limit = FLOAT_LIMIT
        if real.numel() > limit or meta.dtype != real.dtype or real.layout is not torch.strided:
            return
        self._attach(meta, real.detach().cpu(), sampled=False)

    def adopted(self, tensor: Tensor, meta: torch.UntypedStorage) -> None:
        """A real tensor got a meta twin: its value is known. It is copied, so that it dies when the model drops it."""
        whole = torch.empty(0, dtype=tensor.dtype, device=META)
        size = meta.nbytes() // tensor.element_size()
        if small_size(tensor.dtype, size):
            number = self.storages.number(whole.set_(meta, 0, (size,), (1,)))
            if tensor.device == CPU:
                self.cells[number] = Cell(tensor.untyped_storage().clone())

    def _attach(self, meta: Tensor, real: Tensor, sampled: bool) -> None:
        number, nbytes = self.storages.number(meta), meta.untyped_storage().nbytes()
        same = real.storage_offset() == meta.storage_offset() and real.stride() == meta.stride()
        if same and real.untyped_storage().nbytes() == nbytes:
            self.cells[number] = Cell(real.untyped_storage(), sampled)
            return
        storage = torch.UntypedStorage(nbytes)
        window(storage, meta).copy_(real)
        self.cells[number] = Cell(storage, sampled)

    def cell_of(self, tensor: Tensor) -> Cell | None:
        """What is known of the storage that a tensor is on."""
        return self.cells.get(self.storages.number(tensor)) if tensor.layout is torch.strided else None

    def demand(self, tensor: Tensor, why: str) -> Tensor:
        """The value of a meta tensor, because the model asks for it.

        Raises:
            UnknownValueError: nobody knows it; the message names the line that asked.
            NeedsRealRunError: control flow hangs on a sampled value, and a real run can tell the true one.
        """
        self.values_used = True
        if not tensor.is_meta:
            return tensor
        cell = self.cell_of(tensor)
        if cell is None and not tensor.numel():
            return torch.empty(tensor.shape, dtype=tensor.dtype)
        if cell is None:
            if tensor.is_floating_point() or tensor.is_complex():
                kind = NeedsRealRunError if self._real_available else UnknownValueError
                raise kind(
                    f"{asking_line(self.running)} needs the value of a {tensor.dtype} tensor of shape "
                    f"{tuple(tensor.shape)} ({why}), which is not known without data. Pass real weights and real "
                    "inputs (on the command line: --real), so that a real run can be recorded"
                )
            return self._sampled_input(tensor, why)
        storage = cell.get()
        if cell.sampled:
            if self._real_available:
                raise NeedsRealRunError(f"{asking_line(self.running)} decides by a computed value ({why})")
            self.assumptions[
                f"{asking_line(self.running)} depends on values that were not known ({why}); they were evaluated on "
                "seeded noise"
            ] = None
        return window(storage, tensor)

    def value_of(self, tensor: Tensor) -> Tensor | None:
        """The tensor's value if it is known without sampling."""
        if not tensor.is_meta:
            return tensor
        cell = self.cell_of(tensor)
        if cell is None or cell.storage is None or cell.sampled:
            return None
        self.values_used = True
        with _disable_current_modes():
            return window(cell.storage, tensor).clone()

    def need(self, why: str) -> None:
        """Ask for a real run instead of an assumption, where one is possible.

        Raises:
            NeedsRealRunError: one is.
        """
        if self._real_available:
            raise NeedsRealRunError(f"{asking_line(self.running)} decides by a computed value ({why})")

    def assume(self, text: str) -> None:
        """Note what was taken for granted."""
        self.assumptions[text] = None
        self.values_used = True  # who repeats what was done here would not hear of it

    def asked(self) -> None:
        """On real tensors code asks for a value, which may follow from a random number that was drawn before."""
        if self.drew:
            self.assume(
                f"{asking_line(self.running)} asks for a value after random numbers were drawn: with other ones the "
                "model may run something else"
            )

    def host_value(self, tensor: Tensor, why: str) -> Tensor:
        """:meth:`demand` from outside an operator, while this mode is active; the result is the caller's own."""
        with _disable_current_modes():
            return self.demand(tensor, why).clone()

    def _sampled_input(self, tensor: Tensor, why: str) -> Tensor:
        self.assumptions[
            f"{asking_line(self.running)} depends on the values of an integer tensor that was given without data "
            f"({why}); zeros were assumed"
        ] = None
        value = torch.zeros(tensor.shape, dtype=tensor.dtype)
        self._attach(tensor, value, sampled=True)
        return value

    def followed(self) -> Container[int]:
        """See :class:`OpRecorder`."""
        return self.cells

    def _ask(
        self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], segment: Segment, question: Any
    ) -> Any:
        self.values_used = False
        return super()._ask(func, args, kwargs, segment, question)

    def _is_settled(self, out: Any) -> bool:
        """True if nothing is known of the results' values, and none was needed."""
        if self.values_used or not super()._is_settled(out):
            return False
        numbers = map(self.storages.number, tensors(out))
        return not any(number in self.cells or number in self.ranges for number in numbers)

    def run(self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operator on meta tensors, and on real values as far as they are known and small."""
        if not isinstance(func, torch._ops.OpOverload):
            return super().run(func, args, kwargs)
        packet = func.overloadpacket
        if self.real:
            if packet in _ASKING or packet in DYNAMIC:
                self.asked()
            return super().run(func, args, kwargs)
        if packet is aten._local_scalar_dense:
            return self.demand(args[0], "a tensor used as a Python number").item()
        if packet is aten.equal:
            with torch._C.DisableTorchFunction():
                return torch.equal(self.demand(args[0], "torch.equal"), self.demand(args[1], "torch.equal"))
        if packet is aten._pack_padded_sequence:
            return self._packed(args)
        if func.name() in SUPPRESSION:
            return self._all_kept(args[0])
        if packet is aten._is_all_true and self.value_of(args[0]) is None:
            return self._found_valid()
        if packet is aten._nested_tensor_from_mask_left_aligned:
            mask = self.cell_of(args[1])
            return mask is not None and bool(left_aligned(self.demand(args[1], "a padding mask")))
        if func in BOUNDED:
            check_bounds(func, args, self.value_of)
        if packet in INDEXING:
            args = self._explicit_indices(args)
        elif packet in DYNAMIC and not (packet is aten.repeat_interleave and kwargs.get("output_size") is not None):
            return self._dynamic(func, packet, args, kwargs)
        out = super().run(func, args, kwargs)
        if packet in CLAMPING and len(args) > 1 and isinstance(args[1], (int, float)):
            high = args[2] if len(args) > 2 and args[2] is not None else args[1] + 1
            self.ranges[self.storages.number(out)] = float(args[1]), float(high)
        if not self._stays_unknown(func, packet, args, out):
            self._follow(func, packet, args, kwargs, out)
        return out

    def _stays_unknown(self, func: Any, packet: Any, args: Any, out: Any) -> bool:
        """The common case, told cheaply: float results of an unknown input."""
        if not all(isinstance(t, Tensor) and not is_integer(t) for t in (out if isinstance(out, tuple) else (out,))):
            return False
        if packet in VALUE_FREE or written_arguments(func):
            return False
        return any(isinstance(a, Tensor) and self.storages.number(a) not in self.cells for a in args)

    def _follow(self, func: torch._ops.OpOverload, packet: Any, args: Any, kwargs: Any, out: Any) -> None:
        outputs = [t for t in tensors(out) if t.is_meta]
        if not outputs or not all(t.layout is torch.strided and small(t) for t in outputs):
            self._forget_written(func, args)
            return
        inputs = [*tensors(args), *tensors(tuple(kwargs.values()))]
        written = [t for i in written_arguments(func) if i < len(args) for t in tensors(args[i])]
        if written:
            self._written(func, packet, args, kwargs, written, inputs)
        elif packet in UNDEFINED:
            if packet in EMPTY and all(map(is_integer, outputs)):
                for tensor in filter(Tensor.numel, outputs):  # uninitialised integers count as zeros
                    self._attach(tensor, torch.zeros(tensor.shape, dtype=tensor.dtype), sampled=False)
        elif all(self.cell_of(t) is not None for t in outputs):
            return  # a view of what is known
        else:
            self._computed(func, packet, args, kwargs, inputs, outputs)

    def _computed(
        self, func: Any, packet: Any, args: Any, kwargs: Any, inputs: list[Tensor], outputs: list[Tensor]
    ) -> None:
        if packet in VALUE_FREE:
            inputs = inputs[1:]  # of the first only the shape is asked for
        cells = [self.cell_of(t) for t in inputs]
        evaluate = self._evaluation(func, args, kwargs, outputs)
        if all(c is not None and c.storage is not None for c in cells):
            sampled = any(c is not None and c.sampled for c in cells)
            results = evaluate()
            for tensor, storage in zip(outputs, results or (), strict=True) if results else ():
                self.cells[self.storages.number(tensor)] = Cell(storage, sampled)
        elif inputs and all(t.numel() <= INTEGER_LIMIT for t in inputs):
            followed = all(c is not None for c in cells)  # a float of pending integers (counts) is none of its own
            shared: dict[str, Any] = {}
            for i, tensor in enumerate(outputs):
                if followed or is_integer(tensor):  # of top-k the places, not the values
                    self.cells[self.storages.number(tensor)] = Cell(None, evaluate=lazily(evaluate, shared, i))

    def _evaluation(self, func: Any, args: Any, kwargs: Any, outputs: list[Tensor]) -> Evaluation:
        leaves, tree = pytree.tree_flatten((args, kwargs))
        sources = {id(x): self._source(x) for x in leaves if isinstance(x, Tensor)}
        given = [sources.get(id(x), x) for x in leaves]
        if func.overloadpacket in VALUE_FREE and not written_arguments(func):
            given[0] = Source(args[0], None, None)
        return evaluation(func, given, tree, outputs)

    def _source(self, tensor: Tensor) -> Source:
        if not tensor.is_meta:
            return Source(tensor, Cell(tensor.untyped_storage()), self._noise)
        return Source(tensor, self.cell_of(tensor), self._noise, self.ranges.get(self.storages.number(tensor)))

    def _written(
        self, func: Any, packet: Any, args: Any, kwargs: Any, written: list[Tensor], inputs: list[Tensor]
    ) -> None:
        """An in-place operator: run it on a copy of what is known, or forget what it overwrote."""
        numbers = {self.storages.number(t) for t in written}
        for tensor in written:
            whole = tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()
            if packet in OVERWRITING and whole and self.cell_of(tensor) is None:
                self.cells[self.storages.number(tensor)] = Cell(torch.UntypedStorage(tensor.untyped_storage().nbytes()))
        cells = [self.cell_of(t) for t in inputs]
        integers = all(map(is_integer, written)) and all(self.cell_of(t) is not None for t in written)
        known = all(c is not None and (c.storage is not None or integers) for c in cells)
        if packet in UNDEFINED or not (known or (integers and all(small(t) for t in inputs))):
            self._forget(numbers)
            return
        if integers and any(c is None or c.storage is None for c in cells):
            written_later(self.cells, numbers, lambda: self._evaluation(func, args, kwargs, []))
            return
        for number in numbers:
            old = self.cells[number]
            copy = torch.UntypedStorage(old.get().nbytes())
            copy.copy_(old.get())
            self.cells[number] = Cell(copy, old.sampled)
        if self._evaluation(func, args, kwargs, [])() is None:
            self._forget(numbers)
        elif any(c is None or c.sampled for c in cells):  # what was pending has been evaluated by now
            for number in numbers:
                self.cells[number].sampled = True

    def _forget(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self.cells.pop(number, None)

    def _forget_written(self, func: Any, args: Any) -> None:
        written = [t for i in written_arguments(func) if i < len(args) for t in tensors(args[i])]
        self._forget([self.storages.number(tensor) for tensor in written if tensor.is_meta])

    # ------------------------------------------------------------------------------------ shapes that hang on values

    def _explicit_indices(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Boolean masks as indices, whose count is a value, become explicit integer indices."""
        indices: list[Any] = []
        for index in args[1]:
            if index is not None and index.dtype in (torch.bool, torch.uint8):
                picked = self.demand(index, "a boolean mask as index").nonzero()
                indices.extend(self._meta_of(column.contiguous()) for column in picked.unbind(1))
            else:
                indices.append(index)
        return (args[0], indices, *args[2:])

    def _packed(self, args: Any) -> tuple[Tensor, Tensor]:
        """Packing of padded sequences: sizes are the values of lengths.

        Source: ATen/native/PackedSequence.cpp. Packed data has a row per valid step; `batch_sizes` says how many
        sequences are still running at each step.
        """
        x, lengths, _batch_first = args
        steps = self.demand(lengths, "lengths of packed sequences")
        sizes = torch.tensor([int((steps > t).sum()) for t in range(int(steps.max()))], dtype=torch.int64)
        return x.new_empty((int(steps.sum()), *x.shape[2:])), sizes  # PyTorch wants the sizes on the CPU

    def _all_kept(self, boxes: Tensor) -> Tensor:
        """Non-maximum suppression, whose result depends on boxes and scores: as if no box overlapped another."""
        self.assume("non-maximum suppression keeps every box that it is given; fewer boxes would cost less afterwards")
        return self._meta_of(torch.arange(boxes.shape[0]))

    def _found_valid(self) -> Tensor:
        """What torch.distributions asks of its arguments (a scale above 0, a sum of 1), which noise may not fulfil."""
        self.assume("torch.distributions found the arguments of a distribution valid")
        return self._meta_of(torch.tensor(True))

    def _dynamic(self, func: Any, packet: Any, args: Any, kwargs: Any) -> Any:
        """Operators whose result's shape is a value: nonzero, unique, masked_select and their like."""
        if packet is aten.masked_select:
            mask = self.demand(args[1], "masked_select")
            count = int(mask.expand(torch.broadcast_shapes(mask.shape, args[0].shape)).sum())
            return torch.empty(count, dtype=args[0].dtype, device=META)
        leaves, tree = pytree.tree_flatten((args, kwargs))
        why = str(packet).removeprefix("aten.")
        real: list[Any] = [
            self.demand(x, why) if isinstance(x, Tensor) else CPU if isinstance(x, torch.device) else x for x in leaves
        ]
        cpu_args, cpu_kwargs = pytree.tree_unflatten(real, tree)
        with _disable_current_modes():
            result = func(*cpu_args, **cpu_kwargs)
        return pytree.tree_map_only(Tensor, self._meta_of, result)

    def _meta_of(self, real: Tensor) -> Tensor:
        meta = torch.empty_strided(real.shape, real.stride(), dtype=real.dtype, device=META)
        self._attach(meta, real, sampled=False)
        return meta
