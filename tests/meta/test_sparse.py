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


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc])
@pytest.mark.parametrize(
    "product",
    [lambda a, x: a.t() @ x, lambda a, x: a.transpose(0, 1).clone() @ x, lambda a, x: a.double() @ x.double()],
    ids=["transposed", "copied", "cast"],
)
def test_views_copies_and_casts_store_as_many_values(layout, product):
    """PyTorch's own meta kernels lose them."""
    adjacency = ADJACENCY.to_sparse(layout=layout)
    assert fxcost.analyze(product, [adjacency, (4, 3)]).macs == 5 * 3


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_a_linear_layer_with_a_sparse_weight(layout):
    """`F.linear` transposes its weight first."""
    layer = nn.Linear(4, 4)
    layer.weight = nn.Parameter(ADJACENCY.to_sparse(layout=layout), requires_grad=False)
    assert fxcost.analyze(layer, (3, 4)).macs == 5 * 3


def test_blocks_count_whole():
    """All values of a block are stored, zeros too: here four blocks of four."""
    assert fxcost.analyze(Graph(ADJACENCY.to_sparse_bsr((2, 2))), (4, 3)).macs == 16 * 3


def test_a_sparse_tensor_made_of_dense_ones():
    """It stores as many values as it is given, known or not."""

    def product(indices, entries, x):
        return torch.sparse.mm(torch.sparse_coo_tensor(indices, entries, (4, 4)), x)

    report = fxcost.analyze(product, [fxcost.spec(2, 3, dtype="int64"), (3,), (4, 3)])
    assert (report.macs, report.uncosted) == (3 * 3, {})


def test_elementwise_work_is_on_stored_values():
    """Five products and five cells to sum up, not sixteen; adding them to a vector takes four more."""
    report = fxcost.analyze(lambda a, x: torch.sparse.sum(a * 2, dim=1).to_dense() + x, [ADJACENCY.to_sparse(), (4,)])
    assert report.uncosted == {}
    assert report.flops == 5 + 4 + 4


def test_a_softmax_of_stored_values():
    """A compare, a subtraction, exp, an addition and a division for each, but two operations less in all."""
    report = fxcost.analyze(lambda a: torch.sparse.softmax(a, 1), [ADJACENCY.to_sparse()])
    assert (report.flops, report.transcendentals, report.uncosted) == (5 * 5 - 2, 5, {})


def test_a_sampled_product_counts_where_the_pattern_stores():
    """k MACs for each of the five values that are kept."""
    inputs = [ADJACENCY.to_sparse_csr(), (4, 7), (7, 4)]
    report = fxcost.analyze(torch.sparse.sampled_addmm, inputs)
    assert (report.macs, report.uncosted) == (5 * 7, {})


def test_a_dense_copy_is_dense():
    """What is computed with it counts all elements."""
    assert fxcost.analyze(lambda a, x: a.to_dense() @ x, [ADJACENCY.to_sparse(), (4, 3)]).macs == 4 * 4 * 3


def test_two_sparse_factors_stay_uncosted():
    """Their work depends on where the values stand."""
    sparse = ADJACENCY.to_sparse()
    report = fxcost.analyze(lambda a, x: torch.sparse.mm(a, a).to_dense() + x, [sparse, torch.zeros(4, 4)])
    assert report.uncosted == {"aten._sparse_sparse_matmul.default": 1}


def test_nothing_is_left_in_the_process():
    """PyTorch's own kernels for sparse tensors on meta are back afterwards."""
    fxcost.analyze(Graph(ADJACENCY.to_sparse()), (4, 3))
    with pytest.raises(NotImplementedError):
        ADJACENCY.to_sparse().to("meta").to_dense()


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_sparse_tensors_in_a_real_run(layout):
    """Compressed layouts know no deepcopy."""
    eye = torch.eye(4).to_sparse(layout=layout)
    report = fxcost.analyze(lambda a, x: a @ x if float(x.sum()) >= 0 else x, [eye, torch.ones(4, 3)])
    assert (report.capture, report.macs) == ("real", 4 * 3)
