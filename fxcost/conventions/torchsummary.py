"""torchsummary 1.5.1: a row for each call of a module, with output shape and parameters; sizes in MB.

Sees every call but those of the model itself and of Sequential and ModuleList (subclasses too), repeated for each
parent of the module. Parameters of a row are the attributes `weight` and `bias` alone: recurrent layers, attention's
in-projection, positional tables and layer scales count 0, and a shared layer counts once per call. Counts no
operations. The batch dimension is −1 in all sizes.

Refuses outputs with None, nested tuples or dicts, first inputs that are no tensors, and models without any `weight`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor, nn

from ..errors import ConventionError
from ..records.recording import TensorSpec, tensor_specs
from .convention import Convention, Counted
from .running import Run
from .seen import ModuleSeen, Seen

MEBI = 1024**2


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: the class's name, the output's shape or shapes, parameters, whether they train."""

    kind: str
    name: str
    shape: list[Any]
    params: int
    trainable: bool | None


def summary_rows(seen: Seen) -> list[Row]:
    """The table's rows.

    Raises:
        ConventionError: the tool raises on such a model.
    """
    made = [
        row
        for call in seen.module_calls
        if call.name and not isinstance(call.module, (nn.Sequential, nn.ModuleList))
        for row in [_row(call)] * seen.visits[call.name]
    ]
    if all(row.trainable is None for row in made) and not any(row.params for row in made):
        raise ConventionError("torchsummary refuses this model: no module has a weight or bias")
    return made


def _row(call: ModuleSeen) -> Row:
    if not (call.args and isinstance(call.args[0], TensorSpec)):
        raise ConventionError(f"torchsummary refuses this model: the first input of {call.name!r} is no tensor")
    output = call.output
    shape: list[Any] = []
    if isinstance(output, TensorSpec):
        shape = [-1, *output.shape[1:]]
    elif isinstance(output, (tuple, list)) and all(isinstance(o, TensorSpec) for o in output):
        shape = [[-1, *o.shape[1:]] for o in output]
        if len({len(s) for s in shape}) > 1:
            raise ConventionError(f"torchsummary refuses this model: outputs of {call.name!r} differ in rank")
    else:
        raise ConventionError(f"torchsummary refuses this model: {call.name!r} returns something else than tensors")
    found = [(name, getattr(call.module, name, None)) for name in ("weight", "bias")]
    tensors = {name: t for name, t in found if isinstance(t, Tensor)}
    weight = tensors.get("weight")
    trains = None if weight is None else weight.requires_grad
    return Row(type(call.module).__name__, call.name, shape, sum(t.numel() for t in tensors.values()), trains)


def elements(shape: list[Any]) -> int:
    """Product of a row's dimensions; of all dimensions together where it has several shapes."""
    return prod(elements(part) if isinstance(part, list) else part for part in shape)


def parameters(seen: Seen) -> Iterator[Counted]:
    """The parameters of all rows."""
    for row in summary_rows(seen):
        yield Counted(row.params, row.kind, row.name, "weight and bias of each call")


def sizes(seen: Seen) -> dict[str, float]:
    """Input, forward/backward, parameters and total, in MB of 2²⁰ bytes, 4 bytes per element."""
    made, call = summary_rows(seen), seen.root_call
    specs = list(tensor_specs(call.args)) if call is not None else []
    inputs = abs(prod(prod(spec.shape[1:]) for spec in specs) * -1 * 4.0 / MEBI)
    outputs = abs(2.0 * sum(elements(row.shape) for row in made) * 4.0 / MEBI)
    params = abs(sum(row.params for row in made) * 4.0 / MEBI)
    return {
        "Input size (MB)": inputs,
        "Forward/backward pass size (MB)": outputs,
        "Params size (MB)": params,
        "Estimated Total Size (MB)": params + outputs + inputs,
    }


def _figures(seen: Seen, totals: Mapping[str, int]) -> dict[str, Any]:
    made = summary_rows(seen)
    trainable = sum(row.params for row in made if row.trainable)
    printed = {name: f"{value:0.2f}" for name, value in sizes(seen).items()}
    frozen = totals["Total params"] - trainable
    return {"Trainable params": trainable, "Non-trainable params": frozen, **printed, "rows": len(made)}


TORCHSUMMARY = Convention(
    name="torchsummary",
    summary="torchsummary 1.5.1: parameters of weight and bias per call, sizes in MB; no operations",
    unit="parameters",
    tallies={"Total params": parameters},
    figures=_figures,
    run=Run(evaluates=False),
)

CONVENTIONS = (TORCHSUMMARY,)
