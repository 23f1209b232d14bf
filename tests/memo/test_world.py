"""Is PyTorch's code what it was? What a target can reach is compared, and nothing else."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fxcost.memo.world import World, replaced

REACHED: tuple[tuple[Any, Any, str], ...] = (
    (nn.Linear(3, 4), F, "linear"),
    (nn.Linear(3, 4), nn.Linear, "forward"),
    (nn.Linear(3, 4), nn.Module, "__call__"),
    (nn.Linear(3, 4), nn.Module, "_call_impl"),
    (nn.Conv2d(3, 4, 3), nn.Conv2d, "_conv_forward"),
    (nn.Conv2d(3, 4, 3), F, "conv2d"),
    (nn.LayerNorm(4), F, "layer_norm"),
    (nn.LayerNorm(4), torch, "layer_norm"),
    (nn.BatchNorm2d(4), torch.nn.modules.batchnorm._BatchNorm, "forward"),
    (nn.MultiheadAttention(8, 2), F, "multi_head_attention_forward"),
    (nn.MultiheadAttention(8, 2), F, "softmax"),
    (nn.MultiheadAttention(8, 2), torch, "baddbmm"),
    (nn.TransformerEncoderLayer(8, 2), nn.LayerNorm, "forward"),
    (F.relu, torch, "relu"),
    (F.max_pool2d, torch, "max_pool2d"),
    (torch.Tensor.__rsub__, torch._tensor, "_C"),
)


@pytest.mark.parametrize(("target", "space", "name"), REACHED, ids=lambda value: getattr(value, "__name__", None))
@pytest.mark.parametrize("asked_before", [True, False])
def test_what_is_reached_must_be_the_same(
    monkeypatch: pytest.MonkeyPatch, target: Any, space: Any, name: str, asked_before: bool
) -> None:
    """A function that is replaced holds no more, however far below; it does again once it is put back."""
    world = World()
    if asked_before:
        assert world.holds(target)
    with monkeypatch.context() as patch:
        patch.setattr(space, name, lambda *args, **kwargs: None)
        assert not world.holds(target)
    assert world.holds(target)


def test_what_is_not_reached_may_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is known what a layer reaches, other functions are not its affair."""
    world, layer = World(), nn.Linear(3, 4)
    assert world.holds(layer)
    monkeypatch.setattr(F, "gelu", lambda x: x)
    assert world.holds(layer)
    assert world != World()


def test_a_new_name_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that gets a method which it had inherited, a namespace that hides a builtin."""
    world, layer = World(), nn.Linear(3, 4)
    assert world.holds(layer)
    with monkeypatch.context() as patch:
        patch.setattr(nn.Linear, "_call_impl", lambda self, x: x, raising=False)
        assert not world.holds(layer)
    with monkeypatch.context() as patch:
        patch.setattr(F, "len", lambda x: 0, raising=False)
        assert not world.holds(nn.LayerNorm(3))
    assert world.holds(layer)


def test_settings_are_part_of_it() -> None:
    """The default dtype decides what PyTorch's functions do."""
    world = World()
    torch.set_default_dtype(torch.float64)
    try:
        assert world != World()
    finally:
        torch.set_default_dtype(torch.float32)
    assert world == World()
    assert not replaced()


def test_nothing_of_the_users_is_kept() -> None:
    """What a function or a class of the user's reaches is not noted."""
    world = World()

    def function(x: Any) -> Any:
        return x

    class Layer(nn.Linear):
        pass

    assert world.holds(function)
    assert world.holds(Layer(3, 4))
    kept = [weakref.ref(function), weakref.ref(Layer)]
    del function, Layer
    gc.collect()
    assert [ref() for ref in kept] == [None, None]
