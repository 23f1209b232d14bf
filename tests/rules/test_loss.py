"""Losses that are no element's own business: likelihoods, margins, alignments. Elementwise ones: test_pointwise."""

import pytest
import torch
from hypothesis import strategies as st
from oracle import Number, counts, exp, filled, log, maximum, prove, total
from recording import price
from strategies import drawn, flags, sizes, values

F = torch.nn.functional
REDUCTIONS = ["none", "mean", "sum"]


def reduced(losses, reduction, divisor=None):
    if reduction == "none":
        out = filled((len(losses),))
        out[:] = losses
        return out
    summed = total(losses)
    return summed if reduction == "sum" else summed / (len(losses) if divisor is None else divisor)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@drawn(sizes, sizes, flags, examples=8)
def test_negative_log_likelihood(reduction, n, c, weighted):
    """−x[y], times the class's weight; the mean divides by the weights' sum."""
    x, y = values(n, c), torch.arange(n) % c
    weight = values(c, low=0.5) if weighted else None

    def reference(x, y, w):
        picked = [-x[i, y[i]] for i in range(n)]
        if w is None:
            return reduced(picked, reduction)
        weights = [w[k] for k in y]
        losses = [a * b for a, b in zip(picked, weights, strict=True)]
        return reduced(losses, reduction, total(weights) if reduction == "mean" else None)

    prove(lambda x, y, w: F.nll_loss(x, y, w, reduction=reduction), reference, x, y, weight)


def test_likelihood_of_maps_counts_positions():
    """(n, c, h, w): a negation for each of n·h·w, and their mean."""
    x, y = values(2, 3, 4, 5), torch.zeros(2, 4, 5, dtype=torch.int64)
    assert price(F.nll_loss, x, y).flops == 40 + 40


def test_cross_entropy_is_log_softmax_and_likelihood():
    """Composed by PyTorch: nothing is counted twice."""
    x, y = values(4, 3), torch.zeros(4, dtype=torch.int64)
    assert price(F.cross_entropy, x, y) == price(F.nll_loss, x, y) + price(lambda x: F.log_softmax(x, 1), x)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("p", [1, 2])
def test_margins(reduction, p):
    """max(0, margin − x[y] + x[i])^p over the wrong classes, divided by their number."""
    x, y, c = values(3, 4), torch.tensor([0, 2, 3]), 4

    def reference(x, y):
        losses = []
        for i in range(3):
            terms = [maximum(1 - x[i, y[i]] + x[i, j], 0) for j in range(c) if j != y[i]]
            terms = [t * t for t in terms] if p == 2 else terms
            losses.append(total(terms) / c)
        return reduced(losses, reduction)

    prove(lambda x, y: F.multi_margin_loss(x, y, p, reduction=reduction), reference, x, y)


def logsumexp(terms):
    """log Σ exp with the largest taken out; at least one term is finite."""
    peak = total(terms, maximum)
    return log(total([exp(t - peak) for t in terms])) + peak


@drawn(sizes, sizes, examples=6)
def test_connectionist_temporal_classification(n, length):
    """The forward recursion over the extended target: three predecessors a state, all of them counted."""
    steps, classes, minus_infinity = 2 * length + 2, 3, -1e30
    logits = F.log_softmax(values(steps, n, classes), 2)
    targets = torch.stack([1 + (torch.arange(length) + i) % 2 for i in range(n)])

    def reference(p, targets):
        losses = filled((n,))
        for b in range(n):
            labels = [0]
            for t in targets[b]:
                labels += [int(t), 0]
            before = [0.0, *[minus_infinity] * (len(labels) - 1)]
            for t in range(steps):
                now = []
                for s, label in enumerate(labels):
                    skip = s > 1 and label not in (0, labels[s - 2])
                    if t == 0:  # a path starts at the blank or at the first label
                        terms = [0.0 if s < 2 else minus_infinity, minus_infinity, minus_infinity]
                    else:
                        terms = [before[s], before[s - 1] if s else minus_infinity]
                        terms.append(before[s - 2] if skip else minus_infinity)
                    now.append(logsumexp(terms) + p[t, b, label])
                before = now
            losses[b] = -logsumexp(before[-2:])
        return losses

    lengths = torch.full((n,), steps), torch.full((n,), length)

    def call(p, targets):
        return F.ctc_loss(p, targets, lengths[0].tolist(), lengths[1].tolist(), reduction="none")

    prove(call, reference, logits, targets)


def test_alignments_of_unknown_length_count_at_the_longest():
    """Lengths in tensors: every target as long as the longest."""
    p, targets = values(5, 2, 3), torch.ones(2, 2, dtype=torch.int64)
    listed = price(lambda p, t: torch.ops.aten._ctc_loss(p, t, [5, 5], [2, 2]), p, targets)
    assert listed.flops == 13 * 2 * 5 * 5 + 9 * 2


@pytest.mark.parametrize("delta", [1.0, 2.0])
def test_thresholds_other_than_one_take_a_product_more(delta):
    """Huber and smooth L1."""
    x, y = values(3, 4), values(3, 4, seed=1)
    more = 12 * (delta != 1)
    assert price(lambda a, b: F.huber_loss(a, b, delta=delta), x, y).flops == 12 * 6 + 12 + more
    assert price(lambda a, b: F.smooth_l1_loss(a, b, beta=delta), x, y).flops == 12 * 6 + 12 + more


def test_weights_of_binary_cross_entropy():
    """A weight is a product; a positive weight (1 + (p − 1) y) and its product four operations."""
    x, y, w = values(3, 4), values(3, 4, low=0, high=1), values(3, 4, low=0.5)
    plain = price(F.binary_cross_entropy_with_logits, x, y)
    weighted = price(lambda *a: F.binary_cross_entropy_with_logits(*a), x, y, w)
    positive = price(lambda x, y, p: F.binary_cross_entropy_with_logits(x, y, pos_weight=p), x, y, values(4, low=0.5))
    assert (weighted.flops - plain.flops, positive.flops - plain.flops) == (12, 48)
    assert (plain.flops, plain.transcendentals) == (12 * 9 + 12, 24)


def labelled(x, targets):
    """For each sample the terms of multilabel_margin_loss: a target's lead over another class."""
    for row, target in zip(x, targets, strict=True):
        wanted = [int(t) for t in target if t >= 0]
        yield [(t, i, 1 - (row[t] - row[i])) for t in wanted for i in range(len(row)) if i not in wanted]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@drawn(sizes, st.integers(1, 3), examples=6)
def test_margins_of_several_labels(reduction, n, labels):
    """Every target against every other class; counted at its most, where half of the classes are targets."""
    c = 2 * labels
    targets = torch.tensor([[*range(labels), *[-1] * labels]] * n)

    def reference(x, targets):
        losses = [total([maximum(term, 0) for _, _, term in terms]) / c for terms in labelled(x, targets)]
        return reduced(losses, reduction)

    prove(lambda x, y: F.multilabel_margin_loss(x, y, reduction=reduction), reference, values(n, c), targets)


@drawn(sizes, st.integers(1, 3), examples=6)
def test_gradient_of_several_labels(n, labels):
    """Where a lead is too small, the sample's share goes to both classes."""
    c = 2 * labels
    x, targets = values(n, c), torch.tensor([[*range(labels), *[-1] * labels]] * n)
    is_target = torch.ops.aten.multilabel_margin_loss_forward(x, targets, 0)[1]

    def reference(g, x, targets, _):
        out = filled(x.shape)
        for i, terms in enumerate(labelled(x, targets)):
            out[i] = [Number(0.0) for _ in range(c)]
            share = g[i] / c
            for t, k, term in terms:
                moved = share if term > 0 else Number(0.0)
                out[i, t], out[i, k] = out[i, t] - moved, out[i, k] + moved
        return out

    def call(g, x, targets, is_target):
        return torch.ops.aten.multilabel_margin_loss_backward(g, x, targets, 0, is_target)

    prove(call, reference, values(n, seed=1), x, targets, is_target)


def test_linear_cross_entropy_is_its_parts():
    """A linear layer and cross entropy in one operator, chunk by chunk: the products of both passes are theirs."""
    n, d, c = 6, 4, 5
    x, weight = values(n, d).requires_grad_(), values(c, d, seed=1).requires_grad_()
    y = torch.zeros(n, dtype=torch.int64)
    pytest.importorskip("torch.nn.modules.linear_cross_entropy")
    rest = (None, None, "mean", -100, 0.0, 2, "direct", torch.float64, True)
    call = torch.ops.torch_nn._linear_cross_entropy_batch_chunked
    plain = price(lambda x, w: F.cross_entropy(F.linear(x, w), y.to(x.device)), x, weight)
    forward = price(lambda x, w: call(x, w, y.to(x.device), *rest, False, False, False), x, weight)
    assert counts(forward) == counts(plain)
    both = price(lambda x, w: call(x, w, y.to(x.device), *rest, True, True, False), x, weight)
    assert both.macs == 3 * n * c * d
    assert both.other_flops - forward.other_flops == 2 * n * c
