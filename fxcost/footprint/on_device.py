"""Memory as a device reports it: allocated, reserved, and what the process takes beside.

Of a report with a training step it is that of training: forward, backward, and the optimizer's own step.

Not here: workspaces of cuDNN and of kernels that choose their own, other processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..memory.analysis import Analysis
from ..memory.lifetimes import Births, Residents, deaths_in_graph
from ..records.recording import Recording
from ..speed.devices import Device
from ..text import units
from ..text.tables import labelled
from .allocator import MIB, rounded, simulate
from .step import two_steps

CONTEXT_LOW, CONTEXT_HIGH = 250 * MIB, 600 * MIB
"""What a CUDA context and the kernels that are loaded into it took on the devices that this was seen on."""
CUBLAS, CUBLAS_HOPPER = 8_519_680, 32 * MIB
"""`CUBLAS_WORKSPACE_CONFIG` by default, ":4096:2:16:8", and ":4096:8" from Hopper on; taken through the allocator.

Source: the notes on reproducibility in cuBLAS's documentation, and ATen/cuda/CublasHandlePool.cpp."""
WORKSPACES = "workspaces of cuDNN and of kernels that choose their own"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """Bytes as `torch.cuda` and the driver report them at the peak of a forward pass, or of training.

    - `requested_bytes`: storages alive together, rounded to 512 bytes, and cuBLAS's workspace.
    - `allocated_bytes`: `torch.cuda.max_memory_allocated()`: the same in the blocks that the allocator had for them.
    - `reserved_bytes`: `torch.cuda.max_memory_reserved()`, by the allocator's rules; `reserved_expandable_bytes` with
      `PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True`.
    - `optimizer_temporaries_bytes`: what the optimizer's step takes for a moment beside its state, among these.
    - `low_bytes` and `high_bytes`: what `nvidia-smi` shows for the process, with the context.
    """

    device: str
    memory_bytes: int
    requested_bytes: int
    allocated_bytes: int
    reserved_bytes: int
    reserved_expandable_bytes: int
    workspace_bytes: int
    context_bytes: tuple[int, int]
    optimizer_temporaries_bytes: int = 0
    not_known: tuple[str, ...] = (WORKSPACES,)

    @property
    def low_bytes(self) -> int:
        """At least, with the smaller context and expandable segments."""
        return min(self.reserved_bytes, self.reserved_expandable_bytes) + self.context_bytes[0]

    @property
    def high_bytes(self) -> int:
        """At most, kernels' own workspaces excepted."""
        return max(self.reserved_bytes, self.reserved_expandable_bytes) + self.context_bytes[1]

    @property
    def fits(self) -> bool:
        """True if the upper end is within the device's memory; also where its size is not known."""
        return not self.memory_bytes or self.high_bytes <= self.memory_bytes

    def __str__(self) -> str:
        low, high = units.byte_size(self.low_bytes), units.byte_size(self.high_bytes)
        taken = units.byte_size(self.optimizer_temporaries_bytes)
        stepping = [("Optimizer's step", f"{taken} for a moment")] if self.optimizer_temporaries_bytes else []
        return labelled(
            [
                ("Device", f"{self.device}, {units.byte_size(self.memory_bytes)}"),
                ("Allocated", f"{units.byte_size(self.allocated_bytes)} at the peak"),
                ("Reserved", f"{units.byte_size(self.reserved_bytes)}"),
                ("Reserved, expandable segments", f"{units.byte_size(self.reserved_expandable_bytes)}"),
                ("cuBLAS workspace", f"{units.byte_size(self.workspace_bytes)}, among these"),
                *stepping,
                ("Process", f"{low} to {high}, with the context"),
                *(("Not known", what) for what in self.not_known),
            ]
        )


def on_device(report: Analysis, device: Device | str) -> DeviceMemory:
    """The memory of a report's forward pass, or of its training, on a device. See :meth:`fxcost.Report.memory_on`.

    Raises:
        DeviceError: there is no such device.
        ReportFileError: the report has a training step, and was read from a file.
        TrainingError: the optimizer can't step on meta tensors.
    """
    found = Device.named(device)
    resident: Sequence[int]
    taken, unknown = 0, tuple[str, ...]()
    if report.training is None:
        resident, lives = _storages(report.recording)
    else:
        resident, lives, taken, unknown = two_steps(report.training)
    workspace = CUBLAS_HOPPER if _from_hopper_on(found) else CUBLAS
    there = [*resident, workspace]
    plain, expandable = simulate(there, lives), simulate(there, lives, expandable=True)
    return DeviceMemory(
        device=found.name,
        memory_bytes=found.memory_bytes,
        requested_bytes=_requested(there, lives),
        allocated_bytes=plain.peak_allocated,
        reserved_bytes=plain.peak_reserved,
        reserved_expandable_bytes=expandable.peak_reserved,
        workspace_bytes=workspace,
        context_bytes=(CONTEXT_LOW, CONTEXT_HIGH),
        optimizer_temporaries_bytes=taken,
        not_known=(*unknown, WORKSPACES),
    )


def _from_hopper_on(device: Device) -> bool:
    """True for devices that compute in float8 with more than 1.5 PFLOPS: Hopper's and later data-centre devices."""
    return device.flops_per_s.get("float8", 0.0) > 1.5e15


def _storages(recording: Recording) -> tuple[list[int], list[tuple[int, int, int]]]:
    """Bytes of what is there all the time, and (born, died, bytes) of all else, as the code held it if seen."""
    nodes, sizes = recording.nodes, recording.storage_bytes
    inputs = [spec for node in nodes if node.kind == "placeholder" for spec in node.outputs]
    constants = [spec for node in nodes if node.kind == "get_attr" for spec in node.outputs]
    residents = Residents(recording.parameters, inputs, constants, sizes)
    births = Births(nodes, sizes, residents.kinds)
    deaths = dict(recording.deaths) if recording.deaths is not None else deaths_in_graph(nodes, births.starts)
    tensors = births.lifetimes(deaths)
    return [sizes[number] for number in residents.kinds], [(t.born, t.died, t.nbytes) for t in tensors]


def _requested(resident: Iterable[int], lives: Iterable[tuple[int, int, int]]) -> int:
    """The peak of what is asked for, each storage rounded: no block that was left larger than asked for counts."""
    change: dict[int, int] = {}
    for born, died, nbytes in lives:
        if nbytes and died > born:
            change[born] = change.get(born, 0) + rounded(nbytes)
            change[died] = change.get(died, 0) - rounded(nbytes)
    level = peak = 0
    for _, step in sorted(change.items()):
        level += step
        peak = max(peak, level)
    return sum(rounded(nbytes) for nbytes in resident if nbytes) + peak
