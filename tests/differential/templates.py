"""What a drawn program is made of: a template gives a line of Python for variables that it picks.

Each returns the variable that it assigns to ("" for none) and the line. What does not fit is tried and dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch

from .expressions import BINARY, CONSTANT, FUNCTIONS, INTEGERS, VIEWS, lines
from .statements import CONDITIONS, IN_PLACE, REGIONS, WRAPPERS

SHAPES = (
    *((2, 4, 6, 6), (2, 4, 5, 7), (1, 4, 6, 6), (2, 1, 6, 6), (2, 4, 1, 1)),
    *((3, 8), (4, 6), (1, 8), (2, 5, 8), (2, 3, 4, 5, 6)),
)

Template = Callable[[Any], tuple[str, str]]

LAYERS = lines(
    r"""
4: nn.Conv2d(C, {1|4|8}, {1|3|(1, 3)}, padding={0|1}, stride={1|2}, bias={True|False})
4: nn.Conv2d(C, C * 2, 3, padding=1, groups=C)
4: nn.Conv2d(C, 4, 3, padding={1|2|'same'}, dilation=2, padding_mode={'zeros'|'reflect'|'circular'|'replicate'})
4: nn.ConvTranspose2d(C, 4, {2|3}, stride={1|2})
3: nn.Conv1d(C, 4, 3, padding={1|'same'})
5: nn.Conv3d(C, 4, 3, padding=1)
4: nn.BatchNorm2d(C, affine={True|False}, track_running_stats={True|False})
4: nn.InstanceNorm2d(C, affine={True|False})
34: nn.GroupNorm({1|C}, C)
234: nn.LayerNorm(L)
234: nn.RMSNorm(L)
234: nn.Linear(L, {1|4|8}, bias={True|False})
4: nn.MaxPool2d({2|3}, {1|2}, {0|1}, ceil_mode={True|False})
4: nn.AvgPool2d({2|3}, {1|2}, {0|1})
4: nn.AdaptiveAvgPool2d({1|2|(2, 1)|(None, 2)})
4: nn.AdaptiveMaxPool2d({1|2})
4: nn.Upsample(scale_factor={2|1.5}, mode={'nearest'|'bilinear'|'bicubic'|'nearest-exact'})
4: nn.{ReflectionPad2d|ReplicationPad2d|ZeroPad2d|CircularPad2d}(1)
4: nn.{PixelShuffle|PixelUnshuffle|ChannelShuffle|Unfold|LocalResponseNorm}(2)
4: nn.PReLU({1|C})
234: nn.{ReLU|SiLU|Hardswish|LeakyReLU|ELU|Mish|SELU|CELU}(inplace={True|False})
234: nn.{GELU|Sigmoid|Tanh|Softplus|Softsign|LogSigmoid|Hardsigmoid|Tanhshrink|GLU}()
234: nn.{Softmax|LogSoftmax|Softmin}({0|1|-1})
234: nn.{Dropout|AlphaDropout}(0.0)
234: nn.Flatten()
3: nn.MultiheadAttention(L, 1, batch_first=True)
3: nn.{LSTM|GRU|RNN}(L, {3|5}, {1|2}, batch_first={True|False}, bidirectional={True|False})
234: nn.Sequential(nn.Linear(L, 4), nn.ReLU(), nn.Linear(4, L))
"""
)
"""Dimensions that a layer takes, and its constructor: C channels, L the last size, one of what stands in braces."""


def _floats(t: Any) -> bool:
    return bool(t.is_floating_point())


def _integers(t: Any) -> bool:
    return not t.is_floating_point() and not t.is_complex()


def _any(_: Any) -> bool:
    return True


def _layer(line: str) -> Template:
    dims, made = line.split(": ", 1)

    def template(pick: Any) -> tuple[str, str]:
        x = pick.tensor(lambda t: str(t.dim()) in dims and t.is_floating_point())
        value = pick.value(x)
        code = re.sub(r"\{(.*?)\}", lambda options: str(pick.choice(options[1].split("|"))), made)
        code = re.sub(r"\bC\b", str(value.shape[1]), re.sub(r"\bL\b", str(value.shape[-1]), code))
        layer = pick.module(code if value.dtype is torch.float32 else f"{code}.to({value.dtype})")
        several = "Attention" in code or "RNN(" in code or "LSTM" in code or "GRU" in code
        call = f"{layer}({x}, {x}, {x})" if "Attention" in code else f"{layer}({x})"
        return pick.new(), f"{call}[0]" if several else call

    return template


def _unary(codes: tuple[str, ...], fits: Callable[[Any], bool]) -> Template:
    def template(pick: Any) -> tuple[str, str]:
        x = pick.tensor(fits)
        code = pick.choice(codes)
        if "D" in code:
            code = code.replace("D", str(pick.dim(x)))
        return pick.new(), code.replace("X", x)

    return template


def _binary(pick: Any) -> tuple[str, str]:
    x, y = pick.tensor(_floats), pick.tensor(_floats)
    return pick.new(), pick.choice(BINARY).replace("X", x).replace("Y", y)


def _in_place(pick: Any) -> tuple[str, str]:
    x, y = pick.tensor(_floats), pick.tensor(_floats)
    return "", pick.choice(IN_PLACE).replace("X", x).replace("Y", y)


def _cached(pick: Any) -> tuple[str, str]:
    """Results that outlive the line: in the module, its class, a table of the file, a function's cache; counters."""
    x, name, target = pick.tensor(_floats), pick.new("c"), pick.new()
    code = pick.choice(
        [
            f"{x}.clone(); self.{name} = {target}",
            f"self.shared.setdefault('{name}', {x}.exp())",
            f"TABLE.setdefault('{name}', torch.ones(3).exp()).sum() + {x}",
            f"{x} * positions(5).sum()",
            f"{x} + len(TABLE); TABLE['{name}'] = 1",
            f"{x}.relu(); self.calls = getattr(self, 'calls', 0) + 1",
            f"{x} * 2; Model.last = {target}.shape if 'Model' in globals() else None",
            f"getattr(self, '{name}', None) if hasattr(self, '{name}') else {x}.tanh()",
        ]
    )
    return target, code


def _last(pick: Any, x: str) -> int:
    value = pick.value(x)
    return int(value.shape[-1]) if value.dim() else 1


def _buffer(pick: Any) -> tuple[str, str]:
    x, name = pick.tensor(_floats), pick.new("b")
    pick.setup.append(f"self.register_buffer('{name}', torch.ones({_last(pick, x)}))")
    buffer = f"self.{name}"
    code = pick.choice(
        ["X + B", "X * B.cumsum(0)", "X * B.add_(1)", "X + B.sum().item()", "X[..., B.bool()]"],
    )
    return pick.new(), code.replace("B", buffer).replace("X", x) if "bool" not in code else f"{x}[..., {buffer}.bool()]"


def _parameter(pick: Any) -> tuple[str, str]:
    x, name = pick.tensor(_floats), pick.new("p")
    pick.setup.append(f"self.{name} = nn.Parameter(torch.ones({_last(pick, x)}))")
    code = pick.choice(["X * P", "F.linear(X, P[None])", "X @ P", "X + P.detach()", "X * F.softplus(P)", "X + P.data"])
    return pick.new(), re.sub(r"\bP\b", f"self.{name}", code).replace("X", x)


def _constant(pick: Any) -> tuple[str, str]:
    return pick.new(), str(pick.choice(CONSTANT))


TEMPLATES: tuple[Template, ...] = (
    *map(_layer, LAYERS),
    *[_unary(FUNCTIONS, _floats)] * 16,
    *[_unary(VIEWS, _any)] * 14,
    *[_unary(INTEGERS, _integers)] * 5,
    *[_binary, _in_place] * 7,
    *[_cached, _buffer, _parameter, _constant] * 2,
)


def condition(pick: Any) -> str:
    """A question on which a branch hangs."""
    return str(pick.choice(CONDITIONS)).replace("X", pick.tensor()).replace("Y", pick.tensor())


def region(pick: Any) -> str:
    """A `with` statement."""
    return str(pick.choice(REGIONS))


def wrapper(pick: Any) -> tuple[str, str]:
    """A function, layer or other code around a variable."""
    x, target = pick.tensor(_floats), pick.new()
    text = str(pick.choice(WRAPPERS)).replace("X", x).replace("V", target)
    if "SIZE" in text:
        layer = pick.module(f"nn.Linear({_last(pick, x)}, 3, dtype={pick.value(x).dtype})")
        text = text.replace("SIZE", layer)
    return target, text
