"""`from torchsummary import summary` (1.5.1): prints the same table, to the character."""

from __future__ import annotations

import sys
from math import prod

import torch
from torch import nn

from ..analyze import analyze
from ..conventions.seen import Seen
from ..conventions.torchsummary import MEBI, Row, elements, summary_rows
from ..model.inputs import spec
from .common import seen_by

_LINE = "-" * 64
_DOUBLE = "=" * 64


def summary(
    model: nn.Module,
    input_size: tuple[int, ...] | list[tuple[int, ...]],
    batch_size: int = -1,
    device: str = "cuda",
) -> None:
    """Print a row for each module call, with output shape and parameters, and the totals.

    `input_size` is without the batch, one tuple or a list of them; `batch_size` is what the table shows. `device` is
    accepted: nothing runs on it.

    Raises:
        ConventionError: the tool itself would fail on this model.
    """
    if device.lower() not in ("cuda", "cpu"):
        raise AssertionError("Input device is not valid, please specify 'cuda' or 'cpu'")
    sizes = [input_size] if isinstance(input_size, tuple) else list(input_size)
    report = analyze(model, [spec(2, *size, dtype=torch.float32) for size in sizes])
    sys.stdout.write(text(seen_by("torchsummary", report), sizes, batch_size))


def text(seen: Seen, sizes: list[tuple[int, ...]], batch_size: int = -1) -> str:
    """The table that :func:`summary` prints."""
    rows = summary_rows(seen)
    shapes = [_shape(row, batch_size) for row in rows]
    total, trainable = sum(row.params for row in rows), sum(row.params for row in rows if row.trainable)
    inputs = abs(prod(map(prod, sizes)) * batch_size * 4.0 / MEBI)
    outputs = abs(2.0 * sum(map(elements, shapes)) * 4.0 / MEBI)
    params = abs(total * 4.0 / MEBI)
    lines = [
        _LINE,
        "{:>20}  {:>25} {:>15}".format("Layer (type)", "Output Shape", "Param #"),
        _DOUBLE,
        *(
            f"{f'{row.kind}-{i}':>20}  {shape!s:>25} {f'{row.params:,}':>15}"
            for i, (row, shape) in enumerate(zip(rows, shapes, strict=True), 1)
        ),
        _DOUBLE,
        f"Total params: {total:,}",
        f"Trainable params: {trainable:,}",
        f"Non-trainable params: {total - trainable:,}",
        _LINE,
        f"Input size (MB): {inputs:0.2f}",
        f"Forward/backward pass size (MB): {outputs:0.2f}",
        f"Params size (MB): {params:0.2f}",
        f"Estimated Total Size (MB): {params + outputs + inputs:0.2f}",
        _LINE,
    ]
    return "\n".join(lines) + "\n"


def _shape(row: Row, batch_size: int) -> list[object]:
    """The shape that a row shows: of one tensor with the batch size given, of several with −1."""
    if row.shape and isinstance(row.shape[0], list):
        return row.shape
    return [batch_size, *row.shape[1:]]
