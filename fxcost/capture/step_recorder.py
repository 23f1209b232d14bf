"""Records a training step: which forward operator each operator of the backward pass belongs to, and what is saved.

Autograd numbers its nodes in the order in which the forward pass makes them; an operator of the backward pass belongs
to the forward operator after which the number of its autograd node had been given out.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..meta.autocast import cast_to
from ..meta.autocast_gradients import AutocastRegionError
from ..meta.segments import Segment, is_plain
from ..meta.storages import Storages
from ..meta.values import ValueRecorder
from ..records.recording import NodeRecord, Operator, OpRecord

NOBODY = -1
"""Owner of backward operators that belong to no forward node: gradients that add up at a parameter."""


class StepRecorder(ValueRecorder):
    """A recorder that knows, in the backward pass, which forward operator each operator belongs to.

    `casts` says that autocast regions are taken care of (autocast_gradients.py).
    """

    def __init__(self, storages: Storages, *, real: bool = False, casts: bool = False) -> None:
        super().__init__(storages, real=real)
        self.casts = casts
        self.forward: list[OpRecord] = []
        self.backward: list[Segment] = []
        """What the backward pass ran, a segment for each operator."""
        self.owners: list[int] = []
        """For each backward operator the position of its owner in `forward`, or NOBODY."""
        self.recomputed: list[bool] = []
        self.turns: list[int] = []
        """For each backward operator how many operators of the forward pass had run before it."""
        self.saved: list[tuple[int, Segment | None, int]] = []
        """Storage, segment that was open, and operators that had run, for each tensor saved for backward."""
        self.unsavable: frozenset[int] = frozenset()
        """Storages of the user's that were made in inference mode."""
        self.in_backward = False
        self._leaves: dict[int, tuple[Tensor, Tensor]] = {}
        """Leaves of the user's that turned up, each with what stands for it on meta, and takes its gradient."""
        self._numbers: list[int] = []
        self._numbered: list[int] = []
        self._owner = NOBODY
        """Of the operator of the backward pass that runs."""

    def seen(self, func: Operator, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
        """An operator is called, in the backward pass with a segment of its own."""
        if self.in_backward:
            self._begin()
        return super().seen(func, types, args, kwargs)

    # ------------------------------------------------------------------------------------------------------- ownership

    def _begin(self) -> None:
        """Open a segment for an operator of the backward pass."""
        owner = self._owner = self._find_owner()
        self.segment = Segment()
        self.segment.scope = self.forward[owner].scope if owner != NOBODY else ""
        self.backward.append(self.segment)

    def noted(self, record: OpRecord) -> None:
        """Say whose an operator is, and which numbers autograd has given out by now."""
        if not self.in_backward:
            owner = len(self.forward)
            self.forward.append(record)
        else:
            owner = self._owner
            again = self.repeats(record.op)
            self.owners.append(owner)
            self.recomputed.append(again)
            self.turns.append(len(self.forward))
            if not again:
                return
        self._numbers.append(torch.autograd._get_sequence_nr())  # type: ignore[attr-defined]
        self._numbered.append(owner)

    def repeats(self, op: Operator) -> bool:
        """True if an operator that runs in the backward pass belongs to the forward pass, which is run again."""
        return torch.is_grad_enabled() or has_gradient(op)  # the backward pass itself runs without

    def _find_owner(self) -> int:
        node = torch._C._current_autograd_node()
        if node is None or node.name().endswith("AccumulateGrad"):  # these have no number that says anything
            return NOBODY
        i = bisect_right(self._numbers, node._sequence_nr())
        return self._numbered[i] if i < len(self._numbered) else NOBODY

    def backward_nodes(self) -> tuple[NodeRecord, ...]:
        """What the backward pass ran, in its order."""
        return tuple(_node(segment) for segment in self.backward if segment.operations)

    # ---------------------------------------------------------------------------------------------- saving and casting

    def _autocast(self, func: Operator, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Casts are made above autograd; a step that is not prepared for that must start again."""
        if self.region is not None and not self.casts and cast_to(func, self.region) is not None:
            raise AutocastRegionError
        return args

    def with_gradients(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Autograd wants a gradient where the tensor is: a leaf that is not on meta has a stand-in that is."""
        if not (self._has_real(args) or (kwargs and self._has_real(tuple(kwargs.values())))):
            return args, kwargs
        return self._with_leaves(args), self._with_leaves(kwargs)

    def _with_leaves(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._leaf(value) if value.requires_grad and value.is_leaf and not value.is_meta else value
        if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
            return type(value)(map(self._with_leaves, value))
        return {k: self._with_leaves(v) for k, v in value.items()} if isinstance(value, dict) else value

    def _leaf(self, tensor: Tensor) -> Tensor:
        if id(tensor) not in self._leaves:
            self._leaves[id(tensor)] = tensor, self.twin(tensor).requires_grad_()
        return self._leaves[id(tensor)][1]

    def save(self, tensor: Tensor) -> Tensor:
        """The hook that autograd calls with every tensor that it saves for the backward pass.

        Raises:
            RuntimeError: PyTorch would refuse it, in these words.
        """
        if is_plain(tensor):
            number = self.storages.number(tensor)
            if number in self.unsavable:
                raise RuntimeError("Inference tensors cannot be saved for backward. Clone it outside inference mode")
            self.saved.append((number, self.segment, len(self.forward)))
        return tensor


@lru_cache(maxsize=4096)
def has_gradient(op: Operator) -> bool:
    """True for an operator outside of aten whose gradient is a function of its own (`register_autograd`).

    Autograd turns gradients off while such an operator runs, so that one that is run again by checkpointing looks like
    a part of the backward pass, where only its `…_backward` belongs.
    """
    if not isinstance(op, torch._ops.OpOverload) or op.namespace in ("aten", "prims", "prim"):
        return False
    if "backward" in op.name():  # torchvision's have a gradient too, which says that there is none
        return False
    return torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), "Autograd")


def _node(segment: Segment) -> NodeRecord:
    operations, storages = tuple(segment.operations), tuple(segment.slots)
    return NodeRecord("backward", "call_function", "backward", "", operations=operations, storages=storages)
