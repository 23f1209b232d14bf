"""Attention against its definition, and every fused operator against the unit."""

import math

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from oracle import dot, exp, filled, maximum, prove, total
from recording import operations, price, price_of
from strategies import drawn, flags, sizes, values

import fxcost
from fxcost.records.recording import OpRecord, TensorSpec
from fxcost.rules import default_registry
from fxcost.rules.pricing import cost_operation

F = torch.nn.functional
aten = torch.ops.aten


def softmax(row):
    peak = total(row, maximum)
    raised = [exp(v - peak) for v in row]
    norm = total(raised)
    return [r / norm for r in raised]


def attention(q, k, v, mask, scale):
    """softmax(scale · Q Kᵀ + mask) V for each head; a boolean mask selects, a floating-point one is added."""
    out = filled((*q.shape[:-1], v.shape[-1]))
    repeat = q.shape[1] // k.shape[1]
    for n, h, i in np.ndindex(q.shape[:3]):
        keys, vals = k[n, h // repeat], v[n, h // repeat]
        scores = [dot(q[n, h, i], key) for key in keys]
        scores = scores if scale == 1 else [s * scale for s in scores]
        if mask is not None and mask.dtype == object:
            scores = [s + m for s, m in zip(scores, mask[i], strict=True)]
        elif mask is not None:
            scores = [s if m else -math.inf for s, m in zip(scores, mask[i], strict=True)]
        weights = softmax(scores)
        for j in range(v.shape[-1]):
            out[n, h, i, j] = dot(weights, vals[:, j])
    return out


@drawn(sizes, sizes, sizes, sizes, sizes, sizes, flags, st.sampled_from([0.5, 1.0]))
def test_scaled_dot_product_attention(n, heads, l_q, l_k, d, d_v, biased, scale):
    """Any sizes, another head size of the values, with an added mask or none; a scale of one is no product."""
    q, k, v = values(n, heads, l_q, d), values(n, heads, l_k, d, seed=1), values(n, heads, l_k, d_v, seed=2)
    mask = values(l_q, l_k) if biased else None
    call = lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m, scale=scale)  # noqa: E731
    prove(call, lambda q, k, v, m: attention(q, k, v, m, scale), q, k, v, mask)


def test_masks_that_select_cost_nothing_and_are_read():
    """A boolean mask and causality change no count."""
    q, k, v = values(2, 3, 4, 8), values(2, 3, 5, 8, seed=1), values(2, 3, 5, 8, seed=2)
    mask = torch.ones(4, 5, dtype=torch.bool).tril()
    masked = prove(
        F.scaled_dot_product_attention, lambda q, k, v, m: attention(q, k, v, m, 1 / math.sqrt(8)), q, k, v, mask
    )
    causal = price(lambda *a: F.scaled_dot_product_attention(*a, is_causal=True), q, k, v)
    plain = price(F.scaled_dot_product_attention, q, k, v)
    assert masked.flops == causal.flops == plain.flops
    assert price(F.scaled_dot_product_attention, q, k, v, mask).bytes_read - plain.bytes_read == 20


def test_grouped_queries():
    """Four heads of the query share two of the keys: the query's heads count, the keys are read once."""
    q, k, v = values(1, 4, 3, 8), values(1, 2, 5, 8, seed=1), values(1, 2, 5, 8, seed=2)
    call = lambda *a: F.scaled_dot_product_attention(*a, enable_gqa=True)  # noqa: E731
    prove(call, lambda q, k, v: attention(q, k, v, None, 1 / math.sqrt(8)), q, k, v)
    assert price(call, q, k, v).bytes_read == 8 * (4 * 3 * 8 + 2 * (2 * 5 * 8))


def test_traffic_is_query_key_value_and_output():
    """The scores are not stored."""
    q = torch.zeros(2, 3, 100, 8)
    cost = price(F.scaled_dot_product_attention, q, q.clone(), q.clone())
    assert (cost.bytes_read, cost.bytes_written) == (3 * q.nbytes, q.nbytes)


def test_dropout_is_two_products_a_score():
    """In training each score is masked and rescaled."""
    q = values(2, 3, 4, 8)
    dropped = price(lambda q: F.scaled_dot_product_attention(q, q, q, dropout_p=0.5), q)
    assert dropped.flops - price(lambda q: F.scaled_dot_product_attention(q, q, q), q).flops == 2 * 2 * 3 * 4 * 4


def test_every_fused_operator_costs_what_the_unit_costs():
    """Whichever kernel a device picks, the arithmetic is the same."""
    q, k, v = (values(2, 3, 4, 8, seed=i) for i in range(3))
    unit, out = price(F.scaled_dot_product_attention, q, k, v), torch.zeros_like(q)
    swapped = [t.transpose(1, 2) for t in (q, k, v)]
    fused = [
        price_of(aten._scaled_dot_product_flash_attention.default, q, k, v, outputs=out),
        price_of(aten._scaled_dot_product_efficient_attention.default, q, k, v, None, False, outputs=out),
        price_of(aten._scaled_dot_product_cudnn_attention.default, q, k, v, None, False, outputs=out),
        price_of(aten._scaled_dot_product_flash_attention_for_cpu.default, q, k, v, outputs=out),
        price_of(aten._scaled_dot_product_fused_attention_overrideable.default, q, k, v, outputs=out),
        price_of(aten._flash_attention_forward.default, *swapped, None, None, 4, 4, 0.0, False, False, outputs=out),
        price_of(aten._efficient_attention_forward.default, *swapped, None, None, None, 4, 4, 0.0, 0, outputs=out),
    ]
    for cost in fused:
        assert (cost.macs, cost.flops, cost.bytes_moved) == (unit.macs, unit.flops, unit.bytes_moved)


def test_ragged_sequences_count_at_their_longest():
    """Three sequences of at most five among eleven tokens."""
    q = values(11, 2, 8)
    starts = torch.tensor([0, 3, 6, 11], dtype=torch.int32)
    cost = price_of(
        aten._flash_attention_forward.default, q, q, q, starts, starts, 5, 5, 0.0, False, False, outputs=q.clone()
    )
    assert cost.macs == 3 * 2 * 5 * 5 * (8 + 8)


@pytest.mark.parametrize("biased", [False, True])
def test_the_attention_modules_fast_path_costs_what_its_slow_path_does(biased):
    """One fused operator for nn.MultiheadAttention: products of the projections and of attention."""
    e, heads, x = 8, 2, torch.zeros(3, 5, 8)
    module = torch.nn.MultiheadAttention(e, heads, batch_first=True).eval()
    mask = torch.zeros(3, heads, 5, 5) if biased else None
    flat = mask.flatten(0, 1) if biased else None
    slow = price(lambda m, x, a: m(x, x, x, need_weights=False, attn_mask=a), module, x, flat)
    p = [torch.zeros(3 * e, e), torch.zeros(3 * e), torch.zeros(e, e), torch.zeros(e)]
    fast = price_of(aten._native_multi_head_attention.default, x, x, x, e, heads, *p, mask, outputs=x.clone())
    in_bias = 3 * 5 * 3 * e  # the slow path's input is transposed, so F.linear adds that bias apart
    assert (fast.macs, fast.transcendentals) == (slow.macs, slow.transcendentals)
    assert fast.flops == slow.flops - in_bias


@pytest.mark.parametrize("gelu", [False, True])
def test_the_encoder_layers_fast_path_costs_what_its_slow_path_does(gelu):
    """One fused operator for nn.TransformerEncoderLayer."""
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu" if gelu else "relu").eval()
    x = torch.zeros(3, 5, 8)
    slow = price(lambda m, x: m(x), layer, x)
    a = layer.self_attn
    p = [a.in_proj_weight, a.in_proj_bias, a.out_proj.weight, a.out_proj.bias, gelu, False, 1e-5]
    p += [layer.norm1.weight, layer.norm1.bias, layer.norm2.weight, layer.norm2.bias]
    p += [layer.linear1.weight, layer.linear1.bias, layer.linear2.weight, layer.linear2.bias]
    fast = price_of(aten._transformer_encoder_layer_fwd.default, x, 8, 2, *p, outputs=x.clone())
    in_bias = 3 * 5 * 3 * 8  # the slow path's input is transposed, so F.linear adds that bias apart
    assert (fast.macs, fast.flops, fast.transcendentals) == (slow.macs, slow.flops - in_bias, slow.transcendentals)


def test_flex_attention_arrives_whole():
    """The higher-order operator is one record, and costs what the unit does; its score_mod runs on each score."""
    spec = TensorSpec((2, 3, 4, 8), torch.float32)
    score = TensorSpec((), torch.float32)
    tanh = OpRecord(torch.ops.aten.tanh.default, (score,), (score,))
    q = values(2, 3, 4, 8)
    unit = price(F.scaled_dot_product_attention, q, q, q)
    for score_mod, more in (((), 0), ((tanh,), 2 * 3 * 4 * 4)):
        op = OpRecord(torch.ops.higher_order.flex_attention, (spec, spec, spec, score_mod, (), 0.5, ()), (spec,))
        cost = cost_operation(op, default_registry()).cost
        assert (cost.macs, cost.flops - unit.flops) == (unit.macs, more)
        assert cost.transcendentals - unit.transcendentals == more
    tenfold = default_registry({torch.ops.aten.tanh: lambda op: fxcost.Cost(other_flops=10 * op.out.numel)})
    assert cost_operation(op, tenfold).cost.flops - unit.flops == 10 * 2 * 3 * 4 * 4


def test_varlen_attention_counts_at_its_longest():
    """`varlen_attn` on sequences of 4 and 6 tokens: two of 6, two heads of 8."""
    varlen = pytest.importorskip("torch.nn.attention.varlen")
    if not hasattr(torch.ops.torch_attn, "_varlen_attn"):
        pytest.skip("this PyTorch has no operator for it")
    starts = torch.tensor([0, 4, 10], dtype=torch.int32)
    run = lambda q: varlen.varlen_attn(q, q, q, starts, starts, 6, 6)  # noqa: E731
    report = fxcost.analyze(run, fxcost.spec(10, 2, 8, dtype="bfloat16"))
    assert (report.macs, report.uncosted) == (2 * 2 * 6 * 6 * (8 + 8), {})


def test_a_unit_is_one_operation():
    """The call is recorded whole."""
    q = values(2, 3, 4, 8)
    (op,) = operations(F.scaled_dot_product_attention, q, q, q)
    assert (op.family, op.record.op.namespace) == ("attention", "fxcost")
