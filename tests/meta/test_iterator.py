"""Results of pointwise operators lie in memory as on the CPU, for operands of all shapes and layouts."""

import random
import warnings

import pytest
import torch

from fxcost.meta.iterator import ITERATED, is_pointwise, iterated
from fxcost.meta.kernels import returns_fresh, run_on_meta
from tests.meta.against_cpu import look, on_meta_alike, shuffled

aten = torch.ops.aten
INTEGERS = ("bitwise", "shift", "gcd", "lcm", "xor", "__or__", "__and__")
REPLACED = {"mask": torch.bool, "condition": torch.bool}
"""Operands that are no floats, by the name of the argument."""
NUMBERS = {"float": 0.5, "number": 2, "int": 1, "bool": False, "str": "none"}

FIRST_SCALED = tuple(f"special_shifted_chebyshev_polynomial_{kind}" for kind in "tuvw")
"""Rare enough to be left as they are: C++ first makes x + x − 1 of the first operand, which may change its layout."""


def scaled_first(args):
    x, *rest = [a for a in args if isinstance(a, torch.Tensor)]
    doubled = torch.empty_strided(x.shape, iterated([x]))
    scaled = torch.empty_strided(x.shape, iterated([doubled], with_number=True))
    return iterated([scaled, *rest], with_number=not rest)


def pointwise_operators():
    """Every functional operator of one result that PyTorch tags as pointwise, and those that are ours to add."""
    found = dict.fromkeys(ITERATED)
    for name in torch._C._dispatch_get_all_op_names():
        space, _, rest = name.partition("::")
        if space != "aten" or not torch._C._dispatch_has_kernel_for_dispatch_key(name, "CPU"):
            continue
        packet, _, overload = rest.partition(".")
        op = getattr(getattr(aten, packet), overload or "default")
        if returns_fresh(op) and is_pointwise(op):
            found[op] = None
    return sorted(found, key=str)


def drawn(op, rng):
    """Arguments of an operator, its tensors of shapes that are broadcast and in layouts that are drawn for each."""
    shape = [rng.randint(1, 4) for _ in range(rng.choice([1, 2, 3, 3, 4, 4, 5]))]
    same = rng.random() < 0.4
    base = torch.int64 if any(word in str(op) for word in INTEGERS) else torch.float32
    args = []
    for argument in op._schema.arguments:
        kind = str(argument.type)
        if argument.kwarg_only:
            break
        if "Tensor" in kind:
            sizes = [size if same or rng.random() < 0.75 else 1 for size in shape]
            sizes = sizes[rng.randint(0, len(sizes) - 1) :] if not same and rng.random() < 0.2 else sizes
            args.append(shuffled(torch.rand(sizes).to(REPLACED.get(argument.name, base)), rng))
        elif argument.has_default_value():
            args.append(argument.default_value)
        else:
            args.append(NUMBERS[kind] if argument.name != "reduction" else 0)
    if op in (aten.clamp.default, aten.clamp.Tensor):
        args[1] = args[1] if isinstance(args[1], torch.Tensor) else 0.2
    return args


def differing(op, rng, times):
    """Calls whose result has other strides on meta than for real; how many real calls there were."""
    wrong, ran = [], 0
    named = {"rounding_mode": "floor"} if "rounding_mode" in {a.name for a in op._schema.arguments} else {}
    named |= {"decimals": 1} if op is aten.round.decimals else {}
    for _ in range(times):
        args = drawn(op, rng)
        try:
            real = op(*args, **named)
        except RuntimeError:
            continue
        ran += 1
        found = run_on_meta(op, on_meta_alike(args), named)
        if look(found) != look(real):
            if op._schema.name.endswith(FIRST_SCALED) and real.stride() == scaled_first(args):
                continue
            operands = [(tuple(a.shape), a.stride()) for a in args if isinstance(a, torch.Tensor)]
            wrong.append((operands, real.stride(), found.stride()))
    return wrong, ran


def test_strides_of_every_pointwise_operator():
    """All of them, on operands that are row-major, channels last, turned, sliced, expanded and full of sizes of 1."""
    rng, wrong, asked = random.Random(0), {}, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # complex numbers that lose their imaginary part
        for op in pointwise_operators():
            found, ran = differing(op, rng, 6)
            asked += ran > 0
            if found:
                wrong[str(op)] = found[0]
    assert wrong == {}
    assert asked > 150


@pytest.mark.zoo
def test_strides_of_pointwise_operators_many_times():
    """The same with hundreds of calls of each."""
    rng = random.Random(1)
    assert {str(op): found for op in pointwise_operators() if (found := differing(op, rng, 300)[0])} == {}
