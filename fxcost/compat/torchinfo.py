"""`from torchinfo import summary` (1.8.0): the same table, to the character, without running the model on data.

The user's model is not moved, also with `device=`. Not here: PyTorch's pruning masks, which torchinfo counts by value.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn

from ..analyze import analyze
from ..conventions.torchinfo import stored_size
from ..conventions.torchinfo_rows import Row, below, rows_of
from ..errors import ConventionError, InputError
from ..model.inputs import spec
from ..records.recording import TensorSpec, tensor_specs
from ..report import Report
from .common import seen_by
from .torchinfo_layout import Layout, Line, layout, readable

_STORAGE = sys.getsizeof(torch.UntypedStorage(0))
"""torchinfo measures inputs with `sys.getsizeof`, which counts the Python object too."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelStatistics:
    """The totals under the names that torchinfo has for them; prints as its table. `report` is the analysis."""

    total_params: int
    trainable_params: int
    total_mult_adds: int
    total_input: int
    total_output_bytes: int
    total_param_bytes: int
    input_size: Any
    lines: tuple[Line, ...]
    formatting: Layout
    report: Report | None = None

    def __repr__(self) -> str:
        frozen = self.total_params - self.trainable_params
        parameters = [
            f"Total params{readable(self.total_params, scaled=False)}",
            f"Trainable params{readable(self.trainable_params, scaled=False)}",
            f"Non-trainable params{readable(frozen, scaled=False)}",
        ]
        if not self.input_size:
            return self.formatting.table(self.lines, [parameters])
        parameters.append(f"Total mult-adds{readable(self.total_mult_adds, scaled=True)}")
        whole = self.total_input + self.total_output_bytes + self.total_param_bytes
        sizes = [
            f"Input size (MB): {self.total_input / 1e6:0.2f}",
            f"Forward/backward pass size (MB): {self.total_output_bytes / 1e6:0.2f}",
            f"Params size (MB): {self.total_param_bytes / 1e6:0.2f}",
            f"Estimated Total Size (MB): {whole / 1e6:0.2f}",
        ]
        return self.formatting.table(self.lines, [parameters, sizes])


def summary(
    model: nn.Module,
    input_size: Any = None,
    input_data: Any = None,
    batch_dim: int | None = None,
    cache_forward_pass: bool | None = None,
    col_names: Sequence[str] | None = None,
    col_width: int = 25,
    depth: int = 3,
    device: Any = None,
    dtypes: Sequence[torch.dtype] | None = None,
    mode: str | None = None,
    row_settings: Sequence[str] | None = None,
    verbose: int | None = None,
    **kwargs: Any,
) -> ModelStatistics:
    """Print torchinfo's table, unless `verbose` is 0, and return its totals.

    Arguments are torchinfo's. `device` and `cache_forward_pass` are accepted: nothing runs, and nothing is kept.

    Raises:
        InputError: both inputs are given, or one can't be read.
        ConventionError: the tool itself would fail on this model.
    """
    del cache_forward_pass, device
    level = (0 if hasattr(sys, "ps1") and sys.ps1 else 1) if verbose is None else verbose
    has_input = input_size is not None or input_data is not None
    formatting = layout(depth, col_names, col_width, row_settings, level, has_input=has_input)
    inputs, shapes, nbytes = inputs_of(input_size, input_data, batch_dim, dtypes)
    if not has_input:
        found = statistics(_uncalled(model), formatting, (), 0, batch_dim, torchinfo_macs)
    else:
        report = analysed(model, inputs, kwargs, mode)
        seen = seen_by("torchinfo", report)
        found = statistics(rows_of(seen), formatting, shapes, nbytes, batch_dim, torchinfo_macs, report)
    if level:
        sys.stdout.write(f"{found}\n")
    return found


def analysed(model: nn.Module, inputs: Any, kwargs: Mapping[str, Any], mode: str | None) -> Report:
    """The analysis in the mode that is asked for ("eval" by default); the model's own modes are put back.

    Raises:
        InputError: there is no such mode.
    """
    if mode not in (None, "train", "eval"):
        raise InputError(f"mode={mode!r} is neither 'train' nor 'eval'")
    before = [(module, module.training) for module in model.modules()]
    model.train(mode == "train")
    try:
        named = {**inputs, **kwargs} if isinstance(inputs, Mapping) else dict(kwargs)
        return analyze(model, () if isinstance(inputs, Mapping) else inputs, named)
    finally:
        for module, training in before:
            module.training = training


def inputs_of(
    input_size: Any, input_data: Any, batch_dim: int | None, dtypes: Sequence[torch.dtype] | None
) -> tuple[Any, Any, int]:
    """Inputs for an analysis, their shapes, and the bytes that torchinfo finds in them.

    Raises:
        InputError: both are given, or the sizes are none.
    """
    if input_size is not None and input_data is not None:
        raise InputError("Only one of (input_data, input_size) should be specified.")
    if input_data is not None:
        data = [input_data] if isinstance(input_data, torch.Tensor) else input_data
        tensors = list(_tensors(data))
        nbytes = sum(_STORAGE + tensor.untyped_storage().nbytes() for tensor in tensors)
        given = data if isinstance(data, Mapping) else list(data)
        return given, [tuple(tensor.shape) for tensor in tensors], nbytes
    if input_size is None:
        return [], [], 0
    sizes = _sizes(input_size)
    kinds = [torch.float] * len(sizes) if dtypes is None else list(dtypes)
    specs = []
    for size, kind in zip(sizes, kinds, strict=False):
        dims = list(size)
        if batch_dim is not None:
            dims.insert(batch_dim if batch_dim >= 0 else len(dims) + 1 + batch_dim, 1)
        specs.append(spec(*dims, dtype=kind))
    return specs, sizes, sum(_STORAGE + prod(s.shape) * kind.itemsize for s, kind in zip(specs, kinds, strict=False))


def _sizes(input_size: Any) -> list[tuple[int, ...]]:
    if not isinstance(input_size, (list, tuple)):
        raise InputError("input_size is a tuple of ints, or a list of them: (1, 3, 224, 224)")
    flat = [n for part in input_size for n in (part if isinstance(part, (list, tuple)) else [part])]
    if not flat or any(not isinstance(n, int) or n <= 0 for n in flat):
        raise InputError("Input_data is invalid, or negative size found in input_data.")
    nested = isinstance(input_size[0], (list, tuple))
    return [tuple(size) for size in input_size] if nested else [tuple(input_size)]


def _tensors(data: Any) -> Iterator[torch.Tensor]:
    if isinstance(data, torch.Tensor):
        yield data
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from _tensors(value)
    elif isinstance(data, (list, tuple)):
        for value in data:
            yield from _tensors(value)


def _uncalled(model: nn.Module) -> list[Row]:
    """Rows for a model that is not run: each module where it stands."""
    rows: list[Row] = []
    met: set[nn.Module] = set()
    pending = [Row(model, 0, None, name=type(model).__name__)]
    while pending:
        row = pending.pop()
        row.repeated = row.module in met
        met.add(row.module)
        rows.append(row)
        children = [(name, child) for name, child in row.module._modules.items() if child is not None]
        pending += [Row(child, row.depth + 1, row, name=name) for name, child in reversed(children)]
    return rows


Macs = Callable[[Row], int]
"""What a row has done itself."""


def torchinfo_macs(row: Row) -> int:
    """Parameters times positions, by names; of containers that are called too."""
    if row.call is None:
        return 0
    size, total = stored_size(row.call.output), 0
    for name, parameter in row.module.named_parameters():
        if name in ("weight", "bias"):
            times = prod((*size[:1], *size[2:])) if "Conv" in type(row.module).__name__ else size[0]
        else:
            times = prod(size[:2]) if "weight" in name or "bias" in name else 0
        total += parameter.numel() * times
    return total


def statistics(
    rows: list[Row],
    formatting: Layout,
    shapes: Any,
    nbytes: int,
    batch_dim: int | None,
    macs_of: Macs,
    report: Report | None = None,
    sums_of: type[Sums] | None = None,
) -> ModelStatistics:
    """The totals and lines of a table."""
    _check_unpruned(rows)
    sums = (sums_of or Sums)(rows, macs_of)
    numbers: dict[int, int] = {}
    lines = []
    for i, row in enumerate(rows):
        numbers[row.depth] = numbers.get(row.depth, 0) + 1
        kind = type(row.module).__name__
        cells = sums.cells(i, row.depth == formatting.depth, batch_dim)
        lines.append(Line(kind, row.name, row.depth, numbers[row.depth], row.repeated, cells, _inner(row)))
    return ModelStatistics(
        total_params=sums.total(sums.params),
        trainable_params=sums.total(sums.trainable),
        total_mult_adds=sum(macs for row, macs in zip(rows, sums.macs, strict=True) if _is_leaf(row)),
        total_input=nbytes,
        total_output_bytes=sum(
            2 * _bytes(row.call.output)
            for i, row in enumerate(rows)
            if _is_leaf(row) and row.call is not None and sums.params[i]
        ),
        total_param_bytes=sum(
            parameter.numel() * parameter.element_size()
            for row in rows
            if _is_leaf(row) and not row.repeated
            for parameter in row.module.parameters()
        ),
        input_size=shapes,
        lines=tuple(lines),
        formatting=formatting,
        report=report,
    )


def _check_unpruned(rows: list[Row]) -> None:
    for row in rows:
        for name, _ in row.module.named_parameters(recurse=False):
            if name.endswith("_orig"):
                raise ConventionError(f"torchinfo counts the values of a pruning mask ({name}), which no shape tells")


def _is_leaf(row: Row) -> bool:
    return not any(True for _ in row.module.children())


def _bytes(output: Any) -> int:
    first = next(tensor_specs(output), None)
    return prod(stored_size(output)) * first.dtype.itemsize if first is not None else 0


def _inner(row: Row) -> tuple[tuple[str, dict[str, str]], ...]:
    """A line for each parameter, for `verbose=2`: those of the model itself only where it holds them."""
    found = []
    for name, parameter in row.module.named_parameters():
        shape = list(parameter.shape)
        if name == "weight" and len(shape) > 1:
            shape[0], shape[1] = shape[1], shape[0]
        if row.parent is not None or "." not in name:
            found.append((name, {"kernel_size": str(shape), "num_params": f"├─{parameter.numel():,}"}))
    if found:
        found[-1][1]["num_params"] = f"└─{found[-1][1]['num_params'][2:]}"
    return tuple(found)


class Sums:
    """Numbers of rows, and what their columns say."""

    def __init__(self, rows: list[Row], macs_of: Macs) -> None:
        self.rows = rows
        self.params = [sum(p.numel() for p in row.module.parameters()) for row in rows]
        self.trainable = [sum(p.numel() for p in row.module.parameters() if p.requires_grad) for row in rows]
        self.macs = [macs_of(row) for row in rows]
        self._beyond = self.beyond(self.params)

    def beyond(self, numbers: list[int]) -> list[int]:
        """What each row has more than the rows below it, which stand in its own number."""
        found = list(numbers)
        for i in reversed(range(len(self.rows))):
            if not _is_leaf(self.rows[i]):
                found[i] -= sum(found[j] for j in below(self.rows, i) if not self.rows[j].repeated)
        return found

    def total(self, numbers: list[int]) -> int:
        """The sum over all rows."""
        return sum(max(n, 0) for row, n in zip(self.rows, self.beyond(numbers), strict=True) if not row.repeated)

    def cells(self, i: int, deepest: bool, batch_dim: int | None) -> dict[str, str]:
        """The columns of a row."""
        row, whole = self.rows[i], deepest or _is_leaf(self.rows[i])
        call = row.call
        kernel = getattr(row.module, "kernel_size", None)
        listed = list(kernel) if isinstance(kernel, (tuple, list)) else kernel
        return {
            "kernel_size": str(listed) if listed else "--",
            "input_size": _size(call.args if call is not None else None, batch_dim),
            "output_size": _size(call.output if call is not None else None, batch_dim),
            "num_params": self._params(i, whole),
            "params_percent": self._percent(i, whole),
            "mult_adds": self._macs(i, deepest),
            "trainable": self._trains(i),
        }

    def _params(self, i: int, whole: bool) -> str:
        if not self.params[i]:
            return "--"
        if self.rows[i].repeated:
            return "(recursive)"
        if whole:
            return f"{self.params[i]:,}" if self.trainable[i] else f"({self.params[i]:,})"
        return f"{self._beyond[i]:,}" if self._beyond[i] > 0 else "--"

    def _percent(self, i: int, whole: bool) -> str:
        total, nothing = self.total(self.params), f"{' ' * 5}--"
        if not total:
            return nothing
        if self.rows[i].repeated:
            return "(recursive)"
        own = self.params[i] if whole else self._beyond[i]
        return f"{own / total:>7.2%}" if own else nothing

    def _macs(self, i: int, deepest: bool) -> str:
        if self.macs[i] <= 0:
            return "--"
        if _is_leaf(self.rows[i]):
            return f"{self.macs[i]:,}"
        return f"{sum(self.macs[j] for j in below(self.rows, i) if _is_leaf(self.rows[j])):,}" if deepest else "--"

    def _trains(self, i: int) -> str:
        if not self.params[i]:
            return "--"
        return "True" if self.trainable[i] == self.params[i] else "Partial" if self.trainable[i] else "False"


def _size(value: Any, batch_dim: int | None) -> str:
    """A shape as the table shows it; with a batch dimension, which stands as 1 in what was given as a tuple."""
    size: list[Any] = list(_nested(list(value.values())[-1] if isinstance(value, dict) and value else value))
    if batch_dim is not None and value is not None and not isinstance(value, TensorSpec):
        first = value[0] if isinstance(value, (tuple, list)) and value else None
        if isinstance(first, TensorSpec) or (isinstance(value, (tuple, list)) and batch_dim < len(size)):
            size = [*size[:batch_dim], 1, *size[batch_dim + 1 :]]
        elif isinstance(value, dict):
            size = [[*size[:batch_dim], 1, *size[batch_dim + 1 :]]]
    return str(size) if size else "--"


def _nested(value: Any) -> tuple[int, ...]:
    """The shape of the first tensor of a nest."""
    if isinstance(value, TensorSpec):
        return value.shape
    values = list(value.values()) if isinstance(value, dict) else value
    return _nested(values[0]) if isinstance(values, (tuple, list)) and values else ()
