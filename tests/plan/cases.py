"""Small models with repeated blocks, and the inputs that they train on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

import fxcost


@dataclass(frozen=True)
class Case:
    """How a model is made, its inputs, and the names of its blocks in the order in which they run."""

    name: str
    make: Callable[[], tuple[nn.Module, Any]]
    blocks: Callable[[nn.Module], list[str]]


def _encoder() -> tuple[nn.Module, Any]:
    layers = [nn.TransformerEncoderLayer(32, 4, 64, batch_first=True) for _ in range(5)]
    return nn.Sequential(nn.Linear(8, 32), *layers), (16, 24, 8)


def _vit() -> tuple[nn.Module, Any]:
    vit = pytest.importorskip("torchvision").models.VisionTransformer
    return vit(32, 8, 6, 4, 32, 64, num_classes=10), (8, 3, 32, 32)


def _resnet() -> tuple[nn.Module, Any]:
    return pytest.importorskip("torchvision").models.resnet18(num_classes=10), (4, 3, 64, 64)


def _swin() -> tuple[nn.Module, Any]:
    swin = pytest.importorskip("torchvision").models.SwinTransformer
    return swin([4, 4], 16, [2, 2, 2], [2, 2, 2], [4, 4], num_classes=10), (4, 3, 64, 64)


def _timm(name: str, batch: int = 4, **options: Any) -> Callable[[], tuple[nn.Module, Any]]:
    return lambda: (pytest.importorskip("timm").create_model(name, num_classes=10, **options), (batch, 3, 64, 64))


def _language(kind: str, **options: Any) -> Callable[[], tuple[nn.Module, Any]]:
    def make() -> tuple[nn.Module, Any]:
        transformers = pytest.importorskip("transformers")
        config = transformers.AutoConfig.for_model(kind, vocab_size=50, **options)
        model = transformers.AutoModel.from_config(config)
        return model, {"input_ids": fxcost.spec(4, 32, dtype=torch.int64)}

    return make


def _in(*places: str) -> Callable[[nn.Module], list[str]]:
    """Names of the modules in these lists of modules, one list after the other."""

    def blocks(model: nn.Module) -> list[str]:
        return [f"{place}.{name}" for place in places for name, _ in model.get_submodule(place).named_children()]

    return blocks


_LAYERS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 5, "num_attention_heads": 4}
_STAGES = tuple(f"stages.{i}.blocks" for i in range(4))

QUICK = (
    Case("encoder", _encoder, lambda model: [str(i) for i in range(1, 6)]),
    Case("resnet18", _resnet, _in("layer1", "layer2", "layer3", "layer4")),
    Case("llama", _language("llama", use_cache=False, num_key_value_heads=4, **_LAYERS), _in("layers")),
)
LONG = (
    Case("vit", _vit, _in("encoder.layers")),
    Case("swin", _swin, _in("features.1", "features.3", "features.5")),
    Case("convnext", _timm("convnext_atto"), _in(*_STAGES)),
    Case("mixer", _timm("mixer_s32_224", batch=64, img_size=64), _in("blocks")),
    Case("bert", _language("bert", **_LAYERS), _in("encoder.layer")),
)
