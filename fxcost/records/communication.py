"""What is said of communication between ranks: which rank was run, its groups, and which operator is what collective.

A collective is an :class:`~fxcost.records.recording.OpRecord` like any other. In the place of its process group, which
ends with the run, it has a :class:`Group`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Annotated, Any

from .ranges import Count, Filled, OneOf, Position

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "c10d.allreduce_": "all_reduce",
        "c10d.allreduce_coalesced_": "all_reduce",
        "c10d._allgather_base_": "all_gather",
        "c10d.allgather_": "all_gather",
        "c10d.allgather_coalesced_": "all_gather",
        "c10d.allgather_into_tensor_coalesced_": "all_gather",
        "c10d._reduce_scatter_base_": "reduce_scatter",
        "c10d.reduce_scatter_": "reduce_scatter",
        "c10d.reduce_scatter_tensor_coalesced_": "reduce_scatter",
        "c10d.alltoall_base_": "all_to_all",
        "c10d.alltoall_": "all_to_all",
        "c10d.broadcast_": "broadcast",
        "c10d.reduce_": "reduce",
        "c10d.scatter_": "scatter",
        "c10d.gather_": "gather",
        "c10d.gather_into_tensor_": "gather",
        "c10d.send": "send",
        "c10d.recv_": "recv",
        "c10d.recv_any_source_": "recv",
        "c10d.barrier": "barrier",
        "c10d.monitored_barrier_": "barrier",
        "_c10d_functional.all_reduce": "all_reduce",
        "_c10d_functional.all_reduce_": "all_reduce",
        "_c10d_functional.all_reduce_coalesced": "all_reduce",
        "_c10d_functional.all_reduce_coalesced_": "all_reduce",
        "_c10d_functional.all_gather_into_tensor": "all_gather",
        "_c10d_functional.all_gather_into_tensor_out": "all_gather",
        "_c10d_functional.all_gather_into_tensor_coalesced": "all_gather",
        "_c10d_functional.reduce_scatter_tensor": "reduce_scatter",
        "_c10d_functional.reduce_scatter_tensor_out": "reduce_scatter",
        "_c10d_functional.reduce_scatter_tensor_coalesced": "reduce_scatter",
        "_c10d_functional.all_to_all_single": "all_to_all",
        "_c10d_functional.broadcast": "broadcast",
        "_c10d_functional.broadcast_": "broadcast",
        "_c10d_functional.isend": "send",
        "_c10d_functional.irecv": "recv",
        "_dtensor.shard_dim_alltoall": "all_to_all",
    }
)
"""What collective an operator of PyTorch's is, by its name without the overload."""

NO_COLLECTIVES = frozenset(
    {"_c10d_functional.wait_tensor", "_c10d_functional._wrap_tensor_autograd", "c10d.check_for_nan"}
)
"""Operators of the same namespaces that send nothing: they hand their tensor on."""

NAMESPACES = frozenset({"c10d", "_c10d_functional", "_c10d_functional_autograd", "_dtensor", "symm_mem"})
"""Where PyTorch's operators for communication are; one that is neither above nor here is refused."""


@dataclass(frozen=True, slots=True)
class Group:
    """Ranks that communicate, by their numbers in the world, and the dimension of the mesh along which they lie.

    `mesh_dim` is "" for a group of another origin; ranks that lie along several dimensions have all their names:
    "dp_tp".
    """

    ranks: Annotated[tuple[Position, ...], Filled()]
    mesh_dim: str = ""

    @property
    def size(self) -> int:
        """How many ranks."""
        return len(self.ranks)

    def __str__(self) -> str:
        return self.mesh_dim or f"ranks {self.ranks[0]}…{self.ranks[-1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """The rank that was run: its number, the mesh (name and size of each dimension), its place in it.

    `unsharded_params` are the parameters of the model before it was sharded.
    """

    rank: Position
    mesh: tuple[tuple[str, Position], ...]
    coordinates: tuple[Position, ...]
    unsharded_params: Count

    @property
    def world_size(self) -> int:
        """How many ranks there are."""
        return prod(size for _, size in self.mesh)

    @property
    def place(self) -> dict[str, int]:
        """Where in the mesh it is: `{"dp": 0, "tp": 3}`."""
        return dict(zip((name for name, _ in self.mesh), self.coordinates, strict=True))

    def misfit(self) -> str:
        """What is wrong between the fields, in words; "" for nothing."""
        inside = len(self.coordinates) == len(self.mesh) and self.rank < self.world_size
        return "" if inside else f"rank {self.rank} is not in the mesh {self.mesh}"

    def __str__(self) -> str:
        dims = " × ".join(f"{name} {size}" for name, size in self.mesh)
        at = ", ".join(f"{name} {i}" for name, i in self.place.items())
        return f"{self.rank} of {self.world_size} ({dims}; at {at})"


INTO = ("output_tensors", "output_tensor", "output_lists", "outputs", "output", "out")
"""How PyTorch's schemas call what a collective writes its result into."""
GIVEN = ("input_tensors", "input_tensor", "input_list", "inputs", "input", "tensors", "tensor")
"""How they call what a rank gives."""


def sides(named: Mapping[str, Any], returned: Any) -> tuple[Any, Any]:
    """Of a collective's arguments by name: what this rank gives, and what it gets.

    A collective of `c10d` that has nothing to write into overwrites what it is given.
    """
    given = next((named[name] for name in GIVEN if named.get(name) is not None), None)
    made = next((named[name] for name in INTO if named.get(name) is not None), None)
    if made is None:
        made = given if "process_group" in named else returned
    return given, made


PHASES = ("forward", "backward", "recomputed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collective:
    """One communication of a rank with others (units: bytes).

    - `kind` is "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "reduce", "scatter", "gather",
      "send", "recv" or "barrier"; `op` the operator that ran, `dtype` that of its tensors.
    - `payload_bytes` is the whole tensor: what is reduced, the result of a gather, the input of a reduce-scatter.
    - `sent_bytes` and `received_bytes` are what this rank sends and receives if ranks stand in a ring; `wire_bytes` is
      the larger of the two. A network that reduces itself (NVLS, SHARP) sends less.
    - `module`, `node`, `phase` and `position` (in the operators of its pass) say where it ran.
    - `peer` is the other rank of a send, a recv, or the root of a broadcast, reduce, scatter or gather.
    - `blocking`: the operators after it wait for its result; else it may run beside them.
    """

    kind: str
    op: str
    dtype: str
    payload_bytes: Count
    sent_bytes: Count
    received_bytes: Count
    group: Group
    module: str
    phase: Annotated[str, OneOf(PHASES)]
    node: str
    position: Position
    peer: Position | None = None
    blocking: bool = True

    @property
    def wire_bytes(self) -> int:
        """What goes over this rank's link in the direction in which more goes."""
        return max(self.sent_bytes, self.received_bytes)

    @property
    def ranks(self) -> tuple[int, ...]:
        """The ranks that take part."""
        return self.group.ranks

    @property
    def mesh_dim(self) -> str:
        """The dimension of the mesh along which they lie; "" if there is none."""
        return self.group.mesh_dim
