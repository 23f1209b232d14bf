"""torchaudio's own operators. They exist once torchaudio is imported, so they are named here, not looked up."""

from __future__ import annotations

from collections.abc import Mapping

from ..records.cost import Cost
from ..records.recording import OpRecord
from . import formulas
from .common import arithmetic, contraction
from .registry import Rule


def lfilter(op: OpRecord) -> Cost:
    """The recursive half of a filter: signals (n, c, t), coefficients (c, order + 1): y[t] = x[t] − Σ a[k] · y[t − k].

    An accumulator starts at x[t]. Source: difference equation in torchaudio.functional.lfilter.
    """
    signals, coefficients = op.args[:2]
    return contraction(op, signals.numel * max(coefficients.shape[-1] - 1, 0))


def overdrive(op: OpRecord) -> Cost:
    """y = x − x' + 0.995 · y', then 0.5 · w + 0.75 · y, six operations a sample: torchaudio.functional.overdrive."""
    return arithmetic(op, 6 * op.args[0].numel)


def forced_align(op: OpRecord) -> Cost:
    """log-probabilities (1, t, c), targets (1, l): Viterbi over t steps and 2l + 1 states.

    A state takes the largest of three predecessors (two compares) and adds its log-probability.
    """
    log_probs, targets = op.args[:2]
    return arithmetic(op, 3 * log_probs.shape[0] * log_probs.shape[1] * (2 * targets.shape[-1] + 1))


def rnnt_loss(op: OpRecord) -> Cost:
    """logits (n, t, u, c): the loss, and at once its gradient, at their longest. Source: Graves 2012, eq. 16, 18, 20.

    Log-softmax of each node of the t × u lattices where it is fused; forward and backward variables, each
    logaddexp(a + blank, b + label), six operations, three transcendental; then for each logit
    exp(x + α + β − loss), four operations, and a subtraction.
    """
    logits, fused = op.args[0], op.args[6]
    classes = logits.shape[-1]
    nodes = logits.numel // max(classes, 1)
    flops, transcendentals = formulas.log_softmax(nodes, classes) if fused else (0, 0)
    return arithmetic(op, flops + 12 * nodes + 5 * logits.numel, transcendentals + 6 * nodes + logits.numel)


LATE_RULES: Mapping[str, Rule] = {
    "torchaudio::_lfilter_core_loop": Rule("convolution", lfilter),
    "torchaudio::_overdrive_core_loop": Rule("pointwise", overdrive),
    "torchaudio::forced_align": Rule("loss", forced_align),
    "torchaudio::rnnt_loss_forward": Rule("loss", rnnt_loss),
}
"""By qualified name, as torchaudio may not be imported (yet)."""
