"""The kernels of a training step beyond its forward pass: backward by node, and the optimizer.

A step's costs are known by node, not by kernel. The backward pass of a node is taken for kernels like the one that does
most in its forward pass: two of them for a product with weights, one for the input's gradient and one for the weight's.

Not here: the loss's own kernels, which are small, and `foreach` optimizers' temporaries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..memory.training import NodeStep, Training
from ..records.cost import NodeCost
from .work import LAYOUTS, PRODUCTS, Work


def backward_works(forward: Sequence[Work], nodes: Sequence[NodeCost], step: Training, first: int) -> list[Work]:
    """The kernels of the backward pass, the last node's first; node i's stand at position first + (n − 1 − i)."""
    heaviest: dict[int, Work] = {}
    for work in forward:
        known = heaviest.get(work.node)
        if known is None or (work.flops, work.reads + work.writes) > (known.flops, known.reads + known.writes):
            heaviest[work.node] = work
    steps: Mapping[str, NodeStep] = {node.name: node for node in step.nodes}
    found: list[Work] = []
    for i in reversed(range(len(nodes))):
        done = steps.get(nodes[i].name)
        if done is None:
            continue
        cost = done.cost.backward + done.cost.recomputed
        if not cost.flops and not cost.bytes_moved:
            continue
        like = heaviest.get(i) or Work("other", LAYOUTS[0], "float32", i, 0, 0, 0, 0)
        kernels = 2 if like.kind in PRODUCTS and cost.macs else 1
        work = replace(
            like,
            node=first + len(nodes) - 1 - i,
            flops=2 * cost.macs // kernels,
            others=cost.other_flops // kernels,
            reads=cost.bytes_read // kernels,
            writes=cost.bytes_written // kernels,
        )
        if like.kind == "gelu" or (not cost.macs and like.kind in PRODUCTS):
            work = replace(work, kind="pointwise")
        found.extend([work] * kernels)
    return found


def optimizer_work(step: Training, node: int) -> Work:
    """The optimizer as one pass over memory: parameters and state are read and written, gradients read."""
    reads = step.parameter_bytes + step.gradient_bytes + step.optimizer_bytes
    writes = step.parameter_bytes + step.optimizer_bytes
    return Work("pointwise", LAYOUTS[0], "float32", node, 0, 0, reads, writes)
