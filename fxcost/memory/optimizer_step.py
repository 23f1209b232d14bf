"""What an optimizer's own step takes for a moment, beside its state: on CUDA, where many tensors are worked on at once.

The optimizer takes two steps on meta tensors, with `foreach` where CUDA has it by default, and what its operators make
is followed from birth to death. What the first step leaves is its state; the second is like all that come after it.

Not here: optimizers that are known as a number of bytes alone, or that PyTorch does not have (Lion).
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ..records.recording import TensorSpec
from .optimizers import AnyNumber, Optimizer, stepping, twin_of

Life = tuple[int, int, int]
"""Born and died, counted in operators, and bytes."""
_CLASSES: dict[str, Any] = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.1),
    "momentum": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adafactor": torch.optim.Adafactor,
}


@dataclass(frozen=True, slots=True)
class StepStorages:
    """Storages of a training step: bytes of those that are there all the time, and the lives of all others.

    `ticks` is how many operators ran. What lives beyond them (gradients, results) dies at `ticks + 1`.
    """

    resident: tuple[int, ...]
    lives: tuple[Life, ...]
    ticks: int
    optimizer: Optimizer
    trained: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class OptimizerStep:
    """What a step makes. What lives on to its end, `ticks`, dies beyond: at `ticks + 1`."""

    ticks: int
    lives: tuple[Life, ...]

    @property
    def peak_bytes(self) -> int:
        """Bytes alive at one time, beside parameters, gradients and the state that was there before."""
        return max((sum(n for born, died, n in self.lives if born <= t < died) for t in range(self.ticks)), default=0)


def optimizer_steps(optimizer: Optimizer, trained: Iterable[TensorSpec]) -> tuple[OptimizerStep, OptimizerStep] | None:
    """The first step, which makes the state, and one that comes later; None if the optimizer is no class of its own.

    Raises:
        TrainingError: the optimizer can't step on meta tensors.
    """
    if isinstance(optimizer, torch.optim.Optimizer):
        taking = twin_of(optimizer)
    elif isinstance(optimizer, str) and optimizer in _CLASSES:
        params = [_parameter(spec) for spec in trained]
        if not params:
            return None
        taking = _CLASSES[optimizer](params)
    else:
        return None
    for group in taking.param_groups:
        if group.get("foreach", False) is None and not group.get("fused") and _is_foreach(taking):
            group["foreach"] = True
    return _step(taking), _step(taking)


def _parameter(spec: TensorSpec) -> torch.nn.Parameter:
    param = torch.nn.Parameter(torch.empty(spec.shape, dtype=spec.dtype, device="meta"))
    param.grad = torch.empty_like(param)
    return param


def _is_foreach(optimizer: torch.optim.Optimizer) -> bool:
    """True if PyTorch runs this class over many tensors at once where it can and nothing is said."""
    own = [cls for cls in type(optimizer).__mro__ if cls not in (torch.optim.Optimizer, object)]
    return any(hasattr(sys.modules[cls.__module__], "_default_to_fused_or_foreach") for cls in own)


def _step(optimizer: torch.optim.Optimizer) -> OptimizerStep:
    held = [t for p in optimizer.state for t in optimizer.state[p].values() if isinstance(t, Tensor)]
    params = [p for group in optimizer.param_groups for p in group["params"]]
    following = _Following([*held, *params, *[p.grad for p in params if p.grad is not None]])
    with stepping(optimizer), following:
        optimizer.step()
    return OptimizerStep(following.ticks, following.lives())


class _Following(AnyNumber):
    """Follows the storages that operators make on meta, those of `base` excepted."""

    def __init__(self, base: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ticks = 0
        self._known: dict[int, Any] = {t.untyped_storage()._cdata: None for t in base}
        self._lives: list[list[int | None]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        for value in pytree.tree_leaves(out):
            if isinstance(value, Tensor) and value.is_meta and value.untyped_storage()._cdata not in self._known:
                self._follow(value.untyped_storage())
        self.ticks += 1
        return out

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key, life = storage._cdata, [self.ticks, None, storage.nbytes()]
        self._lives.append(life)

        def freed(_: Any) -> None:
            life[1] = self.ticks
            self._known.pop(key, None)

        self._known[key] = weakref.ref(storage, freed)

    def lives(self) -> tuple[Life, ...]:
        """Births, deaths and bytes."""
        forever = self.ticks + 1
        return tuple((born or 0, forever if died is None else died, n or 0) for born, died, n in self._lives)
