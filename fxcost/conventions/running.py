"""How a tool runs the model that it is given: in which mode, with gradients or without, with hooks or none.

Two things hang on that. A tool that calls `eval()` counts another run than the one that was analysed, if that was in
training mode: batch norm uses its running statistics, attention drops nothing out. And PyTorch runs attention and
encoder layers in eval mode as one operator each (their *fast path*) where nothing that they read asks for a gradient:
what is inside such an operator no tool sees.

Both follow from what was recorded; where they do not, the convention refuses (:class:`ConventionError`). Supposed are
the tool's own default call, on a CPU, and inputs that ask for no gradient.

Not here: what a model's code asks for (asking.py), what tools then see (in_run.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import ConventionError
from ..records.cost import NodeCost
from ..records.recording import OpRecord, ParameterRecord, TensorSpec, written_arguments
from .asking import DETACHES, SWITCHES_GRADIENTS, asks_for_mode, names_used

aten = torch.ops.aten
Hooked = Callable[[nn.Module, nn.Module], bool]
"""Of the whole model and a module: does the tool hang a hook on the module, or on anything within it?"""


def everything(_root: nn.Module, _module: nn.Module) -> bool:
    """A tool that hooks all modules, or linear layers and norms at least."""
    return True


def nothing(_root: nn.Module, _module: nn.Module) -> bool:
    """A tool without hooks."""
    return False


def children(root: nn.Module, module: nn.Module) -> bool:
    """A tool that hooks the model's own children."""
    return not set(root.children()).isdisjoint(module.modules())


@dataclass(frozen=True, slots=True)
class Run:
    """How a tool runs a model: does it call `eval()`, are gradients on, and which modules does it hook?

    `fast_path` is False if it runs the model under a `TorchFunctionMode`, which keeps PyTorch from its fast path.
    """

    evaluates: bool
    gradients: bool = True
    hooked: Hooked = everything
    fast_path: bool = True


@dataclass(frozen=True, slots=True)
class Fused:
    """Operations that PyTorch runs as one operator inside a module (its FQN); `span` is their range."""

    module: str
    span: tuple[int, int]

    def hides(self, module: str, span: tuple[int, int]) -> bool:
        """True for a call inside: in the module or below it, and within the range."""
        inside = module == self.module or module.startswith(f"{self.module}." if self.module else "")
        return inside and self.span[0] <= span[0] and span[1] <= self.span[1]


def check_mode(tool: str, modules: dict[str, nn.Module]) -> None:
    """See that what `eval()` would change of a run in training mode is known.

    Raises:
        ConventionError: a module's code asks for its mode, or has its own way of changing it.
    """
    for name, module in modules.items():
        kind: Any = type(module)
        if getattr(module, "training", False) and asks_for_mode(kind):
            where = f"{name!r} ({kind.__name__})" if name else f"the model ({kind.__name__})"
            raise ConventionError(
                f"{tool} calls eval() before it counts; this model was analysed in training mode, and the code of "
                f"{where} asks for the mode: analyse model.eval() to know what {tool} prints"
            )


Specs = Callable[[OpRecord], Iterable[TensorSpec | None]]


def _inputs(record: OpRecord) -> Iterable[TensorSpec | None]:
    return record.inputs


def differentiable(
    nodes: Iterable[NodeCost], parameters: Iterable[ParameterRecord], asked: Specs = _inputs
) -> tuple[list[bool], bool]:
    """Of each operation whether it reads something that asks for a gradient; and whether any such thing is detached.

    `asked` picks what of the operation is meant, instead of all that it reads. It is told by memory: what is computed
    from a trainable parameter asks for a gradient, and so do its views.
    """
    asking = {p.spec.storage for p in parameters if p.trainable and p.spec.storage >= 0}
    found, detached = [], False
    for node in nodes:
        storages = node.record.storages
        for op in node.operations:
            record = op.record
            reads = not asking.isdisjoint(_memory(record.inputs, storages))
            found.append(reads if asked is _inputs else not asking.isdisjoint(_memory(asked(record), storages)))
            if not reads or _makes_anew(record):
                continue
            detached = detached or getattr(record.op, "overloadpacket", None) is aten.detach
            asking.update(_memory((*record.outputs, *record.written), storages))
    return found, detached


def _memory(specs: Iterable[TensorSpec | None], storages: tuple[int, ...]) -> Iterator[int]:
    return (storages[s.storage] for s in specs if s is not None and s.storage >= 0 and s.is_floating)


def _makes_anew(record: OpRecord) -> bool:
    """True for operators that take a shape from a tensor, and nothing else: `zeros_like`, `new_empty`."""
    name = str(getattr(record.op, "overloadpacket", "")).rpartition(".")[2]
    return (name.endswith("_like") or name.startswith("new_")) and not written_arguments(record.op)


class FastPaths:
    """Which calls of attention and encoder layers PyTorch runs as one operator, when a tool runs the model.

    `gradients` gives what :func:`differentiable` found, when it is asked.
    """

    def __init__(self, tool: str, run: Run, root: nn.Module, gradients: Callable[[], tuple[list[bool], bool]]) -> None:
        self._tool, self._run, self._root, self._gradients = tool, run, root, gradients

    def of(self, calls: Iterable[Any], projections: Callable[[Any], int]) -> Iterator[Fused]:
        """The fused calls among module calls (:class:`ModuleSeen`); `projections` is asked for attention's.

        Raises:
            ConventionError: what the tool sees hangs on values.
        """
        if not (self._run.fast_path and torch.backends.mha.get_fastpath_enabled()):
            return
        for call in calls:
            if isinstance(call.module, nn.TransformerEncoder):
                self._refuse_nested(call)
            elif isinstance(call.module, nn.TransformerEncoderLayer):
                if self._layer_is_fused(call):
                    yield Fused(call.name, call.span)
            elif isinstance(call.module, nn.MultiheadAttention) and self._attention_is_fused(call, projections):
                yield Fused(call.name, call.span)

    def _evaluated(self, module: Any) -> bool:
        return self._run.evaluates or not module.training

    def _attention_is_fused(self, call: Any, projections: Callable[[Any], int]) -> bool:
        m = call.module
        able = (
            type(m).forward is nn.MultiheadAttention.forward
            and self._evaluated(m)
            and len(call.x.shape) == 3
            and m.batch_first
            and m.num_heads % 2 == 0
            and m.in_proj_weight is not None
            and m.in_proj_bias is not None
            and m.bias_k is None
            and m.bias_v is None
            and not m.add_zero_attn
            and m._qkv_same_embed_dim
            and not any(_floating_mask(call, at, name) for at, name in ((3, "key_padding_mask"), (5, "attn_mask")))
        )
        return able and projections(call) == _SELF_ATTENTION and self._without_gradients(call)

    def _layer_is_fused(self, call: Any) -> bool:
        m = call.module
        able = (
            type(m).forward is nn.TransformerEncoderLayer.forward
            and self._evaluated(m)
            and len(call.argument(0, "src").shape) == 3
            and m.self_attn.batch_first
            and m.self_attn.in_proj_bias is not None
            and m.self_attn._qkv_same_embed_dim
            and bool(m.activation_relu_or_gelu)
            and m.norm1.eps == m.norm2.eps
            and m.self_attn.num_heads % 2 == 0
            and not self._run.hooked(self._root, m)
        )
        return able and self._without_gradients(call)

    def _refuse_nested(self, call: Any) -> None:
        """An encoder that is given a padding mask runs on nested tensors, without the padding."""
        m = call.module
        padding, mask = call.argument(2, "src_key_padding_mask"), call.argument(1, "mask")
        able = (
            type(m).forward is nn.TransformerEncoder.forward
            and getattr(m, "use_nested_tensor", False)
            and padding is not None
            and mask is None
            and self._evaluated(m.layers[0])
            and len(call.argument(0, "src").shape) == 3
        )
        if able and self._without_gradients(call):
            raise ConventionError(
                f"what {self._tool} sees of {call.name or 'the model'!r} hangs on the values of its padding mask: "
                "PyTorch runs this encoder without the padding (nested tensors); pass no mask, or make it with "
                "enable_nested_tensor=False"
            )

    def _without_gradients(self, call: Any) -> bool:
        """True if gradients are off, or nothing that the call reads asks for one.

        Raises:
            ConventionError: the model switches gradients itself, so that the records can't tell.
        """
        if not self._run.gradients:
            return True
        reads, detached = self._gradients()
        asks = any(reads[slice(*call.span)])
        own = any(p.requires_grad for p in call.module.parameters())
        unsure = names_used(self._root) & (SWITCHES_GRADIENTS if own else SWITCHES_GRADIENTS | DETACHES)
        if unsure or (asks and not own and detached):
            what = ", ".join(sorted(unsure)) or "detach"
            raise ConventionError(
                f"whether PyTorch takes its fast path in {call.name or 'the model'!r}, which hides it from "
                f"{self._tool}, hangs on gradients that the model's own code switches ({what})"
            )
        return not asks


_SELF_ATTENTION = 2
"""Linear layers that attention runs where query, keys and values are one tensor: into it, and out of it."""


def _floating_mask(call: Any, position: int, name: str) -> bool:
    mask = call.argument(position, name)
    return isinstance(mask, TensorSpec) and mask.dtype.is_floating_point
