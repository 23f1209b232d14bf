"""Sparse operands: products cost one MAC per stored value and column, on meta and on real data."""

import pytest
import torch
from torch import nn

import fxcost


class Graph(nn.Module):
    """A graph convolution's aggregation: adjacency × features."""

    def __init__(self, adjacency):
        super().__init__()
        self.register_buffer("adjacency", adjacency)

    def forward(self, x):
        return torch.sparse.mm(self.adjacency, x)


class Product(torch.nn.Module):
    def forward(self, adjacency, x):
        return torch.sparse.mm(adjacency, x)


ADJACENCY = torch.tensor([[0.0, 1, 0, 2], [3, 0, 0, 0], [0, 0, 0, 0], [0, 4, 5, 0]])  # 5 stored values


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_a_product_counts_stored_values(layout):
    """5 stored values times 3 columns, whatever the layout."""
    report = fxcost.analyze(Graph(ADJACENCY.to_sparse(layout=layout)), (4, 3))
    assert report.macs == 5 * 3
    assert report.capture != "real"
    assert not report.uncosted


def test_an_unknown_number_of_values_needs_data():
    """What a conversion stores is known from data alone: on meta it is an error, with data a real run."""

    def convert(x):
        return torch.sparse.mm(x.to_sparse(), x.T)

    with pytest.raises(fxcost.MissingMetaKernelError, match="_to_sparse"):
        fxcost.analyze(convert, (4, 4))
    report = fxcost.analyze(convert, ADJACENCY)
    assert report.capture == "real"
    assert report.macs == 5 * 4
    assert not report.uncosted


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
def test_a_sparse_input_counts_stored_values(capture):
    """Not as if it were dense, however the graph is captured."""
    report = fxcost.analyze(Product(), [ADJACENCY.to_sparse(), (4, 3)], capture=capture)
    assert (report.capture, report.macs) == (capture, 5 * 3)
