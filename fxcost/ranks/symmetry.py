"""Values that collectives hand on, as far as they are known: peers do what this rank does.

All ranks run one program. A small tensor whose value is known here (a count, a length, a mask) has the same value
there, so that its sum over n ranks is n times it. Counts of tokens that a router sends to each rank's experts hang on
data that nobody has: they are taken to be even, as for the experts of a model that is not sharded, and the report says
so. Without values, sizes that come from them would be made up, and with them the shapes of all that follows.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from ..meta.cells import is_integer
from ..records.communication import KINDS, Group, sides
from .collectives import Named, packet_name, tensors_of

EVEN = (
    "experts on other ranks get evenly many tokens, and peers route theirs as this rank does: how many are sent to "
    "each rank hangs on data"
)
ALIKE = "numbers that ranks exchange (lengths, counts, flags) are the same on all of them"
MOST = 1 << 16
"""Elements of a tensor up to which values are followed through a collective."""


class Knowing(Protocol):
    """A recorder that follows values."""

    rank: int

    def value_or_sample(self, tensor: Tensor) -> tuple[Tensor | None, bool]:
        """A tensor's value if anything is known of it, and whether it comes from noise."""

    def set_value(self, tensor: Tensor, value: Tensor, sampled: bool) -> None:
        """Say what is in a tensor from now on."""

    def assume(self, text: str) -> None:
        """Note what was taken for granted."""


def follow(recorder: Knowing, func: Any, named: Named, out: Any, group: Group) -> None:
    """Give the results of a collective their values, where those of its arguments are known."""
    kind = KINDS[packet_name(func)]
    given, made = map(tensors_of, sides(named, out))
    if not given or not made or not all(is_integer(t) and t.numel() <= MOST for t in (*given, *made)):
        return
    with _disable_current_modes():
        found = [recorder.value_or_sample(t) for t in given]
        values = [value for value, _ in found if value is not None]
        if len(values) < len(found):
            return
        sampled = any(is_sampled for _, is_sampled in found)
        if kind == "all_to_all" and len(values) == len(made) == 1:
            _exchange(recorder, given[0], made[0], values[0], group, sampled)
            return
        results = _alike(kind, str(named.get("reduce_op", "")), values, made, group.size)
        for tensor, value in zip(made, results, strict=False):
            recorder.set_value(tensor, value, sampled)
    if results and group.size > 1 and kind != "broadcast":
        recorder.assume(ALIKE)


def _exchange(recorder: Knowing, sent: Tensor, received: Tensor, value: Tensor, group: Group, sampled: bool) -> None:
    """Counts of tokens for each rank's experts, which ranks tell each other: even ones."""
    if value.numel() % group.size or received.numel() != value.numel():
        return
    if sampled:
        value = _evened(value)
        recorder.set_value(sent, value, sampled=False)
    mine = value.reshape(group.size, -1)[group.ranks.index(recorder.rank)]
    recorder.set_value(received, mine.repeat(group.size).reshape(received.shape), sampled=False)
    recorder.assume(EVEN if sampled else ALIKE)


def _evened(counts: Tensor) -> Tensor:
    """The same sum, as evenly as whole numbers can be.

    >>> _evened(torch.tensor([7, 0, 1]))
    tensor([3, 3, 2])
    """
    total, n = int(counts.sum()), counts.numel()
    even = torch.full((n,), total // n, dtype=counts.dtype)
    even[: total % n] += 1
    return even.reshape(counts.shape)


def _alike(kind: str, reduction: str, given: list[Tensor], made: list[Tensor], size: int) -> list[Tensor]:
    """Results where all ranks give the same; nothing where they can't be told."""
    if kind == "all_gather" and len(given) == 1:
        if len(made) == size:
            return given * size
        whole = given[0].reshape(-1).repeat(size)
        return [whole.reshape(made[0].shape)] if made[0].numel() == whole.numel() else []
    if kind == "all_reduce" and reduction.lower() in ("sum", "max", "min", "avg"):
        return [value * size if reduction.lower() == "sum" else value for value in given]
    return given if kind == "broadcast" else []
