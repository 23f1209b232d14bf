"""One record for every gradient's rule: `(operator, arguments, results)`, as examples.py has for the rest."""

from __future__ import annotations

import re

import torch

import fxcost.meta.masked
import fxcost.meta.unit_gradients  # noqa: F401  (defines torch.ops.fxcost.*_backward)
from fxcost.rules.backward_pointwise import TABLE
from tests.rules.examples import C4, ONE, L, M, V, X, Y, f, i, newer

aten = torch.ops.aten
unit = torch.ops.fxcost
ONES, ZEROS, ALL = (1, 1), (0, 0), (True, True, True)
HALF, SIXTEEN = f(2, 3, 4, 4), (2, 3, 8, 8)

CONTRACTIONS = [
    (aten.convolution_backward.default, (Y, X, C4, (4,), ONES, ZEROS, ONES, False, ZEROS, 1, ALL), (X, C4, f(4))),
    (aten.linear_backward.default, (M, M, M, ALL), (M, M, V)),
    (
        unit.scaled_dot_product_attention_backward.default,
        (X, X, X, X, None, X, f(2, 3, 8), 0.0, False, None, False, False, (True, True, True, False)),
        (X, X, X),
    ),
    (
        unit.masked_attention.default,
        (X, X, X, None, True, 4, 0, 0, True, True, True),
        (f(2, 8, 3, 8), f(2, 3, 8)),
    ),
    (
        unit.masked_attention_backward.default,
        (X, X, X, X, None, X, f(2, 3, 8), True, 4, 0, 0, True, True, True, (True, True, True, False)),
        (X, X, X),
    ),
    (
        aten._flash_attention_backward.default,
        (X, X, X, X, X, f(2, 8, 3), None, None, 3, 3, 0.0, False, L, L),
        (X, X, X),
    ),
    (
        unit.rnn_backward.default,
        (
            *(f(5, 2, 6), f(5, 2, 6), f(5, 2, 6), [f(1, 2, 6)], [f(18, 6), f(18, 6)], V),
            *("gru", False, 1, 0.0, False, False, None, (True, False, True, True)),
        ),
        (f(5, 2, 6), f(18, 6), f(18, 6)),
    ),
    (aten._cudnn_rnn_backward.default, (f(5, 2, 6), [M, M], 2, V, M), (f(5, 2, 6),)),
    (aten._thnn_fused_lstm_cell_backward_impl.default, (M, M, M, M, M, True), (M, M, V)),
    (aten._thnn_fused_gru_cell_backward.default, (M, M, True), (M, M)),
]
if hasattr(torch.ops.higher_order, "flex_attention"):
    CONTRACTIONS.append(
        (unit.flex_attention_backward.default, (X, X, X, X, X, f(2, 3, 8), [V], 1.0, (True, True, True, False)), (X, X))
    )
NORMS = [
    (aten.native_batch_norm_backward.default, (X, X, f(3), f(3), f(3), f(3), f(3), True, 1e-5, ALL), (X, f(3), f(3))),
    (
        aten.native_layer_norm_backward.default,
        (X, X, (8,), f(2, 3, 8, 1), f(2, 3, 8, 1), f(8), f(8), ALL),
        (X, f(8), f(8)),
    ),
    (aten.native_group_norm_backward.default, (X, X, f(2, 3), f(2, 3), f(3), 2, 3, 64, 3, ALL), (X, f(3), f(3))),
    *newer("_fused_rms_norm_backward", (M, M, (6,), f(6, 1), V, (True, True)), (M, V)),
    (aten._weight_norm_interface_backward.default, (M, M, f(6, 1), f(6, 1), 0), (M, f(6, 1))),
    (aten._softmax_backward_data.default, (M, M, 1, torch.float32), M),
    (aten._log_softmax_backward_data.default, (M, M, 1, torch.float32), M),
]
PLACES = [
    (aten.max_pool2d_with_indices_backward.default, (HALF, X, (2, 2), (2, 2), ZEROS, ONES, False, i(2, 3, 4, 4)), X),
    (aten.avg_pool2d_backward.default, (HALF, X, (2, 2), (2, 2), ZEROS, False, True, None), X),
    (aten._adaptive_avg_pool2d_backward.default, (HALF, X), X),
    (aten.upsample_linear1d_backward.default, (f(2, 3, 8), (8,), (2, 3, 4), False), f(2, 3, 4)),
    (aten.upsample_bilinear2d_backward.default, (X, (8, 8), (2, 3, 4, 4), False), HALF),
    (
        aten.upsample_trilinear3d_backward.default,
        (f(1, 1, 4, 4, 4), (4, 4, 4), (1, 1, 2, 2, 2), False),
        f(1, 1, 2, 2, 2),
    ),
    (aten.upsample_bicubic2d_backward.default, (X, (8, 8), (2, 3, 4, 4), False), HALF),
    (aten._upsample_bilinear2d_aa_backward.default, (HALF, (4, 4), SIXTEEN, False), X),
    (aten._upsample_bicubic2d_aa_backward.default, (HALF, (4, 4), SIXTEEN, False), X),
    (aten.grid_sampler_2d_backward.default, (X, X, f(2, 8, 8, 2), 0, 0, False, (True, True)), (X, f(2, 8, 8, 2))),
    (aten.slice_backward.default, (V[:2], (6,), 0, 0, 2, 1), V),
    (aten.masked_scatter_backward.default, (V, V.bool(), (6,)), V),
    (aten._cdist_backward.default, (M, M, M, 2.0, M), M),
    (aten._pdist_backward.default, (f(15), M, 2.0, f(15)), M),
    (aten._embedding_bag_backward.default, (M, L, L, L, L, L, 6, False, 0, False, None, -1), M),
    (aten._embedding_bag_dense_backward.default, (M, L, L, L, L, 6, False, 0, None, -1), M),
    (aten._embedding_bag_per_sample_weights_backward.default, (M, M, L, L, L, 0, -1), V),
    (aten._segment_reduce_backward.default, (V, V, M, "mean"), M),
    (
        aten._ctc_loss_backward.default,
        (f(2), f(6, 2, 5), i(2, 2), (6, 6), (2, 2), f(2), f(2, 6, 5), 0),
        f(6, 2, 5),
    ),
    *newer("_upsample_lanczos2d_aa_backward", (HALF, (4, 4), SIXTEEN, False), X),
]
ELEMENTS = [
    (aten.gelu_backward.default, (V, V), V),
    (aten.glu_backward.default, (f(6, 3), M, 1), M),
    (aten._prelu_kernel_backward.default, (V, V, ONE), (V, V)),
    (aten.native_dropout_backward.default, (V, V.bool(), 2.0), V),
    (aten.rrelu_with_noise_backward.default, (V, V, V, 0.1, 0.3, True, False), V),
    (aten.nll_loss_backward.default, (ONE, M, L, None, 1, -100, ONE), M),
    (aten.multi_margin_loss_backward.default, (ONE, M, L, 1, 1), M),
    (aten.multilabel_margin_loss_backward.default, (ONE, M, i(6, 6), 1, M), M),
]


def _from_table() -> list[tuple]:
    records = []
    for key, (_, _, expression) in TABLE.items():
        op = getattr(key, next(o for o in key.overloads() if o != "grad_input" or len(key.overloads()) == 1))
        operands = [V for name in "gxy" if re.search(rf"\b{name}\b", expression)]
        rest = op._schema.arguments[len(operands) :]
        records.append((op, (*operands, *(1 if not a.has_default_value() else a.default_value for a in rest)), V))
    return records


BACKWARD = [*CONTRACTIONS, *NORMS, *PLACES, *ELEMENTS, *_from_table()]
