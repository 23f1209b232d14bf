"""How weights and caches are stored: bits for each number, with the scales and zero points that go with them.

A format is a name, or a name with a group: `bf16`, `int4:g128`, `fp8:128x128`, `q4_k`. Bits are those of the format's
own definition:

- `fp32 fp16 bf16`: 32, 16, 16. `fp8`: 8, a float32 scale for a tensor; `fp8:128x128` one for each block (DeepSeek-V3),
  `fp8:channel` one for each row.
- `int8`: 8, a 16-bit scale for each row (output channel). `int4:gN`: 4, and for each N numbers of a row a 16-bit scale
  and a 4-bit zero point (GPTQ, AWQ); `int4:gN:bf16` with a 16-bit zero point (tinygemm, gpt-fast).
- `nf4`: 4, a float32 scale for 64 numbers (QLoRA, arXiv 2305.14314); `nf4:double` with those scales in 8 bits, and a
  float32 for each 256 of them.
- `mxfp4`: 4, an 8-bit scale for 32 (OCP Microscaling Formats 1.0); `nvfp4`: 4, an 8-bit scale for 16, and a float32
  for a tensor.
- GGUF's: bytes for blocks of 32 or 256 numbers, as in ggml's `ggml-common.h`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

from ..errors import InputError, nearest, shown

GGUF_BLOCKS = {
    "q4_0": (32, 18), "q4_1": (32, 20), "q5_0": (32, 22), "q5_1": (32, 24), "q8_0": (32, 34),
    "q2_k": (256, 84), "q3_k": (256, 110), "q4_k": (256, 144), "q5_k": (256, 176), "q6_k": (256, 210),
    "q8_k": (256, 292), "iq1_s": (256, 50), "iq1_m": (256, 56), "iq2_xxs": (256, 66), "iq2_xs": (256, 74),
    "iq2_s": (256, 82), "iq3_xxs": (256, 98), "iq3_s": (256, 110), "iq4_nl": (32, 18), "iq4_xs": (256, 136),
    "tq1_0": (256, 54), "tq2_0": (256, 66),
}  # fmt: skip
"""Numbers in a block, and its bytes."""
_PLAIN = {"fp64": 64, "fp32": 32, "fp16": 16, "bf16": 16}
_ALIASES = {
    "float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float8": "fp8", "float64": "fp64", "f32": "fp32",
    "f16": "fp16", "float8_e4m3fn": "fp8", "float8_e5m2": "fp8", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8", "e4m3": "fp8",
    "gptq": "int4:g128", "awq": "int4:g128", "int4": "int4:g128", "fp4": "nf4", "bnb4": "nf4",
}  # fmt: skip
NAMES = (*_PLAIN, "fp8", "fp8:128x128", "fp8:channel", "int8", "int4:g128", "nf4", "nf4:double", "mxfp4", "nvfp4",
         *GGUF_BLOCKS)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Format:
    """A stored format: its name, and in what dtype engines compute products of it at best ("": that of activations)."""

    name: str
    compute: str = ""

    def stored_bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor (…, rows, k) in this format: numbers along the last dimension share scales.

        Raises:
            InputError: the shape is not one that the format can store.
        """
        return _stored(self.name, shape)

    def bits(self, shape: tuple[int, ...] = (4096, 4096)) -> float:
        """Bits for each number of a tensor of this shape."""
        return 8 * self.stored_bytes(shape) / prod(shape)


def named(text: str | Format) -> Format:
    """A format by its name.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    if isinstance(text, Format):
        return text
    if not isinstance(text, str):
        raise InputError(f"{shown(text)} is no stored format; give a name such as 'bf16', 'fp8' or 'int4:g128'")
    plain = text.strip().lower()
    name = _ALIASES.get(plain, plain)
    if name in _PLAIN or name in GGUF_BLOCKS:
        return Format(name)
    if name in ("mxfp4", "nvfp4"):
        return Format(name, "float4")
    if name == "fp8" or re.fullmatch(r"fp8:(channel|\d+x\d+)", name):
        return Format(name, "float8")
    if name == "int8" or re.fullmatch(r"int8:g\d+", name):
        return Format(name, "int8")
    if name in ("nf4", "nf4:double") or re.fullmatch(r"int[2348]:g\d+(:bf16)?", name):
        return Format(name)
    near = nearest(name, NAMES, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise InputError(f"no stored format {shown(text)}; {hint}There are {', '.join(NAMES)}; int4:gN with any group N")


def _stored(name: str, shape: tuple[int, ...]) -> int:
    numel, k = prod(shape), (shape[-1] if shape else 1)
    rows = numel // k if k else 0
    if name in _PLAIN:
        return numel * _PLAIN[name] // 8
    if name in GGUF_BLOCKS:
        return _blocks(name, rows, k, *GGUF_BLOCKS[name])
    kind, _, how = name.partition(":")
    if kind == "fp8":
        return numel + 4 * _scales(how, shape, rows)
    if name == "int8":
        return numel + 2 * rows
    if kind.startswith("int"):
        width, (group, *rest) = int(kind[3:]), how.split(":")
        size = int(group[1:])
        if k % size:
            raise _misfit(name, shape, f"groups of {size} do not divide the {k} numbers of a row")
        zero = 16 if rest else width
        return numel * width // 8 + rows * (k // size) * (16 + zero) // 8
    if kind == "nf4":
        blocks = -(-numel // 64)
        scales = 4 * blocks if not how else blocks + 4 * -(-blocks // 256)
        return -(-numel // 2) + scales
    return _blocks(name, rows, k, 32, 17) if name == "mxfp4" else _blocks(name, rows, k, 16, 9) + 4


def _scales(how: str, shape: tuple[int, ...], rows: int) -> int:
    if not how:
        return 1
    if how == "channel":
        return rows
    high, wide = map(int, how.split("x"))
    if len(shape) < 2:
        return -(-shape[-1] // wide) if shape else 1
    return prod(shape[:-2]) * -(-shape[-2] // high) * -(-shape[-1] // wide)


def _blocks(name: str, rows: int, k: int, numbers: int, size: int) -> int:
    if k % numbers:
        raise _misfit(name, (rows, k), f"blocks of {numbers} do not divide the {k} numbers of a row")
    return rows * (k // numbers) * size


def _misfit(name: str, shape: tuple[int, ...], why: str) -> InputError:
    sizes = "×".join(map(str, shape))
    return InputError(f"{name} can't store a tensor of {sizes}: {why}; give another format for it, e.g. 'bf16'")
