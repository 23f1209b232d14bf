"""What a causal mask leaves of attention is what each query does alone, with the keys up to its own."""

import torch
from hypothesis import strategies as st
from strategies import drawn, sizes

import fxcost

F = torch.nn.functional


def step(length, keys, d, d_v, *, causal, dropout, scale):
    """Costs of both passes of attention with `length` queries and so many keys."""

    class Attends(torch.nn.Module):
        def forward(self, q, k, v):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal, dropout_p=dropout, scale=scale)

    shapes = (length, d), (keys, d), (keys, d_v)
    inputs = [torch.empty(2, 3, *shape).requires_grad_() for shape in shapes]
    report = fxcost.analyze(Attends(), inputs, training=True, strict=True)
    assert report.training is not None
    return report.cost, report.training.backward


@drawn(st.integers(1, 5), sizes, sizes, st.sampled_from([0.0, 0.25]), st.sampled_from([None, 1.0]))
def test_causal_attention_is_a_sum_over_its_queries(length, d, d_v, dropout, scale):
    """Products and other operations, forward and backward; the keys' gradients add up over queries beyond that."""
    whole = step(length, length, d, d_v, causal=True, dropout=dropout, scale=scale)
    alone = [step(1, i + 1, d, d_v, causal=False, dropout=dropout, scale=scale) for i in range(length)]
    assert whole[0].masked_macs == sum(forward.macs for forward, _ in alone)
    assert whole[0].masked_flops == sum(forward.flops for forward, _ in alone)
    assert whole[1].masked_macs == sum(backward.macs for _, backward in alone)
    assert whole[1].skipped_flops == sum(
        (full.other_flops - part.other_flops)
        for (_, part), (_, full) in zip(
            alone,
            [step(1, length, d, d_v, causal=False, dropout=dropout, scale=scale)] * length,
            strict=True,
        )
    )
