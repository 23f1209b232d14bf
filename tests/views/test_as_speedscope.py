"""Flame graphs for speedscope: they fit its own schema, and every width is a cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from hand_made import (
    ADD,
    ADD_COST,
    BLOCK_COST,
    RELU_COST,
    Builder,
    deep_chain,
    module,
    operation,
    residual_net,
    transformer,
)
from torch import nn

import fxcost
from fxcost.errors import DeviceError, UnknownNameError
from fxcost.records.cost import Cost
from fxcost.report import Report

SCHEMA = json.loads((Path(__file__).parent.parent / "data" / "speedscope-1.25.0.schema.json").read_text("utf-8"))


def read(report: Report, **options: Any) -> dict[str, Any]:
    """A file that fits speedscope's schema, as data."""
    data: dict[str, Any] = json.loads(report.to_speedscope(**options))
    jsonschema.validate(data, SCHEMA)
    return data


def widths(data: dict[str, Any], number: int = 0) -> dict[tuple[str, ...], float]:
    """Total width of each stack of a profile; its events must open and close in order, and never go back."""
    names = [frame["name"] for frame in data["shared"]["frames"]]
    found: dict[tuple[str, ...], float] = {}
    stack: list[tuple[str, float]] = []
    before = 0
    for event in data["profiles"][number]["events"]:
        assert event["at"] >= before
        before = event["at"]
        if event["type"] == "O":
            stack.append((names[event["frame"]], event["at"]))
            continue
        key = tuple(name for name, _ in stack)
        name, start = stack.pop()
        assert name == names[event["frame"]]
        found[key] = found.get(key, 0) + event["at"] - start
    assert stack == []
    return found


def test_widths_are_costs_of_modules() -> None:
    """The model, each module and each operator are as wide as what they cost."""
    report = residual_net()
    found = widths(read(report))
    assert found["Net",] == report.flops
    assert found["Net", "blocks (Sequential)", "blocks.0 (Block)"] == (
        BLOCK_COST.flops + RELU_COST.flops + ADD_COST.flops  # the ReLU, which is shared, where it is called
    )
    assert found["Net", "stem (Conv2d)", "aten.convolution.default"] == report.cost_of("stem").flops


def test_every_weight_is_a_profile() -> None:
    """One file has them all, opens at the one asked for, and names the unit of bytes."""
    report = residual_net()
    data = read(report, weight="bytes")
    names = [profile["name"] for profile in data["profiles"]]
    assert names == ["FLOPs", "MACs", "bytes read and written", "activations (elements)"]
    assert data["activeProfileIndex"] == 2
    assert data["profiles"][2]["unit"] == "bytes"
    ends = [profile["endValue"] for profile in data["profiles"]]
    assert ends == [report.flops, report.macs, report.cost.bytes_moved, report.activations]


def test_calls_of_one_module_are_apart() -> None:
    """A module that is called twice in a row opens twice."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(self.inner(x))

    data = read(fxcost.analyze(Twice(), (2, 3)))
    (number,) = [i for i, frame in enumerate(data["shared"]["frames"]) if frame["name"] == "inner (Linear)"]
    opened = [e for e in data["profiles"][0]["events"] if e["frame"] == number and e["type"] == "O"]
    assert len(opened) == 2


def test_modules_inside_a_node() -> None:
    """What runs inside a module that stays whole stands below its path."""
    report = fxcost.analyze(nn.TransformerEncoderLayer(8, 2, batch_first=True).eval(), (1, 4, 8), capture="concrete")
    stacks = widths(read(report))
    assert any("self_attn.out_proj" in stack for stack in stacks) or any("linear1" in "".join(s) for s in stacks)
    assert stacks[report.model_type,] == report.flops


def test_time_needs_a_device() -> None:
    """With a device there is one more profile, in seconds: the least time of each node."""
    report = fxcost.analyze(nn.Linear(64, 64), (8, 64))
    data = read(report, weight="time", device="a100")
    assert data["activeProfileIndex"] == 4
    assert data["profiles"][4]["unit"] == "seconds"
    assert data["profiles"][4]["endValue"] == pytest.approx(report.roofline("a100").latency_s)
    with pytest.raises(UnknownNameError, match="device="):
        report.to_speedscope(weight="time")
    with pytest.raises(UnknownNameError, match="flops, macs, bytes"):
        report.to_speedscope(weight="parameters")
    with pytest.raises(DeviceError):
        report.to_speedscope(device="no such device")


@pytest.mark.parametrize("report", [deep_chain(300), transformer(3, calls=False)], ids=["deep", "no calls"])
def test_shapes_of_models(report: Report) -> None:
    """Deep nesting, and reports that know of no calls."""
    assert widths(read(report))[report.model_type,] == report.flops


def test_odd_reports() -> None:
    """Without any cost there is a file too; numbers beyond 2⁵³ and names with quotes do not break it."""
    empty = read(Builder().node("x", "placeholder", "x").report((module("", "Net"),)))
    assert all(profile["events"] == [] for profile in empty["profiles"])
    build = Builder().node("n", "call_function", 'f"</script>', operations=(operation(ADD, Cost(macs=10**30)),))
    assert ("Net", 'f"</script>', "aten.add.Tensor") in widths(read(build.report((module("", "Net"),))))


def test_written_to_a_path(tmp_path: Path) -> None:
    """The file holds what is returned."""
    text = residual_net().to_speedscope(tmp_path / "net.json")
    assert (tmp_path / "net.json").read_text("utf-8") == text
