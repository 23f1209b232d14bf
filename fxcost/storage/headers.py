"""The headers of safetensors and GGUF files: name, dtype and shape of every tensor, without reading any weight.

safetensors: eight bytes of length, then JSON (github.com/huggingface/safetensors, README). GGUF: the layout of
github.com/ggml-org/ggml, docs/gguf.md. Of both exactly the bytes that tensors take on disk are known.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import BinaryIO

from ..errors import InputError
from ..memory.analysis import Analysis
from ..totals.parameters import unique_parameters
from .formats import GGUF_BLOCKS
from .stored import Held

LONGEST_HEADER = 100_000_000
"""Bytes; safetensors' own limit."""
_ST_NAMES = {
    "BF16": "bf16", "F16": "fp16", "F32": "fp32", "F64": "fp64", "F8_E4M3": "fp8", "F8_E5M2": "fp8", "I8": "int8",
    "U8": "uint8", "I32": "int32", "I64": "int64", "F4": "fp4", "F8_E8M0": "e8m0",
}  # fmt: skip
_GGML_TYPES = {
    0: ("fp32", 1, 4), 1: ("fp16", 1, 2), 30: ("bf16", 1, 2), 24: ("int8", 1, 1), 25: ("int16", 1, 2),
    26: ("int32", 1, 4), 27: ("int64", 1, 8), 28: ("fp64", 1, 8), 39: ("mxfp4", 32, 17),
    **{number: (name, *GGUF_BLOCKS[name]) for number, name in {
        2: "q4_0", 3: "q4_1", 6: "q5_0", 7: "q5_1", 8: "q8_0", 10: "q2_k", 11: "q3_k", 12: "q4_k", 13: "q5_k",
        14: "q6_k", 15: "q8_k", 16: "iq2_xxs", 17: "iq2_xs", 18: "iq3_xxs", 19: "iq1_s", 20: "iq4_nl", 21: "iq3_s",
        22: "iq2_s", 23: "iq4_xs", 29: "iq1_m", 34: "tq1_0", 35: "tq2_0",
    }.items()},
}  # fmt: skip
_GGUF_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor of a file: its name there, shape (outermost first), format, and bytes."""

    name: str
    shape: tuple[int, ...]
    format: str
    nbytes: int


def safetensors_header(path: str) -> list[Entry]:
    """The tensors of a safetensors file.

    Raises:
        InputError: it is none, or is cut short.
    """
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= LONGEST_HEADER:
            raise InputError(f"{path} is no safetensors file: its header would be {length:,} bytes")
        try:
            entries = json.loads(file.read(length))
            return [
                Entry(
                    name, tuple(e["shape"]), _ST_NAMES.get(e["dtype"], e["dtype"].lower()),
                    e["data_offsets"][1] - e["data_offsets"][0],
                )
                for name, e in entries.items()
                if name != "__metadata__"
            ]  # fmt: skip
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise InputError(f"{path} is no safetensors file: its header can't be read ({error})") from error


def gguf_header(path: str) -> list[Entry]:
    """The tensors of a GGUF file.

    Raises:
        InputError: it is none, or is cut short.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"GGUF":
            raise InputError(f"{path} is no GGUF file")
        try:
            version, tensors, entries = struct.unpack("<IQQ", file.read(20))
            if version < 2 or tensors > 10**7 or entries > 10**7:
                raise InputError(f"{path}: GGUF version {version} with {tensors:,} tensors can't be read here")
            for _ in range(entries):
                _gguf_text(file)
                _skip_value(file, *struct.unpack("<I", file.read(4)))
            return [_gguf_entry(path, file) for _ in range(tensors)]
        except (struct.error, UnicodeDecodeError, MemoryError, OverflowError) as error:
            raise InputError(f"{path} is a GGUF file that is cut short or broken ({error})") from error


def _gguf_text(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > LONGEST_HEADER:
        raise struct.error(f"a text of {length:,} bytes")
    return file.read(length).decode("utf-8")


def _skip_value(file: BinaryIO, kind: int) -> None:
    if kind == 8:
        _gguf_text(file)
    elif kind == 9:
        inner, count = struct.unpack("<IQ", file.read(12))
        if inner in _GGUF_NUMBERS:
            file.seek(count * struct.calcsize(f"<{_GGUF_NUMBERS[inner]}"), os.SEEK_CUR)
        else:
            for _ in range(count):
                _skip_value(file, inner)
    elif kind in _GGUF_NUMBERS:
        file.seek(struct.calcsize(f"<{_GGUF_NUMBERS[kind]}"), os.SEEK_CUR)
    else:
        raise struct.error(f"a value of kind {kind}")


def _gguf_entry(path: str, file: BinaryIO) -> Entry:
    name = _gguf_text(file)
    (rank,) = struct.unpack("<I", file.read(4))
    if rank > 8:
        raise struct.error(f"a tensor of {rank} dimensions")
    sizes = struct.unpack(f"<{rank}Q", file.read(8 * rank))
    kind, _ = struct.unpack("<IQ", file.read(12))
    if kind not in _GGML_TYPES:
        raise InputError(f"{path}: {name} is stored in ggml's type {kind}, which is not known here")
    text, numbers, size = _GGML_TYPES[kind]
    return Entry(name, tuple(reversed(sizes)), text, prod(sizes) // numbers * size)


def entries_in(folder: str) -> list[Entry]:
    """The tensors of all files of weights in a folder.

    Raises:
        InputError: there are none, or one can't be read.
    """
    names = sorted(os.listdir(folder))
    found = [name for name in names if name.endswith((".safetensors", ".gguf"))]
    if not found:
        raise InputError(f"there is no .safetensors or .gguf file in {folder}")
    entries: list[Entry] = []
    for name in found:
        path = os.path.join(folder, name)
        try:
            entries += gguf_header(path) if name.endswith(".gguf") else safetensors_header(path)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return entries


def held_by_files(report: Analysis, folder: str) -> dict[str, Held]:
    """How each parameter is stored in the files of a folder, scales and zero points with the weight that they are for.

    Raises:
        InputError: the files are not this model's.
    """
    entries = entries_in(folder)
    grouped: dict[str, list[Entry]] = {}
    for entry in entries:
        grouped.setdefault(_owner(entry.name), []).append(entry)
    found: dict[str, Held] = {}
    known = 0
    for parameter in unique_parameters(report.recording.parameters):
        if parameter.is_buffer:
            continue
        parts = next((p for name in parameter.names if (p := list(_parts(name, grouped)))), None)
        if parts is None:
            continue
        known += 1
        size = sum(entry.nbytes for entry in parts)
        if size != parameter.stored_bytes:
            found[parameter.name] = Held(_format(parts), size)
    if not known:
        raise InputError(f"no tensor of the files in {folder} has the name of a weight of the model")
    return found


_SCALES = re.compile(
    r"(\.weight)?[._](qweight|qzeros|scales|scale|g_idx|weight_scale_inv|weight_scale|weight_scale_2|weight_packed|"
    r"weight_shape|weight_zero_point|scale_inv|absmax|quant_map|nested_absmax|nested_quant_map|blocks|input_scale|"
    r"quant_state\.\w+)$"
)


def _owner(name: str) -> str:
    """The weight that a tensor of a file is a part of: itself, or the one that it is the scale of."""
    plain = _from_gguf(name)
    stem = _SCALES.sub("", plain)
    return stem.removesuffix(".weight")


def _parts(name: str, grouped: dict[str, list[Entry]]) -> Iterator[Entry]:
    """The tensors that make a parameter: its own, or those of all experts and halves that transformers stacks."""
    stem = name.removesuffix(".weight")
    if stem in grouped:
        yield from grouped[stem]
        return
    before, found, last = stem.rpartition(".experts.")
    if not found:
        return
    wanted = {"gate_up_proj": ("gate_proj", "up_proj", "w1", "w3"), "down_proj": ("down_proj", "w2")}.get(last, (last,))
    for other, entries in grouped.items():
        inside = re.fullmatch(rf"{re.escape(before)}\.experts\.(?:\d+\.)?(\w+)", other)
        if inside and inside[1] in wanted:
            yield from entries


_GGUF_PARTS = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "ffn_gate_inp": "mlp.gate", "ffn_gate_exps": "mlp.experts.gate_proj",
    "ffn_up_exps": "mlp.experts.up_proj", "ffn_down_exps": "mlp.experts.down_proj",
}  # fmt: skip
"""What llama.cpp calls the parts of a layer, and transformers for most models."""


def _from_gguf(name: str) -> str:
    if name.startswith("token_embd"):
        return "model.embed_tokens.weight"
    if name.startswith("output_norm"):
        return "model.norm.weight"
    if name == "output.weight":
        return "lm_head.weight"
    found = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(\w+)", name)
    if found is None or found[2] not in _GGUF_PARTS:
        return name
    return f"model.layers.{found[1]}.{_GGUF_PARTS[found[2]]}.{found[3]}"


def _format(parts: list[Entry]) -> str:
    """The formats of a weight's largest tensor, and of others that are more than scales."""
    largest = max(parts, key=lambda entry: entry.nbytes)
    packed = {"int32", "uint8"} & {largest.format}
    return "packed" if packed else largest.format
