"""torchaudio's operators, found once it is imported."""

import numpy as np
import pytest
import torch
from oracle import Accumulator, prove
from recording import price_of
from strategies import values

import fxcost

torchaudio = pytest.importorskip("torchaudio")
functional = torchaudio.functional
operators = torch.ops.torchaudio


def test_a_recursive_filter():
    """y[t] = x[t] − Σ a[k] · y[t − k]: the operator's values, its MACs those of the difference equation."""
    x, a = values(2, 1, 6), torch.tensor([[1.0, 0.3, 0.2]], dtype=torch.float64)
    order = a.shape[1] - 1

    def reference(x, a):
        y = np.zeros((2, 1, order + 6), dtype=object)
        for n, t in np.ndindex(2, 6):
            result = Accumulator(x[n, 0, t])
            for k in range(1, order + 1):
                result.add(-1.0 * float(a[0, k]), y[n, 0, order + t - k])
            y[n, 0, order + t] = result.result
        return y

    def call(x, a):
        padded = x.new_zeros(2, 1, order + 6)
        operators._lfilter_core_loop(x, a.flip(1), padded)
        return padded

    prove(call, reference, x, a)


def test_filters_are_complete():
    """A whole biquad and an overdrive: nothing is uncosted."""
    for effect in (lambda x: functional.lowpass_biquad(x, 16_000, 300.0), functional.overdrive):
        assert fxcost.analyze(effect, (2, 50)).uncosted == {}


def test_alignment_and_transducer_loss():
    """Counts by hand: 20 steps and 7 states; lattices of 2 × 6 × 4 nodes of 5 classes."""
    aligned = price_of(
        *(operators.forced_align.default, values(1, 20, 5), torch.ones(1, 3, dtype=torch.int64)),
        *(torch.tensor([20]), torch.tensor([3]), 0),
        outputs=(values(1, 20), values(1, 20)),
    )
    assert aligned.flops == 3 * 20 * 7
    logits, labels, lengths = values(2, 6, 4, 5), torch.ones(2, 3, dtype=torch.int32), torch.ones(2, dtype=torch.int32)
    lost = price_of(
        *(operators.rnnt_loss_forward.default, logits, labels, lengths, lengths, 0, -1.0, True),
        outputs=(values(2), logits),
    )
    nodes, softmax = 48, 4 + 5 + 5 + 4 + 1 + 5
    assert lost.flops == nodes * (softmax + 2 * 6 + 5 * 5)
    assert lost.transcendentals == nodes * (6 + 2 * 3 + 5)
