"""Layouts (strides) of what operators return where PyTorch's meta kernels say another than a run on the CPU gives.

A tensor on meta does not say for which device it stands, so PyTorch's meta kernels answer with the layout of CUDA, or
with the usual one. fxcost reports a run on the CPU, its layouts too: they decide which operators run afterwards, as
`contiguous()` and `reshape` copy or do not. tests/meta/test_layouts.py compares with real runs.

Not here: convolution (convolution.py) and pointwise operators (iterator.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format

from .iterator import Strides, iterated, pointwise, relaid, row_major

aten = torch.ops.aten
Kernel = Callable[..., Any]
_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def in_format(shape: Sequence[int], memory_format: torch.memory_format) -> Strides:
    """Strides of a new tensor of a memory format."""
    return torch.empty(tuple(shape), device="meta", memory_format=memory_format).stride()


def suggested(x: Tensor, shape: Sequence[int]) -> Strides:
    """Strides of a result of this shape that is channels last if `x` looks so to PyTorch."""
    return in_format(shape, suggest_memory_format(x)) if len(shape) == x.dim() else row_major(shape)


def brought_into(x: Tensor, _: Sequence[int]) -> Strides:
    """Strides of a result that lies as `x` does once it is contiguous in the format that it looks to have."""
    return x.contiguous(memory_format=suggest_memory_format(x)).stride()


def filled(x: Tensor, shape: Sequence[int]) -> Strides:
    """Strides of a result that is channels last if the data fill memory that way and no other."""
    last = _LAST.get(x.dim())
    channels_last = last is not None and not x.is_contiguous() and x.is_contiguous(memory_format=last)
    return in_format(shape, last) if channels_last and last is not None else row_major(shape)


def rows(_: Any, shape: Sequence[int]) -> Strides:
    """Strides of a result that is row-major whatever it is made of."""
    return row_major(shape)


def columns(_: Any, shape: Sequence[int]) -> Strides:
    """Strides of matrices that lie in memory column by column, as LAPACK wants them."""
    if len(shape) < 2:
        return row_major(shape)
    *batch, high, wide = shape
    *outer, inner, _ = row_major((*batch, wide, high))
    return (*outer, 1, inner)


def laid_out(op: Any, strides: Callable[..., Strides], *positions: int, of: int = 0) -> Kernel:
    """The stock kernel; its result, or those at these positions, laid out by argument number `of` and their shape."""

    def kernel(*args: Any, **kwargs: Any) -> Any:
        out = op(*args, **kwargs)
        if isinstance(out, Tensor):
            return relaid(out, strides(args[of], out.shape))
        wanted = [i in positions and t is not None for i, t in enumerate(out)]
        return tuple([relaid(t, strides(args[of], t.shape)) if w else t for t, w in zip(out, wanted, strict=True)])

    return kernel


def preserved(x: Tensor) -> Strides:
    """Strides of a new tensor that lies in memory as `x` does: the same ones if `x` has no gaps.

    PyTorch's meta kernel makes sizes of 1 row-major.
    """
    if x.numel() and aten.is_non_overlapping_and_dense.default(x):
        return x.stride()
    return torch.empty_like(x, device="meta").stride()


def like(op: Any) -> Kernel:
    """Operators that make a tensor like another, which lies as that does unless a memory format is named."""

    def kernel(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        out: Tensor = op(x, *args, **kwargs)
        named = kwargs.get("memory_format") not in (None, torch.preserve_format)
        return out if named or out.layout is not torch.strided else relaid(out, preserved(x))

    return kernel


def reduced(op: Any, unreduced: Kernel) -> Kernel:
    """Losses whose C++ computes all elements in the memory of the result, which then shrinks to one and keeps it."""
    at = [argument.name for argument in op._schema.arguments].index("reduction")

    def kernel(*args: Any, **kwargs: Any) -> Tensor:
        out: Tensor = unreduced(*args, **kwargs)
        if (args[at] if len(args) > at else kwargs.get("reduction", 1)) == 0 or out.dim():
            return out
        elements = prod(torch.broadcast_shapes(args[0].shape, args[1].shape))
        return torch.empty(max(elements, 1), dtype=out.dtype, device="meta").as_strided((), ())

    return kernel


# ------------------------------------------------------------------------------------------------ Fourier transforms


def _transformed(x: Tensor, shape: Sequence[int], dims: Sequence[int]) -> Strides:
    """Strides of a transform along `dims` by MKL: those dimensions innermost, the others outside in the input's order.

    Source: ATen/native/mkl/SpectralOps.cpp, `_exec_fft`.
    """
    order = [*sorted(_partitioned(x.dim(), dims), key=x.stride, reverse=True), *dims]
    packed = row_major([shape[d] for d in order])
    strides = dict(zip(order, packed, strict=True))
    return tuple([strides[d] for d in range(x.dim())])


def _partitioned(count: int, dims: Sequence[int]) -> list[int]:
    """The other dimensions in the order in which `std::partition` leaves them, which decides for equal strides."""
    order, first, last = list(range(count)), 0, count
    while True:
        while first < last and order[first] not in dims:
            first += 1
        last -= 1
        while first < last and order[last] in dims:
            last -= 1
        if first >= last:
            return order[:first]
        order[first], order[last] = order[last], order[first]
        first += 1


def complex_to_complex(x: Tensor, dims: list[int], *rest: Any) -> Tensor:
    """`aten._fft_c2c`."""
    out: Tensor = aten._fft_c2c.default(x, dims, *rest)
    if not dims:
        return out
    mkl = torch.backends.mkl.is_available()
    strides = _transformed(x, x.shape, sorted(dims, key=x.stride, reverse=True)) if mkl else row_major(x.shape)
    return relaid(out, strides)


def real_to_complex(x: Tensor, dims: list[int], *rest: Any) -> Tensor:
    """`aten._fft_r2c`."""
    out: Tensor = aten._fft_r2c.default(x, dims, *rest)
    if not torch.backends.mkl.is_available():
        return relaid(out, row_major(out.shape))
    ordered = [*sorted(dims[:-1], key=x.stride, reverse=True), dims[-1]]
    return relaid(out, _transformed(x, out.shape, ordered))


def complex_to_real(x: Tensor, dims: list[int], *rest: Any) -> Tensor:
    """`aten._fft_c2r`: a complex transform along all dimensions but the last, then a real one along that."""
    out: Tensor = aten._fft_c2r.default(x, dims, *rest)
    if not torch.backends.mkl.is_available():
        return relaid(out, row_major(out.shape))
    if len(dims) > 1:
        ordered = sorted(dims[:-1], key=x.stride, reverse=True)
        x = torch.empty_strided(x.shape, _transformed(x, x.shape, ordered), dtype=x.dtype, device="meta")
    return relaid(out, _transformed(x, out.shape, dims[-1:]))


# ---------------------------------------------------------------------------------------------------- linear algebra


def least_squares(
    a: Tensor, b: Tensor, rcond: float | None = None, *, driver: str | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`aten.linalg_lstsq` of a (…, m, n) and b (…, m, k) or (…, m).

    Returned are the solution (…, n, k), residuals, ranks and singular values. LAPACK solves in place, in max(m, n) rows
    that lie column by column, of which the solution is a part. Residuals are those of matrices of full rank.
    Source: ATen/native/BatchLinearAlgebra.cpp, `linalg_lstsq_out_info`.
    """
    (*batch, m, n), driver = a.shape, driver or "gelsy"
    one_column = b.dim() == 1 or b.shape == a.shape[:-1]
    k = 1 if one_column else b.shape[-1]
    solution = a.new_empty((*batch, k, max(m, n))).mT[..., :n, :]
    if one_column:
        solution = solution.squeeze(-1)
    nothing = a.new_empty((0,))
    residuals = a.new_empty((*batch, k)) if m > n and driver != "gelsy" else nothing
    ranks = a.new_empty((0,) if driver == "gels" else batch, dtype=torch.int64)
    values = a.new_empty((*batch, min(m, n))) if driver in ("gelsd", "gelss") else nothing.new_empty((0,))
    return solution, residuals, ranks, values


def qr_reflectors(a: Tensor) -> tuple[Tensor, Tensor]:
    """`aten.geqrf` of (…, m, n): the reflectors in a matrix of that size, and min(m, n) scales."""
    reflectors = torch.empty_strided(a.shape, columns(a, a.shape), dtype=a.dtype, device="meta")
    return reflectors, a.new_empty((*a.shape[:-2], min(a.shape[-2:])))


# ------------------------------------------------------------------------------------------------------------- others


def roll(x: Tensor, shifts: list[int], dims: Sequence[int] = ()) -> Tensor:
    """`aten.roll`: one dimension after the other is cut in two and joined again, which decides how the result lies."""
    out: Tensor = aten.roll.default(x, shifts, dims)
    if not dims or not x.numel():
        return out
    for shift, dim in zip(shifts, dims, strict=True):
        start = -shift % x.shape[dim]
        x = torch.cat((x.narrow(dim, start, x.shape[dim] - start), x.narrow(dim, 0, start)), dim)
    return relaid(out, x.stride())


def scale_by_power(x: Tensor, exponent: Tensor) -> Tensor:
    """`aten.ldexp`: x · 2^exponent, the power being row-major."""
    out: Tensor = aten.ldexp.Tensor(x, exponent)
    return relaid(out, iterated([x, relaid(exponent, row_major(exponent.shape))]))


def pixel_unshuffle(x: Tensor, factor: int) -> Tensor:
    """`aten.pixel_unshuffle`, which hands back a copy as it is where there are no elements."""
    if not x.numel():
        return x.clone()
    out: Tensor = aten.pixel_unshuffle.default(x, factor)
    return relaid(out, suggested(x, out.shape))


def view_copy(x: Tensor, size: list[int]) -> Tensor:
    """`aten.view_copy`, which copies where a view can't be."""
    return x.contiguous().view(size).clone()


_SUGGESTED = (
    *("native_group_norm", "max_unpool2d", "pixel_shuffle", "channel_shuffle"),
    *("native_channel_shuffle", "reflection_pad2d", "reflection_pad3d", "replication_pad2d", "replication_pad3d"),
)
_ROWS = (
    "triu",
    "tril",
    "rrelu_with_noise",
    "native_layer_norm",
    "glu_backward",
    "nll_loss2d_forward",
    "mse_loss_backward",
    "smooth_l1_loss_backward",
)
_LIKE = ("empty_like", "zeros_like", "ones_like", "full_like", "rand_like", "randn_like", "flip")
_REDUCED = ("mse_loss", "smooth_l1_loss", "soft_margin_loss", "binary_cross_entropy")
_FILLED = ("_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "_batch_norm_with_update")


def _kernels(names: Sequence[str], strides: Callable[..., Strides], *positions: int) -> dict[Any, Kernel]:
    ops = [getattr(aten, name).default for name in names if hasattr(aten, name)]
    return {op: laid_out(op, strides, *positions) for op in ops}


LAYOUTS: dict[Any, Kernel] = {
    **_kernels(_SUGGESTED, suggested, 0),
    **_kernels(_ROWS, rows, 0),
    **_kernels(_FILLED, filled, 0),
    **{op: like(op) for op in (getattr(aten, name).default for name in _LIKE)},
    **{op: reduced(op, pointwise(op)) for op in (getattr(aten, name).default for name in _REDUCED)},
    aten._native_batch_norm_legit.no_stats: laid_out(aten._native_batch_norm_legit.no_stats, filled, 0),
    aten._fft_c2c.default: complex_to_complex,
    aten._fft_c2r.default: complex_to_real,
    aten._fft_r2c.default: real_to_complex,
    aten._linalg_svd.default: laid_out(aten._linalg_svd.default, columns, 2),
    aten._log_softmax.default: laid_out(aten._log_softmax.default, rows),
    aten.geqrf.default: qr_reflectors,
    aten.ldexp.Tensor: scale_by_power,
    aten.linalg_eig.default: laid_out(aten.linalg_eig.default, columns, 1),
    aten.linalg_lstsq.default: least_squares,
    aten.log_sigmoid_forward.default: laid_out(aten.log_sigmoid_forward.default, rows, 0, 1),
    aten.masked_fill.Scalar: laid_out(aten.masked_fill.Scalar, rows),
    aten.masked_fill.Tensor: laid_out(aten.masked_fill.Tensor, rows),
    aten.mvlgamma.default: laid_out(aten.mvlgamma.default, rows),
    aten.nonzero_static.default: laid_out(aten.nonzero_static.default, rows),
    aten.normal.Tensor_Tensor: laid_out(aten.normal.Tensor_Tensor, rows),
    aten.normal.Tensor_float: laid_out(aten.normal.Tensor_float, rows),
    aten.normal.float_Tensor: laid_out(aten.normal.float_Tensor, rows),
    aten.pixel_unshuffle.default: pixel_unshuffle,
    aten.pow.Scalar: laid_out(aten.pow.Scalar, rows),
    aten.roll.default: roll,
    aten.view_copy.default: view_copy,
}
"""Operators that return something in another layout than PyTorch's meta kernel says."""
