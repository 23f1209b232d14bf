"""Memory of a forward pass, from the records alone: what is alive while each operator runs.

*Graph order* is what the graph itself needs: a storage lives from the operator that makes it until the last node that
uses it, through whatever view, has run (storages that die inside a node die there). *Eager* is what the model's own
Python code holds: its local variables live longer, which may be half as much again. Parameters, buffers and inputs live
all the time, outputs until the end.

Not here: what an allocator adds by rounding, workspaces that kernels ask for beside their results, CUDA's own context.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike

from ..errors.arguments import checked
from ..records.recording import NodeRecord, Recording
from ..text import units
from .lifetimes import Births, LiveTensor, Residents, alive, deaths_in_graph, live_bytes, storages_made


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """Bytes of activations at one node: at most while it runs, and once it has run and what it used last is freed."""

    node: str
    module: str
    peak_bytes: int
    live_bytes: int


@checked
@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a forward pass needs in memory (units: bytes), each storage counted once, whatever views share it.

    `peak_activation_bytes` is the most that operators' results hold at one time, in graph order; `at_peak` lists them,
    largest first. `peak_eager_activation_bytes` is the same as eager Python holds them; None where a graph was given,
    and no code of the model's ran. `timeline` has every node in order, `tensors` all that was made,
    `resident_by_dtype` the bytes of parameters, buffers and inputs.
    """

    parameter_bytes: int
    buffer_bytes: int
    input_bytes: int
    peak_activation_bytes: int
    peak_eager_activation_bytes: int | None
    timeline: tuple[NodeMemory, ...]
    tensors: tuple[LiveTensor, ...]
    at_peak: tuple[LiveTensor, ...]
    resident_by_dtype: Mapping[str, int]
    state_bytes: int = 0
    """Tensors that inputs hold inside objects (a cache of keys and values), and constants of the graph."""

    @property
    def resident_bytes(self) -> int:
        """Parameters, buffers, inputs and state."""
        return self.parameter_bytes + self.buffer_bytes + self.input_bytes + self.state_bytes

    @property
    def peak_bytes(self) -> int:
        """Everything together at the worst moment, in graph order."""
        return self.resident_bytes + self.peak_activation_bytes

    @property
    def peak_eager_bytes(self) -> int | None:
        """Everything together at the worst moment of an eager run; None where that was not seen."""
        eager = self.peak_eager_activation_bytes
        return None if eager is None else self.resident_bytes + eager

    @cached_property
    def largest_activations(self) -> tuple[LiveTensor, ...]:
        """All that operators made, largest first."""
        return tuple(sorted(self.tensors, key=lambda t: -t.nbytes))

    @cached_property
    def by_dtype(self) -> dict[str, int]:
        """Bytes at the peak by dtype; they add up to `peak_bytes`."""
        sums = Counter(self.resident_by_dtype)
        for tensor in self.at_peak:
            sums[tensor.spec.dtype_name] += tensor.nbytes
        return {dtype: nbytes for dtype, nbytes in sums.items() if nbytes}

    @property
    def totals(self) -> dict[str, int | None]:
        """Bytes of what is there all the time, and of the peaks, by their names in views."""
        return {
            "Parameters": self.parameter_bytes,
            "Buffers": self.buffer_bytes,
            "Inputs": self.input_bytes,
            **({"State": self.state_bytes} if self.state_bytes else {}),
            "Peak of activations": self.peak_activation_bytes,
            "Peak, graph order": self.peak_bytes,
            "Peak, eager Python": self.peak_eager_bytes,
        }

    @property
    def _levels(self) -> list[int]:
        return [moment.peak_bytes for moment in self.timeline]

    def table(self, top: int = 10, format: str = "rounded_outline") -> str:  # noqa: A002  tabulate's name for it
        """The totals, and the `top` largest of what is alive at the peak, as text in any format of tabulate.

        Raises:
            UnknownNameError: the format is not known.
        """
        from .as_memory import memory_table

        return memory_table(self.totals, self.at_peak, self.peak_activation_bytes, top, format)

    def chart(self, width: int = 80, height: int = 10) -> str:
        """Live bytes over the pass, drawn with block characters for a terminal."""
        from .as_memory import chart

        return chart(self._levels, width, height, f"{units.plural(len(self.timeline), 'node')} in order")

    def plot(self, path: str | PathLike[str], *, title: str = "") -> None:
        """Draw live bytes over the pass with matplotlib (the extra `fxcost[plot]`) into a file, under a title.

        Raises:
            MissingLibraryError: matplotlib is not installed.
            UnknownNameError: the ending of the path is no format of a picture.
        """
        from .as_plot import plot_memory

        worst = max(self.timeline, key=lambda moment: moment.peak_bytes)
        plot_memory(self._levels, worst.module or worst.node, self.resident_bytes, path, title)

    def __str__(self) -> str:
        return f"{self.table()}\n{self.chart()}"

    def __repr__(self) -> str:
        peak = self.peak_eager_bytes if self.peak_eager_bytes is not None else self.peak_bytes
        return (
            f"<Memory: peak {units.byte_size(peak)}, of it activations {units.byte_size(self.peak_activation_bytes)}>"
        )

    def _repr_html_(self) -> str:
        from ..text.notebook import preformatted

        return preformatted(str(self))


def forward_memory(recording: Recording) -> Memory:
    """The memory of the forward pass that was recorded."""
    nodes, sizes = recording.nodes, recording.storage_bytes
    inputs = [spec for node in nodes if node.kind == "placeholder" for spec in node.outputs]
    made = storages_made(nodes)
    constants = [s for node in nodes if node.kind == "get_attr" for s in node.outputs if s.storage not in made]
    residents = Residents(recording.parameters, inputs, constants, sizes)
    births = Births(nodes, sizes, residents.kinds)
    tensors = births.lifetimes(_deaths(recording, births))
    live = live_bytes(tensors, births.ticks)
    peak = max(live)
    eager: int | None = None
    if recording.deaths is not None:
        eager = max(live_bytes(births.lifetimes(dict(recording.deaths)), births.ticks))
    return Memory(
        parameter_bytes=residents.bytes_of("parameter"),
        buffer_bytes=residents.bytes_of("buffer"),
        input_bytes=residents.bytes_of("input"),
        state_bytes=residents.bytes_of("state"),
        peak_activation_bytes=peak,
        peak_eager_activation_bytes=eager,
        timeline=tuple(_timeline(nodes, births.starts, live)),
        tensors=tensors,
        at_peak=alive(tensors, live.index(peak)),
        resident_by_dtype=dict(residents.by_dtype),
    )


def _deaths(recording: Recording, births: Births) -> dict[int, int]:
    """When each storage dies in graph order. What is still held once the model has returned does not.

    The graph's output names the tensors in tuples, lists and dicts; a model may also return them inside an object, as
    caches are.
    """
    deaths = deaths_in_graph(recording.nodes, births.starts)
    if recording.deaths is None:
        return deaths
    let_go = dict(recording.deaths)
    return {number: tick for number, tick in deaths.items() if number in let_go}


def _timeline(nodes: Sequence[NodeRecord], starts: Sequence[int], live: Sequence[int]) -> Iterator[NodeMemory]:
    for i, node in enumerate(nodes):
        start, end = starts[i], starts[i + 1]
        yield NodeMemory(node.name, node.module, max(live[start:end], default=live[end]), live[end])
