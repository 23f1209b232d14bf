"""The meta copy: everything of the model, no memory, no way back to the original."""

from __future__ import annotations

import enum
import functools
import threading
import weakref
from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from fxcost.errors import ModelCopyError
from fxcost.model.isolate import MetaCopier
from fxcost.model.parts import parts_of


class Mode(enum.Enum):
    FAST = 1


@dataclass
class Config:
    sizes: list[int] = field(default_factory=lambda: [1, 2])
    table: Tensor = field(default_factory=lambda: torch.ones(3))
    mode: Mode = Mode.FAST


class Own(nn.Module):
    """Has a copy protocol of its own."""

    def __init__(self, note: str = "made") -> None:
        super().__init__()
        self.linear, self.note = nn.Linear(2, 2), note

    def __deepcopy__(self, memo: dict[int, Any]) -> Own:
        result = Own("copied")
        result.linear.weight = memo.get(id(self.linear.weight), self.linear.weight)
        return result


class Slots:
    """Has no `__dict__`."""

    __slots__ = ("table",)

    def __init__(self) -> None:
        self.table = torch.ones(3)


class Pair(NamedTuple):
    left: Tensor
    right: int


class Everything(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.tied = nn.Linear(4, 3, bias=False)
        self.tied.weight = self.linear.weight
        self.register_buffer("row", self.linear.weight.detach()[1])  # a view of a weight
        self.register_buffer("gone", None)
        self.config, self.parts = Config(), {"a": [torch.ones(2)], "b": (torch.zeros(1), "x")}
        self.itself = [self]
        self.partial = functools.partial(torch.add, torch.ones(1))
        self.method = self.linear.forward
        self.plain = torch.ones(5)
        self.slots, self.pair, self.queue = Slots(), Pair(torch.ones(2), 1), deque([torch.ones(4)])
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)


@pytest.fixture
def pair() -> tuple[Everything, Everything]:
    model = Everything()
    return model, MetaCopier().model(model)


def test_every_tensor_is_on_meta(pair: tuple[Everything, Everything]) -> None:
    """Parameters, buffers, plain attributes, and those deep inside lists, dataclasses and partials."""
    _, copy = pair
    found = [*copy.parameters(), *copy.buffers(), copy.plain, copy.config.table, copy.parts["a"][0]]
    found += [copy.parts["b"][0], copy.partial.args[0], copy.method.__self__.weight]
    found += [copy.slots.table, copy.pair.left, copy.queue[0]]
    assert [t for t in found if not t.is_meta] == []


def test_names_shapes_and_flags_are_the_same(pair: tuple[Everything, Everything]) -> None:
    """A state dict of the same keys, shapes, dtypes and strides; the same training and gradient flags."""
    model, copy = pair
    described = [
        {n: (t.shape, t.dtype, t.stride()) for n, t in m.state_dict(keep_vars=True).items()} for m in (model, copy)
    ]
    assert described[0] == described[1]
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in copy.parameters()]
    assert [type(p) for p in model.parameters()] == [type(p) for p in copy.parameters()]
    assert [m.training for m in model.modules()] == [m.training for m in copy.modules()]


def test_identity_and_aliasing_are_kept(pair: tuple[Everything, Everything]) -> None:
    """Tied weights are one object, views are views, cycles are cycles, methods are bound to the copy."""
    _, copy = pair
    assert copy.tied.weight is copy.linear.weight
    assert copy.row.untyped_storage()._cdata == copy.linear.weight.untyped_storage()._cdata
    assert copy.row.storage_offset() == 4
    assert copy.itself[0] is copy
    assert copy.method.__self__ is copy.linear
    assert copy.config.mode is Mode.FAST


def test_nothing_mutable_is_shared(pair: tuple[Everything, Everything]) -> None:
    """Changing the copy's lists, dicts and objects leaves the model's as they were."""
    model, copy = pair
    copy.config.sizes.append(3)
    copy.parts["a"].clear()
    copy.linear.extra = 1
    copy.norm.momentum = 0.5
    copy.linear.register_forward_hook(lambda *_: None)
    assert model.config.sizes == [1, 2]
    assert len(model.parts["a"]) == 1
    assert not hasattr(model.linear, "extra")
    assert model.norm.momentum == 0.1
    assert not model.linear._forward_hooks


def test_originals_are_remembered_for_their_values(pair: tuple[Everything, Everything]) -> None:
    """(copy, original) of each tensor with data, so that integers can be followed."""
    model = pair[0]
    copier = MetaCopier()
    copy = copier.model(model)
    originals = {id(meta): real for meta, real in copier.real}
    assert originals[id(copy.norm.num_batches_tracked)] is model.norm.num_batches_tracked
    assert originals[id(copy.plain)] is model.plain


def test_another_dtype_is_for_floats_only() -> None:
    """`dtype` replaces floating-point dtypes, keeps aliases, and leaves integers and booleans."""
    model = Everything()
    copy = MetaCopier(torch.float16).model(model)
    assert {t.dtype for t in copy.parameters()} == {torch.float16}
    assert copy.norm.num_batches_tracked.dtype is torch.int64
    assert copy.tied.weight is copy.linear.weight
    assert copy.linear.weight.untyped_storage().nbytes() == 24


def test_a_copy_protocol_is_respected() -> None:
    """A class that says how it is copied is copied so."""
    assert MetaCopier().model(nn.Sequential(Own()))[0].note == "copied"


@pytest.mark.parametrize("thing", [threading.Lock(), iter([1]), open], ids=["lock", "iterator", "builtin"])
def test_what_cannot_be_copied_is_named(thing: Any) -> None:
    """The error names module and attribute; builtins and plain iterators are no obstacle."""
    model = nn.Sequential(nn.ReLU(), nn.Sequential(nn.ReLU()))
    model[1][0].thing = thing
    if isinstance(thing, type(threading.Lock())):
        with pytest.raises(ModelCopyError, match=r"1\.0\.thing: a _thread\.lock can't be copied"):
            MetaCopier().model(model)
    else:
        assert MetaCopier().model(model)[1][0].thing is not None


def test_sparse_and_quantised_tensors_are_copied() -> None:
    """Layouts that have no strides go to meta as they are."""
    model = nn.Module()
    model.register_buffer("sparse", torch.eye(3).to_sparse())
    model.register_buffer("rows", torch.eye(3).to_sparse_csr())
    copy = MetaCopier().model(model)
    assert (copy.sparse.layout, copy.rows.layout) == (torch.sparse_coo, torch.sparse_csr)
    assert copy.sparse.is_meta
    assert copy.rows.is_meta


def test_a_function_gets_copies_of_what_it_uses() -> None:
    """Modules and tensors of its closure are replaced; defaults and other globals stay."""
    norm, weight = nn.BatchNorm1d(3), torch.ones(3)

    def forward(x: Tensor, scale: float = 2.0, *, shift: int = 1) -> Tensor:
        return norm(x) * weight * scale + shift

    copier = MetaCopier()
    copy = copier.model(forward)
    outside = parts_of(copier, forward).outside
    assert sorted(outside) == ["norm", "weight"]
    assert outside["weight"].is_meta
    assert outside["norm"] is not norm
    assert copy(torch.empty(2, 3, device="meta")).is_meta
    assert (copy.__defaults__, copy.__kwdefaults__) == ((2.0,), {"shift": 1})
    assert norm.num_batches_tracked.item() == 0


def test_a_deep_module_needs_no_deep_memory() -> None:
    """The copy lets go of the model: when both are dropped, the model's tensors die."""
    model = nn.Sequential(nn.Linear(2, 2))
    watched = weakref.ref(model[0].weight)
    copier = MetaCopier()
    copy = copier.model(model)
    del model, copier
    assert watched() is None
    assert copy[0].weight.is_meta
