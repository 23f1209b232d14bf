"""Recurrent layers against the cell equations of torch.nn.LSTM, GRU and RNN."""

import pytest
import torch
from hypothesis import strategies as st
from oracle import dot, filled, maximum, prove, sigmoid, tanh
from recording import operations, price, price_of
from strategies import drawn, flags, sizes, values

aten = torch.ops.aten


def affine(matrix, vector, bias):
    """A dot product for each row, from the bias or from zero."""
    starts = [None] * len(matrix) if bias is None else bias
    return [dot(row, vector, start) for row, start in zip(matrix, starts, strict=True)]


def joined(a, b):
    return [x + y for x, y in zip(a, b, strict=True)]


def chunks(row, count):
    size = len(row) // count
    return [row[i * size : (i + 1) * size] for i in range(count)]


def lstm_cell(x, h, c, w):
    w_ih, w_hh, b_ih, b_hh, w_hr = w
    i, f, g, o = chunks(joined(affine(w_ih, x, b_ih), affine(w_hh, h, b_hh)), 4)
    c = [sigmoid(fj) * cj + sigmoid(ij) * tanh(gj) for ij, fj, gj, cj in zip(i, f, g, c, strict=True)]
    h = [sigmoid(oj) * tanh(cj) for oj, cj in zip(o, c, strict=True)]
    return (h if w_hr is None else affine(w_hr, h, None)), c


def gru_cell(x, h, c, w):
    w_ih, w_hh, b_ih, b_hh, _ = w
    (r, z, n), (hr, hz, hn) = chunks(affine(w_ih, x, b_ih), 3), chunks(affine(w_hh, h, b_hh), 3)
    r, z = [sigmoid(v) for v in joined(r, hr)], [sigmoid(v) for v in joined(z, hz)]
    n = [tanh(a + b * q) for a, b, q in zip(n, r, hn, strict=True)]
    return [(1 - q) * a + q * old for q, a, old in zip(z, n, h, strict=True)], c


def rnn_cell(activation):
    def cell(x, h, c, w):
        w_ih, w_hh, b_ih, b_hh, _ = w
        return [activation(v) for v in joined(affine(w_ih, x, b_ih), affine(w_hh, h, b_hh))], c

    return cell


CELLS = {
    "lstm": (torch.nn.LSTM, {}, lstm_cell),
    "gru": (torch.nn.GRU, {}, gru_cell),
    "rnn_tanh": (torch.nn.RNN, {"nonlinearity": "tanh"}, rnn_cell(tanh)),
    "rnn_relu": (torch.nn.RNN, {"nonlinearity": "relu"}, rnn_cell(lambda v: maximum(v, 0))),
}


def layers(cell, module, x, state):
    """All layers and directions over x (t, n, i), from zero states; weights by name."""
    directions = 2 if module.bidirectional else 1
    h_size = module.proj_size or module.hidden_size
    for layer in range(module.num_layers):
        out = filled((*x.shape[:2], directions * h_size))
        for d in range(directions):
            suffix = f"_l{layer}{'_reverse' if d else ''}"
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
            weights = [state.get(name + suffix) for name in names]
            for b in range(x.shape[1]):
                h, c = [0.0] * h_size, [0.0] * module.hidden_size
                for t in range(x.shape[0])[:: -1 if d else 1]:
                    h, c = cell(x[t, b], h, c, weights)
                    out[t, b, d * h_size : (d + 1) * h_size] = h
        x = out
    return x


@pytest.mark.parametrize("mode", CELLS)
@drawn(st.data(), examples=8)
def test_layers_are_the_cell_equations(mode, data):
    """Layers, directions, biases, projections: every value and every count."""
    kind, options, cell = CELLS[mode]
    draw = lambda strategy: data.draw(strategy)  # noqa: E731
    hidden = draw(st.integers(2, 3))
    projection = draw(st.integers(0, hidden - 1)) if mode == "lstm" else 0
    if projection:
        options = {**options, "proj_size": projection}
    module = kind(
        draw(sizes), hidden, draw(st.integers(1, 2)), bias=draw(flags), bidirectional=draw(flags), **options
    ).double()
    x = values(draw(sizes), draw(sizes), module.input_size)
    state = {name: p.detach() for name, p in module.named_parameters()}
    names = list(state)

    def call(x, *weights):
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x,))[0]

    def reference(x, *weights):
        return layers(cell, module, x, dict(zip(names, weights, strict=True)))

    prove(call, reference, x, *state.values())


def test_batch_first_and_packed_sequences_count_their_rows():
    """A padded batch counts all steps, a packed one those that are there."""
    module = torch.nn.GRU(3, 4)
    padded = price(lambda m, x: m(x), module, torch.zeros(5, 2, 3))
    first = price(lambda m, x: m(x), torch.nn.GRU(3, 4, batch_first=True), torch.zeros(2, 5, 3))
    assert padded.macs == first.macs == 10 * 12 * (3 + 4)
    state, weights = torch.zeros(1, 2, 4), list(module.parameters())
    steps = torch.zeros(5, 3), torch.tensor([2, 2, 1])
    packed = price(lambda *a: torch.gru(*a, True, 1, 0.0, False, False), *steps, state, weights)
    assert packed.macs == 5 * 12 * (3 + 4)


def test_dropout_between_layers():
    """In training every element that one layer hands to the next is masked and rescaled."""
    module = torch.nn.LSTM(3, 4, 3, dropout=0.5)
    train, evaluated = (price(lambda m, x: m(x), module.train(t), torch.zeros(5, 2, 3)) for t in (True, False))
    assert train.flops - evaluated.flops == 2 * 2 * (5 * 2 * 4)


def test_a_layer_is_one_operation():
    """The recurrence is recorded whole, and reads each weight once."""
    module = torch.nn.LSTM(3, 4)
    (op,) = [o for o in operations(lambda m, x: m(x), module, torch.zeros(5, 2, 3)) if o.family == "recurrent"]
    weights = 4 * (16 * 3 + 16 * 4 + 32)
    assert op.cost.bytes_read == weights + 4 * (5 * 2 * 3 + 2 * (2 * 4))


@pytest.mark.parametrize(("mode", "name"), [(0, "rnn_relu"), (1, "rnn_tanh"), (2, "lstm"), (3, "gru")])
def test_device_kernels_cost_what_the_unit_costs(mode, name):
    """mkldnn's layer and cuDNN's network."""
    kind, options, _ = CELLS[name]
    module, x = kind(3, 4, **options), torch.zeros(5, 2, 3)
    unit = price(lambda m, x: m(x), module, x)
    w = [torch.empty(p.shape) for p in module.parameters()]
    h = torch.zeros(1, 2, 4)
    out = torch.zeros(5, 2, 4), h.clone(), h.clone(), torch.zeros(0)
    rest = (mode, 4, 1, True, False, False, False)
    mkldnn = price_of(aten.mkldnn_rnn_layer.default, x, *w, h, h, False, (), *rest, outputs=out)
    cudnn_rest = (mode, 4, 0, 1, False, 0.0, False, False, (), None)
    cudnn = price_of(aten._cudnn_rnn.default, x, w, 4, None, h, h, *cudnn_rest, outputs=(*out, torch.zeros(0)))
    for cost in (mkldnn, cudnn):
        assert (cost.macs, cost.other_flops, cost.transcendentals) == (
            unit.macs,
            unit.other_flops,
            unit.transcendentals,
        )


def test_fused_cells_do_the_pointwise_part():
    """Gates that are multiplied already: the cell's equations, and two additions a gate for biases that come apart."""
    g4, g3, h = torch.zeros(2, 12), torch.zeros(2, 9), torch.zeros(2, 3)
    lstm = price_of(aten._thnn_fused_lstm_cell.default, g4, g4.clone(), h, outputs=(h.clone(), h.clone(), g4.clone()))
    biased = price_of(
        aten._thnn_fused_lstm_cell.default, g4, g4.clone(), h, torch.zeros(12), torch.zeros(12), outputs=(h.clone(),)
    )
    gru = price_of(aten._thnn_fused_gru_cell.default, g3, g3.clone(), h, outputs=(h.clone(), torch.zeros(2, 15)))
    assert (lstm.flops, lstm.transcendentals) == (22 * 6, 5 * 6)
    assert biased.flops - lstm.flops == 2 * 24
    assert (gru.flops, gru.transcendentals) == (17 * 6, 3 * 6)


def test_cells_run_as_their_operators():
    """nn.LSTMCell: two products with biases, and the gates."""
    cost = price(lambda m, x: m(x), torch.nn.LSTMCell(3, 4), torch.zeros(2, 3))
    assert cost.macs == 2 * 16 * (3 + 4)
    assert cost.transcendentals == 5 * 2 * 4
