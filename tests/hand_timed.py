"""A roofline written by hand: 6 ms of arithmetic, then 2 ms of traffic, and a node that takes no time."""

from __future__ import annotations

from fxcost.speed.devices import Device
from fxcost.speed.roofline import Roofline
from fxcost.speed.times import NodeTime

BOX = Device(
    name="Box", flops_per_s={"float32": 1e12, "int8": 4e12}, bytes_per_s=1e11, memory_bytes=8 * 10**9, source="a page"
)


def node(name: str, family: str, flops: int, nbytes: int) -> NodeTime:
    """A node on that box."""
    compute, memory = flops / 1e12, nbytes / 1e11
    return NodeTime(
        name=name,
        module=f"net.{name}",
        family=family,
        dtype="float32",
        flops=flops,
        bytes_moved=nbytes,
        compute_s=compute,
        memory_s=memory,
        overhead_s=0.0,
        time_s=max(compute, memory),
    )


NODES = (node("conv", "convolution", 6 * 10**9, 10**8), node("relu", "pointwise", 10**6, 2 * 10**8))
IDLE = NodeTime(
    name="view", module="", family="", dtype="", flops=0, bytes_moved=0, compute_s=0, memory_s=0, overhead_s=0, time_s=0
)
ROOFLINE = Roofline(
    model_type="Net",
    device=BOX,
    dtype="",
    fusion="none",
    nodes=(*NODES, IDLE),
    edges=(("conv", "relu"), ("relu", "view")),
)


def lines(text: str) -> dict[str, str]:
    """Lines of facts by their names."""
    return {line[:15].strip(): line[15:].strip() for line in text.splitlines() if line[:1].isalpha()}
