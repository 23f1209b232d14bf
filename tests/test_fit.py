"""The largest batch that fits: against trying them all."""

import io
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import Lambda
from torch import nn

import fxcost
from fxcost.fit import peak_of
from fxcost.text.amounts import parse_bytes

MODEL = nn.Sequential(nn.Linear(10, 50), nn.ReLU(), nn.Linear(50, 10))
PARAMETERS = 4 * (10 * 50 + 50 + 50 * 10 + 10)


def largest(model, limit, **options):
    """By trying one after the other."""
    batch = 0
    while peak_of(fxcost.analyze(model, (batch + 1, 10), **options)) <= limit:
        batch += 1
    return batch


@settings(deadline=None, max_examples=15)
@given(st.integers(PARAMETERS, PARAMETERS + 9000), st.sampled_from([{}, {"training": True, "optimizer": "sgd"}]))
def test_it_is_the_largest(limit, options):
    """Whatever the limit; with a training step too, where gradients and activations peak at different times."""
    limit += PARAMETERS if options else 0
    found = fxcost.fit(MODEL, (1, 10), memory=limit, **options)
    assert found.batch == largest(MODEL, limit, **options)
    assert found.fits == (found.batch > 0)
    assert found.peak_bytes == peak_of(found.report)
    assert (found.peak_bytes <= limit) == found.fits


def test_few_analyses():
    """A line or two lead to the answer, however large it is."""
    found = fxcost.fit(MODEL, (1, 10), memory="64GiB", optimizer="adamw")
    assert found.analyses <= 6
    assert found.batch > 10**6
    assert peak_of(fxcost.analyze(MODEL, (found.batch + 1, 10), training=True)) > 64 * 2**30


def test_by_hand():
    """Input 40 bytes and activations 400 (ReLU's output beside its input) for each sample."""
    found = fxcost.fit(MODEL, (1, 10), memory=PARAMETERS + 100 * 440 + 439)
    assert (found.batch, found.bytes_per_sample) == (100, 440)
    assert fxcost.fit(MODEL, (1, 10), memory=PARAMETERS + 100 * 440 + 439, reserve=440).batch == 99
    assert "largest batch: 100" in str(found)


def test_nothing_fits():
    """Batch 0, with the report of one sample to look into."""
    found = fxcost.fit(MODEL, (4, 10), memory=PARAMETERS)
    assert (found.batch, found.fits) == (0, False)
    assert found.report.nodes[0].outputs[0].shape == (1, 10)
    assert "does not fit" in str(found)


def test_all_inputs_with_the_batch_are_scaled():
    """Tensors, specs, shapes, in lists and by name; what has another first dimension stays."""
    notes = io.StringIO()  # a list would be put back after each analysis

    def forward(self, x, ids, table, scale=None):
        print(json.dumps([x.shape, ids.shape, table.shape]), file=notes)
        return self.l(x) + table[0] + ids.sum() * 0 + scale

    model = Lambda(forward, l=nn.Linear(3, 3))
    ids = torch.tensor([[1, 2], [3, 4]])
    inputs, kwargs = [(2, 3), ids, fxcost.spec(5, 3)], {"scale": torch.ones(2, 1)}
    found = fxcost.fit(model, inputs, kwargs, memory="1KiB", capture="concrete")
    assert found.batch > 2
    seen = [json.loads(line) for line in notes.getvalue().splitlines()]
    assert seen[-1] == [[found.batch, 3], [found.batch, 2], [5, 3]]
    assert all(x[0] == ids[0] and table == [5, 3] for x, ids, table in seen)


@pytest.mark.parametrize(
    ("inputs", "options", "words"),
    [
        ((1, 10), {"memory": "much"}, "24GiB"),
        ((1, 10), {"memory": -1}, "no number of bytes"),
        ((), {"memory": "1GiB"}, "batch"),
    ],
)
def test_errors(inputs, options, words):
    """Sizes that can't be read, and inputs without a batch."""
    with pytest.raises(fxcost.FxcostError, match=words):
        fxcost.fit(MODEL, inputs, **options)


def test_a_peak_that_does_not_grow():
    """A first dimension that nothing depends on is no batch."""
    weight = Lambda(lambda self, x: self.l.weight * 2, l=nn.Linear(3, 3))
    with pytest.raises(fxcost.FxcostError, match="does not grow"):
        fxcost.fit(weight, torch.empty(1, 0), memory="1MiB")


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("2k", 2000), ("1.5 GiB", 3 * 2**29), ("80GB", 80 * 10**9), ("1tib", 2**40)]
)
def test_sizes(text, size):
    """Decimal and binary units, with and without the B."""
    assert parse_bytes(text) == size


WIDE = nn.Sequential(nn.Linear(64, 4096), nn.ReLU(), nn.Linear(4096, 64))


@pytest.mark.parametrize("options", [{}, {"optimizer": "adamw"}])
def test_what_a_device_reports(options):
    """The answer fits, the next batch does not, by the report's own memory; a limit of one's own goes first."""
    found = fxcost.fit(WIDE, (1, 64), memory="800MiB", device="rtx4090", **options)
    options = {**options, "training": True} if options else {}
    here, beyond = (
        fxcost.analyze(WIDE, (found.batch + more, 64), **options).memory_on("rtx4090").high_bytes for more in (0, 1)
    )
    assert found.peak_bytes == here <= found.limit < beyond
    assert found.device == "NVIDIA GeForce RTX 4090"
    assert str(found).startswith("largest batch on NVIDIA GeForce RTX 4090: ")
    assert found.batch < fxcost.fit(WIDE, (1, 64), memory="800MiB", **options).batch
    none = fxcost.fit(WIDE, (1, 64), memory="100MiB", device="rtx4090", **options)
    assert (none.batch, none.fits) == (0, False)
    assert str(none).startswith("does not fit on NVIDIA GeForce RTX 4090: a batch of 1 needs ")


def test_all_that_a_device_has():
    """Less what is reserved."""
    device = fxcost.Device(name="small", memory_bytes=2**30, bytes_per_s=1e12, flops_per_s={"float32": 1e13})
    assert fxcost.fit(WIDE, (1, 64), device=device, reserve="100MiB").limit == 2**30 - 100 * 2**20


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "there is no limit: give memory='24GiB', or device='rtx4090'"),
        ({"device": "rtx409"}, "did you mean"),
    ],
)
def test_no_limit(options, said):
    """Neither a size nor a device that is known."""
    with pytest.raises(fxcost.FxcostError, match=said):
        fxcost.fit(WIDE, (1, 64), **options)
