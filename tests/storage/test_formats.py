"""Stored formats: bits by definition, what they refuse, and what they change of a report."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fxcost
from fxcost.storage.declared import format_of
from fxcost.storage.formats import GGUF_BLOCKS, named
from fxcost.storage.headers import gguf_header, held_by_files, safetensors_header


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("bf16", 16), ("int4:g128", 4 + 20 / 128), ("int4:g32:bf16", 5), ("nf4", 4.5), ("nf4:double", 4.127),
        ("mxfp4", 4.25), ("nvfp4", 4.5), ("q4_0", 4.5), ("q8_0", 8.5), ("q6_k", 6.5625), ("int8", 8 + 16 / 4096),
        ("fp8", 8), ("fp8:128x128", 8 + 32 / 128**2), ("gptq", 4 + 20 / 128),
    ],
)  # fmt: skip
def test_bits_of_a_number(name: str, bits: float) -> None:
    """Scales and zero points included, of a 4,096 × 4,096 matrix."""
    assert named(name).bits() == pytest.approx(bits, rel=1e-4)


def test_whole_bytes_by_hand() -> None:
    """Small tensors, counted out."""
    assert named("int4:g4").stored_bytes((2, 8)) == 8 + 2 * 2 * 20 // 8
    assert named("fp8:2x3").stored_bytes((3, 4)) == 12 + 4 * 4
    assert named("fp8:128x128").stored_bytes((5, 256, 128)) == 5 * 256 * 128 + 5 * 2 * 4
    assert named("nvfp4").stored_bytes((3, 32)) == 3 * 2 * 9 + 4
    assert named("q4_k").stored_bytes((2, 256)) == 288
    assert all(size * 8 / numbers < 10 for numbers, size in GGUF_BLOCKS.values())


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("int4:g128", (8, 100), "groups of 128 do not divide the 100"), ("mxfp4", (8, 40), "blocks of 32"),
        ("q6_k", (1, 128), "blocks of 256"),
    ],
)  # fmt: skip
def test_a_format_that_does_not_fit_is_said(name: str, shape: tuple[int, ...], said: str) -> None:
    """Which tensor, and why."""
    with pytest.raises(fxcost.InputError, match=said):
        named(name).stored_bytes(shape)
    with pytest.raises(fxcost.InputError, match="did you mean mxfp4"):
        named("mxfp5")


class Net(nn.Module):
    """An embedding, a matrix with a bias, a norm, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.up, self.norm = nn.Embedding(100, 64), nn.Linear(64, 128), nn.LayerNorm(128)
        self.head = nn.Linear(128, 100, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.norm(self.up(self.embed(ids))))
        return out


def report() -> fxcost.Report:
    """In bfloat16, three tokens."""
    return fxcost.analyze(Net().to(torch.bfloat16), fxcost.spec(1, 3, dtype="int64"))


def test_the_models_own_format_changes_nothing() -> None:
    """Every number of the cost and of memory."""
    before = report()
    after = before.stored("bf16")
    assert (after.cost, after.memory.peak_bytes, after.param_bytes) == (
        before.cost, before.memory.peak_bytes, before.param_bytes,
    )  # fmt: skip


def test_int8_halves_exactly_what_matrices_take() -> None:
    """Traffic and memory: the matrices' bytes, less one scale for each row; nothing else moves."""
    before, after = report(), report().stored("int8")
    saved = 64 * 128 + 128 * 100 - 2 * (128 + 100)
    assert before.cost.bytes_read - after.cost.bytes_read == saved
    assert before.param_bytes - after.param_bytes == saved
    assert before.memory.resident_bytes - after.memory.resident_bytes == saved
    assert after.cost.bytes_written == before.cost.bytes_written
    assert (after.macs, after.params) == (before.macs, before.params)
    assert any("int8" in text for text in after.assumptions)
    assert after.roofline("a100").memory_s < before.roofline("a100").memory_s
    assert fxcost.Report.from_json(after.to_json()).cost == after.cost


def test_patterns_say_which_weights() -> None:
    """The first that matches; of an embedding only the rows that are picked are read."""
    before = report()
    after = before.stored({"head": "fp8", "embed.*": "int8", "*": "bf16"})
    assert before.cost.bytes_read - after.cost.bytes_read == (128 * 100 - 4) + 3 * 64 - 3 * 2
    with pytest.raises(fxcost.InputError, match="'tail' fits the name of no weight"):
        before.stored({"tail": "fp8"})
    with pytest.raises(fxcost.InputError, match=r"up.weight.*groups of 48"):
        before.stored("int4:g48")


def test_peaks_by_family() -> None:
    """Products at the peak of fp8, all else at its own."""
    half = report().roofline("h100")
    mixed = report().roofline("h100", dtype={"matmul": "float8"})
    names = {node.name for node in half.nodes if node.family == "matmul" and node.flops}
    assert names
    for a, b in zip(half.nodes, mixed.nodes, strict=True):
        if a.name not in names:
            assert a.compute_s == b.compute_s
    assert mixed.compute_s < half.compute_s


@pytest.mark.parametrize(
    ("settings", "format_name", "kept"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 64}, "int4:g64", "lm_head"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "modules_to_not_convert": ["gate"]}, "int4:g128",
         "gate"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8:128x128", "lm_head"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True}, "nf4:double",
         "lm_head"),
        ({"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}, "mxfp4",
         "model.layers.*.self_attn"),
        ({"quant_method": "compressed-tensors", "ignore": ["lm_head"], "config_groups": {"group_0": {
            "weights": {"num_bits": 4, "type": "int", "group_size": 32}}}}, "int4:g32", "lm_head"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4", "lm_head"),
    ],
)  # fmt: skip
def test_quantization_configs(settings: dict[str, Any], format_name: str, kept: str) -> None:
    """Each library's words for a format, and what stays as it is."""
    found, _, left = format_of(settings)
    assert found == format_name
    assert kept in left


def test_an_unknown_method_is_said() -> None:
    """With what to do."""
    with pytest.raises(fxcost.InputError, match=r"quant_method 'magic'.*weights='int4:g128'"):
        format_of({"quant_method": "magic"})


def write_safetensors(path: Path, tensors: dict[str, tuple[str, list[int], int]]) -> None:
    """A header, and no data: nobody may read it."""
    header, at = {}, 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


def test_headers_of_safetensors(tmp_path: Path) -> None:
    """A matrix with its scale, packed integers with theirs, and files that are none."""
    write_safetensors(tmp_path / "model.safetensors", {
        "up.weight": ("F8_E4M3", [128, 64], 8192), "up.weight_scale_inv": ("F32", [1, 1], 4),
        "head.qweight": ("I32", [16, 100], 6400), "head.scales": ("F16", [1, 100], 200),
        "head.qzeros": ("I32", [1, 13], 52), "embed.weight": ("BF16", [100, 64], 12800),
    })  # fmt: skip
    held = held_by_files(report(), str(tmp_path))
    assert {name: h.stored_bytes for name, h in held.items()} == {"up.weight": 8196, "head.weight": 6652}
    assert held["up.weight"].format == "fp8"
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(fxcost.InputError, match="no safetensors file"):
        safetensors_header(str(tmp_path / "model.safetensors"))
    write_safetensors(tmp_path / "model.safetensors", {"other": ("F32", [1], 4)})
    with pytest.raises(fxcost.InputError, match="has the name of a weight"):
        held_by_files(report(), str(tmp_path))


def test_headers_of_gguf(tmp_path: Path) -> None:
    """Metadata of several kinds is passed over; tensors have their shape the other way round."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    def tensor(name: str, sizes: tuple[int, ...], kind: int) -> bytes:
        return text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, 0)

    metadata = text("general.name") + struct.pack("<I", 8) + text("x")
    metadata += text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
    metadata += text("n") + struct.pack("<II", 4, 7)
    tensors = tensor("blk.3.attn_q.weight", (256, 512), 12) + tensor("output.weight", (256, 1000), 14)
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 2, 3) + metadata + tensors)
    first, second = gguf_header(str(path))
    assert (first.shape, first.format, first.nbytes) == ((512, 256), "q4_k", 512 * 144)
    assert (second.shape, second.nbytes) == ((1000, 256), 1000 * 210)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(fxcost.InputError, match="cut short"):
        gguf_header(str(path))
