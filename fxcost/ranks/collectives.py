"""Collectives on meta tensors: results of the right shape and dtype, and nothing is sent.

A collective of `c10d` writes into tensors that it is given and returns a `Work`: here one that is finished, whose
future holds these tensors, as DDP's reducer asks for them. A functional one returns new tensors.

Not here: values (symmetry.py), and what a collective sends (communication/).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelRunError
from ..records.communication import KINDS, NAMESPACES, NO_COLLECTIVES, sides

Named = dict[str, Any]
"""The arguments of an operator by the names of its schema."""


@lru_cache(maxsize=256)
def packet_name(op: Any) -> str:
    """An operator's name without its overload: "c10d.allreduce_"."""
    return f"{op.namespace}.{op._schema.name.partition('::')[2]}"


@lru_cache(maxsize=4096)
def communicates(op: Any) -> bool:
    """True for PyTorch's operators of communication, of whatever sort."""
    return getattr(op, "namespace", "") in NAMESPACES


def by_name(op: Any, args: tuple[Any, ...], kwargs: Named) -> Named:
    """All arguments by name, defaults filled in."""
    arguments = op._schema.arguments
    given = {a.name: value for a, value in zip(arguments, args, strict=False)}
    rest = {a.name: kwargs.get(a.name, a.default_value if a.has_default_value() else None) for a in arguments}
    return {**rest, **given}


def result(op: Any, named: Named, size: int) -> Any:
    """What a collective returns to a rank of a group of `size`, on meta.

    Raises:
        ModelRunError: it is none that is known here.
    """
    name = packet_name(op)
    if name in NO_COLLECTIVES:
        return next(iter(named.values()), None)
    if name not in KINDS:
        raise ModelRunError(
            f"{op} communicates in a way that fxcost does not know, so what it sends and returns is not known. "
            "Symmetric memory (async tensor parallel) is one; run the model with it switched off"
        )
    if op.namespace == "c10d":
        return _in_place(op, named)
    made = _FUNCTIONAL.get(name)
    return made(named, size) if made is not None else _alike(next(iter(named.values())))


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors in a nest of lists."""
    if isinstance(value, Tensor):
        return [value]
    return [t for item in value for t in tensors_of(item)] if isinstance(value, (list, tuple)) else []


def _in_place(op: Any, named: Named) -> Any:
    """The tensors that are written, and a finished `Work`, as the schema wants them."""
    from .private import finished_work

    written = sides(named, None)[1]
    held = [] if KINDS[packet_name(op)] == "send" else tensors_of(written)  # what is sent may go as soon as it is sent
    out = [finished_work(held) if "Work" in str(r.type) else written for r in op._schema.returns]
    return out[0] if len(out) == 1 else tuple(out) if out else None


def _alike(value: Any) -> Any:
    """New tensors like those given."""
    return [_alike(item) for item in value] if isinstance(value, (list, tuple)) else torch.empty_like(value)


def _rows(change: Callable[[int, int], int]) -> Callable[[Named, int], Any]:
    """New tensors with another number of rows."""

    def make(named: Named, size: int) -> Any:
        def one(x: Tensor) -> Tensor:
            return x.new_empty((change(x.shape[0], size), *x.shape[1:]))

        given = named.get("inputs", named.get("input"))
        return [one(x) for x in given] if isinstance(given, (list, tuple)) else one(given)  # type: ignore[arg-type]

    return make


def _first(named: Named, size: int) -> Any:
    return next(iter(named.values()))


def _out(named: Named, size: int) -> Any:
    return named["out"]


def _all_to_all(named: Named, size: int) -> Tensor:
    x: Tensor = named["input"]
    return x.new_empty((sum(map(int, named["output_split_sizes"])), *x.shape[1:]))


def _shard_dim(named: Named, size: int) -> Tensor:
    x: Tensor = named["input"]
    shape = list(x.shape)
    shape[named["gather_dim"]] *= size
    shape[named["shard_dim"]] //= size
    return x.new_empty(shape)


_GATHER, _SCATTER = _rows(lambda n, size: n * size), _rows(lambda n, size: n // size)
_FUNCTIONAL: dict[str, Callable[[Named, int], Any]] = {
    "_c10d_functional.all_reduce_": _first,
    "_c10d_functional.all_reduce_coalesced_": _first,
    "_c10d_functional.broadcast_": _first,
    "_c10d_functional.isend": _first,
    "_c10d_functional.irecv": _first,
    "_c10d_functional.all_gather_into_tensor": _GATHER,
    "_c10d_functional.all_gather_into_tensor_coalesced": _GATHER,
    "_c10d_functional.all_gather_into_tensor_out": _out,
    "_c10d_functional.reduce_scatter_tensor": _SCATTER,
    "_c10d_functional.reduce_scatter_tensor_coalesced": _SCATTER,
    "_c10d_functional.reduce_scatter_tensor_out": _out,
    "_c10d_functional.all_to_all_single": _all_to_all,
    "_dtensor.shard_dim_alltoall": _shard_dim,
}
