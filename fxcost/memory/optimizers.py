"""How much state an optimizer keeps.

Those with a name keep whole copies of the parameter, or what PyTorch's class keeps. An optimizer object takes one step
on meta tensors, and what it has then is counted: so any optimizer of `torch.optim`, or one written against its
interface, is right by construction. State that an optimizer keeps on the CPU while its parameters are elsewhere (Adam's
step counters) takes no device memory and does not count.

Not here: temporaries of the step itself (optimizer_step.py).
"""

from __future__ import annotations

import copy
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..errors import TrainingError
from ..records.recording import TensorSpec

Optimizer = str | int | float | torch.optim.Optimizer

_COPIES = {"sgd": 0, "momentum": 1, "adam": 2, "adamw": 2, "lion": 1}
"""How many tensors like the parameter an optimizer keeps. Lion, which PyTorch lacks, keeps one momentum (Chen et al.,
Symbolic Discovery of Optimization Algorithms, 2023)."""
_BUILT_IN: dict[str, Callable[[Any], torch.optim.Optimizer]] = {"adafactor": torch.optim.Adafactor}

NAMES = (*_COPIES, *_BUILT_IN)


def check_optimizer(optimizer: Optimizer) -> None:
    """Say at once if there is no such optimizer.

    Raises:
        TrainingError: the name is not known, the number is negative or not finite, or it is neither of these nor an
            optimizer.
    """
    if isinstance(optimizer, str):
        if optimizer not in NAMES:
            near = get_close_matches(optimizer.lower(), NAMES, n=3, cutoff=0.4)
            hint = f"did you mean {', '.join(map(repr, near))}?" if near else f"choose from {', '.join(NAMES)},"
            raise TrainingError(
                f"there is no optimizer {optimizer!r}; {hint} or give a torch.optim optimizer, or bytes per parameter"
            )
    elif isinstance(optimizer, (int, float)) and not isinstance(optimizer, bool):
        if not 0 <= optimizer < math.inf:
            raise TrainingError(f"an optimizer can't keep {optimizer} bytes per parameter")
    elif not isinstance(optimizer, torch.optim.Optimizer):
        raise TrainingError(
            f"a {type(optimizer).__name__} is no optimizer; give one of {', '.join(NAMES)}, a torch.optim optimizer, "
            "or bytes per parameter"
        )


def optimizer_name(optimizer: Optimizer) -> str:
    """The optimizer in words."""
    if isinstance(optimizer, (int, float)):
        return f"{optimizer} bytes per parameter"
    return optimizer if isinstance(optimizer, str) else type(optimizer).__name__


def state_bytes(optimizer: Optimizer, trained: Iterable[TensorSpec]) -> int:
    """Bytes of an optimizer's state for parameters that got a gradient.

    An optimizer object brings its own groups: what it holds that requires a gradient is what counts.

    Raises:
        TrainingError: as :func:`check_optimizer`, or the optimizer can't step on meta tensors.
    """
    check_optimizer(optimizer)
    if isinstance(optimizer, torch.optim.Optimizer):
        return _of_object(optimizer)
    trained = list(trained)
    if isinstance(optimizer, (int, float)):
        return round(Fraction(optimizer) * sum(spec.numel for spec in trained))
    if optimizer in _COPIES:
        return _COPIES[optimizer] * sum(spec.stored_bytes for spec in trained)
    alike = Counter((spec.shape, spec.dtype) for spec in trained)
    if not alike:
        return 0
    params = {key: _with_gradient(torch.empty(key[0], dtype=key[1], device="meta")) for key in alike}
    state = _stepped(_BUILT_IN[optimizer](list(params.values())))
    return sum(times * _bytes_of(state.get(params[key])) for key, times in alike.items())


def _of_object(optimizer: torch.optim.Optimizer) -> int:
    return sum(map(_bytes_of, _stepped(twin_of(optimizer)).values()))


def twin_of(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The same optimizer without state, of parameters on meta that have gradients."""
    twin = copy.copy(optimizer)
    twin.state = defaultdict(dict)
    twin.param_groups = [
        {**group, "params": [_with_gradient(p) for p in group["params"] if p.requires_grad]}
        for group in optimizer.param_groups
    ]
    return twin


def _with_gradient(like: Tensor) -> nn.Parameter:
    param = nn.Parameter(torch.empty(like.shape, dtype=like.dtype, device="meta"))
    param.grad = torch.empty_like(param)
    return param


class AnyNumber(TorchDispatchMode):
    """Where an optimizer asks a meta tensor for its number (Adafactor: the norm of a parameter), say 1."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return 1.0
        return func(*args, **(kwargs or {}))


@contextmanager
def stepping(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Around a step on meta tensors: what the optimizer raises says so.

    Raises:
        TrainingError: it can't take one.
    """
    try:
        yield
    except Exception as error:
        raise TrainingError(
            f"{type(optimizer).__name__} can't take a step on meta tensors ({type(error).__name__}: {error}); give its "
            "state as bytes per parameter instead"
        ) from error


def _stepped(optimizer: torch.optim.Optimizer) -> dict[Any, dict[str, Any]]:
    with stepping(optimizer), AnyNumber():  # type: ignore[no-untyped-call]
        optimizer.step()
    return dict(optimizer.state)


def _bytes_of(state: dict[str, Any] | None) -> int:
    kept = [t for t in (state or {}).values() if isinstance(t, Tensor) and t.is_meta]
    return sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in kept}.values())
