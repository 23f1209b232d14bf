"""Gradients: reference algorithms on counting numbers against PyTorch's kernels, and against autograd."""

import re

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from oracle import FUNCTIONS, counting, exp, filled, prove, rsqrt, total
from oracle import numbers as counted
from recording import price, price_of
from strategies import drawn, flags, sizes, values

from fxcost.records.cost import Cost
from fxcost.rules import BUILT_IN
from fxcost.rules.backward_pointwise import GELU, TABLE

F = torch.nn.functional
aten = torch.ops.aten
real = st.floats(-3, 3, allow_nan=False).filter(lambda v: abs(v) > 1e-3)

CALLS = {
    aten.threshold_backward: lambda g, x: aten.threshold_backward(g, x, 0),
    aten.hardtanh_backward: lambda g, x: aten.hardtanh_backward(g, x, -1, 1),
    aten.leaky_relu_backward: lambda g, x: aten.leaky_relu_backward(g, x, 0.01, False),
    aten.hardshrink_backward: lambda g, x: aten.hardshrink_backward(g, x, 0.5),
    aten.softshrink_backward: lambda g, x: aten.softshrink_backward(g, x, 0.5),
    aten.softplus_backward: lambda g, x: aten.softplus_backward(g, x, 1, 20),
    aten.elu_backward: lambda g, x: aten.elu_backward(g, 1, 1, 1, False, x),
    aten.log_sigmoid_backward: lambda g, x: aten.log_sigmoid_backward(g, x, torch.exp(-x.abs())),
    aten.mse_loss_backward: lambda g, x, y: aten.mse_loss_backward(g, x, y, 2),
    aten.smooth_l1_loss_backward: lambda g, x, y: aten.smooth_l1_loss_backward(g, x, y, 2, 1.0),
    aten.huber_loss_backward: lambda g, x, y: aten.huber_loss_backward(g, x, y, 2, 1.0),
    aten.binary_cross_entropy_backward: lambda g, x, y: aten.binary_cross_entropy_backward(g, x, y, None, 2),
    aten.soft_margin_loss_backward: lambda g, x, y: aten.soft_margin_loss_backward(g, x, y, 2),
}
"""How to call the operators that take more than the tensors named in their expression."""


def operands(expression, **given):
    return {k: v for k, v in given.items() if re.search(rf"\b{k}\b", expression)}


@pytest.mark.parametrize("key", TABLE, ids=str)
@drawn(real, real, real, examples=12)
def test_an_expression_is_its_operator_and_its_count_the_entry(key, g, x, y):
    """Value and count of each entry of the table."""
    operations, transcendental, expression = TABLE[key]
    if key in (aten.binary_cross_entropy_backward, aten.logit_backward):
        x, y = (abs(v) / 4 for v in (x, y))
    given = {k: torch.tensor(v, dtype=torch.float64) for k, v in operands(expression, g=g, x=x, y=y).items()}
    with counting() as tally:
        mine = eval(expression, dict(FUNCTIONS), {k: counted(v) for k, v in given.items()})
    assert (tally.cost.other_flops, tally.cost.transcendentals) == (operations, transcendental)
    torch.testing.assert_close(
        torch.tensor(float(mine), dtype=torch.float64), CALLS.get(key, key)(*given.values()), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("key", [k for k in TABLE if k not in (aten.silu_backward,)], ids=str)
def test_rules_count_the_entry_for_each_element(key):
    """Twelve elements cost twelve entries."""
    operations, transcendental, expression = TABLE[key]
    given = operands(expression, g=values(3, 4), x=values(3, 4, seed=1), y=values(3, 4, seed=2))
    if key is aten.log_sigmoid_backward:
        cost = price_of(key.default, *given.values(), values(3, 4), outputs=values(3, 4))
    elif key is aten.mish_backward:  # on meta it falls apart into the operators of its formula
        cost = price_of(key.default, *given.values(), outputs=values(3, 4))
    else:
        cost = price(CALLS.get(key, key), *given.values())
    assert (cost.other_flops, cost.transcendentals) == (12 * operations, 12 * transcendental)


@pytest.mark.parametrize("approximate", GELU)
@drawn(real, real, examples=12)
def test_gelu(approximate, g, x):
    """The exact derivative and the approximation's."""
    operations, transcendental, expression = GELU[approximate]
    given = {"g": torch.tensor(g, dtype=torch.float64), "x": torch.tensor(x, dtype=torch.float64)}
    with counting() as tally:
        mine = eval(expression, dict(FUNCTIONS), {k: counted(v) for k, v in given.items()})
    assert (tally.cost.other_flops, tally.cost.transcendentals) == (operations, transcendental)
    theirs = aten.gelu_backward(given["g"], given["x"], approximate=approximate)
    torch.testing.assert_close(float(mine), theirs.item(), rtol=1e-6, atol=1e-6)
    cost = price(lambda a, b: aten.gelu_backward(a, b, approximate=approximate), values(5), values(5))
    assert (cost.other_flops, cost.transcendentals) == (5 * operations, 5 * transcendental)


def test_dropout():
    """Two products an element: with the mask, and with the scale."""
    cost = price(aten.native_dropout_backward, values(3, 4), torch.ones(3, 4, dtype=torch.bool), 1.25)
    assert (cost.other_flops, cost.bytes_read) == (24, 12 * 9)


@drawn(sizes, sizes)
def test_glu(n, m):
    """Both halves' gradients share the sigmoid."""

    def reference(g, x, _dim):
        out = filled(x.shape)
        for i, j in np.ndindex(n, m):
            a, b = x[i, j], x[i, j + m]
            s = 1 / (1 + exp(-b))
            out[i, j] = g[i, j] * s
            out[i, j + m] = g[i, j] * a * (1 - s) * s
        return out

    prove(aten.glu_backward, reference, values(n, m), values(n, 2 * m, seed=1), 1)


# ---------------------------------------------------------------------------------------- normalization and softmax


@pytest.mark.parametrize("is_log", [False, True])
@drawn(sizes, st.integers(1, 4))
def test_softmax(is_log, rows, n):
    """(g − Σ g·y)·y, and g − exp(y)·Σ g."""

    def reference(g, y, _dim, _dtype):
        out = filled(y.shape)
        for i in range(rows):
            if is_log:
                s = total(g[i])
                out[i] = [gj - exp(yj) * s for gj, yj in zip(g[i], y[i], strict=True)]
            else:
                s = total([gj * yj for gj, yj in zip(g[i], y[i], strict=True)])
                out[i] = [(gj - s) * yj for gj, yj in zip(g[i], y[i], strict=True)]
        return out

    op = aten._log_softmax_backward_data if is_log else aten._softmax_backward_data
    y = (torch.log_softmax if is_log else torch.softmax)(values(rows, n), 1)
    prove(op, reference, values(rows, n, seed=1), y, 1, torch.float64)


def rows_backward(g, x, weight, mean, rstd):
    """dx of one normalized row, with each element's weight, and its x̂."""
    n = len(x)
    normalized = [(v - mean) * rstd for v in x]
    h = g if weight is None else [a * b for a, b in zip(g, weight, strict=True)]
    first, second = total(h), total([a * b for a, b in zip(h, normalized, strict=True)])
    scale = rstd / n
    return [(a * n - first - v * second) * scale for a, v in zip(h, normalized, strict=True)], normalized


@drawn(st.integers(1, 3), st.integers(2, 4), flags)
def test_layer_norm(rows, n, with_affine):
    """All three gradients; without weights only the input's."""
    x, weight = values(rows, n), values(n, seed=2) if with_affine else None
    mean, rstd = x.mean(1, keepdim=True), (x.var(1, keepdim=True, unbiased=False) + 1e-5).rsqrt()

    def reference(g, x, _shape, mean, rstd, w, _bias, _mask):
        out, normalized = filled((rows, n)), filled((rows, n))
        for i in range(rows):
            out[i], normalized[i] = rows_backward(list(g[i]), x[i], w, mean[i, 0], rstd[i, 0])
        if not with_affine:
            return (out,)
        of_w, of_b = filled((n,)), filled((n,))
        for j in range(n):
            of_w[j] = total([g[i, j] * normalized[i, j] for i in range(rows)])
            of_b[j] = total([g[i, j] for i in range(rows)])
        return out, of_w, of_b

    prove(
        lambda *a: [t for t in aten.native_layer_norm_backward(*a) if t is not None],
        reference,
        *(values(rows, n, seed=1), x, (n,), mean, rstd, weight, weight, (True, with_affine, with_affine)),
    )


@drawn(sizes, sizes, st.integers(2, 3))
def test_group_norm(n, groups, places):
    """Rows are groups; weights belong to channels."""
    per_group = 2
    c = groups * per_group
    x = values(n, c, places)
    split = x.reshape(n, groups, -1)
    mean, rstd = split.mean(2), (split.var(2, unbiased=False) + 1e-5).rsqrt()

    def reference(g, x, mean, rstd, w, *_):
        out, normalized = filled(x.shape), filled(x.shape)
        for i, j in np.ndindex(n, groups):
            where = [(i, k, p) for k in range(j * per_group, (j + 1) * per_group) for p in range(places)]
            of_x, hats = rows_backward(
                [g[q] for q in where], [x[q] for q in where], [w[q[1]] for q in where], mean[i, j], rstd[i, j]
            )
            for q, a, b in zip(where, of_x, hats, strict=True):
                out[q], normalized[q] = a, b
        of_w, of_b = filled((c,)), filled((c,))
        for k in range(c):
            of_w[k] = total([g[i, k, p] * normalized[i, k, p] for i in range(n) for p in range(places)])
            of_b[k] = total([g[i, k, p] for i in range(n) for p in range(places)])
        return out, of_w, of_b

    prove(
        aten.native_group_norm_backward,
        reference,
        *(values(n, c, places, seed=1), x, mean, rstd, values(c, seed=2), n, c, places, groups, (True, True, True)),
    )


@pytest.mark.parametrize("training", [True, False])
@drawn(st.integers(2, 3), sizes, st.integers(1, 3))
def test_batch_norm(training, n, c, places):
    """In training through the statistics, else with the running ones as constants."""
    x, weight = values(n, c, places), values(c, seed=2)
    mean, var = x.mean((0, 2)), x.var((0, 2), unbiased=False)
    saved = (mean, (var + 1e-5).rsqrt()) if training else (mean, var)

    def reference(g, x, w, running_mean, running_var, mean, rstd, *_):
        out, of_w, of_b = filled(x.shape), filled((c,)), filled((c,))
        for k in range(c):
            where = [(i, k, p) for i in range(n) for p in range(places)]
            scale = rstd[k] if training else rsqrt(running_var[k] + 1e-5)
            center = mean[k] if training else running_mean[k]
            hats = [(x[q] - center) * scale for q in where]
            of_w[k] = total([g[q] * h for q, h in zip(where, hats, strict=True)])
            of_b[k] = total([g[q] for q in where])
            if training:
                factor = w[k] * scale / len(where)
                for q, h in zip(where, hats, strict=True):
                    out[q] = (g[q] * len(where) - of_b[k] - h * of_w[k]) * factor
            else:
                factor = w[k] * scale
                for q in where:
                    out[q] = g[q] * factor
        return out, of_w, of_b

    prove(
        aten.native_batch_norm_backward,
        reference,
        *(values(n, c, places, seed=1), x, weight, *(mean, var), *saved, training, 1e-5, (True, True, True)),
    )


# -------------------------------------------------------------------------------------------------- contractions


def gradients(call, *inputs):
    """Cost of the backward pass of `call` alone, by autograd on meta, every input needing a gradient."""
    import fxcost

    class Model(torch.nn.Module):
        def forward(self, *args):
            return call(*args)

    given = [v.detach().clone().requires_grad_() for v in inputs]
    training = fxcost.analyze(Model(), given, training=True, strict=True).training
    return training.backward


@drawn(sizes, st.integers(1, 3), st.integers(1, 4), sizes, flags)
def test_attention_is_its_decomposition(batch, l_q, l_k, d, masked):
    """The four products of the gradient of softmax(QKᵀ)V written out."""
    q, k, v = values(batch, 2, l_q, d), values(batch, 2, l_k, d, seed=1), values(batch, 2, l_k, d + 1, seed=2)
    mask = values(l_q, l_k, seed=3)
    whole = gradients(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, mask if masked else None), q, k, v)
    parts = gradients(lambda q, k, v: torch.softmax(q @ k.transpose(-1, -2) * 0.5, -1) @ v, q, k, v)
    assert whole.macs == parts.macs
    assert whole.transcendentals == 0


@drawn(sizes, sizes, sizes, st.sampled_from(["linear", "convolution"]))
def test_gradients_of_a_layer_are_asked_for_one_by_one(rows, n_in, n_out, kind):
    """Each is a product of the matrices that it names, and the bias's a sum over rows; together they are the sum."""
    grad, x, weight = torch.empty(rows, n_out), torch.empty(rows, n_in), torch.empty(n_out, n_in)

    def asked(*wanted):
        outputs = tuple(t if w else None for t, w in zip((x, weight, torch.empty(n_out)), wanted, strict=True))
        if kind == "linear":
            return price_of(aten.linear_backward.default, x, grad, weight, wanted, outputs=outputs)
        images = [t[..., None] for t in (grad, x, weight)]
        settings = (n_out,), (1,), (0,), (1,), False, (0,), 1
        return price_of(aten.convolution_backward.default, *images, *settings, wanted, outputs=outputs)

    of_x, of_w, of_b = asked(True, False, False), asked(False, True, False), asked(False, False, True)
    assert of_x.macs == of_w.macs == rows * n_in * n_out
    assert (of_x.zero_accumulators, of_w.zero_accumulators) == (rows * n_in, n_out * n_in)
    assert (of_b.macs, of_b.other_flops, of_b.zero_accumulators) == (0, rows * n_out - n_out, 0)
    whole = asked(True, True, True)
    for name in ("macs", "other_flops", "zero_accumulators"):
        assert getattr(whole, name) == sum(getattr(part, name) for part in (of_x, of_w, of_b))


def test_gradients_of_no_rows():
    """A layer without outputs has nothing to multiply."""
    grad, x, weight = torch.empty(3, 0), torch.empty(3, 4), torch.empty(0, 4)
    cost = price_of(aten.linear_backward.default, x, grad, weight, (True, True, True), outputs=(x, weight, grad[0]))
    assert (cost.macs, cost.other_flops) == (0, 0)


def test_attention_that_is_needed_in_part():
    """Only what is asked for: dV is one product, dQ needs two."""
    q, k, v = (values(1, 2, 3, 4, seed=i) for i in range(3))
    product = 2 * 3 * 3 * 4
    for wanted, products in ((0, 2), (1, 2), (2, 1)):
        inputs = [q, k, v]

        def call(x, inputs=inputs, wanted=wanted):
            given = [x if i == wanted else t.to(x.device) for i, t in enumerate(inputs)]
            return F.scaled_dot_product_attention(*given)

        assert gradients(call, inputs[wanted]).macs == products * product


@pytest.mark.parametrize("mode", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_are_their_decomposition(mode):
    """Matrix products of one step written out with cells: as many as the unit says for one step."""
    layer = getattr(torch.nn, mode)(3, 4).double()
    cell = getattr(torch.nn, f"{mode}Cell")(3, 4).double()
    state = values(1, 2, 4)
    zero = (state, state) if mode == "LSTM" else state

    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x, h):
            return self.layer(x[None], (h[None], h[None]) if mode == "LSTM" else h[None])[0]

    class Cell(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = cell

        def forward(self, x, h):
            out = self.cell(x, (h, h) if mode == "LSTM" else h)
            return out[0] if mode == "LSTM" else out

    import fxcost

    assert zero is not None
    x, h = values(2, 3).requires_grad_(), values(2, 4).requires_grad_()
    whole, parts = (fxcost.analyze(m, [x, h], training=True).training.backward for m in (Layer(), Cell()))
    assert whole.macs == parts.macs


@drawn(sizes, st.integers(2, 5), st.integers(1, 3))
def test_windows(n, size, kernel):
    """Average pooling by hand: a division for each output, an addition for each element of its window."""
    kernel = min(kernel, size)
    places = (size - kernel + 1) ** 2
    cost = gradients(lambda x: F.avg_pool2d(x, kernel, 1), values(n, 2, size, size))
    assert cost == Cost(
        other_flops=2 * n * places * (1 + kernel**2),
        bytes_read=cost.bytes_read,
        bytes_written=cost.bytes_written,
        activations=cost.activations,
    )
    cost = gradients(lambda x: F.max_pool2d(x, kernel, 1), values(n, 2, size, size))
    assert cost.other_flops == 2 * n * places


def test_lookups_and_slices():
    """An embedding's gradient adds each row where it came from; a slice's is copied into zeros."""
    ids = torch.tensor([[1, 2, 1]])

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(10, 4)

        def forward(self, ids):
            return self.table(ids)

    import fxcost

    training = fxcost.analyze(Model(), ids, training=True).training
    assert training.backward.other_flops == 12
    assert training.backward.bytes_written == 4 * 40
    cost = gradients(lambda x: x[1:3], values(5, 4))
    assert (cost.other_flops, cost.bytes_written) == (0, 8 * 20)


NOT_PRICED = re.compile(
    "sparse|nested|mps_|_mps|segment_reduce|fake_quantize_learnable|_jvp|cudnn_affine|cudnn_grid|grid_sampler_2d_cpu|"
    "miopen_rnn|mkldnn_linear_backward_|batch_norm_backward_|multilabel_margin|^matmul_backward|_embedding_bag_backward|"
    "^adaptive_avg_pool3d_backward$"
)
"""Gradients of sparse, nested and learnably quantized tensors, kernels of devices without a meta kernel, and operators
that only wrap others."""


def test_every_backward_operator_has_a_rule():
    """All of PyTorch's operators that are named after a backward pass and are no composition of others."""
    names = {s.name.removeprefix("aten::") for s in torch._C._jit_get_all_schemas() if s.name.startswith("aten::")}
    missing = []
    for name in sorted(n for n in names if re.search("backward", n) and n != "backward" and not NOT_PRICED.search(n)):
        packet = getattr(aten, name, None)
        if packet is None:
            continue
        op = getattr(packet, next((o for o in packet.overloads() if "out" not in o), packet.overloads()[0]))
        try:
            composite = torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), "CompositeImplicitAutograd")
        except RuntimeError:
            continue
        if not composite and BUILT_IN.find(op) is None and "grad_input" not in str(op):
            missing.append(name)
    assert missing == []
