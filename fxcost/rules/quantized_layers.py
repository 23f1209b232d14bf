"""Quantized layers that are more than one product: normalization, embeddings, and recurrent layers and cells.

Normalization dequantizes, normalizes and requantizes. An embedding's rows are stored as integers with a scale and a
zero point each, and are dequantized as they are picked. Recurrent layers are dynamic: the input and the state of each
product are quantized as they come, as for `quantized::linear_dynamic`; the cell's equations are floating-point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord, tensor_specs
from . import formulas
from .common import argument, bytes_of, optional, with_bytes
from .quantized import DEQUANTIZE, REQUANTIZE
from .registry import OpKey, Rule
from .rnn import cell

aten = torch.ops.aten

Shape = tuple[int, ...]


# ------------------------------------------------------------------------------------------------------ normalization


def _normalized(op: OpRecord, flops: int, roots: int) -> Cost:
    return Cost(other_flops=flops + (DEQUANTIZE + REQUANTIZE) * op.out.numel, transcendentals=roots)


def _affine(op: OpRecord) -> tuple[bool, bool]:
    return argument(op, "weight") is not None, argument(op, "bias") is not None


def layer_norm(op: OpRecord) -> Cost:
    """x (*, *normalized_shape), normalized over the last dimensions."""
    n = prod(argument(op, "normalized_shape"))
    return _normalized(op, *formulas.layer_norm(op.out.numel // max(n, 1), n, *_affine(op)))


def group_norm(op: OpRecord) -> Cost:
    """x (n, c, *), normalized over the channels and places of each group; for instance norm of each channel."""
    n, c = op.out.shape[:2]
    rows = n * argument(op, "num_groups", c)
    return _normalized(op, *formulas.layer_norm(rows, op.out.numel // max(rows, 1), *_affine(op)))


def batch_norm(op: OpRecord) -> Cost:
    """x (n, c, *) with the running statistics of each channel."""
    c = op.out.shape[1]
    return _normalized(op, *formulas.batch_norm(c, op.out.numel // max(c, 1), False, *_affine(op)))


# --------------------------------------------------------------------------------------------------------- embeddings


def embedding(bits: int, bags: bool) -> Callable[[OpRecord], Cost]:
    """The rule for rows of so many bits a weight: (q · scale + zero point), two operations for each that is picked.

    Rows of 8 bits keep both numbers in full, those of 4 bits in half precision. Bags add their rows, as
    `aten.embedding_bag` does; all bags count as not empty.
    """

    def rule(op: OpRecord) -> Cost:
        indices, d, outputs = argument(op, "indices"), op.out.shape[-1], op.out.numel
        weights = argument(op, "per_sample_weights")
        picked = indices.numel * d
        added = max(picked - outputs, 0) + (picked if weights is not None else 0) if bags else 0
        read = (picked * bits + 7) // 8 + indices.numel * (8 if bits == 8 else 4)
        read += bytes_of(indices, argument(op, "offsets"), weights)
        return with_bytes(op, Cost(other_flops=DEQUANTIZE * picked + added), read)

    return rule


# ---------------------------------------------------------------------------------------------------------- recurrent


def dynamic_cells(rows: int, matrices: list[Shape], mode: str, hidden: int, half: bool) -> Cost:
    """Matrices (gates·h, k) that meet `rows` rows each, and the equations of `hidden` units a row.

    With int8 weights the range of each row is found and it is quantized (2 + 5 operations an element), and every
    product is scaled to float. With weights in `half` precision none of that is done.
    """
    flops, transcendentals = cell(mode, rows * hidden)
    if not half:
        flops += rows * sum((2 + REQUANTIZE) * k + n for n, k in matrices)
    macs = formulas.recurrent_macs(rows, matrices)
    return Cost(macs=macs, other_flops=flops, transcendentals=transcendentals)


def recurrent(mode: str, gates: int) -> Callable[[OpRecord], Cost]:
    """The rule for `aten.quantized_lstm` and `aten.quantized_gru`: input (t, n, i), (n, t, i) or packed (rows, i).

    Weights are packed into objects of their own, so their sizes follow from the state's (layers · directions, n, h).
    Each is read once, at one or two bytes, and each bias in full.
    """

    def rule(op: OpRecord) -> Cost:
        x, state = op.args[0], next(tensor_specs(argument(op, "hx")))
        both, h, i = 2 if argument(op, "bidirectional") else 1, state.shape[-1], x.shape[-1]
        rows, half = x.numel // max(i, 1), argument(op, "dtype") == torch.float16
        widths = [i, *[h * both] * (argument(op, "num_layers") - 1)]
        matrices: list[Shape] = [(gates * h, k) for width in widths for k in (width, h) * both]
        cost = dynamic_cells(rows, matrices, mode, h * both * len(widths), half)
        biases = 4 * sum(n for n, _ in matrices) if argument(op, "has_biases") else 0
        packed = sum(n * k for n, k in matrices) * (2 if half else 1) + biases
        return with_bytes(op, cost, bytes_of(*op.inputs) + packed)

    return rule


def dynamic_cell(mode: str) -> Callable[[OpRecord], Cost]:
    """The rule for one step of a cell: input (n, i), state (n, h), packed w_ih (gates·h, i) and w_hh (gates·h, h)."""

    def rule(op: OpRecord) -> Cost:
        x, state = op.args[0], next(tensor_specs(argument(op, "hx")))
        matrices = [argument(op, name).shape for name in ("w_ih", "w_hh")]
        return dynamic_cells(x.shape[0], matrices, mode, state.shape[-1], half=False)

    return rule


_BATCH = ("", "1d", "2d", "3d")
_BY_NAME: Mapping[str, Rule] = {
    "quantized::layer_norm": Rule("normalization", layer_norm),
    **{f"quantized::{kind}_norm": Rule("normalization", group_norm) for kind in ("group", "instance")},
    **{f"quantized::batch_norm{d}{tail}": Rule("normalization", batch_norm) for d in _BATCH for tail in ("", "_relu")},
    **{
        f"quantized::{kind}_{size}": Rule("indexing", embedding(bits, kind != "embedding"))
        for kind in ("embedding", "embedding_bag")
        for size, bits in (("byte", 8), ("4bit", 4))
    },
    **{
        f"quantized::quantized_{mode}_cell_dynamic": Rule("recurrent", dynamic_cell(mode))
        for mode in ("lstm", "gru", "rnn_tanh", "rnn_relu")
    },
    "aten::quantized_lstm": Rule("recurrent", recurrent("lstm", 4)),
    "aten::quantized_gru": Rule("recurrent", recurrent("gru", 3)),
}

RULES: Mapping[OpKey, Rule] = {
    key: rule for name, entry in _BY_NAME.items() for key, rule in optional(name, entry).items()
}
