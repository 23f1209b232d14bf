"""What a step of serving must do at least, for any batch and context, from one analysis: products, weights, cache.

Attention that knows its mask gives its MACs and the keys that it reads in closed form; all other MACs of a token do not
depend on what came before. Which of them grow with the batch is read off the shapes: an analysis for a batch of a large
prime has that prime in the sizes of everything that belongs to requests. A model whose own attention is analysed as it
is written has no closed form; its numbers are taken from two contexts and lie on a line between them.

Left out, since an engine may keep it on its chip: activations, and everything that is no product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

from ..errors import InputError, shown
from ..records.recording import OpRecord
from ..report import Report
from ..rules import formulas
from ..rules.common import argument
from ..storage.formats import Format
from ..storage.reads import Residents, reads_of
from ..storage.stored import Held, row_bytes
from .caches import CacheLayer

PRIME = 1009
"""A batch whose size no other dimension has by chance."""
ATTENTION = "fxcost.masked_attention.default"
Experts = str | int
"""How tokens spread over experts: "uniform", "all", "fewest", or how many are touched."""


@dataclass(frozen=True, slots=True)
class Attends:
    """Attention of one kind of layer: what one request's heads do. `fixed` keys (an encoder's) do not grow."""

    heads: int
    width: int
    """Head sizes of queries and of values together: MACs for each pair."""
    numbers: int
    """Of the cache, for each token of one request."""
    row: int
    """Size of the last dimension of what is cached."""
    itemsize: int
    causal: bool
    window: int
    chunk: int
    fixed: int

    def macs(self, new: int, have: int) -> int:
        """Multiply-accumulates of the pairs that the mask leaves, for one request."""
        return self.heads * self.width * self._pairs(new, have)

    def _pairs(self, new: int, have: int) -> int:
        if self.chunk:
            return formulas.chunked_pairs(have, new, self.chunk)
        keys = self.keys(new, have)
        return formulas.cached_pairs(new, keys, self.window) if self.causal else new * keys

    def keys(self, new: int, have: int) -> int:
        """Keys that there are in the step."""
        if self.fixed:
            return self.fixed
        return (min(have, self.window - 1) if self.window else have) + new

    def seen(self, new: int, have: int) -> int:
        """Keys that were cached before and that some query sees."""
        if self.fixed:
            return self.fixed if have else 0
        if self.chunk:
            return min(have % self.chunk, have)
        return min(have, self.window - 1) if self.window else have

    def cache_bytes(self, new: int, have: int, kv: Format | None) -> Fraction:
        """Bytes of the cache that one request reads."""
        each = Fraction(row_bytes(kv, self.row), self.row) if kv is not None else Fraction(self.itemsize)
        return self.seen(new, have) * self.numbers * each


@dataclass(frozen=True, slots=True)
class WeightRead:
    """One weight: its stored bytes, and how much of it a step reads. `rows` numbers a token, or all of it.

    Of a stack of experts `experts` are there, `chosen` for each token.
    """

    name: str
    numel: int
    stored_bytes: int
    rows: int = 0
    experts: int = 0
    chosen: int = 0

    def bytes(self, tokens: int, spread: Experts) -> Fraction:
        """Bytes that a step of `tokens` tokens reads of it."""
        if self.rows:
            return Fraction(min(self.rows * tokens, self.numel) * self.stored_bytes, self.numel)
        if self.experts:
            return self.stored_bytes * touched(self.experts, self.chosen, tokens, spread) / self.experts
        return Fraction(self.stored_bytes)


@lru_cache(maxsize=4096)
def touched(experts: int, chosen: int, tokens: int, spread: Experts) -> Fraction:
    """How many of `experts` get one of `tokens` tokens, each of which goes to `chosen` different ones.

    "uniform": expected if all choices are equally likely, E · (1 − (1 − k/E)^tokens); "all"; "fewest": as if all tokens
    chose the same; or a number.

    >>> touched(8, 2, 2, "uniform"), touched(8, 2, 2, "fewest"), touched(8, 2, 100, "all")
    (Fraction(7, 2), Fraction(2, 1), Fraction(8, 1))

    Raises:
        InputError: `spread` is none of these.
    """
    if spread == "uniform":
        if tokens * chosen >= 64 * experts:
            return Fraction(experts)  # all but one part in e⁶⁴
        return experts * (1 - Fraction(experts - chosen, experts) ** tokens)
    if spread == "all":
        return Fraction(experts)
    if spread == "fewest":
        return Fraction(chosen)
    if not isinstance(spread, int) or isinstance(spread, bool) or spread < 1:
        raise InputError(f"experts={shown(spread)}: give 'uniform', 'all', 'fewest', or how many are touched")
    return Fraction(min(max(spread, chosen), experts))


@dataclass(frozen=True, eq=False)
class StepWork:
    """What a step does, as functions of the batch and of what requests have already (`have`); `new` tokens each.

    `shared_macs` are those that do not grow with the batch, `macs` those of each request, attention's apart.
    """

    new: int
    shared_macs: int
    macs: int
    attends: Mapping[Attends, int]
    weights: tuple[WeightRead, ...]
    states: int
    """Bytes of states of linear attention and the like of one request, which a step reads (and writes again)."""
    slopes: tuple[Fraction, Fraction] = (Fraction(0), Fraction(0))
    """For attention that is analysed as it is written: MACs, and cached bytes, for each token before."""

    def matmul_macs(self, batch: int) -> int:
        """Multiply-accumulates beside attention's."""
        return self.shared_macs + batch * self.macs

    def attention_macs(self, batch: int, have: int) -> int:
        """Multiply-accumulates of attention."""
        closed = sum(n * a.macs(self.new, have) for a, n in self.attends.items())
        return batch * (closed + int(self.slopes[0] * have))

    def weight_bytes(self, batch: int, spread: Experts = "uniform") -> Fraction:
        """Bytes of weights that are read."""
        whole, stacks, looked_up = self._by_kind
        tokens = batch * self.new
        routed = sum((n * touched(e, k, tokens, spread) / e for (e, k), n in stacks.items()), Fraction(0))
        return whole + routed + sum((w.bytes(tokens, spread) for w in looked_up), Fraction(0))

    @cached_property
    def _by_kind(self) -> tuple[int, dict[tuple[int, int], int], list[WeightRead]]:
        """Bytes that are always read, bytes of stacks of experts, and what single rows are read of."""
        stacks: Counter[tuple[int, int]] = Counter()
        for w in self.weights:
            if w.experts:
                stacks[w.experts, w.chosen] += w.stored_bytes
        whole = sum(w.stored_bytes for w in self.weights if not w.experts and not w.rows)
        return whole, stacks, [w for w in self.weights if w.rows]

    def cache_bytes(self, batch: int, have: int, kv: Format | None = None) -> Fraction:
        """Bytes of caches and states that are read."""
        cached = sum((n * a.cache_bytes(self.new, have, kv) for a, n in self.attends.items()), Fraction(0))
        scale = Fraction(1) if kv is None else Fraction(row_bytes(kv, 128), 256)
        return batch * (cached + self.slopes[1] * have * scale + (self.states if have else 0))


def work_of(
    report: Report, new: int, have: int, batch: int, layers: tuple[CacheLayer, ...], held: Mapping[str, Held]
) -> StepWork:
    """The work of a step that was analysed for `batch` requests, a prime that no other size has (or 1).

    Args:
        report: the analysis.
        new: new tokens of each request.
        have: tokens that each has.
        batch: requests.
        layers: what the cache keeps.
        held: weights that are stored in another format.
    """
    attends: Counter[Attends] = Counter()
    shared = own = 0
    crosses = any(layer.kind == "cross" for layer in layers)
    for node in report.nodes:
        for op in node.operations:
            if not op.cost.macs:
                continue
            if str(op.record.op) == ATTENTION and _over_context(op.record, new, have, crosses):
                attends[_attends(op.record, new, have)] += 1
            elif batch == 1 or _grows(op.record, batch):
                own += op.cost.masked_macs
            else:
                shared += op.cost.masked_macs
    states = sum(layer.fixed_bytes for layer in layers if layer.kind == "state")
    weights = tuple(_weights(report, batch * new, held))
    return StepWork(new, shared, -(-own // batch), attends, weights, states)


def _over_context(op: OpRecord, new: int, have: int, crosses: bool) -> bool:
    """Whether attention is that of the new tokens to what is cached; an encoder's own, or one over layers, is not."""
    l_q, l_k = op.args[0].shape[-2], op.args[1].shape[-2]
    return l_q == new and (bool(argument(op, "causal")) or l_k == have + new or crosses)


def _grows(op: OpRecord, batch: int) -> bool:
    """Whether a size of an operator has the batch in it."""
    specs = (*op.inputs, *(s for s in op.outputs if s is not None))
    return any(n and n % batch == 0 for spec in specs for n in spec.shape)


def _attends(op: OpRecord, new: int, have: int) -> Attends:
    query, key, value, rotated = op.args[:4]
    window, chunk = argument(op, "window"), argument(op, "chunk")
    l_k = key.shape[-2]
    parts = [t for t in dict.fromkeys((key, value, rotated)) if t is not None]
    held = l_k - new
    if not window and not chunk and 0 <= held < have and argument(op, "causal"):
        window = held + 1  # the cache keeps no more, though the layer names no window
    fixed = 0 if argument(op, "causal") or l_k == have + new else l_k
    numbers = sum(t.shape[1] * t.shape[-1] for t in parts)
    return Attends(
        heads=query.shape[1],
        width=query.shape[-1] + value.shape[-1],
        numbers=numbers,
        row=value.shape[-1],
        itemsize=key.dtype.itemsize,
        causal=bool(argument(op, "causal")),
        window=window or chunk,
        chunk=chunk,
        fixed=fixed,
    )


def _weights(report: Report, tokens: int, held: Mapping[str, Held]) -> list[WeightRead]:
    """Every weight that the step reads."""
    residents = Residents(report.recording)
    numbers: dict[str, int] = {}
    lookups: set[str] = set()
    for read in reads_of(report, residents):
        parameter = residents.weights.get(read.storage)
        if parameter is None:
            continue
        numbers[parameter.name] = numbers.get(parameter.name, 0) + read.numbers
        if "embedding" in str(report.nodes[read.node].operations[read.operation].record.op):
            lookups.add(parameter.name)
    layers = {layer.module: layer for layer in report.expert_layers}
    found = []
    for parameter in report.parameters:
        if parameter.name not in numbers or parameter.is_buffer:
            continue
        numel, read_numbers = parameter.spec.numel, numbers[parameter.name]
        size = held[parameter.name].stored_bytes if parameter.name in held else parameter.stored_bytes
        layer = layers.get(parameter.name.rpartition(".")[0])
        if layer is not None and parameter.spec.shape[:1] == (layer.experts,):
            found.append(WeightRead(parameter.name, numel, size, experts=layer.experts, chosen=layer.chosen))
        elif parameter.name in lookups and (read_numbers < numel or tokens >= parameter.spec.shape[0]):
            rows = parameter.spec.shape[-1] if read_numbers <= parameter.spec.shape[-1] * tokens else 0
            found.append(WeightRead(parameter.name, numel, size, rows=rows))
        else:
            found.append(WeightRead(parameter.name, numel, size))
    return found
