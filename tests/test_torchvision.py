"""torchvision's models: MACs as PyTorch's own counter has them, symbolic capture as concrete, nothing uncosted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import fxcost

torchvision = pytest.importorskip("torchvision")
from torchvision import models  # noqa: E402 - after the check that there is one

FAMILIES = {"classification": models, "segmentation": models.segmentation, "video": models.video}
SHAPES = {"classification": (2, 3, 224, 224), "segmentation": (2, 3, 128, 128), "video": (1, 3, 16, 112, 112)}
LARGER = {"s3d": (1, 3, 16, 224, 224), "mvit": (1, 3, 16, 224, 224), "inception": (2, 3, 299, 299)}
SAMPLE = frozenset(
    """
    alexnet convnext_tiny densenet121 efficientnet_b0 googlenet inception_v3 maxvit_t mobilenet_v3_small regnet_y_400mf
    resnet18 resnext50_32x4d shufflenet_v2_x0_5 squeezenet1_1 swin_t swin_v2_t vgg11_bn vit_b_32
    deeplabv3_mobilenet_v3_large fcn_resnet50 lraspp_mobilenet_v3_large mvit_v1_b r2plus1d_18 s3d swin3d_t
    """.split()  # noqa: SIM905 - thirty lines as a list
)


def names() -> list[tuple[str, str]]:
    """(family, model) of all that torchvision registers, quantised ones excluded."""
    return [(family, name) for family, module in FAMILIES.items() for name in models.list_models(module=module)]


@contextmanager
def uninitialised() -> Iterator[None]:
    """Building a model without drawing its weights, which would take longer than analysing it."""
    patch = pytest.MonkeyPatch()
    for name in ("normal_", "uniform_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_", "xavier_uniform_"):
        patch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)
    patch.setattr(nn.init, "constant_", lambda tensor, *_, **__: tensor)
    try:
        yield
    finally:
        patch.undo()


def build(family: str, name: str) -> nn.Module:
    options: dict[str, Any] = {"weights_backbone": None} if family == "segmentation" else {}
    with uninitialised():
        return models.get_model(name, weights=None, **options).eval()


def shape(family: str, name: str) -> tuple[int, ...]:
    return next((s for prefix, s in LARGER.items() if name.startswith(prefix)), SHAPES[family])


def stock_macs(model: nn.Module, shape: tuple[int, ...]) -> int:
    """PyTorch's own count of the forward on meta, in which a MAC is two FLOPs."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.to("meta")(torch.empty(shape, device="meta"))
    return counter.get_total_flops() // 2


def check(family: str, name: str) -> None:
    model, inputs = build(family, name), shape(family, name)
    symbolic = fxcost.analyze(model, inputs, capture="symbolic")
    concrete = fxcost.analyze(model, inputs, capture="concrete")
    assert symbolic.uncosted == concrete.uncosted == {}
    assert symbolic.cost == concrete.cost
    assert symbolic.by_operator() == concrete.by_operator()
    assert symbolic.macs == stock_macs(model, inputs) > 0


@pytest.mark.parametrize(("family", "name"), [entry for entry in names() if entry[1] in SAMPLE])
def test_a_sample(family: str, name: str) -> None:
    """One model of each family: both captures agree in every count, and their MACs with PyTorch's counter."""
    check(family, name)


def test_the_sample_is_there() -> None:
    """No name in the sample is misspelt."""
    assert {name for _, name in names()} >= SAMPLE


@pytest.mark.zoo
@pytest.mark.parametrize(("family", "name"), [entry for entry in names() if entry[1] not in SAMPLE])
def test_all(family: str, name: str) -> None:
    """The same for all the others."""
    check(family, name)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "efficientnet_b0"])
def test_training_differs_by_batch_statistics_and_dropout_alone(name: str) -> None:
    """MACs are those of eval; the operators that differ are normalisation, its counters, and dropout."""
    model = build("classification", name)
    evaluated = fxcost.analyze(model, (2, 3, 64, 64))
    trained = fxcost.analyze(model.train(), (2, 3, 64, 64))
    assert trained.macs == evaluated.macs
    differing = set(trained.by_operator().items()) ^ set(evaluated.by_operator().items())
    words = ("batch_norm", "dropout", "bernoulli", "add_", "div_", "mul", "empty")
    assert {op for op, _ in differing if not any(word in op for word in words)} == set()


def test_a_known_number() -> None:
    """ResNet-50 at 224 × 224: 4.089 GMACs and 25,557,032 parameters, as its papers and everyone say."""
    report = fxcost.analyze(build("classification", "resnet50"), (1, 3, 224, 224))
    assert (report.macs, report.params) == (4_089_184_256, 25_557_032)
