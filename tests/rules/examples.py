"""At least one call of every operator family's rules: `(call, *arguments)`, run on meta tensors.

`FOREIGN` are operators that no meta kernel runs (another device's, quantized tensors): their records are written.
"""

from __future__ import annotations

import torch

aten = torch.ops.aten
F = torch.nn.functional
special = torch.special


def f(*shape: int) -> torch.Tensor:
    """A float tensor."""
    return torch.zeros(shape)


def i(*shape: int) -> torch.Tensor:
    """An integer tensor."""
    return torch.zeros(shape, dtype=torch.int64)


X, Y, M, V, L = f(2, 3, 8, 8), f(2, 4, 8, 8), f(6, 6), f(6), i(6)
"""Images, images of four channels, a matrix, a vector, indices."""
Z = torch.zeros(4, 8, dtype=torch.complex64)
B3, C4, ONE = f(2, 6, 6), f(4, 3, 1, 1), f()
ONES, ZEROS = (1, 1), (0, 0)
LONG = i(2, 3)

CONTRACTIONS = [
    (torch.mm, M, M),
    (torch.bmm, B3, B3),
    (torch.dot, V, V),
    (torch.mv, M, V),
    (torch.addmm, V, M, M),
    (aten._addmm_activation, V, M, M),
    (torch.baddbmm, B3, B3, B3),
    (torch.addbmm, M, B3, B3),
    (torch.addmv, V, M, V),
    (torch.addr, M, V, V),
    (F.bilinear, f(2, 3), f(2, 4), f(5, 3, 4)),
    (F.conv2d, X, C4),
    (F.conv_transpose2d, X, f(3, 4, 1, 1)),
    (torch._int_mm, torch.zeros(32, 64, dtype=torch.int8), torch.zeros(64, 16, dtype=torch.int8)),
    (F.scaled_dot_product_attention, X, X, X),
    (torch.gru, f(5, 2, 6), f(1, 2, 6), [f(18, 6), f(18, 6), f(18), f(18)], True, 1, 0.0, False, False, False),
]
NORMS = [
    (aten.native_batch_norm, X, f(3), f(3), f(3), f(3), True, 0.1, 1e-5),
    (aten._native_batch_norm_legit_no_training, X, f(3), f(3), f(3), f(3), 0.1, 1e-5),
    (aten._batch_norm_with_update, X, f(3), f(3), f(3), f(3), 0.1, 1e-5),
    (F.layer_norm, X, (8, 8)),
    (F.group_norm, X, 3),
    (torch._weight_norm, M, f(6, 1), 0),
    (torch.renorm, M, 2, 0, 1.0),
]
REDUCTIONS = [
    *((op, M) for op in (torch.sum, torch.mean, torch.var, torch.std, torch.trace, torch.any, torch.aminmax)),
    *((op, M, 0) for op in (torch.logsumexp, torch.softmax, torch.log_softmax, torch.logcumsumexp, torch.cumsum)),
    (torch.linalg.vector_norm, M),
    (torch.dist, M, M),
    (torch.linalg.cross, f(2, 3), f(2, 3)),
    (torch.histc, M),
    (lambda x: torch.segment_reduce(x, "sum", lengths=i(2), unsafe=True, axis=0), V),
]
POOLING = [
    (F.avg_pool1d, X[0], 2),
    (F.avg_pool2d, X, 2),
    (F.avg_pool3d, X, 2),
    (F.max_pool2d, X, 2),
    (F.max_pool3d, X, 2),
    (F.adaptive_avg_pool2d, X, 3),
    (F.adaptive_avg_pool3d, X, 3),
    (F.adaptive_max_pool2d, X, 3),
    (F.adaptive_max_pool3d, X, 3),
    (aten.max_unpool2d, X, i(2, 3, 8, 8), (16, 16)),
]
INDEXING = [
    (F.embedding, L, M),
    (aten._unsafe_masked_index, V, torch.zeros(6, dtype=torch.bool), [L], 0.0),
    (aten._embedding_bag, M, L, i(2)),
    (aten._unsafe_masked_index_put_accumulate, V, torch.zeros(6, dtype=torch.bool), [L], V),
    (lambda x, j, v: x.index_put_((j,), v), V, L, V),
    (torch.Tensor.put_, V, L, V),
    (torch.scatter, V, 0, L, V),
    (torch.scatter_add, V, 0, L, V),
    (lambda x, j: torch.scatter_reduce(x, 0, j, x, "sum"), V, L),
    (torch.index_add, V, 0, L, V),
    (lambda x, j: torch.index_reduce(x, 0, j, x, "prod"), V, L),
    (torch.index_copy, V, 0, L, V),
    (torch.index_fill, V, 0, L, 1.0),
    (F.fold, f(1, 8, 9), (4, 4), 2),
]
MOVEMENT = [
    (torch.clone, M),
    (torch.zeros_like, M),
    (torch.Tensor.zero_, M),
    (torch.narrow_copy, M, 0, 0, 2),
    (F.pad, M, (1, 1)),
    (torch.slice_scatter, M, M[:2], 0, 0, 2),
]
RANDOM = [
    (torch.rand, 3),
    (torch.Tensor.uniform_, V),
    (F.dropout, V),
    (torch.multinomial, V, 3),
    (F.rrelu, V),
    (aten._fused_dropout, V, 0.5),
]
LINALG = [
    *((op, M) for op in (torch.linalg.cholesky, torch.linalg.inv, torch.linalg.det, torch.linalg.slogdet)),
    *((op, M) for op in (torch.cholesky_inverse, torch.linalg.ldl_factor, torch.linalg.lu, torch.linalg.qr)),
    *((op, M) for op in (torch.linalg.svd, torch.linalg.pinv, torch.linalg.eigh, torch.linalg.eig)),
    *((op, M) for op in (torch.linalg.matrix_exp, torch.pdist)),
    (torch.linalg.solve, M, M),
    (torch.linalg.lu_solve, M, torch.zeros(6, dtype=torch.int32), M),
    (lambda a, b: torch.linalg.solve_triangular(a, b, upper=True), M, M),
    (torch.triangular_solve, M, M),
    (torch.cholesky_solve, M, M),
    (torch.linalg.ldl_solve, M, torch.zeros(6, dtype=torch.int32), M),
    (torch.linalg.householder_product, M, V),
    (torch.ormqr, M, V, M),
    (torch.lu_unpack, M, torch.zeros(6, dtype=torch.int32)),
    (torch.cdist, M, M),
    (torch.fft.fft, Z),
    (torch.fft.rfft, M),
    (torch.fft.irfft, Z),
]
SORTING = [
    (torch.sort, V),
    (torch.topk, V, 2),
    (torch.searchsorted, V, V),
    (torch.bucketize, V, V),
    (torch.isin, V, V),
]
INTERPOLATION = [
    (lambda x: F.interpolate(x, scale_factor=2), X),
    (lambda x: F.interpolate(x, scale_factor=2, mode="linear"), X[0]),
    (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), X),
    (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), X),
    (lambda x: F.interpolate(x, scale_factor=2, mode="trilinear"), X[None]),
    (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", antialias=True), X),
    (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic", antialias=True), X),
    (lambda x, g: F.grid_sample(x, g, align_corners=False), X, f(2, 4, 4, 2)),
    (lambda t: F.affine_grid(t, (2, 1, 3, 3), align_corners=False), f(2, 2, 3)),
]
LOSSES = [
    *((op, V, V) for op in (F.mse_loss, F.smooth_l1_loss, F.huber_loss, F.binary_cross_entropy, F.soft_margin_loss)),
    (F.binary_cross_entropy_with_logits, V, V),
    (F.nll_loss, M, L),
    (F.multi_margin_loss, M, L),
    (F.multilabel_margin_loss, M, i(6, 6)),
    (lambda p, t: aten._ctc_loss(p, t, [6], [2]), f(6, 1, 6), i(1, 2)),
]
NUMBERED = [
    (torch.pow, V, 3),
    (torch.clamp, V, 0.0, 1.0),
    *((op, V) for op in (F.gelu, F.elu, F.softplus, torch.logit, torch.digamma, torch.frexp)),
    (aten.conj_physical, Z),
    (torch.mvlgamma, V, 2),
]
CALLS = [
    *(CONTRACTIONS + NORMS + REDUCTIONS + POOLING + INDEXING + MOVEMENT + RANDOM),
    *(LINALG + SORTING + INTERPOLATION + LOSSES + NUMBERED),
]

CUDNN = (ZEROS, ONES, ONES, 1, False, False, False)


def newer(name, *example):
    """An example for an operator that the lowest supported PyTorch lacks."""
    return [(getattr(aten, name).default, *example)] if hasattr(aten, name) else []


quantized = torch.ops.quantized
CONV1, CONV3 = (f(2, 3, 8), f(4, 3, 1), 1.0, 0), (f(2, 3, 4, 4, 4), f(4, 3, 1, 1, 1), 1.0, 0)
QUANTIZED = [
    *((op.default, CONV1, f(2, 4, 8)) for op in (quantized.conv1d, quantized.conv1d_relu)),
    *((op.new, (X, C4, 1.0, 0), Y) for op in (quantized.conv2d, quantized.conv2d_relu)),
    *((op.new, CONV3, f(2, 4, 4, 4, 4)) for op in (quantized.conv3d, quantized.conv3d_relu)),
    (quantized.conv_transpose1d.default, (f(2, 3, 8), f(3, 4, 1), 1.0, 0), f(2, 4, 8)),
    (quantized.conv_transpose2d.default, (X, f(3, 4, 1, 1), 1.0, 0), Y),
    (quantized.conv_transpose3d.default, (f(2, 3, 4, 4, 4), f(3, 4, 1, 1, 1), 1.0, 0), f(2, 4, 4, 4, 4)),
    *((op.default, (X, Y, C4, 1.0, 0), Y) for op in (quantized.conv2d_add, quantized.conv2d_add_relu)),
    *((op.default, (M, M, 1.0, 0), M) for op in (quantized.linear, quantized.linear_relu)),
    *((op.default, (M, M), M) for op in (quantized.linear_dynamic, quantized.linear_relu_dynamic)),
    *((op.default, (M, M), M) for op in (quantized.linear_dynamic_fp16, quantized.linear_relu_dynamic_fp16)),
    *((op.default, (M, M, 1.0, 0), M) for op in (quantized.add, quantized.add_relu, quantized.mul, quantized.mul_relu)),
    *((op.default, (M, 1.0), M) for op in (quantized.add_scalar, quantized.mul_scalar)),
    *((op.default, (M, 1.0, 0), M) for op in (quantized.hardswish, quantized.sigmoid)),
    (quantized.leaky_relu.default, (M, 0.1, False, 1.0, 0), M),
    (quantized.cat.default, ((M, M), 0, 1.0, 0), f(12, 6)),
    (quantized.conv2d_dynamic.default, (X, C4), Y),
    (quantized.conv_transpose2d_dynamic.default, (X, f(3, 4, 1, 1)), Y),
    (quantized.conv2d_prepack.default, (C4, V, ONES, ZEROS, ONES, 1), ()),
    (quantized.linear_leaky_relu.default, (M, M, 1.0, 0, 0.1), M),
    (quantized.linear_tanh.default, (M, M, 1.0, 0), M),
    (quantized.matmul.default, (M, M, 1.0, 0), M),
    *((op.default, (M, 1.0, 0), M) for op in (quantized.elu, quantized.celu)),
    (quantized.prelu.default, (M, V, 1.0, 0), M),
    (quantized.softmax.default, (M, 1, 1.0, 0), M),
    (quantized.threshold.default, (M, 0.1, 0.0), M),
    (quantized.relu6.default, (M,), M),
    (quantized.max_pool2d.default, (X, (2, 2), (2, 2), ZEROS, ONES, False), f(2, 3, 4, 4)),
    (quantized.layer_norm.default, (M, (6,), V, V, 1e-5, 1.0, 0), M),
    (quantized.group_norm.default, (X, 3, V[:3], V[:3], 1e-5, 1.0, 0), X),
    (quantized.batch_norm2d.default, (X, V[:3], V[:3], V[:3], V[:3], 1e-5, 1.0, 0), X),
    *((op.default, (ONE, L), M) for op in (quantized.embedding_byte, quantized.embedding_4bit)),
    *((op.default, (ONE, L, i(2)), f(2, 6)) for op in (quantized.embedding_bag_byte, quantized.embedding_bag_4bit)),
    (aten.quantized_lstm.input, (f(5, 2, 6), [f(1, 2, 6)] * 2, [], True, 1, 0.0, False, False, False), f(5, 2, 6)),
    (aten.quantized_gru.input, (f(5, 2, 6), f(1, 2, 6), [], True, 1, 0.0, False, False, False), f(5, 2, 6)),
    (quantized.quantized_lstm_cell_dynamic.default, (f(2, 6), [f(2, 6)] * 2, f(24, 6), f(24, 6), V, V), f(2, 6)),
    *(
        (op.default, (f(2, 6), f(2, 6), f(gates * 6, 6), f(gates * 6, 6), V, V), f(2, 6))
        for op, gates in (
            (quantized.quantized_gru_cell_dynamic, 3),
            (quantized.quantized_rnn_tanh_cell_dynamic, 1),
            (quantized.quantized_rnn_relu_cell_dynamic, 1),
        )
    ),
    (aten.dequantize.self, (M,), M),
]
LISTS = [
    *(
        (getattr(aten, f"_foreach_{name}").default, ([M, V],), [M, V])
        for name in (
            *("abs", "neg", "reciprocal", "sign", "ceil", "floor", "frac", "round", "trunc", "exp", "expm1", "log"),
            *("log10", "log1p", "log2", "rsqrt", "sigmoid", "sqrt", "erf", "erfc", "lgamma", "acos", "asin", "atan"),
            *("cos", "cosh", "sin", "sinh", "tan", "tanh", "max", "clone", "zero_"),
        )
        if hasattr(aten, f"_foreach_{name}")
    ),
    *(
        (getattr(aten, f"_foreach_{name}").List, ([M, V], [M, V]), [M, V])
        for name in ("add", "div", "mul", "sub", "clamp_max", "clamp_min", "maximum", "minimum", "pow")
    ),
    (aten._foreach_lerp.Scalar, ([M, V], [M, V], 0.1), [M, V]),
    *((op.Scalar, ([M, V], [M, V], [M, V]), [M, V]) for op in (aten._foreach_addcmul, aten._foreach_addcdiv)),
    (aten._foreach_norm.Scalar, ([M, V],), [ONE, ONE]),
    (aten._foreach_copy_.default, ([M, V], [M, V]), ()),
]
SPARSE = [
    (aten._sparse_sum.default, (M,), ONE),
    (aten._sparse_softmax.default, (M, 1, False), M),
    (aten._sparse_log_softmax.default, (M, 1, False), M),
    (aten.sparse_sampled_addmm.default, (M, M, M), M),
    (aten._sparse_mm_reduce_impl.default, (M, M, "sum"), (M, M)),
    (aten._sparse_semi_structured_linear.default, (M, f(6, 3), L), M),
    *newer("_cslt_sparse_mm", (V, M), M),
]
FOREIGN = [
    (torch.ops._c10d_functional.all_reduce.default, (f(2, 3), "sum", "a group"), f(2, 3)),
    *QUANTIZED,
    *LISTS,
    *SPARSE,
    (aten._fused_moving_avg_obs_fq_helper.default, (M, L, L, V, V, V, L, 0.01, 0, 255, 0), (M, M)),
    (aten._fake_quantize_learnable_per_tensor_affine.default, (V, ONE, ONE, 0, 15), V),
    (aten._fake_quantize_learnable_per_channel_affine.default, (M, V, V, 0, 0, 15), M),
    (aten._lstm_mps.default, (f(5, 2, 6), [M, M], [f(24, 6)] * 2 + [f(24)] * 2, True, 1, 0.0, False, False, False), M),
    (aten.unique_dim_consecutive.default, (M, 0), M),
    (aten.allclose.default, (M, M), ()),
    (aten.mkldnn_linear.default, (M, M, V), M),
    (aten.linear.default, (M, M, V), M),
    (aten.cudnn_convolution.default, (X, C4, *CUDNN), Y),
    (aten.cudnn_convolution_transpose.default, (X, f(3, 4, 1, 1), ZEROS, *CUDNN), Y),
    (aten.cudnn_convolution_relu.default, (X, C4, f(4), ONES, ZEROS, ONES, 1), Y),
    (aten.cudnn_convolution_add_relu.default, (X, C4, Y, 2, f(4), ONES, ZEROS, ONES, 1), Y),
    (aten._slow_conv2d_forward.default, (X, C4, ONES, None, ONES, ZEROS), Y),
    (aten.slow_conv_transpose2d.default, (X, f(3, 4, 1, 1), ONES), Y),
    (aten._conv_depthwise2d.default, (X, f(3, 1, 1, 1), ONES, None, ONES, ZEROS, ONES), X),
    (aten.conv_tbc.default, (f(8, 2, 3), f(3, 3, 4), f(4), 1), f(8, 2, 4)),
    (aten._scaled_mm.default, (M, M, ONE, ONE), M),
    (aten._weight_int8pack_mm.default, (M, M, V), M),
    (aten._weight_int4pack_mm.default, (M, M, 6, f(1, 6, 2)), M),
    *newer("_dyn_quant_matmul_4bit", (M, V, 2, 6, 6), M),
    *newer("_grouped_mm", (B3, B3), B3),
    *newer("_scaled_grouped_mm", (B3, B3, ONE, ONE), B3),
    (aten._mixed_dtypes_linear.default, (M, M, V), M),
    (aten._sparse_semi_structured_mm.default, (f(6, 3), L, M), M),
    (aten._sparse_semi_structured_addmm.default, (V, f(6, 3), L, M), M),
    (aten._flash_attention_forward.default, (X, X, X, None, None, 3, 3, 0.0, False, False), X),
    (aten._native_multi_head_attention.default, (B3, B3, B3, 6, 2, f(18, 6), f(18), M, V), B3),
    (
        aten._transformer_encoder_layer_fwd.default,
        (B3, 6, 2, f(18, 6), f(18), M, V, True, False, 1e-5, V, V, V, V, M, V, M, V),
        B3,
    ),
    (aten.mkldnn_rnn_layer.default, (B3, M, M, V, V, M, M, False, (), 1, 6, 1, True, False, False, False), B3),
    (aten._cudnn_rnn.default, (B3, [M, M], 2, None, M, None, 1, 6, 0, 1, False, 0.0, False, False, (), None), B3),
    (aten._thnn_fused_lstm_cell.default, (f(2, 12), f(2, 12), f(2, 3)), f(2, 3)),
    (aten._thnn_fused_gru_cell.default, (f(2, 9), f(2, 9), f(2, 3)), f(2, 3)),
    (aten.batch_norm_stats.default, (X, 1e-5), f(3)),
    (aten.batch_norm_elemt.default, (X, V[:3], V[:3], V[:3], V[:3], 1e-5), X),
    *newer("_fused_rms_norm", (M, (6,), V, 1e-5), M),
    (aten.equal.default, (M, M), ()),
    (aten.max.other, (V, V), V),
    (aten.min.other, (V, V), V),
    *newer("linalg__powsum", (M, 3), ONE),
    (aten.bincount.default, (L, V), V),
    (aten._compute_linear_combination.default, (B3, f(3, 2)), f(3, 6, 6)),
    (aten.avg_pool1d.default, (X[0], (2,)), f(3, 8, 4)),
    (aten.linalg_eigvals.default, (M,), Z),
    (aten.max_pool1d.default, (X[0], (2,)), f(3, 8, 4)),
    (aten.adaptive_avg_pool1d.default, (X[0], (3,)), f(3, 8, 3)),
    (aten.embedding_renorm_.default, (M, L, 1.0, 2.0), M),
    (aten.masked_select.default, (V, L.bool()), V),
    (aten._copy_from.default, (V, V), V),
    (aten._local_scalar_dense.default, (V,), ()),
    (aten._masked_scale.default, (V, V, 2.0), V),
    (aten.linalg_lstsq.default, (M, M), M),
    *newer("linalg_polar", (M,), (M, M)),
    *newer("linalg_matrix_sqrth", (M,), M),
    (aten.mode.default, (V,), ONE),
    (aten.unique_dim.default, (M, 0), M),
    (aten.unique_consecutive.default, (V,), V),
    *newer("_upsample_lanczos2d_aa", (X, (4, 4), False), f(2, 3, 4, 4)),
    (aten._masked_softmax.default, (B3, B3.bool()), B3),
    (aten.geqrf.default, (M,), (M, V)),
    (aten.fake_quantize_per_tensor_affine_cachemask.default, (V, 0.1, 0, 0, 15), (V, V)),
    (aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams.default, (V, ONE, ONE, ONE, 0, 15), (V, V)),
    (aten.fake_quantize_per_channel_affine_cachemask.default, (M, V, V, 0, 0, 15), (M, M)),
    (aten.quantize_per_tensor.default, (V, 0.1, 0, torch.quint8), V),
    (aten.quantize_per_channel.default, (M, V, L, 0, torch.quint8), M),
    (aten.quantize_per_tensor_dynamic.default, (V, torch.quint8, False), V),
]
