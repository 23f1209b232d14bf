"""ptflops 0.7.5, `pytorch` backend: hooks on listed module types plus patched functions.

Sees calls of listed modules by exact class (convolutions, linear layers, norms, some activations, pools, Upsample,
recurrent layers, MultiheadAttention) and the functions of :mod:`.patched`, `F.linear` and convolutions not among
them. Misses operators, `einsum`, attention called as a function, SiLU beside `F.silu`. The modules' part is divided by
the length of the model's first input, the functions' part is not. ReLU, PReLU, ELU, GELU, pools and Upsample are
counted twice, by their hook and by the function that they call. `params` are the trainable ones. Of other libraries it
lists torchvision's DeformConv2d and timm's Attention, whose linear layers are then missed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any

from torch import nn

from ..errors import ConventionError
from .convention import Convention, Counted, CountRule, function_amount, module_amount, rows, rule
from .dispatch import trainable_parameters
from .kinds import (
    ADAPTIVE_AVG,
    ADAPTIVE_MAX,
    AVG_POOL,
    BATCH_NORM,
    CONV,
    INSTANCE_NORM,
    MAX_POOL,
    POOL_FUNCTIONS,
    RNN,
    RNN_CELL,
    TRANSPOSED,
)
from .patched import PER_ELEMENT, added_product, elements, is_patched, left_aligned, product, wanted_size
from .recurrent import hooked
from .running import Run
from .seen import FunctionSeen, ModuleSeen, Seen


def convolution(call: ModuleSeen) -> int:
    """Products at output positions (input positions if transposed) and a bias addition per output."""
    m: Any = call.module
    places = prod((call.x if type(m) in TRANSPOSED else call.y).shape[2:])
    batch = call.x.shape[0]
    products = prod(m.kernel_size) * m.in_channels * (m.out_channels // m.groups) * batch * places
    return products + (batch * prod(call.y.shape[1:]) if m.bias is not None else 0)  # type: ignore[no-any-return]


def linear(call: ModuleSeen) -> int:
    """Products and a bias addition per output."""
    outputs = call.y.shape[-1]
    per_row = call.x.shape[-1] * outputs + (outputs if call.module.bias is not None else 0)
    return per_row * prod(call.x.shape[:-1])


def normalization(call: ModuleSeen) -> int:
    """1 per element, 2 if `affine`, an attribute that LayerNorm lacks."""
    return call.x.numel * (2 if getattr(call.module, "affine", False) else 1)


def attention(call: ModuleSeen) -> int:
    """Scaling, projections (keys and values squared), in-projection bias, attention per head, out-projection."""
    m: Any = call.module
    if len(call.args) < 3:
        raise ConventionError("ptflops gives up on this model: its attention hook needs three positional inputs")
    query, key, value = (spec.shape for spec in call.args[:3])
    if len(query) != 3:
        raise ConventionError("ptflops gives up on this model: its attention hook needs a batch dimension")
    batch, at = (query[0], 1) if m.batch_first else (query[1], 0)
    length, keys, values = query[at], key[at], value[at]
    e, e_k, e_v, heads = query[2], key[2], value[2], m.num_heads
    total = length * e + length * e * e + keys * e_k * e_k + values * e_v * e_v
    total += (length + keys + values) * e if m.in_proj_bias is not None else 0
    total += heads * (length * keys * (e // heads) + length * keys + length * keys * (e_v // heads))
    return (total + length * e_v * (e_v + 1)) * batch  # type: ignore[no-any-return]


def deformable(call: ModuleSeen) -> int:
    """A convolution, and 24 (25 with a mask) per position and place of the kernel for sampling."""
    masked = len(call.args) == 3 and call.args[2] is not None
    positions = call.x.shape[0] * prod(call.y.shape[2:]) * prod(call.module.kernel_size)
    return convolution(call) + (25 if masked else 24) * positions  # type: ignore[no-any-return]


def attention_of_timm(call: ModuleSeen) -> int:
    """Scaling, the two products and softmax; none of the projections."""
    batch, length, _ = call.x.shape
    size, heads = call.module.head_dim, call.module.num_heads
    return batch * heads * (length * size + 2 * length * length * size + length * length)  # type: ignore[no-any-return]


_ONE_OUT = "one per element by the hook"
_ONE_IN = "one per input element by the hook"
MODULES: Mapping[type, CountRule] = rows(
    (CONV, rule("convolution", "one addition per output for a bias", convolution)),
    (TRANSPOSED, rule("convolution", "one addition per output for a bias", convolution)),
    (
        (nn.ReLU, nn.PReLU, nn.ELU, nn.LeakyReLU, nn.ReLU6, nn.GELU),
        rule("activation", _ONE_OUT, lambda call: call.y.numel),
    ),
    ((*AVG_POOL, *MAX_POOL, *ADAPTIVE_AVG, *ADAPTIVE_MAX), rule("pooling", _ONE_IN, lambda call: call.x.numel)),
    (
        (*BATCH_NORM, *INSTANCE_NORM, nn.GroupNorm, nn.LayerNorm),
        rule("normalization", "1 per element, 2 with the attribute affine", normalization),
    ),
    ((nn.Linear,), rule("linear", "one addition per output for a bias", linear)),
    ((nn.Upsample,), rule("interpolation", "one per output of the first sample", lambda call: prod(call.y.shape[1:]))),
    ((*RNN, *RNN_CELL), rule("recurrent", "weights, biases and element-wise work for every step", hooked(1, 0))),
    ((nn.MultiheadAttention,), rule("attention", "projections, bias, scaling, softmax and products", attention)),
)

_ELSEWHERE: Mapping[tuple[str, str], CountRule] = {
    ("torchvision.ops", "DeformConv2d"): rule("convolution", "sampling adds 24 or 25 per position", deformable),
    ("timm.models.vision_transformer", "Attention"): rule("attention", "no projections", attention_of_timm),
}
"""Classes of other libraries, by module and name: a model that has one has imported it."""


def listed_modules() -> Mapping[type, CountRule]:
    """The table, with the classes of other libraries that are imported."""
    found = ((getattr(sys.modules.get(module), name, None), rule) for (module, name), rule in _ELSEWHERE.items())
    return {**MODULES, **{kind: rule for kind, rule in found if kind is not None}}


def interpolation(call: FunctionSeen) -> int:
    """Output elements, from the size or the scale asked for; a tuple of scales is truncated to integers."""
    size, scale = wanted_size(call)
    x, rank = call.x, len(call.x.shape) - 2
    if size is not None:
        return (prod(size) if isinstance(size, tuple) else int(size) ** rank) * prod(x.shape[:2])
    if isinstance(scale, tuple) and len(scale) == rank:
        return x.numel * prod(int(s) for s in scale)
    return x.numel * scale**rank  # type: ignore[no-any-return]


def with_input(call: FunctionSeen) -> int:
    """The product, and one per element of what is added unless beta is 0."""
    return added_product(call) + (call.x.numel if call.kwargs.get("beta", 1) != 0 else 0)


FUNCTIONS: Mapping[str, CountRule] = rows(
    ((*PER_ELEMENT, "F.softmax"), rule("activation", "one per element by the patched function", elements)),
    (POOL_FUNCTIONS, rule("pooling", "one per input element by the patched function", elements)),
    (("F.interpolate", "F.upsample"), rule("interpolation", "one per output by the patched function", interpolation)),
    (
        ("torch.matmul", "Tensor.matmul", "torch.mm", "Tensor.mm", "torch.bmm", "Tensor.bmm"),
        rule("matmul", "as is", product),
    ),
    (("torch.addmm", "Tensor.addmm", "torch.baddbmm"), rule("matmul", "one per element added", with_input)),
    (
        ("torch.mul", "Tensor.mul", "torch.add", "Tensor.add"),
        rule("element-wise", "one per element, shapes aligned at the left", left_aligned),
    ),
)


def tally(seen: Seen) -> Iterator[Counted]:
    """Both parts, and the division of the modules' part by the batch; the sum is truncated to an integer at last."""
    table, listed = listed_modules(), 0
    reached = seen.reached(tuple(table))
    for call in seen.module_calls:
        if call.name in reached:
            for counted in module_amount(table, call, reached[call.name]):
                listed += counted.amount
                yield counted
    patched: float = 0
    whole = 0
    for function in seen.functions:
        if is_patched(seen, function):
            for counted in function_amount(FUNCTIONS, function):
                exact, counted = counted.amount, replace(counted, amount=int(counted.amount))  # a scale may be a float
                patched, whole = patched + exact, whole + counted.amount
                yield counted
    batch = seen.batch
    if not batch:
        raise ConventionError("ptflops gives up on this model: it divides by the batch, which is 0 (ZeroDivisionError)")
    total = int(listed / batch + patched)  # in floating point, as the tool does
    yield Counted(total - listed - whole, "batch", "", f"hooked modules divided by a batch of {batch}")


PTFLOPS = Convention(
    name="ptflops",
    summary="ptflops 0.7.5, pytorch backend: modules with bias, norms, activations, per sample; patched functions",
    unit="MACs",
    tallies={"macs": tally},
    figures=lambda seen, _: trainable_parameters(seen),
    unseen="neither a listed module nor a patched function",
    run=Run(evaluates=True),
)

CONVENTIONS = (PTFLOPS,)
