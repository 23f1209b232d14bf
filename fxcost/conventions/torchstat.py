"""torchstat 0.0.7: modules without children, by `isinstance`, on one image (batch 1).

Sees calls of leaf modules: convolutions, BatchNorm2d, 2-d pools, linear layers on 2-d inputs and a few activations;
anything else counts 0, functions are not seen, and of a module that is called again only the last call counts (so
torchvision's ResNets, which share a ReLU within a block, come out low). "MAdd" counts multiplications and additions,
"Flops" MACs plus elements, "MemR+W" bytes read and written; "memory" is 4 bytes for each leaf's output.

Refuses linear layers on other than 2-d inputs, modules with several inputs, and ones that return tuples. The figures
are those of the code behind the tool's table, which today's pandas can't print (`DataFrame.append` is gone).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any

from torch import nn

from ..errors import ConventionError
from ..records.recording import TensorSpec
from .convention import Convention, Counted, Tally
from .kinds import is_leaf, repeated
from .running import Run, nothing
from .seen import ModuleSeen, Seen

Shape = tuple[int, ...]
"""Shapes of one sample, without the batch."""


def last_calls(seen: Seen) -> list[tuple[ModuleSeen, Shape, Shape]]:
    """The last call of each leaf, with the shapes of its input and output for one image.

    Raises:
        ConventionError: the tool raises on such a model.
    """
    batch = seen.batch
    if not batch:
        raise ConventionError("torchstat runs one image, and this run had none: analyse a batch of at least 1")
    made = []
    for call in {call.name: call for call in seen.module_calls if is_leaf(call.module)}.values():
        if len(call.args) != 1 or not isinstance(call.args[0], TensorSpec) or not isinstance(call.output, TensorSpec):
            raise ConventionError(f"torchstat refuses this model: {call.name!r} takes or returns more than one tensor")
        x, y = call.x.shape, call.output.shape
        if not x or not y:
            raise ConventionError(f"torchstat refuses this model: {call.name!r} takes or returns a single number")
        if isinstance(call.module, nn.Linear) and len(x) != 2:
            raise ConventionError(f"torchstat refuses this model: the linear layer {call.name!r} has no 2-d input")
        made.append((call, (x[0] // batch, *x[1:]), (y[0] // batch, *y[1:])))
    return made


def madd(module: Any, x: Shape, y: Shape) -> int:
    """Multiplications and additions."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        length = prod(module.kernel_size) * (x[1] // module.groups)
        places = prod((y if isinstance(module, nn.Conv2d) else x)[2:])
        return (2 * length - 1 + (module.bias is not None)) * places * (y[1] // module.groups) * module.groups
    if isinstance(module, nn.BatchNorm2d):
        return 4 * prod(x[1:])
    if isinstance(module, nn.MaxPool2d):
        return (prod(repeated(module.kernel_size, 2)) - 1) * prod(y[1:])
    if isinstance(module, nn.AvgPool2d):
        return prod(repeated(module.kernel_size, 2)) * prod(y[1:])
    if isinstance(module, (nn.ReLU, nn.ReLU6)):
        return prod(x[1:])
    if isinstance(module, nn.Softmax):
        return 3 * prod(x[1:]) - 1
    if isinstance(module, nn.Linear):
        return y[1] * (2 * x[1] - 1)
    return 0


def flops(module: Any, x: Shape, y: Shape) -> int:
    """MACs of convolutions and linear layers, elements of others."""
    if isinstance(module, nn.Conv2d):
        places = x[0] * prod(y[2:])
        products = prod(module.kernel_size) * x[1] * (y[1] // module.groups) * places
        return products + (y[1] * places if module.bias is not None else 0)
    if isinstance(module, nn.BatchNorm2d):
        return prod(x) * (2 if module.affine else 1)
    if isinstance(module, (nn.AvgPool2d, nn.MaxPool2d, nn.ReLU, nn.ReLU6, nn.PReLU, nn.ELU, nn.LeakyReLU)):
        return prod(x)
    if isinstance(module, nn.Upsample):
        return x[0] * prod(y[2:])
    if isinstance(module, nn.Linear):
        return x[0] * x[1] * y[1]
    return 0


def _own(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def bytes_read(module: Any, x: Shape, y: Shape) -> int:
    """Input and parameters, at 4 bytes."""
    if isinstance(module, (nn.ReLU, nn.ReLU6, nn.ELU, nn.LeakyReLU, nn.AvgPool2d, nn.MaxPool2d)):
        return 4 * prod(x)
    if isinstance(module, (nn.PReLU, nn.Conv2d)):
        return 4 * x[0] * (prod(x[1:]) + _own(module))
    if isinstance(module, nn.BatchNorm2d):
        return 4 * x[0] * (prod(x[1:]) + 2 * x[1])
    if isinstance(module, nn.Linear):
        return 4 * x[0] * (x[1] + _own(module))
    return 0


def bytes_written(module: Any, x: Shape, y: Shape) -> int:
    """Output, at 4 bytes."""
    if isinstance(module, (nn.ReLU, nn.ReLU6, nn.ELU, nn.LeakyReLU, nn.PReLU, nn.BatchNorm2d)):
        return 4 * prod(x)
    if isinstance(module, nn.Conv2d):
        return 4 * x[0] * prod(y[1:])
    if isinstance(module, (nn.Linear, nn.AvgPool2d, nn.MaxPool2d)):
        return 4 * prod(y)
    return 0


def _tally(count: Callable[[Any, Shape, Shape], int], why: str) -> Tally:
    def tally(seen: Seen) -> Iterator[Counted]:
        for call, x, y in last_calls(seen):
            amount = count(call.module, x, y)
            yield Counted(amount, type(call.module).__name__, call.name, why, call.span if amount else (0, 0))

    return tally


def printed(value: float, step: float) -> str:
    """A number with T, G, M or K, rounded to two places."""
    for power, suffix in ((4, "T"), (3, "G"), (2, "M"), (1, "K")):
        if value // step**power > 0:
            return f"{round(value / step**power, 2)}{suffix}"
    return str(value)


def _figures(seen: Seen, totals: Mapping[str, int]) -> dict[str, Any]:
    calls = last_calls(seen)
    params = sum(p.numel() for call, _, _ in calls for p in call.module.parameters(recurse=False))
    memory = sum(prod(y[1:]) * 4 / 2**20 for _, _, y in calls)
    return {
        "Total params": params,
        "Total memory": f"{memory:.2f}MB",
        "Total MAdd": f"{printed(totals['MAdd'], 1000.0)}MAdd",
        "Total Flops": f"{printed(totals['Flops'], 1000.0)}Flops",
        "Total MemR+W": f"{printed(totals['MemR'] + totals['MemW'], 1024.0)}B",
    }


TORCHSTAT = Convention(
    name="torchstat",
    summary="torchstat 0.0.7: leaf modules of an image network, last call of each; MAdd, Flops (MACs), bytes",
    unit="MACs",
    tallies={
        "Flops": _tally(flops, "bias, and one per element of norms, pools and activations"),
        "MAdd": _tally(madd, "multiplications and additions"),
        "MemR": _tally(bytes_read, "input and parameters"),
        "MemW": _tally(bytes_written, "output"),
    },
    figures=_figures,
    run=Run(evaluates=True, hooked=nothing),
    unseen="no module that torchstat knows, an earlier call of a shared module, or beyond the first image",
)

CONVENTIONS = (TORCHSTAT,)
