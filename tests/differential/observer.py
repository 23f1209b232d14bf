"""What really runs when a model runs on the CPU, operator by operator: the other side of every comparison.

A dispatch mode that knows nothing of fxcost's way to record sees the operators of a real run, with real tensors, and
describes them as records, which the rules then price. Two things are told apart here that fxcost has as one: attention,
dropout and recurrent layers, which the CPU runs as kernels of its own, are looked for by their names (`WHOLE`).
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from fxcost.records.cost import Cost
from fxcost.records.recording import OpRecord, TensorSpec, out_arguments
from fxcost.rules import default_registry
from fxcost.rules.pricing import cost_operation

aten = torch.ops.aten
Look = tuple[Any, ...]

_NAMES = frozenset({aten.detach.default, aten.lift_fresh.default, aten.alias.default})
_NORMS = frozenset({aten.native_layer_norm.default, aten.native_group_norm.default})


def unseen(op: Any) -> bool:
    """True for what asks for something, or gives a tensor another name: no work, and no memory."""
    returns = [str(r.type) for r in op._schema.returns] if hasattr(op, "_schema") else ["Tensor"]
    return op in _NAMES or not (any("Tensor" in kind for kind in returns) or op._schema.is_mutable)


def tensors(tree: Any) -> list[Tensor]:
    """All tensors in a nest."""
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


@dataclass(frozen=True)
class Ran:
    """An operator that ran: what it returned (shape, dtype, strides, offset), and what it costs."""

    op: Any
    returned: tuple[Look, ...]
    cost: Cost
    given: tuple[Look, ...] = ()

    @property
    def key(self) -> tuple[Any, ...]:
        """What must be alike in two runs."""
        return str(self.op), self.given, self.returned, self.cost

    def __str__(self) -> str:
        return f"{self.op}({self.given}) → {self.returned}: {self.cost}"


@dataclass
class Seen:
    """A run: its operators, most bytes alive at one time beyond what was there before, and what the run returned."""

    ran: list[Ran] = field(default_factory=list)
    peak: int = 0
    resident: int = 0
    """Bytes of parameters, buffers and inputs, each storage once."""
    out: Any = None
    saved: int = 0
    """Bytes that autograd kept for the backward pass, beyond parameters, buffers and inputs."""
    backward: list[Ran] = field(default_factory=list)
    gradients: int = 0
    """Bytes of the gradients that remain."""

    @property
    def cost(self) -> Cost:
        """Of all operators of the forward pass."""
        return Cost.total(ran.cost for ran in self.ran)


def look_of(spec: TensorSpec | None) -> Look:
    """What of a result is compared. Where there are no elements, strides lead nowhere."""
    if spec is None:
        return (None,)
    return spec.shape, spec.dtype, spec.stride if 0 not in spec.shape else (), spec.offset if 0 not in spec.shape else 0


def ran(record: OpRecord, registry: Any) -> Ran:
    """An operator's record as what is compared."""
    renames = torch.Tag.inplace_view in getattr(record.op, "tags", ())  # described after it, or before it
    given = () if renames else tuple(look_of(spec) for spec in record.inputs)
    outputs, cost = record.outputs, cost_operation(record, registry).cost
    if record.op in _NORMS and outputs[0].dtype in (torch.bfloat16, torch.float16):
        outputs, cost = outputs[:1], replace(cost, bytes_written=0)  # statistics are float32 on CUDA, and here
    return Ran(record.op, tuple(map(look_of, outputs)), cost, given)


class Observer(TorchDispatchMode):
    """Sees the operators of a real run; `resident` is what is in memory before and after."""

    supports_higher_order_operators = True

    def __init__(self, resident: Iterable[Tensor]) -> None:
        super().__init__()
        self.ran: list[Ran] = []
        self.now = self.peak = 0
        self._registry = default_registry()
        self._resident = {t.untyped_storage()._cdata for t in resident if _is_dense(t)}
        self._watched: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if isinstance(func, torch._ops.HigherOrderOperator):
            with self:
                return _run_higher_order(func, *args, **(kwargs or {}))
        if _is_composite(func):  # which reach a mode whole in inference mode, and in what was made there
            with self:
                return func._op_dk(torch._C.DispatchKey.CompositeImplicitAutograd, *args, **(kwargs or {}))
        before = self._described(func, args, kwargs or {})
        out = func(*args, **(kwargs or {}))
        if not unseen(func):
            outputs = tuple(self._spec(t) for t in _flat(out))
            if out_arguments(func):  # memory for results, which grows as they need
                before = self._described(func, args, kwargs or {})
            self.ran.append(ran(OpRecord(func, before, outputs), self._registry))
        for tensor in filter(_is_dense, tensors(out)):
            self._follow(tensor.untyped_storage())
        self.peak = max(self.peak, self.now)
        return out

    def _described(self, func: Any, args: Any, kwargs: Any) -> tuple[Any, ...]:
        self._numbers: dict[int, int] = {}
        values = list(args)
        rest = func._schema.arguments[len(args) :]
        values += [kwargs.get(a.name, a.default_value if a.has_default_value() else None) for a in rest]
        return tuple(map(self._value, values))

    def _value(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._spec(value)
        if isinstance(value, (tuple, list)):
            return tuple(map(self._value, value))
        if isinstance(value, torch.ScriptObject) and hasattr(value, "unpack"):  # packed weights, quantized
            weight = value.unpack()[0]
            return TensorSpec(tuple(weight.shape), weight.dtype)
        return value

    def _spec(self, value: Any) -> TensorSpec | None:
        if not isinstance(value, Tensor):
            return None
        number = self._numbers.setdefault(value.untyped_storage()._cdata, len(self._numbers))
        return TensorSpec(tuple(value.shape), value.dtype, value.stride(), int(value.storage_offset()), number)

    def _follow(self, storage: torch.UntypedStorage) -> None:
        address, nbytes = storage._cdata, storage.nbytes()
        if address in self._resident or address in self._watched:
            return
        self.now += nbytes

        def freed(_: Any) -> None:
            self.now -= nbytes
            del self._watched[address]

        self._watched[address] = weakref.ref(storage, freed)


def _run_higher_order(op: Any, *args: Any, **kwargs: Any) -> Any:
    """What an operator that takes functions does: here, a choice between two."""
    assert op.name() == "cond"
    wanted, if_true, if_false, given = args
    return (if_true if wanted else if_false)(*given)


def _is_composite(func: Any) -> bool:
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    name = func.name()
    return has_kernel(name, "CompositeImplicitAutograd") and not has_kernel(name, "CPU")


def _is_dense(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_nested


def _flat(out: Any) -> Iterator[Any]:
    if isinstance(out, (tuple, list)):
        for item in out:
            yield from _flat(item)
    else:
        yield out


@contextmanager
def _same_numbers() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def forward(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None, *, copied: bool = True) -> Seen:
    """A forward pass without gradients of a model, or of a copy of it, on real tensors.

    Whatever the model itself raises is raised.
    """
    if copied:
        model, args, kwargs = copy.deepcopy((model, args, kwargs))
    held = [*_held(model), *tensors((args, kwargs))]
    seen = Seen()
    with _same_numbers(), torch.no_grad(), Observer(held) as observer:
        seen.out = model(*args, **(kwargs or {}))
    seen.ran, seen.peak = observer.ran, observer.peak
    seen.resident = sum({s._cdata: s.nbytes() for s in (t.untyped_storage() for t in held if _is_dense(t))}.values())
    return seen


def _held(model: Any) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []


def training_step(model: Any, args: Sequence[Any], copied: bool = True) -> Seen:
    """A forward pass with gradients, the sum of all floating-point results, and its backward pass.

    Whatever the model itself raises is raised.
    """
    if copied:
        model, args = copy.deepcopy((model, args))
    held = [*_held(model), *tensors(args)]
    resident = {t.untyped_storage()._cdata for t in held}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if _is_dense(tensor) and tensor.untyped_storage()._cdata not in resident:
            alive.append(tensor.untyped_storage())  # its address is not given to another one
            saved[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    alive: list[Any] = []
    seen = Seen()
    observer = Observer(held)
    with _same_numbers(), torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        with observer:
            out = model(*args)
        seen.ran, observer.ran = observer.ran, []
        with observer:
            total = _sum(out)
    observer.ran.clear()
    with _same_numbers(), observer:
        total.backward()
    seen.backward, seen.saved = observer.ran, sum(saved.values())
    kept = {t.grad.untyped_storage()._cdata: t.grad.untyped_storage().nbytes() for t in held if t.grad is not None}
    seen.gradients = sum(kept.values())
    return seen


def _sum(out: Any) -> Tensor:
    """The loss where none is given: the sum of all floating-point results that can be differentiated."""
    trained = [t for t in tensors(out) if (t.is_floating_point() or t.is_complex()) and t.requires_grad]
    if not trained:
        raise NothingToTrainError
    sums = [t.sum().real if t.is_complex() else t.sum() for t in trained]
    total = sums[0]
    for one in sums[1:]:
        total = total + one
    return total


class NothingToTrainError(Exception):
    """No result of the model requires a gradient."""
