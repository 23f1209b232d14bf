"""torchinfo 1.8.0: hooks on every module; leaf modules are counted by the names of class and parameters.

Sees every call of a module without children. Misses functions, attention, and parameters that containers own. A class
whose name contains "Conv" multiplies its parameters by the output positions, every other one by the first dimension
of its output (so a linear layer on tokens counts once per batch, an embedding counts its table, and RNNs count all
weights per step and batch). The unit is called mult-adds. Bytes: outputs twice over (forward and backward) of the
leaves that have parameters, 4 per element; parameters of called leaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

from ..records.recording import TensorSpec
from .convention import Convention, Counted
from .kinds import is_leaf
from .running import Run
from .seen import ModuleSeen, Seen
from .torchinfo_rows import parameters


def stored_size(output: Any) -> tuple[int, ...]:
    """The output size that the tool keeps: of the first tensor of a tuple, the last value of a dict."""
    if isinstance(output, TensorSpec):
        return output.shape
    if isinstance(output, dict) and output:
        return stored_size(list(output.values())[-1])
    if isinstance(output, (tuple, list)) and output and isinstance(output[0], (TensorSpec, tuple, list, dict)):
        return stored_size(output[0])
    return ()


def _leaves(seen: Seen) -> Iterator[ModuleSeen]:
    return (call for call in seen.module_calls if is_leaf(call.module))


def mult_adds(seen: Seen) -> Iterator[Counted]:
    """Parameters times positions, by names."""
    for call in _leaves(seen):
        size, kind = stored_size(call.output), type(call.module).__name__
        total = 0
        for name, parameter in call.module.named_parameters():
            if name in ("weight", "bias"):
                times = prod((*size[:1], *size[2:])) if "Conv" in kind else size[0]
            elif "weight" in name or "bias" in name:
                times = prod(size[:2])
            else:
                times = 0
            total += parameter.numel() * times
        why = "parameters × output positions" if "Conv" in kind else "parameters × first dimension of the output"
        yield Counted(total, kind, call.name, why, call.span if total else (0, 0))


def _figures(seen: Seen, _totals: Mapping[str, int]) -> dict[str, int]:
    sizes = [(call, sum(p.numel() for p in call.module.parameters())) for call in _leaves(seen)]
    return {
        "total_params": parameters(seen, trainable=False),
        "trainable_params": parameters(seen, trainable=True),
        "total_output_bytes": sum(2 * 4 * prod(stored_size(call.output)) for call, params in sizes if params),
        "total_param_bytes": 4 * sum({call.name: params for call, params in sizes}.values()),
    }


TORCHINFO = Convention(
    name="torchinfo",
    summary="torchinfo 1.8.0: parameters of called leaves times positions (Conv) or batch (all others)",
    unit="MACs",
    tallies={"total_mult_adds": mult_adds},
    figures=_figures,
    run=Run(evaluates=True, gradients=False),
    unseen="no parameters of a module without children",
)

CONVENTIONS = (TORCHINFO,)
