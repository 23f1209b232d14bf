"""Operators that are recorded whole: attention, recurrent layers and dropout.

PyTorch decomposes `scaled_dot_product_attention`, `lstm`, `gru`, `rnn_*` and `dropout` before a dispatch mode sees
them (on meta tensors), or picks a fused kernel by device (elsewhere). Decomposed, attention writes the S×S matrix that
a fused kernel does not, and an LSTM falls apart into thousands of small operators. While :func:`whole_units` is
active on a thread, these operators are redirected to operators of our own, with the same results on meta tensors, so
that each call is one record wherever it comes from: Python, C++, TorchScript, the inside of a leaf module.

How: a kernel at the AutogradMeta key (composite operators take none at Meta), behind a thread-local gate. It is
registered when the first analysis starts and taken out when the last one ends: nothing is left in the process.

Not here: the costs (rules/attention.py, rules/rnn.py), and flex attention (flex.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from math import prod
from typing import Any

import torch
from torch import Tensor

from . import sparse
from .flex import FlexOnMeta
from .iterator import row_major
from .layouts import preserved
from .places import kept

aten = torch.ops.aten

_library = torch.library.Library("fxcost", "DEF")
_library.define(
    "scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask, float dropout_p, "
    "bool is_causal, float? scale, bool enable_gqa, bool fused, int? kept=None) -> (Tensor, Tensor logsumexp)"
)
_library.define(
    "rnn(Tensor input, Tensor[] hx, Tensor[] params, str mode, bool has_biases, int num_layers, float dropout, "
    "bool train, bool bidirectional, bool batch_first, Tensor? batch_sizes) "
    "-> (Tensor output, Tensor hy, Tensor cy, Tensor reserve)"
)

_gate = threading.local()
_lock = threading.Lock()
_users = 0
_redirects: torch.library.Library | None = None
_flex: FlexOnMeta


def _attention_meta(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
    fused: bool,
    kept: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Shapes of attention's output and of the log-sum-exp that its backward needs.

    The `fused` kernels (flash attention on CPU and CUDA) lay the output out in memory as the query is; a product of
    matrices, which runs where no fused kernel fits, is row-major. `kept` is how many places of the mask it leaves.
    """
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise RuntimeError(
            f"scaled_dot_product_attention: query {tuple(query.shape)}, key {tuple(key.shape)} and value "
            f"{tuple(value.shape)} do not fit: query and key need one head size, key and value one length"
        )
    others = () if enable_gqa else (key.shape[:-2], value.shape[:-2])
    masks = () if attn_mask is None else (attn_mask.shape[:-2],)
    batch = torch.broadcast_shapes(query.shape[:-2], *others, *masks)
    if query.dim() == 3 and len(batch) == 2 and batch[0] == 1:
        batch = batch[1:]
    shape = (*batch, query.shape[-2], value.shape[-1])
    strides = preserved(query) if fused and shape == query.shape else row_major(shape)
    out = torch.empty_strided(shape, strides, dtype=query.dtype, device="meta")
    accumulate = torch.float64 if query.dtype == torch.float64 else torch.float32
    return out, query.new_empty(shape[:-1], dtype=accumulate)


_SAVED_PER_STEP = {"lstm": 6, "gru": 5, "rnn_tanh": 1, "rnn_relu": 1}
"""Values per hidden unit and step that the backward of a cell needs: its gates, and for an LSTM c and tanh(c)."""


def _rnn_meta(
    input: Tensor,  # noqa: A002 - the schema's own name
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    mode: str,
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
    batch_sizes: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Shapes of a recurrent layer's output sequence, final states, and what is kept for a backward pass if one comes.

    `train` says whether one comes; `dropout` is 0 where the layer drops nothing out.
    Steps are outermost in memory: with `batch_first` the output is a transposed view, as on CPU and CUDA.
    """
    directions = 2 if bidirectional else 1
    output = steps_first((*input.shape[:-1], hx[0].shape[-1] * directions), input, batch_first)
    hidden, rows = params[1].shape[0] // {"lstm": 4, "gru": 3}.get(mode, 1), prod(input.shape[:-1])
    kept = rows * directions * num_layers * hidden * _SAVED_PER_STEP[mode] if train else 0
    cy = input.new_empty(hx[1].shape) if mode == "lstm" else input.new_empty(0)
    return output, input.new_empty(hx[0].shape), cy, input.new_empty(kept)


def steps_first(shape: Sequence[int], like: Tensor, batch_first: bool) -> Tensor:
    """A new sequence of this shape with its steps outermost in memory, where they may come second."""
    if not batch_first:
        return like.new_empty(shape)
    return like.new_empty((shape[1], shape[0], *shape[2:])).transpose(0, 1)


_library.impl("scaled_dot_product_attention", _attention_meta, "Meta")
_library.impl("rnn", _rnn_meta, "Meta")

attention: torch._ops.OpOverload = torch.ops.fxcost.scaled_dot_product_attention.default
rnn: torch._ops.OpOverload = torch.ops.fxcost.rnn.default


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if attn_mask is None and not enable_gqa and hasattr(type(query), "_local_tensor"):
        return _sharded(query, key, value, dropout_p, is_causal, scale)
    fused = _is_fused(query, key, value, attn_mask, dropout_p)
    how = (dropout_p, is_causal, scale, enable_gqa, fused, kept(attn_mask))
    out: Tensor = attention(query, key, value, attn_mask, *how)[0]
    return out


def _sharded(q: Tensor, k: Tensor, v: Tensor, dropout_p: float, is_causal: bool, scale: float | None) -> Tensor:
    """Attention among DTensors: the kernel that CUDA has for it, which DTensor and context parallel know."""
    flash = aten._scaled_dot_product_flash_attention.default
    out: Tensor = flash(q, k, v, dropout_p, is_causal, return_debug_mask=False, scale=scale)[0]
    return out


def _is_fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout_p: float) -> bool:
    """True if the CPU has one kernel for this attention."""
    given = [(t.shape, t.stride()) for t in (query, key, value)]
    trained = mask is not None and mask.requires_grad
    fits = one_kernel_fits(given, None if mask is None else mask.shape)
    return fits and not trained and dropout_p == 0 and torch.backends.cuda.flash_sdp_enabled()


def one_kernel_fits(
    given: Sequence[tuple[Sequence[int], Sequence[int]]], mask_shape: Sequence[int] | None = None
) -> bool:
    """True if the CPU's kernel takes query, key and value of these shapes and strides, and such a mask.

    Source: ATen/native/transformers/sdp_utils_cpp.cpp.
    """
    ranks = {len(shape) for shape, _ in given}
    alike = ranks in ({3}, {4}) and len({(shape[-1], *shape[:-3]) for shape, _ in given}) == 1
    if not alike or any(stride[-1] != 1 for _, stride in given):
        return False
    return mask_shape is None or len(mask_shape) in (2, *ranks) or (len(mask_shape) == 4 and mask_shape[0] == 1)


def _dropout(input: Tensor, p: float, train: bool) -> Tensor:  # noqa: A002 - the schema's own name
    if not train or p == 0:
        same: Tensor = _decomposed(aten.dropout.default)(input, p, train)
        return same
    out: Tensor = aten.native_dropout.default(input, p, train)[0]
    return out


def _is_differentiated(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def _rnn_input(mode: str) -> Callable[..., tuple[Tensor, ...]]:
    def run(
        x: Tensor, hx: Any, params: Any, bias: bool, layers: int, p: float, train: bool, *flags: bool
    ) -> tuple[Tensor, ...]:
        states, weights = [hx] if isinstance(hx, Tensor) else list(hx), list(params)
        kept = train and _is_differentiated(x, *states, *weights)
        y, hy, cy, _ = rnn(x, states, weights, mode, bias, layers, p if train else 0.0, kept, *flags, None)
        return (y, hy, cy) if mode == "lstm" else (y, hy)

    return run


def _rnn_data(mode: str) -> Callable[..., tuple[Tensor, ...]]:
    def run(
        x: Tensor, sizes: Tensor, hx: Any, params: Any, bias: bool, layers: int, p: float, train: bool, both: bool
    ) -> tuple[Tensor, ...]:
        states, weights = [hx] if isinstance(hx, Tensor) else list(hx), list(params)
        kept = train and _is_differentiated(x, *states, *weights)
        y, hy, cy, _ = rnn(x, states, weights, mode, bias, layers, p if train else 0.0, kept, both, False, sizes)
        return (y, hy, cy) if mode == "lstm" else (y, hy)

    return run


def _pad_packed(
    data: Tensor, batch_sizes: Tensor, batch_first: bool, padding_value: float, total_length: int
) -> tuple[Tensor, Tensor]:
    """`_pad_packed_sequence`, whose C++ reads and writes memory directly.

    A tensor full of padding, into which the steps that equally many sequences take are copied together.
    """
    sizes: list[int] = batch_sizes.tolist()
    shape = (max(len(sizes), total_length), sizes[0], *data.shape[1:])
    padded = torch.full(shape, padding_value, dtype=data.dtype, device=data.device)
    taken = start = 0
    for batch, steps in groupby(sizes):
        stop = start + len(list(steps))
        rows = batch * (stop - start)
        part = data[taken : taken + rows].view(stop - start, batch, *data.shape[1:])
        padded[start:stop, :batch].copy_(part)
        taken, start = taken + rows, stop
    lengths = torch.tensor([sum(size > i for size in sizes) for i in range(sizes[0])])
    return padded.transpose(0, 1) if batch_first else padded, lengths


def _one_hot(index: Tensor, num_classes: int = -1) -> Tensor:
    """`one_hot` as the CPU runs it, which looks at the range of classes; PyTorch compares with all of them on meta."""
    if not index.numel():
        empty: Tensor = _decomposed(aten.one_hot.default)(index, num_classes)
        return empty
    highest = torch.aminmax(index)[1]
    classes = int(highest.item()) + 1 if num_classes == -1 else num_classes
    zeros = torch.zeros((*index.shape, classes), dtype=index.dtype, device=index.device)
    return zeros.scatter_(-1, index.unsqueeze(-1), 1)


def _ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: list[int],
    target_lengths: list[int],
    blank: int = 0,
    reduction: int = 1,
    zero_infinity: bool = False,
) -> Tensor:
    """`ctc_loss` with lengths in lists, of which C++ makes a tensor of data on the device of the losses."""
    losses: Tensor = aten._ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, zero_infinity)[0]
    if zero_infinity:
        losses = torch.where(losses == float("inf"), torch.zeros((), dtype=losses.dtype, device="meta"), losses)
    if reduction == 1:
        return (losses / torch.tensor(target_lengths, dtype=losses.dtype).clamp_min(1)).mean()
    return losses.sum() if reduction == 2 else losses


def _mish_backward(grad: Tensor, x: Tensor) -> Tensor:
    """`mish_backward`, which CPU and CUDA have a kernel for; PyTorch takes it apart on meta."""
    if torch.is_grad_enabled() and (grad.requires_grad or x.requires_grad):  # to be differentiated again
        parts: Tensor = _decomposed(aten.mish_backward.default)(grad, x)
        return parts
    with torch._C._AutoDispatchBelowAutograd():
        whole: Tensor = aten.mish_backward.default(grad, x)
        return whole


def _decomposed(op: torch._ops.OpOverload) -> Callable[..., Any]:
    """The stock kernel. Not `op.decompose()`: that prefers Python decompositions, which eager mode never runs."""

    def run(*args: Any, **kwargs: Any) -> Any:
        return op._op_dk(torch._C.DispatchKey.CompositeImplicitAutograd, *args, **kwargs)

    return run


_UNITS: dict[torch._ops.OpOverload, Callable[..., Any]] = {
    aten.scaled_dot_product_attention.default: _attention,
    aten.dropout.default: _dropout,
    aten._pad_packed_sequence.default: _pad_packed,
    aten.ctc_loss.IntList: _ctc_loss,
    aten.one_hot.default: _one_hot,
    aten.mish_backward.default: _mish_backward,
    aten.lstm.input: _rnn_input("lstm"),
    aten.lstm.data: _rnn_data("lstm"),
    aten.gru.input: _rnn_input("gru"),
    aten.gru.data: _rnn_data("gru"),
    aten.rnn_tanh.input: _rnn_input("rnn_tanh"),
    aten.rnn_tanh.data: _rnn_data("rnn_tanh"),
    aten.rnn_relu.input: _rnn_input("rnn_relu"),
    aten.rnn_relu.data: _rnn_data("rnn_relu"),
}


def _is_open() -> bool:
    return getattr(_gate, "open", False)


def _gated(op: torch._ops.OpOverload, unit: Callable[..., Any]) -> Callable[..., Any]:
    stock = _decomposed(op)

    def kernel(*args: Any, **kwargs: Any) -> Any:
        return (unit if _is_open() else stock)(*args, **kwargs)

    return kernel


def _register() -> torch.library.Library:
    library = torch.library.Library("aten", "IMPL")
    for op, unit in _UNITS.items():
        library.impl(op, _gated(op, unit), "AutogradMeta")
    sparse.meta_kernels(library)
    return library


def composite_kernel(op: torch._ops.OpOverload) -> Callable[..., Any] | None:
    """How a composite operator runs that reached a dispatch mode whole, as under inference mode; None for others.

    One that has a kernel of its own beside (silu_backward) stays whole.
    """
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    try:
        composite = has_kernel(op.name(), "CompositeImplicitAutograd") and not has_kernel(op.name(), "CPU")
    except RuntimeError:  # defined in Python alone, such as prim::layout
        return None
    if not composite:
        return None
    unit, stock = _UNITS.get(op), _decomposed(op)
    if unit is None:
        return stock
    return lambda *args, **kwargs: (unit if args[0].is_meta else stock)(*args, **kwargs)  # a real run has its kernels


@contextmanager
def whole_units() -> Iterator[None]:
    """While active, attention, recurrent layers and training's dropout on meta tensors run as one operator each.

    Only for the calling thread; other threads see PyTorch as it is. Nests.
    """
    global _users, _redirects, _flex
    with _lock:
        _users += 1
        if _redirects is None:
            _redirects = _register()
            _flex = FlexOnMeta(_is_open)
    before, _gate.open = getattr(_gate, "open", False), True
    try:
        yield
    finally:
        _gate.open = before
        with _lock:
            _users -= 1
            if _users == 0 and _redirects is not None:
                _redirects._destroy()
                _redirects = None
                _flex.undo()
