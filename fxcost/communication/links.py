"""How fast ranks can send to each other: links by name, with whose figures these are; the least time of a collective.

A bound and no estimate: bytes over the bandwidth of the link in one direction, and ⌈log₂ n⌉ times the latency, as what
one rank knows reaches n ranks in no fewer rounds (E. Chan, M. Heimlich, A. Purkayastha, R. van de Geijn, "Collective
communication: theory, practice, and experience", Concurrency and Computation 19 (13), 2007). Latencies are 0 where
nobody is named for them.

Not here: how a library picks algorithms and protocols, and what several collectives take from each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import DeviceError, nearest, shown
from ..errors.arguments import checked
from ..records.communication import Collective, Group

SLOWEST, FASTEST = 1e-30, 1e30
"""Between these a rate is one that times can be reckoned with."""


@checked
@dataclass(frozen=True, kw_only=True)
class Link:
    """What a rank can send to others, and receive, at most.

    - `bytes_per_s` is the bandwidth in one direction, of all links of the rank together.
    - `latency_s` is the least time of a message.
    - `reduces`: switches add up what ranks send (NVLink with SHARP from Hopper on), so that in an all-reduce each rank
      sends a tensor once, not twice.
    """

    bytes_per_s: float
    latency_s: float = 0.0
    reduces: bool = False
    name: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if not SLOWEST <= self.bytes_per_s <= FASTEST or not 0 <= self.latency_s <= FASTEST:
            raise DeviceError("a link has a bandwidth above 0 (bytes per second), and a latency of 0 or more seconds")

    @staticmethod
    def named(name: str | Link) -> Link:
        """A link of the table by its name: "nvlink", "nvlink3", "infiniband".

        Raises:
            DeviceError: there is no such link; the message offers the nearest.
        """
        if isinstance(name, Link):
            return name
        if name not in LINKS:
            near = nearest(name, LINKS)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(LINKS)}"
            raise DeviceError(f"no link {shown(name)} is known; {hint}, or give fxcost.Link(bytes_per_s=…)")
        return LINKS[name]


_HOPPER = "NVIDIA H100 Tensor Core GPU Architecture whitepaper: 18 NVLinks, 900 GB/s in both directions together"
_AMPERE = "NVIDIA A100 Tensor Core GPU Architecture whitepaper: 12 NVLinks, 600 GB/s in both directions together"
_BLACKWELL = "NVIDIA Blackwell Architecture Technical Overview: NVLink 5, 1.8 TB/s in both directions together"
_NDR = "NVIDIA ConnectX-7 datasheet: InfiniBand NDR, 400 Gb/s"
_HDR = "NVIDIA ConnectX-6 datasheet: InfiniBand HDR, 200 Gb/s"
_PCIE = "PCI-SIG: 16 lanes of {} GT/s, 128b/130b encoding"
_ETHERNET = "IEEE 802.3: 100 Gb/s"

LINKS: Mapping[str, Link] = {
    link.name: link
    for link in (
        Link(name="nvlink", bytes_per_s=450e9, reduces=True, source=_HOPPER),
        Link(name="nvlink3", bytes_per_s=300e9, source=_AMPERE),
        Link(name="nvlink5", bytes_per_s=900e9, reduces=True, source=_BLACKWELL),
        Link(name="infiniband", bytes_per_s=50e9, reduces=True, source=_NDR),
        Link(name="infiniband-hdr", bytes_per_s=25e9, reduces=True, source=_HDR),
        Link(name="pcie5", bytes_per_s=63e9, source=_PCIE.format(32)),
        Link(name="pcie4", bytes_per_s=31.5e9, source=_PCIE.format(16)),
        Link(name="ethernet-100g", bytes_per_s=12.5e9, source=_ETHERNET),
    )
}
"""Links by name; "nvlink" is that of an H100 or H200 in a node, "infiniband" one adapter of 400 Gb/s for each rank."""


def seconds(collective: Collective, link: Link) -> float:
    """The least time (seconds) of a collective over a link.

    >>> from fxcost.communication.links import Link, seconds
    >>> from fxcost.records.communication import Collective, Group
    >>> gather = Collective(kind="all_gather", op="", dtype="", payload_bytes=800, sent_bytes=700, received_bytes=700,
    ...     group=Group(tuple(range(8))), module="", phase="forward", node="", position=0)
    >>> seconds(gather, Link(bytes_per_s=100.0, latency_s=1.0))
    10.0
    """
    rounds = (collective.group.size - 1).bit_length()
    nbytes = collective.wire_bytes
    if collective.kind == "all_reduce" and link.reduces:
        nbytes = min(nbytes, collective.payload_bytes)
    return rounds * link.latency_s + nbytes / link.bytes_per_s


def links_of(links: Any, dims: Mapping[str, int]) -> dict[str, Link]:
    """A link for each dimension of a mesh, from one for all or from a table by dimension.

    Raises:
        DeviceError: a dimension that has more than one rank has no link, or one is named that the mesh does not have.
    """
    if isinstance(links, (str, Link)):
        return dict.fromkeys(dims, Link.named(links))
    if not isinstance(links, Mapping):
        raise DeviceError(f"links={shown(links)}: give a link, or one for each dimension, such as {{'tp': 'nvlink'}}")
    for name in links:
        if name not in dims:
            near = nearest(name, dims)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, dims))}"
            raise DeviceError(f"links names {shown(name)}, and the mesh has no such dimension; {hint}")
    missing = [name for name, size in dims.items() if size > 1 and name not in links]
    if missing:
        raise DeviceError(
            f"links has none for the dimension {missing[0]!r}: give {{{missing[0]!r}: 'nvlink'}} or the like"
        )
    return {name: Link.named(link) for name, link in links.items()}


def link_of(group: Group, links: Mapping[str, Link]) -> Link:
    """The link that a group sends over: of its dimension; of several, or of none, the fastest, which is a bound.

    Of ranks that lie along several dimensions not all need the slowest link, and which of them does is not known.
    """
    if group.mesh_dim in links:
        return links[group.mesh_dim]
    along = [link for name, link in links.items() if name in group.mesh_dim.split("_")] or list(links.values())
    return max(along, key=lambda link: link.bytes_per_s)
