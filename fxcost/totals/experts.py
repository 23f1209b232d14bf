"""Mixture of experts: which part of the parameters a token uses, and how many experts a batch touches.

An expert layer is a module that owns stacked weights, one slice per expert along their first dimension, and is called
with the numbers of the experts chosen for each token (tokens, k), as transformers' and most fused expert layers are.
Not here: layers that hold each expert as a module of its own; which of them ran shows in the report by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from ..records.recording import ModuleCall, ParameterRecord, Recording, tensor_specs


@dataclass(frozen=True, slots=True)
class ExpertLayer:
    """An expert layer: `chosen` of `experts` for each token, over `tokens` tokens; sizes of all experts together."""

    module: str
    experts: int
    chosen: int
    tokens: int
    params: int
    param_bytes: int

    @property
    def expected(self) -> float:
        """Experts that the tokens go to, expected if every choice of `chosen` different ones is equally likely."""
        return self.experts * (1 - (1 - self.chosen / self.experts) ** self.tokens)

    @property
    def touched(self) -> int:
        """The same in whole experts."""
        return round(self.expected)

    @property
    def idle_params(self) -> int:
        """Parameters of the experts that a token does not go to."""
        return self.params // self.experts * (self.experts - self.chosen)


def expert_layers(recording: Recording) -> tuple[ExpertLayer, ...]:
    """The expert layers of a model that ran, each once, in the order of their first calls."""
    owned: dict[str, list[ParameterRecord]] = {}
    for parameter in recording.parameters:
        if not parameter.is_buffer:
            owned.setdefault(parameter.name.rpartition(".")[0], []).append(parameter)
    found: dict[str, ExpertLayer] = {}
    for call in recording.calls:
        if call.module in owned and call.module not in found:
            for layer in _layer(call, owned[call.module]):
                found[call.module] = layer
    return tuple(sorted(found.values(), key=lambda layer: layer.module))


def _layer(call: ModuleCall, owned: list[ParameterRecord]) -> Iterator[ExpertLayer]:
    """The call of an expert layer: hidden states (tokens, hidden) or (…, hidden), and integers (tokens, k)."""
    given = list(tensor_specs((call.args, dict(call.kwargs))))
    stacked = [p for p in owned if len(p.spec.shape) == 3 and p.spec.shape[0] > 1]
    routes = [s for s in given if not s.is_floating and len(s.shape) >= 2]
    if not stacked or not given or not routes:
        return
    experts, tokens, chosen = stacked[0].spec.shape[0], prod(given[0].shape[:-1]), routes[0].shape[-1]
    if prod(routes[0].shape[:-1]) != tokens or chosen > experts:
        return
    shared = [p.spec for p in owned if p.spec.shape[:1] == (experts,)]
    yield ExpertLayer(call.module, experts, chosen, tokens, sum(s.numel for s in shared), sum(s.nbytes for s in shared))


def expert_assumptions(layers: tuple[ExpertLayer, ...]) -> Iterator[str]:
    """What the report assumes of expert layers: one sentence for all that are alike."""
    alike: dict[tuple[int, int, int], list[ExpertLayer]] = {}
    for layer in layers:
        alike.setdefault((layer.experts, layer.chosen, layer.tokens), []).append(layer)
    for (experts, chosen, tokens), same in alike.items():
        expected = same[0].expected
        read = sum(round(layer.param_bytes * expected / experts) for layer in same)
        yield (
            f"mixture of experts ({len(same)} layers): each token goes to {chosen} of {experts} experts, evenly "
            f"spread; so {tokens} tokens are expected to touch {expected:.4g} of them, whose weights are {read:,} bytes"
        )
