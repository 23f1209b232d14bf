"""Nested tensors: the strided layout in a real run, the jagged one as its dense values."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fxcost

LENGTHS = (3, 5, 2)


def strided():
    return torch.nested.nested_tensor([torch.zeros(n, 8) for n in LENGTHS])


def jagged():
    return torch.nested.nested_tensor([torch.zeros(n, 8) for n in LENGTHS], layout=torch.jagged)


LAYER = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
ROWS, SCORES = 10 * (8 * 24 + 8 * 8 + 2 * 8 * 16), 2 * 3 * 5 * 5 * 8


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_the_encoders_fast_path_on_nested_tensors():
    """Only this way leads through attention; its operators are recorded: rows count once, scores at the longest."""
    encoder = nn.TransformerEncoder(LAYER, 2).eval()
    report = fxcost.analyze(encoder, strided())
    assert (report.capture, report.macs, report.uncosted) == ("real", 2 * (ROWS + SCORES), {})
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = strided()
    by_name = fxcost.analyze(attention, {"query": x, "key": x, "value": x})
    report = fxcost.analyze(attention, [x, x, x])
    assert by_name.macs == report.macs
    assert (report.macs, report.uncosted) == (10 * (8 * 24 + 8 * 8) + SCORES, {})


@pytest.mark.parametrize("training", [False, True])
def test_a_jagged_input_has_the_sizes_of_its_values(training):
    """Its own shape has a symbol for the ragged dimension, which nothing can be computed with."""
    layer = nn.Linear(8, 4)
    report = fxcost.analyze(lambda x: layer(x).values().sum(), jagged(), capture="concrete", training=training)
    assert report.memory.input_bytes == 10 * 8 * 4
    assert report.macs == 10 * 8 * 4
