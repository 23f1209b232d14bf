"""A symbolic graph followed along the run's calls has the records that running it gives; where it can't be, it runs."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from models import Lambda
from torch import Tensor, fx, nn

import fxcost
from fxcost.capture import job
from fxcost.capture.capture import record
from fxcost.records.recording import Recording, TensorSpec

FIELDS = ("name", "kind", "target", "module", "input_nodes", "inputs", "outputs", "args", "kwargs", "calls")
X = (2, 4, 8, 8)


@fx.wrap
def windows(x: Tensor, size: int) -> Tensor:
    b, c, h, w = x.shape
    return x.view(b, c, h // size, size, w // size, size).permute(0, 2, 4, 1, 3, 5).reshape(-1, c, size, size) * 2


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.scale = nn.Parameter(torch.ones(8))
        self.register_buffer("table", torch.arange(8.0))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1, 2)
        y, _ = self.attention(x, x, x, need_weights=False)
        first, second = (y * self.scale).chunk(2, dim=-1)
        return 1 - F.softmax(2 * first.transpose(-2, -1) @ second, dim=-1) + self.table[:4]


class Hands(nn.Module):
    """An identity hands its input on, which is used under both names."""

    def __init__(self) -> None:
        super().__init__()
        self.same, self.conv = nn.Identity(), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        z = self.same(y)
        return y + self.conv(z) / x.size(-1)


FOLLOWED = {
    "resnet18": (torchvision.models.resnet18().eval(), (1, 3, 64, 64)),
    "googlenet": (torchvision.models.googlenet(init_weights=False).eval(), (1, 3, 64, 64)),
    "vit": (torchvision.models.VisionTransformer(32, 16, 2, 2, 32, 64).eval(), (1, 3, 32, 32)),
    "swin": (torchvision.models.SwinTransformer([4, 4], 16, [2, 2], [2, 2], [4, 4]).eval(), (1, 3, 32, 32)),
    "attention": (Attends().eval(), X),
    "identity": (Hands(), X),
    "wrapped": (Lambda(lambda self, x: windows(self.c(x), 4) + 1, c=nn.Conv2d(4, 4, 1)), X),
    "sizes": (lambda x: x.reshape(x.shape[0], -1, x.shape[1] * 2)[:, : x.size(2) // 3].mean(dim=x.dim() - 2), X),
    "kinds": (lambda x: x.to(x.dtype).new_zeros(x.shape[:2], device=x.device).to(torch.float64), X),
}


def bare(value: Any) -> Any:
    """Specs without the numbers of their storages, which differ between two runs."""
    if type(value) is TensorSpec:
        return value.shape, value.dtype, value.offset
    if isinstance(value, (tuple, list)):
        return tuple(map(bare, value))
    if isinstance(value, dict):
        return {key: bare(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return tuple(bare(getattr(value, f.name)) for f in dataclasses.fields(value))
    return value


def told(recording: Recording) -> list[Any]:
    """All that a recording says, but for memory."""
    nodes = [[bare(getattr(n, name)) for name in FIELDS] + [str(o.op) for o in n.operations] for n in recording.nodes]
    return [*nodes, *map(bare, recording.calls), recording.storage_bytes, sorted(recording.deaths or ())]


def both(model: Any, shape: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[bool, Recording, Recording]:
    """Whether the graph was followed, and what is recorded if it may be and if it is run."""
    seen: list[bool] = []

    def noting(*args: Any) -> Any:
        found = followed(*args)
        seen.append(found is not None)
        return found

    followed = job.followed
    monkeypatch.setattr(job, "followed", noting)
    may = record(model, shape)
    monkeypatch.setattr(job, "followed", lambda *_: None)
    return seen == [True], may, record(model, shape)


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_graph_that_is_followed_has_the_records_of_one_that_ran(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Node by node: names, arguments, results, what ran, calls of modules, and when memory died."""
    was, one, other = both(*FOLLOWED[name], monkeypatch)
    assert was
    assert one.capture == other.capture == "symbolic"
    assert told(one) == told(other)


class Strides(nn.Module):
    """The same layer with two settings."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        self.conv.stride = (2, 2)
        x = self.conv(x)
        self.conv.stride = (1, 1)
        return self.conv(x)


def transposed(x: Tensor) -> Tensor:
    y = x[0, 0] * 1
    y.t_()
    return y @ y


def other_way(x: Tensor) -> Tensor:
    try:
        int(x.shape[0])
        return torch.relu(x)
    except Exception:
        return torch.sigmoid(x)


@pytest.mark.parametrize(
    ("model", "capture"),
    [(Strides(), "concrete"), (transposed, "symbolic"), (other_way, "concrete")],
    ids=["settings", "reshaped", "another way"],
)
def test_what_calls_alone_can_not_tell_is_not_followed(
    model: Any, capture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph runs itself, and is believed where it does the same."""
    was, one, other = both(model, X, monkeypatch)
    assert not was
    assert one.capture == other.capture == capture
    assert told(one) == told(other)


def test_numbers_of_a_followed_graph_at_another_shape() -> None:
    """The graph that was never run serves another shape: it costs what the model costs there."""
    model = FOLLOWED["swin"][0]
    graph = fxcost.analyze(model, (1, 3, 32, 32)).graph
    again, fresh = fxcost.analyze_graph(graph, (3, 3, 64, 64)), fxcost.analyze(model, (3, 3, 64, 64))
    assert (again.macs, again.flops, again.bytes_read) == (fresh.macs, fresh.flops, fresh.bytes_read)
