"""Gradients of recurrent layers: the cells' equations differentiated by hand, step by step from the end."""

import pytest
import torch
from hypothesis import strategies as st
from oracle import Accumulator, Number, counting, counts, numbers, tensor, total
from strategies import drawn, flags, sizes, values

import fxcost

F = torch.nn.functional


def column(matrix, k):
    return [row[k] for row in matrix]


def transposed(matrix, vector, starts=None):
    """matrixᵀ · vector, each element's accumulator starting at zero or at what is given."""
    out = []
    for k in range(len(matrix[0])):
        accumulator = Accumulator(None if starts is None else starts[k])
        for w, v in zip(column(matrix, k), vector, strict=True):
            accumulator.add(w, v)
        out.append(accumulator.result)
    return out


def lstm(g, _state, kept):
    """Gradients of the gates and of the last cell state, from that of h (joined already) and of c."""
    of_h, of_c = g
    i, f, z, o, before, squashed = kept
    gates = [[], [], [], []]
    previous = []
    for k in range(len(of_h)):
        of_o = of_h[k] * squashed[k]
        cell = of_c[k] + of_h[k] * o[k] * (1 - squashed[k] * squashed[k])
        of_i, of_f, of_z = cell * z[k], cell * before[k], cell * i[k]
        previous.append(cell * f[k])
        for gate, (gradient, value) in enumerate([(of_i, i[k]), (of_f, f[k])]):
            gates[gate].append(gradient * value * (1 - value))
        gates[2].append(of_z * (1 - z[k] * z[k]))
        gates[3].append(of_o * o[k] * (1 - o[k]))
    flat = [v for gate in gates for v in gate]
    return flat, flat, previous, None


def gru(g, before, kept):
    """Gradients of input gates, hidden gates, and h's direct share."""
    of_h, _ = g
    r, z, n, hidden = kept
    ours, theirs, direct = [[], [], []], [[], [], []], []
    for k in range(len(of_h)):
        of_n = of_h[k] * (1 - z[k]) * (1 - n[k] * n[k])
        of_z = of_h[k] * (before[k] - n[k]) * z[k] * (1 - z[k])
        of_r = of_n * hidden[k] * r[k] * (1 - r[k])
        direct.append(of_h[k] * z[k])
        for gates, new in ((ours, of_n), (theirs, of_n * r[k])):
            for gate, value in zip(gates, (of_r, of_z, new), strict=True):
                gate.append(value)
    return [v for gate in ours for v in gate], [v for gate in theirs for v in gate], [Number(0.0)] * len(of_h), direct


def rnn_tanh(g, _before, kept):
    flat = [a * (1 - y * y) for a, y in zip(g[0], kept[0], strict=True)]
    return flat, flat, [Number(0.0)] * len(flat), None


def rnn_relu(g, _before, kept):
    flat = [a if y > 0 else Number(0.0) for a, y in zip(g[0], kept[0], strict=True)]
    return flat, flat, [Number(0.0)] * len(flat), None


def forward(mode, x, h, c, w):
    """What the backward pass needs of each step, in plain floats."""
    w_ih, w_hh, b_ih, b_hh = w
    steps = []
    for row in x:
        a, b = w_ih @ row + b_ih, w_hh @ h + b_hh
        before = h
        if mode == "lstm":
            i, f, z, o = (a + b).chunk(4)
            i, f, z, o, old = i.sigmoid(), f.sigmoid(), z.tanh(), o.sigmoid(), c
            c = f * c + i * z
            h = o * c.tanh()
            kept = (i, f, z, o, old, c.tanh())
        elif mode == "gru":
            (ar, az, an), (br, bz, bn) = a.chunk(3), b.chunk(3)
            r, z = (ar + br).sigmoid(), (az + bz).sigmoid()
            n = (an + r * bn).tanh()
            h = (1 - z) * n + z * h
            kept = (r, z, n, bn)
        else:
            h = (a + b).tanh() if mode == "rnn_tanh" else (a + b).relu()
            kept = (h,)
        steps.append((row, before, kept))
    return steps


BACKWARD = {"lstm": lstm, "gru": gru, "rnn_tanh": rnn_tanh, "rnn_relu": rnn_relu}
KINDS = {
    "lstm": (torch.nn.LSTM, {}),
    "gru": (torch.nn.GRU, {}),
    "rnn_tanh": (torch.nn.RNN, {}),
    "rnn_relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
}


def through_time(mode, module, x, h, c, g, of_x):
    """All gradients of one layer over x (t, n, i) from initial states, by counting numbers; batch by batch."""
    w = [p.detach() for p in module.parameters()]
    w_ih, w_hh = (list(numbers(m)) for m in w[:2])
    sums = [[[Accumulator() for _ in row] for row in m] for m in (w_ih, w_hh)]
    gates_seen = [], []
    of_input = {}
    for b in range(x.shape[1]):
        steps = forward(mode, x[:, b], h[b], c[b], w)
        hidden = len(h[b])
        of_next, of_c = [Number(0.0)] * hidden, [Number(0.0)] * hidden
        for t in reversed(range(len(steps))):
            row, before, kept = steps[t]
            kept = [list(numbers(k)) for k in kept]
            of_h = [a + v for a, v in zip(numbers(g[t, b]), of_next, strict=True)]
            ours, theirs, of_c, direct = BACKWARD[mode]((of_h, of_c), list(numbers(before)), kept)
            for table, gates, given in zip(sums, (ours, theirs), (row, before), strict=True):
                for r, gradient in enumerate(gates):
                    for k, value in enumerate(numbers(given)):
                        table[r][k].add(gradient, value)
            gates_seen[0].append(ours)
            gates_seen[1].append(theirs)
            if of_x:
                of_input[t, b] = transposed(w_ih, ours)
            if t:
                of_next = transposed(w_hh, theirs)
                if direct is not None:
                    of_next = [a + d for a, d in zip(of_next, direct, strict=True)]
            elif direct is not None:
                _ = [d + 0.0 for d in direct]  # the initial state's share, whose product alone is left out
    biases = [[total(column(seen, k)) for k in range(len(seen[0]))] for seen in gates_seen]
    weights = [[[a.result for a in row] for row in table] for table in sums]
    return weights, biases, of_input


@pytest.mark.parametrize("mode", BACKWARD)
@drawn(sizes, sizes, sizes, st.integers(1, 3), flags, examples=6)
def test_layers_are_differentiated_step_by_step(mode, steps, batch, width, hidden, of_x):
    """Every gradient is autograd's on the CPU, every count the rule's."""
    kind, options = KINDS[mode]
    module = kind(width, hidden, **options).double()
    x, g = values(steps, batch, width), values(steps, batch, hidden, seed=5)
    zero = torch.zeros(batch, hidden, dtype=torch.float64)
    x.requires_grad_(of_x)
    with counting() as tally:
        weights, biases, of_input = through_time(mode, module, x.detach(), zero, zero, g, of_x)
    wanted = [*module.parameters(), *([x] if of_x else [])]
    theirs = torch.autograd.grad(module(x)[0], wanted, g)
    for mine, real in zip((*weights, *biases), theirs, strict=False):
        torch.testing.assert_close(torch.stack([tensor(row) for row in mine]), real)
    for (t, b), row in of_input.items():
        torch.testing.assert_close(torch.stack([tensor(v) for v in row]), theirs[-1][t, b])
    report = fxcost.analyze(module, [x], training=True, strict=True, loss=lambda out: (out[0] * g.to("meta")).sum())
    (node,) = [n for n in report.training.nodes if n.name != "loss" and n.cost.backward.macs]
    assert counts(node.cost.backward) == tally.cost
