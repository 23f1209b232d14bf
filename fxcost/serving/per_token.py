"""FLOPs of training by the lengths of sequences: of a packed batch, in microseconds, once a model was analysed.

A training step does three kinds of products: those of each token, attention, which is a sum over pairs of tokens of one
sequence, and few that each sequence takes once. Attention that knows its mask has a closed form; all else is a
polynomial in the length, which three analyses say and a fourth confirms. Frozen weights, LoRA, experts and a vision
tower are whatever the analysis of the real backward pass says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch import nn

from ..analyze import Options, analyzed
from ..conventions import lookup
from ..conventions.seen import Seen
from ..conventions.trainers import FORMULAS, Trained, trained, training_flops
from ..errors import ConventionError, FormulaError, InputError, shown
from ..errors.arguments import checked
from ..model.inputs import spec
from ..records.recording import OpRecord, TrainingRecord
from ..report import Report
from ..rules import formulas
from ..rules.common import argument
from ..rules.pricing import cost_operation
from ..rules.registry import Registry
from ..speed.devices import Device
from .attention import registered, use_fused
from .latent import absorb
from .models import without_weights

LENGTHS = (64, 128, 192, 320)
"""Lengths of the analyses: three, and one that confirms."""
_FORWARD, _BACKWARD = "fxcost.masked_attention.default", "fxcost.masked_attention_backward.default"
Inputs = Callable[[int], Any]
"""Length of a sequence → what the model is called with for one such sequence."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Attention of some layers: MACs for each pair of a query and a key, and which pairs its mask leaves."""

    macs: int
    causal: bool
    window: int
    chunk: int

    def pairs(self, length: int) -> int:
        """Pairs in a sequence of this length."""
        if self.chunk:
            return formulas.chunked_pairs(0, length, self.chunk)
        return formulas.cached_pairs(length, length, self.window) if self.causal else length * length


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass over one sequence: `polynomial` in its length (constant first), and attention by kind."""

    polynomial: tuple[Fraction, ...]
    attention: Mapping[Scores, int]

    def macs(self, length: int) -> int:
        """Multiply-accumulates over one sequence."""
        rest = sum(c * length**i for i, c in enumerate(self.polynomial))
        return int(rest) + sum(n * s.macs * s.pairs(length) for s, n in self.attention.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFlops:
    """FLOPs of the products of a training step on a batch of sequences: 2 for each multiply-accumulate.

    Attention counts the pairs that its mask leaves. What checkpointing computes again is left out, as MFU has it.
    """

    tokens: int
    forward: int
    backward: int

    @property
    def total(self) -> int:
        """Both passes."""
        return self.forward + self.backward

    @property
    def per_token(self) -> float:
        """FLOPs for each token."""
        return self.total / self.tokens

    def __int__(self) -> int:
        return self.total


class PerToken:
    """FLOPs of training steps of one model, by the lengths of sequences. Made by :func:`fxcost.per_token`."""

    def __init__(self, forward: Pass, backward: Pass, model: Trained, dtype: str) -> None:
        self.forward, self.backward, self.model, self.dtype = forward, backward, model, dtype
        self._last: tuple[int, ...] = ()
        self._known: dict[int, tuple[int, int]] = {}

    def __call__(self, seq_lens: Iterable[int]) -> StepFlops:
        """FLOPs of a step on sequences of these lengths, packed or not.

        Raises:
            InputError: a length is no whole number above 0, or there is none.
        """
        lengths = self._checked(seq_lens)
        forward = backward = 0
        for length, times in Counter(lengths).items():
            if length not in self._known:
                self._known[length] = 2 * self.forward.macs(length), 2 * self.backward.macs(length)
            one, other = self._known[length]
            forward, backward = forward + times * one, backward + times * other
        self._last = lengths
        return StepFlops(tokens=sum(lengths), forward=forward, backward=backward)

    def _checked(self, seq_lens: Iterable[int]) -> tuple[int, ...]:
        lengths = (seq_lens,) if isinstance(seq_lens, int) else tuple(seq_lens)
        if not lengths or any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in lengths):
            raise InputError(f"seq_lens={shown(lengths)}: give the lengths of sequences, e.g. [512, 1024]")
        return lengths

    def count(self, convention: str, seq_lens: Iterable[int]) -> int:
        """What a trainer would call the FLOPs of such a step: "palm", "megatron", "verl" …

        Raises:
            ConventionError: it is no convention of training.
        """
        if convention not in FORMULAS:
            lookup(convention)
            raise ConventionError(f"{convention!r} counts no training; choose from {', '.join(FORMULAS)}")
        return training_flops(self.model, convention, self._checked(seq_lens))

    def mfu(
        self,
        seconds: float,
        device: Device | str,
        convention: str | None = None,
        *,
        seq_lens: Iterable[int] | None = None,
        dtype: Any = None,
        devices: int = 1,
    ) -> float:
        """Model FLOPs utilisation: the FLOPs of a step over what the devices could have done in that time (0 … 1).

        Args:
            seconds: how long the step took.
            device: a :class:`fxcost.Device`, or the name that the driver gives.
            convention: a trainer's, "palm" or "megatron"; by default the exact count.
            seq_lens: the sequences of the step; by default those that were counted last.
            dtype: whose peak is meant; by default the dtype that the model computes in.
            devices: how many shared the step.

        Raises:
            InputError: no time, or no sequences were given.
            DeviceError: there is no such device, or it has no such peak.
            ConventionError: there is no such convention.
        """
        lengths = self._checked(seq_lens) if seq_lens is not None else self._last
        if not lengths or not seconds > 0 or devices < 1:
            raise InputError("mfu(seconds, device): give a time above 0, and seq_lens= (or call with seq_lens first)")
        flops = self(lengths).total if convention is None else self.count(convention, lengths)
        return flops / (seconds * devices * Device.named(device).peak(dtype or self.dtype))

    def __repr__(self) -> str:
        return f"<PerToken of {self.model.model_type}: {self([1024]).per_token:,.0f} FLOPs a token of 1,024>"


@checked
def per_token(
    model: Any,
    inputs: Inputs | None = None,
    *,
    loss: Callable[[Any], Any] | None = None,
    lengths: Sequence[int] = LENGTHS,
    options: Mapping[str, Any] | None = None,
) -> PerToken:
    """FLOPs of training a model on sequences of any lengths, in microseconds: `f(seq_lens=[512, 1024, 2048])`.

    Args:
        model: a model of transformers, "hf:llama", or any `nn.Module` with `inputs`. It trains as it is: frozen weights
            (`requires_grad=False`) take no gradient. It is left as it is, and no weight is read.
        inputs: the arguments for one sequence of a length; by default `input_ids` of this length.
        loss: from what the model returns to the loss; by default the sum of what it returns.
        lengths: at which the model is analysed: three, and further ones that confirm what these say.
        options: further arguments of :func:`fxcost.analyze`.

    Raises:
        FormulaError: the FLOPs are no polynomial in the length, beside attention.
        InputError: the model can't be run on such inputs.
        TrainingError: nothing is trained.
    """
    if len(set(lengths)) < 4:
        raise InputError(f"lengths={shown(tuple(lengths))}: give at least four different ones")
    own = _own(model)
    given = inputs if inputs is not None else _by_default(own)
    settings = Options(training=True, loss=loss, **dict(options or {}))
    points: list[tuple[int, Report, TrainingRecord]] = []
    with registered(0):
        for length in dict.fromkeys(lengths):
            report, ran = analyzed(own, given(length), None, settings)
            assert ran is not None
            points.append((length, report, ran))
    forward = _pass([(n, _parts(_forward(ran), settings.registry)) for n, _, ran in points])
    backward = _pass([(n, _parts(_backward(ran), settings.registry)) for n, _, ran in points])
    first = points[0][1]
    macs = first.macs_by_dtype
    dtype = max(macs, key=lambda name: macs[name]) if macs else "float32"
    return PerToken(forward, backward, trained(Seen(first)), dtype)


def _own(model: Any) -> Any:
    """The model as this room's own, its attention as engines run it where it asks for one by name."""
    if isinstance(model, str):
        from .models import served

        own = served(model, fused=True, longest=1).model
    elif isinstance(model, nn.Module):
        own = without_weights(model)
        use_fused(own)
    else:
        return model
    absorb(own, False)
    return own


def _by_default(model: Any) -> Inputs:
    if not isinstance(model, nn.Module) or not hasattr(model, "config"):
        raise InputError("per_token needs inputs=: a function from the length of a sequence to the model's inputs")
    return lambda length: {"input_ids": spec(1, length, dtype="int64"), "use_cache": False}


Parts = tuple[int, Counter[Scores]]
"""MACs beside attention, and attention."""


def _forward(ran: TrainingRecord) -> Iterator[OpRecord]:
    """Operators of the forward pass, but for the sum that stands in for a loss."""
    for node in ran.counted:
        yield from node.operations


def _backward(ran: TrainingRecord) -> Iterator[OpRecord]:
    """Operators of the backward pass that do not repeat the forward pass, nor belong to the stand-in."""
    counted = len(ran.counted)
    operations = (op for node in ran.backward for op in node.operations)
    for op, owner, again in zip(operations, ran.owners, ran.recomputed, strict=True):
        if not again and owner < counted:
            yield op


def _parts(operations: Iterable[OpRecord], registry: Registry) -> Parts:
    attention: Counter[Scores] = Counter()
    rest = 0
    for op in operations:
        cost = cost_operation(op, registry).cost
        if not cost.macs:
            continue
        if str(op.op) in (_FORWARD, _BACKWARD):
            attention[_scores(op, cost.macs)] += 1
        else:
            rest += cost.masked_macs
    return rest, attention


def _scores(op: OpRecord, macs: int) -> Scores:
    query, key = (op.args[1], op.args[2]) if str(op.op) == _BACKWARD else (op.args[0], op.args[1])
    each = macs // (query.shape[-2] * key.shape[-2])
    return Scores(each, bool(argument(op, "causal")), int(argument(op, "window")), int(argument(op, "chunk")))


def _pass(points: Sequence[tuple[int, Parts]]) -> Pass:
    """The polynomial through the first three, confirmed by the others.

    Raises:
        FormulaError: it is none.
    """
    attention = points[0][1][1]
    xs, ys = [n for n, _ in points[:3]], [p[0] for _, p in points[:3]]
    polynomial = _through(xs, ys)
    for length, (rest, kinds) in points:
        found = sum(c * length**i for i, c in enumerate(polynomial))
        if found != rest or kinds != attention:
            raise FormulaError(
                f"at a length of {length} the FLOPs are not those of the formula from {xs}: what the model does hangs "
                "on the length in another way (padding to a multiple?); give lengths= that it treats alike"
            )
    return Pass(polynomial, attention)


def _through(xs: Sequence[int], ys: Sequence[int]) -> tuple[Fraction, ...]:
    """The parabola through three points: Newton's divided differences."""
    (a, b, c), (p, q, r) = xs, ys
    first, second = Fraction(q - p, b - a), Fraction(r - q, c - b)
    square = (second - first) / (c - a)
    return p - first * a + square * a * b, first - square * (a + b), square
