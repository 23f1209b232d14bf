"""What operators answer is remembered faithfully: results, records, memory of their own; nothing else is."""

import gc
import weakref

import pytest
import torch

from fxcost.meta import answers
from fxcost.meta.answers import forgotten, returns_fresh
from fxcost.meta.segments import Segment
from fxcost.meta.storages import Storages
from fxcost.meta.values import ValueRecorder
from tests.meta.test_kernels import looks, meta

aten = torch.ops.aten

CALLS = [
    (aten.add.Tensor, (meta(2, 3), meta(3))),
    (aten.convolution.default, (meta(1, 3, 8, 8), meta(4, 3, 3, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)),
    (aten.native_layer_norm.default, (meta(2, 5), [5], None, None, 1e-5)),
    (aten.sum.dim_IntList, (meta(2, 5, 3), [1])),
    (aten.clone.default, (meta(4, 2).t(),)),
    (aten._unsafe_view.default, (meta(4, 2), [8])),
]


def asked(*calls):
    """What each call returned, and what was recorded, in one segment."""
    recorder = ValueRecorder(Storages())
    segment = recorder.segment = Segment()
    with recorder:
        results = [op(*args) for op, args in calls]
    return results, segment.operations


@pytest.mark.parametrize(("op", "args"), CALLS, ids=str)
def test_remembered_answers_look_the_same(op, args):
    """The second answer to a question equals the first and the stock kernel's, in memory of its own."""
    with forgotten():
        (first,), (ran,) = asked((op, args))
        remembered = len(answers._PROCESS)
        (second,), (again,) = asked((op, args))
        assert remembered == len(answers._PROCESS) == 1
    assert looks(first) == looks(second) == looks(op(*args))
    assert (ran.op, ran.args, ran.outputs) == (again.op, again.args, again.outputs)
    assert ran is not again
    if returns_fresh(op) and op is not aten._unsafe_view.default:
        a, b = ((t[0] if isinstance(t, tuple) else t).untyped_storage()._cdata for t in (first, second))
        assert a != b


def test_scalars_of_different_types_are_different_questions():
    """1, 1.0 and True are equal in Python, and make different dtypes here."""
    x = meta(2, dtype=torch.int64)
    results, _ = asked((aten.mul.Scalar, (x, 2)), (aten.mul.Scalar, (x, 2.0)), (aten.mul.Scalar, (x, True)))
    assert [r.dtype for r in results] == [torch.int64, torch.float32, torch.int64]


def test_the_default_dtype_is_part_of_a_question():
    """Integers divided give floats of the default dtype, which may change in between."""
    x = meta(2, dtype=torch.int64)
    kinds = []
    for dtype in (torch.float32, torch.float64, torch.float32):
        torch.set_default_dtype(dtype)
        try:
            kinds.append(asked((aten.div.Tensor, (x, x)))[0][0].dtype)
        finally:
            torch.set_default_dtype(torch.float32)
    assert kinds == [torch.float32, torch.float64, torch.float32]


def test_who_shares_memory_is_part_of_a_question():
    """`add(x, x)` is not `add(x, y)`: the record says that both arguments are one storage."""
    x, y = meta(2, 3), meta(2, 3)
    with forgotten():
        for _ in range(2):
            _, (same, different) = asked((aten.add.Tensor, (x, x)), (aten.add.Tensor, (x, y)))
            assert same.args[0].storage == same.args[1].storage
            assert different.args[0].storage != different.args[1].storage


def test_in_place_and_views_are_what_they_are():
    """Remembered or not, an in-place operator returns what it was given, and a view shares its memory."""
    with forgotten():
        for _ in range(2):
            x = meta(2, 3)
            (view, written), _ = asked((aten.t.default, (x,)), (aten.add_.Tensor, (x, 1)))
            assert written is x
            assert view.untyped_storage()._cdata == x.untyped_storage()._cdata


def test_operators_of_others_are_remembered_within_one_analysis_alone():
    """Their kernels may be registered anew at any time."""
    library = torch.library.Library("fxcost_test_answers", "FRAGMENT")
    library.define("grow(Tensor x) -> Tensor")
    sizes = []
    for width in (3, 5):
        torch.library.register_fake(
            "fxcost_test_answers::grow", lambda x, width=width: x.new_empty(width), lib=library, allow_override=True
        )
        results, _ = asked(*[(torch.ops.fxcost_test_answers.grow.default, (meta(2),))] * 2)
        sizes.append([tuple(r.shape) for r in results])
    assert sizes == [[(3,), (3,)], [(5,), (5,)]]


def test_it_holds_no_tensor_and_is_bounded(monkeypatch):
    """A tensor that was asked about dies; more answers than the bound are never held."""
    monkeypatch.setattr(answers, "LIMIT", 10)
    with forgotten():
        x = meta(2, 3)
        gone = weakref.ref(x)
        asked((aten.relu.default, (x,)))
        del x
        gc.collect()
        assert gone() is None
        for n in range(2, 40):
            asked((aten.relu.default, (meta(n),)))
            assert len(answers._PROCESS) <= 10
