"""Kernels: what kind each operator is, what a compiler joins, and that nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import fxcost
from fxcost.estimate.fusion import compiled
from fxcost.estimate.work import Work, eager


def kinds(model: Any, *inputs: Any, **options: Any) -> list[Work]:
    """The eager kernels of a model."""
    return eager(fxcost.analyze(model, list(inputs), **options).nodes)


@pytest.mark.parametrize(
    ("layer", "kind", "product"),
    [
        (nn.Conv2d(8, 16, 3, padding=1), "conv", (2 * 36, 16, 72, 1)),
        (nn.Conv2d(8, 16, 1), "conv_1x1", (2 * 36, 16, 8, 1)),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), "conv_depthwise", (2 * 36, 1, 9, 8)),
        (nn.Conv2d(8, 8, 7, padding=3, groups=8), "conv_depthwise_wide", (2 * 36, 1, 49, 8)),
        (nn.Conv2d(8, 16, 3, padding=1, groups=2), "conv_grouped", (2 * 36, 8, 36, 2)),
    ],
)
def test_convolutions_are_products_of_matrices(layer: nn.Module, kind: str, product: tuple[int, ...]) -> None:
    """m places, n channels of a group, k values that are summed up, a product for each group."""
    (work,) = kinds(layer, (2, 8, 6, 6))
    assert work.kind == kind
    assert (work.m, work.n, work.k, work.batch) == product
    assert work.flops == 2 * work.m * work.n * work.k * work.batch


def test_layouts_are_seen() -> None:
    """Channels last is a matter of strides, as the model and its inputs have them."""
    layer = nn.Conv2d(8, 16, 3).to(memory_format=torch.channels_last)
    x = torch.empty(2, 8, 6, 6).to(memory_format=torch.channels_last)
    assert [w.layout for w in kinds(layer, x)] == ["channels_last"]
    assert [w.layout for w in kinds(nn.Conv2d(8, 16, 3), (2, 8, 6, 6))] == ["channels_first"]


def test_products_of_a_transformer() -> None:
    """A linear layer, flash attention, a mask, few queries, and more dimensions than fused kernels take."""
    assert [(w.kind, w.m, w.n, w.k) for w in kinds(nn.Linear(4, 8), (6, 4))] == [("gemm", 6, 8, 4)]

    def attend(length: int, *lead: int, mask: bool = False) -> str:
        def run(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
            bias = torch.zeros(length, 32) if mask else None
            return torch.nn.functional.scaled_dot_product_attention(q, k, k, bias)

        (work,) = [w for w in kinds(run, (*lead, length, 8), (*lead, 32, 8)) if w.kind.startswith("attention")]
        assert (work.m, work.n, work.k) == (length, 32, 8)
        return work.kind

    assert attend(32, 2, 4) == "attention"
    assert attend(32, 2, 4, mask=True) == "attention_masked"
    assert attend(1, 2, 4) == "attention_decode"
    assert attend(32, 2, 3, 4) == "attention_unfused"


def test_heads_that_share_keys_are_one_block() -> None:
    """One new token of 8 heads over 2 heads of keys: each block walks along keys that four heads share."""

    def attend(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(q, k, k, enable_gqa=True)

    (work,) = [w for w in kinds(attend, (3, 8, 1, 16), (3, 2, 64, 16)) if w.kind.startswith("attention")]
    assert (work.kind, work.batch, work.n) == ("attention_decode_grouped", 3 * 2, 64)


def test_what_a_causal_mask_throws_away_is_not_computed() -> None:
    """Of 64 keys a query sees 32.5 on average."""

    def attend(causal: bool) -> int:
        def run(q: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=causal)

        return sum(w.flops for w in kinds(run, (1, 2, 64, 8)))

    assert attend(causal=True) / attend(causal=False) == 32.5 / 64


def test_maps_that_a_thread_of_an_interpolation_walks_along() -> None:
    """Channels first, a thread for each place does all images and channels; nearest and channels last run elsewise."""

    def walked(mode: str, layout: torch.memory_format = torch.contiguous_format) -> int:
        x = torch.empty(2, 8, 4, 4).to(memory_format=layout)
        (work,) = kinds(lambda x: torch.nn.functional.interpolate(x, scale_factor=2, mode=mode), x)
        assert work.kind == "interpolation"
        return work.batch

    assert (walked("bilinear"), walked("bicubic")) == (2 * 8, 2 * 8)
    assert (walked("nearest"), walked("bilinear", torch.channels_last)) == (1, 1)


def test_a_norm_that_pytorch_takes_apart_is_a_norm() -> None:
    """One kernel, with all of its arithmetic."""
    report = fxcost.analyze(nn.RMSNorm(64), (8, 64))
    (work,) = eager(report.nodes)
    assert work.kind == "row_norm"
    assert work.others == report.flops
    assert work.reads + work.writes == 4 * (2 * 8 * 64 + 64)


def test_copies_that_turn_memory_around_are_apart() -> None:
    """A copy into another order reads or writes in jumps."""
    assert [w.kind for w in kinds(lambda x: x.clone(), (4, 8))] == ["copy"]
    assert [w.kind for w in kinds(lambda x: x.t().contiguous(), (4, 8))] == ["transpose"]


def test_eager_kernels_carry_all_arithmetic_and_traffic() -> None:
    """What the report adds up, kernel by kernel."""
    report = fxcost.analyze(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval(), (2, 3, 8, 8))
    works = eager(report.nodes)
    assert sum(w.flops + w.others for w in works) == report.flops
    assert sum(w.reads + w.writes for w in works) == sum(node.cost.bytes_moved for node in report.nodes)


def test_a_compiler_joins_what_it_writes_itself() -> None:
    """Norm and activation after a convolution are one kernel, which reads and writes the map once."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    conv, fused = compiled(fxcost.analyze(model, (2, 3, 8, 8)).nodes)
    bytes_of_map, bytes_of_norm = 4 * 2 * 8 * 6 * 6, 4 * 4 * 8
    assert conv.kind == "conv"
    assert fused.kind == "fused"
    assert fused.reads + fused.writes == 2 * bytes_of_map + bytes_of_norm


def test_a_residual_sum_and_the_norm_after_it_are_one_kernel() -> None:
    """Also under autocast, where the norm's weights are cast in between: those casts hang on nothing."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

        def forward(self, x: torch.Tensor) -> Any:
            y = x + self.fc(x)
            w, b = self.norm.weight.half().float(), self.norm.bias
            return torch.nn.functional.layer_norm(y, (8,), w, b)

    works = compiled(fxcost.analyze(Block(), (4, 8)).nodes)
    (rows,) = [w for w in works if w.kind == "fused_rows"]
    assert rows.reads + rows.writes == 4 * (
        3 * 4 * 8 + 2 * 8 + 2 * 4
    )  # x, product, result; weight, bias; row statistics


def test_grouped_networks_stay_channels_first_when_compiled() -> None:
    """Inductor's rule: grouped convolutions are slower channels last, all others faster."""
    plain = compiled(fxcost.analyze(nn.Conv2d(64, 128, 3), (1, 64, 8, 8)).nodes)
    grouped = compiled(fxcost.analyze(nn.Conv2d(64, 128, 3, groups=2), (1, 64, 8, 8)).nodes)
    assert [w.layout for w in (*plain, *grouped)] == ["channels_last", "channels_first"]
