"""Quantized, scaled, grouped and sparse products: the same MACs as the dense product that they stand for."""

import pytest
import torch
from recording import price, price_of

import fxcost

aten = torch.ops.aten
M, K, N, G = 4, 32, 6, 3
X, OUT = torch.zeros(M, K), torch.zeros(M, N)


def test_integer_products():
    """int8 × int8 → int32."""
    cost = price(torch._int_mm, torch.zeros(32, 64, dtype=torch.int8), torch.zeros(64, 16, dtype=torch.int8))
    assert (cost.macs, cost.zero_accumulators, cost.other_flops) == (32 * 64 * 16, 32 * 16, 0)
    assert (cost.bytes_read, cost.bytes_written) == (32 * 64 + 64 * 16, 4 * 32 * 16)


def scaled(*extra):
    """_scaled_mm of (M, K) × (K, N) with more arguments."""
    a, one = X.to(torch.float8_e4m3fn), torch.ones(())
    return price_of(aten._scaled_mm.default, a, torch.zeros(K, N).to(a.dtype), one, one.clone(), *extra, outputs=OUT)


def test_scaled_products_scale_each_output():
    """Two scales, a bias, a scale of the result: one operation an output each."""
    assert scaled().macs == M * K * N
    assert [scaled(*e).other_flops // (M * N) for e in ((), (torch.zeros(N),), (None, torch.ones(())))] == [2, 3, 3]


def test_four_bit_floats_come_two_in_a_byte():
    """A packed operand of K / 2 bytes a row is K wide."""
    packed = torch.zeros(M, K // 2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    other = torch.zeros(K // 2, N, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    cost = price_of(aten._scaled_mm.default, packed, other, torch.ones(()), torch.ones(()), outputs=OUT)
    assert cost.macs == M * K * N


def test_integer_weights_are_scaled_or_dequantized():
    """int8: a product an output. int4: a product and an addition a weight."""
    int8 = price_of(
        aten._weight_int8pack_mm.default, X, torch.zeros(N, K, dtype=torch.int8), torch.zeros(N), outputs=OUT
    )
    packed = torch.zeros(N, K // 2, dtype=torch.uint8)
    int4 = price_of(aten._weight_int4pack_mm_for_cpu.default, X, packed, 32, torch.zeros(1, N, 2), outputs=OUT)
    assert (int8.macs, int8.other_flops) == (M * K * N, M * N)
    assert (int4.macs, int4.other_flops) == (M * K * N, 2 * K * N)
    assert int4.bytes_read == X.nbytes + packed.nbytes + 8 * N


def test_dynamic_four_bit_products_scale_each_block():
    """A partial sum for each block of 8 of the 32 inputs."""
    packed = torch.zeros(100, dtype=torch.uint8)
    cost = price_of(aten._dyn_quant_matmul_4bit.default, X, packed, 8, K, N, outputs=OUT)
    assert (cost.macs, cost.other_flops) == (M * K * N, M * N * 4)


@pytest.mark.parametrize(
    ("a", "b", "out", "macs"),
    [
        ((M, K), (G, K, N), (M, N), M * K * N),
        ((G, M, K), (G, K, N), (G, M, N), G * M * K * N),
        ((M, K), (K, N), (G, M, N), M * K * N),
        ((G, M, K), (K, N), (M, N), M * K * N),
    ],
    ids=["rows", "stacked", "inner", "columns"],
)
def test_grouped_products_are_routing_independent(a, b, out, macs):
    """Every row, slice or column belongs to one group, whichever it is."""
    half = torch.bfloat16
    args = torch.zeros(a, dtype=half), torch.zeros(b, dtype=half)
    offsets = None if len(a) == len(b) == 3 else torch.zeros(G, dtype=torch.int32)
    cost = price_of(aten._grouped_mm.default, *args, offsets, outputs=torch.zeros(out, dtype=half))
    result = torch.zeros(out, dtype=half)
    one = torch.ones(1)
    eight = tuple(t.to(torch.float8_e4m3fn) for t in args)
    scaled_cost = price_of(aten._scaled_grouped_mm.default, *eight, one, one.clone(), offsets, outputs=result)
    assert (cost.macs, cost.zero_accumulators, scaled_cost.macs) == (macs, result.numel(), macs)
    assert scaled_cost.other_flops == 2 * result.numel()


def test_structured_sparsity_halves_the_product():
    """2:4 sparse: half of the first matrix is stored and multiplied."""
    packed, meta = torch.zeros(M, K // 2), torch.zeros(M, K // 16, dtype=torch.int16)
    dense = torch.zeros(K, N)
    plain = price_of(aten._sparse_semi_structured_mm.default, packed, meta, dense, outputs=OUT)
    added = price_of(aten._sparse_semi_structured_addmm.default, torch.zeros(N), packed, meta, dense, outputs=OUT)
    assert plain.macs == added.macs == M * K * N // 2
    assert (plain.other_flops, added.other_flops) == (0, M * N)


@pytest.mark.parametrize(("activation", "operations"), [(None, 0), ("relu", 1), ("silu", 5)])
def test_mixed_dtypes(activation, operations):
    """A scale, a bias and an activation an output."""
    weight, scale, bias = torch.zeros(K, N, dtype=torch.int8), torch.zeros(N), torch.zeros(N)
    cost = price_of(aten._mixed_dtypes_linear.default, X, weight, scale, bias=bias, activation=activation, outputs=OUT)
    assert (cost.macs, cost.other_flops) == (M * K * N, M * N * (2 + operations))


def test_int4_weights_as_cuda_packs_them():
    """PyTorch's own meta kernel takes fake tensors alone."""
    packed, scales = torch.zeros(4, 1, 32, 4, dtype=torch.int32), torch.ones(2, 32, 2, dtype=torch.bfloat16)
    x = fxcost.spec(16, 64, dtype="bfloat16")
    assert fxcost.analyze(lambda x: torch._weight_int4pack_mm(x, packed, 32, scales), x).macs == 16 * 64 * 32
