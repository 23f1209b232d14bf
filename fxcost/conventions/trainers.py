"""What trainers call the FLOPs of a training step, by which they print MFU: forward and backward, for all tokens.

Each is a formula over parameters and attention; here its sizes are read off the records, so that it works for models
that the tool itself doesn't know. Weights that are frozen count as trained, but for `litgpt`. Sources:

- `6nd`: 6 · parameters · tokens. J. Kaplan et al., 2020 (without embeddings), J. Hoffmann et al., 2022 (all).
- `palm`: A. Chowdhery et al., 2022, appendix B: 6N + 12·L·H·Q·T a token; all parameters, attention dense.
- `nanogpt`: `estimate_mfu` in model.py: the same without position embeddings.
- `torchtitan`: `get_dense_model_nparams_and_flops` and its like in torchtitan/models/utils.py: active parameters (no
  embeddings unless they are tied, k of E experts), attention up to its window. Its term for the delta rule is left out.
- `megatron`: `num_floating_point_operations` in megatron/training/training.py: products but the router's; causal
  attention halved, windows ignored; a latent's norm as a product. The vocabulary is not padded here.
- `maxtext`: `calculate_tflops_training_per_device` in MaxText/maxtext_utils.py: all products, attention dense.
- `hf-trainer`: `floating_point_ops` in transformers: 6 · tokens · parameters that are no embeddings, every expert among
  them; no attention.
- `lightning`: `measure_flops` in lightning/fabric/utilities/throughput.py: PyTorch's counter over both passes on meta.
- `litgpt`: `estimate_flops` in litgpt/utils.py: (2N + 4·L·h·s) · 3 for trained and · 2 for frozen parameters.
- `lingua`: apps/main/transformer.py: 6 · non-embedding parameters + 3.5 · (4·L·s·h / 2): with what flash attention
  computes twice.
- `verl`: `FlopsCounter` in verl/utils/flops_counter.py: products, the embedding as one, attention halved up
  to its window.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

from ..records.cost import OpCost
from ..records.recording import TensorSpec
from ..rules.common import argument
from .convention import Convention, Counted
from .seen import Seen

UNIT = "training FLOPs"
_POSITIONS = re.compile(r"(^|\.)(wpe|pos_emb\w*|position\w*|embed_positions)\b")
Lengths = Sequence[int]
"""Tokens of each sequence of a batch."""


@dataclass(frozen=True, slots=True)
class WeightSeen:
    """A parameter: elements, MACs of its products for each token, and the number of the first operation with it.

    `kind` is "embedding" (only looked up), "tied" (looked up, and a factor), "position", "router", "expert", "small"
    (norms, biases) or "matrix". `share` is the part that a token uses: (k, E) of experts.
    """

    name: str
    kind: str
    numel: int
    macs: int
    number: int
    trained: bool
    share: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True)
class AttentionSeen:
    """Attention over a sequence: `width` is both head sizes, of all heads together; `window` 0 where there is none."""

    number: int
    module: str
    width: int
    causal: bool
    window: int

    def pairs(self, lengths: Lengths, windowed: bool) -> int:
        """Σ l · min(l, window), or Σ l²."""
        return sum(n * (min(n, self.window) if windowed and self.window else n) for n in lengths)


@dataclass(frozen=True)
class Trained:
    """What trainers' formulas read of a model: weights, attention, the width of its hidden states."""

    model_type: str
    weights: tuple[WeightSeen, ...]
    attention: tuple[AttentionSeen, ...]
    hidden: int
    lengths: tuple[int, ...]

    @property
    def is_tied(self) -> bool:
        """Whether the embedding is the head too."""
        return any(w.kind == "tied" for w in self.weights)


def trained(seen: Seen) -> Trained:
    """What a run shows of the model that is trained."""
    report = seen.report
    batch, length = _batch(seen)
    tokens = batch * length
    weights = tuple(_weights(seen, tokens))
    tables = [w for w in weights if w.kind in ("embedding", "tied")]
    by_name = {p.name: p.spec for p in report.parameters}
    hidden = by_name[tables[0].name].shape[-1] if tables else 0
    found = tuple(a for n, (module, op) in enumerate(seen.operations) if (a := _attention(n, module, op)) is not None)
    return Trained(report.model_type, weights, found, hidden, (length,) * batch)


def _batch(seen: Seen) -> tuple[int, int]:
    """Sequences, and tokens of each: of the integers that are looked up, or of the first attention."""
    given = [spec for node in seen.recording.nodes if node.kind == "placeholder" for spec in node.outputs]
    looked_up = {s.shape for _, op in seen.operations if "embedding" in str(op.record.op) for s in op.record.inputs}
    ids = next((s for s in given if not s.is_floating and len(s.shape) == 2 and s.shape in looked_up), None)
    if ids is not None:
        return ids.shape[0], ids.shape[1]
    for _, op in seen.operations:
        if op.family == "attention" and op.record.inputs:
            query = op.record.inputs[0]
            return query.shape[0], query.shape[-2]
    first = next((s for s in given if s.shape), None)
    return (1, 1) if first is None else (1, prod(first.shape[:-1]))


def _weights(seen: Seen, tokens: int) -> Iterator[WeightSeen]:
    report = seen.report
    uses: dict[int, list[tuple[int, OpCost]]] = {}
    number = 0
    for node in report.nodes:
        storages = node.record.storages
        for op in node.operations:
            for spec in dict.fromkeys(op.record.inputs):
                if 0 <= spec.storage < len(storages) and (op.cost.bytes_read or op.cost.macs):
                    uses.setdefault(storages[spec.storage], []).append((number, op))
            number += 1
    experts = {layer.module: (layer.chosen, layer.experts) for layer in report.expert_layers}
    for parameter in report.parameters:
        if parameter.is_buffer:
            continue
        found = [use for spec in parameter.held for use in uses.get(spec.storage, ())]
        factor = len(parameter.spec.shape) > 1  # a bias in one operator with its product is none
        macs = sum(op.cost.macs for _, op in found if factor and op.family != "attention")
        looked_up = any("embedding" in str(op.record.op) for _, op in found)
        first = next((n for n, op in found if op.cost.macs), found[0][0] if found else -1)
        share = experts.get(parameter.name.rpartition(".")[0], (1, 1))
        kind = _kind(parameter.name, parameter.spec, looked_up, bool(macs), share, experts)
        per_token = -(-macs // tokens) if tokens else 0
        yield WeightSeen(
            parameter.name, kind, parameter.spec.numel, per_token, first, parameter.trainable,
            share if kind == "expert" else (1, 1),
        )  # fmt: skip


def _kind(
    name: str,
    spec: TensorSpec,
    looked_up: bool,
    multiplied: bool,
    share: tuple[int, int],
    experts: dict[str, tuple[int, int]],
) -> str:
    if looked_up:
        return "tied" if multiplied else "position" if _POSITIONS.search(name) else "embedding"
    if share != (1, 1) and spec.shape[:1] == (share[1],):
        return "expert"
    if not multiplied:
        return "small"
    for layer, (_, count) in experts.items():
        around = layer.rpartition(".")[0]
        if spec.shape[:1] == (count,) and len(spec.shape) == 2 and name.startswith(f"{around}."):
            return "router"
    return "matrix"


def _attention(number: int, module: str, op: OpCost) -> AttentionSeen | None:
    """An operator that is attention recorded whole."""
    if op.family != "attention" or not op.cost.macs or len(op.record.inputs) < 3:
        return None
    query, value = op.record.args[0], op.record.args[2]
    if not isinstance(query, TensorSpec) or not isinstance(value, TensorSpec):
        return None
    width = prod(query.shape[1:-2]) * (query.shape[-1] + value.shape[-1])
    causal = bool(argument(op.record, "causal", argument(op.record, "is_causal", False)))
    return AttentionSeen(number, module, width, causal, int(argument(op.record, "window", 0) or 0))


# ------------------------------------------------------------------------------------------------------------ formulas

Amounts = Iterator[tuple[int, int, str, str, str]]
"""(FLOPs, number of the operation, family, module, why)."""
Formula = Callable[[Trained, Lengths], Amounts]


def _weight(w: WeightSeen, flops: int, why: str) -> tuple[int, int, str, str, str]:
    return flops, w.number, "weights", w.name.rpartition(".")[0], why


def _parameters(model: Trained, lengths: Lengths, wanted: Callable[[WeightSeen], int], why: str) -> Amounts:
    """6 FLOPs for each token and element of a weight, as many as `wanted` says."""
    tokens = sum(lengths)
    for w in model.weights:
        yield _weight(w, 6 * tokens * wanted(w), why if wanted(w) else "left out")


def _products(model: Trained, lengths: Lengths, skip: Iterable[str] = ()) -> Amounts:
    """6 FLOPs for each token and MAC of a weight's products."""
    tokens = sum(lengths)
    for w in model.weights:
        counted = 0 if w.kind in skip else w.macs
        yield _weight(w, 6 * tokens * counted, "as is" if counted else "left out")


def _scores(model: Trained, lengths: Lengths, windowed: bool, halved: bool, why: str) -> Amounts:
    """12 FLOPs for each pair and number of a head, half of them where causal attention is halved."""
    for a in model.attention:
        each = 3 if halved and a.causal else 6
        yield each * a.width * a.pairs(lengths, windowed), a.number, "attention", a.module, why


def _six_nd(model: Trained, lengths: Lengths) -> Amounts:
    yield from _parameters(model, lengths, lambda w: w.numel, "6 FLOPs a parameter and token")


def _palm(model: Trained, lengths: Lengths, skip: str = "") -> Amounts:
    yield from _parameters(model, lengths, lambda w: 0 if w.kind == skip else w.numel, "6 FLOPs a parameter and token")
    yield from _scores(model, lengths, False, False, "dense")


def _torchtitan(model: Trained, lengths: Lengths) -> Amounts:
    tied = model.is_tied

    def active(w: WeightSeen) -> int:
        if w.kind in ("embedding", "position") and not tied:
            return 0
        return w.numel * w.share[0] // w.share[1]

    yield from _parameters(model, lengths, active, "6 FLOPs an active parameter and token")
    yield from _scores(model, lengths, True, False, "dense up to the window")


def _megatron(model: Trained, lengths: Lengths) -> Amounts:
    tokens = sum(lengths)
    for w in model.weights:
        latent = w.kind == "small" and w.name.rpartition(".")[0].endswith("_a_layernorm")
        counted = w.numel if latent else 0 if w.kind == "router" else w.macs
        yield _weight(w, 6 * tokens * counted, "the router is left out" if w.kind == "router" else "as is")
    yield from _scores(model, lengths, False, True, "a causal mask halves it")


def _maxtext(model: Trained, lengths: Lengths) -> Amounts:
    yield from _products(model, lengths)
    yield from _scores(model, lengths, False, False, "dense")


def _hf_trainer(model: Trained, lengths: Lengths) -> Amounts:
    tables = ("embedding", "tied", "position")
    yield from _parameters(
        model, lengths, lambda w: 0 if w.kind in tables else w.numel, "6 FLOPs a parameter that is no embedding"
    )


def _litgpt(model: Trained, lengths: Lengths) -> Amounts:
    tokens, squares = sum(lengths), sum(n * n for n in lengths)
    frozen = any(not w.trained for w in model.weights)
    for w in model.weights:
        yield _weight(w, 2 * tokens * w.numel * (3 if w.trained else 2), "2 FLOPs a parameter, times passes")
    for a in model.attention:
        passes = 3 + 2 * frozen
        yield passes * 4 * model.hidden * squares, a.number, "attention", a.module, "4·h·s, for each kind of parameters"


def _lingua(model: Trained, lengths: Lengths) -> Amounts:
    yield from _hf_trainer(model, lengths)
    squares = sum(n * n for n in lengths)
    for a in model.attention:
        yield (
            7 * model.hidden * squares,
            a.number,
            "attention",
            a.module,
            "halved, with flash attention's recomputation",
        )


def _verl(model: Trained, lengths: Lengths) -> Amounts:
    tokens = sum(lengths)
    for w in model.weights:
        table = w.kind in ("embedding", "tied")
        looked_up = w.numel if table else 0
        yield _weight(w, 6 * tokens * (w.macs + looked_up), "the look-up as a product" if table else "as is")
    if model.model_type.startswith("Apertus"):  # verl's own addition: what the norms of queries and keys multiply
        keys = [w for w in model.weights if w.name.endswith("k_proj.weight")]
        for w in keys:
            yield 6 * tokens * (model.hidden + w.numel // model.hidden), w.number, "weights", w.name, "norms of heads"
    yield from _scores(model, lengths, True, True, "halved, up to the window")


FORMULAS: dict[str, tuple[Formula, str]] = {
    "6nd": (_six_nd, "6 · parameters · tokens (Hoffmann et al., 2022)"),
    "palm": (_palm, "6N + 12·L·H·Q·T a token (Chowdhery et al., 2022, appendix B)"),
    "nanogpt": (partial(_palm, skip="position"), "as palm, without position embeddings: nanoGPT's estimate_mfu"),
    "torchtitan": (_torchtitan, "active parameters, attention up to its window: torchtitan"),
    "megatron": (_megatron, "products but the router's, causal attention halved: Megatron-LM"),
    "maxtext": (_maxtext, "all products, attention dense: MaxText"),
    "hf-trainer": (_hf_trainer, "6 · non-embedding parameters · tokens: transformers' Trainer"),
    "lightning": (_maxtext, "PyTorch's counter over forward and backward: Lightning's measure_flops"),
    "litgpt": (_litgpt, "(2N + 4·L·h·s) · 3, frozen parameters · 2: LitGPT"),
    "lingua": (_lingua, "6 · non-embedding parameters + 3.5 · attention halved: Meta Lingua"),
    "verl": (_verl, "products, the embedding as one, causal attention halved up to its window: verl"),
}
"""By name: the formula, and a line about it."""


def training_flops(model: Trained, name: str, lengths: Lengths) -> int:
    """What a trainer would call the FLOPs of a step on sequences of these lengths."""
    return sum(amount for amount, *_ in FORMULAS[name][0](model, lengths))


def _tally(formula: Formula, seen: Seen) -> Iterator[Counted]:
    model = trained(seen)
    for amount, number, family, module, why in formula(model, model.lengths):
        span = (number, number + 1) if number >= 0 else (0, 0)
        yield Counted(amount, family, module, why, span)


CONVENTIONS = tuple(
    Convention(
        name=name,
        summary=f"training FLOPs: {summary}",
        unit=UNIT,
        tallies={"flops": partial(_tally, formula)},
        unseen="no product with a weight, which trainers do not count",
    )
    for name, (formula, summary) in FORMULAS.items()
)
