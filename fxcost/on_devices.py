"""What a report says of devices: the bound, the estimate, and memory as they report it.

In: an analysis. Out: what the rooms `speed`, `estimate` and `footprint` make of it. :class:`fxcost.Report` is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .memory.analysis import Analysis

if TYPE_CHECKING:
    from .estimate.estimate import Estimate
    from .estimate.profile import Profile
    from .footprint.on_device import DeviceMemory
    from .speed.devices import Device
    from .speed.roofline import Roofline


@dataclass(frozen=True, eq=False, repr=False)
class OnDevices(Analysis):
    """An analysis that hands itself to the rooms that know devices."""

    def roofline(self, device: Device | str, dtype: Any = None, fusion: str = "none", links: Any = None) -> Roofline:
        """How fast the forward pass could run on a device: the time of each node, and what bounds it.

        Args:
            device: a :class:`fxcost.Device`, or the name of a known one: "h100", "rtx 4090".
            dtype: the peak to reckon floating-point work with: "tf32", "bfloat16". By default each operator's own
                dtype. Or by family: `{"matmul": "float8", "attention": "bfloat16"}`. Traffic stays as analysed;
                `analyze(…, dtype=…)` and :meth:`stored` change that.
            fusion: "none" (every operator reads its inputs from memory) or "pointwise" (operators on single elements
                run together with the one that makes their input, as compilers do).
            links: of a sharded model, a :class:`fxcost.Link` or the name of one ("nvlink") for each dimension of the
                mesh, or one for all: bounds with what is communicated, `overlapped_s` and `serial_s`, come with it.

        Raises:
            DeviceError: there is no such device, or it has no peak for a dtype.
            UnknownNameError: there is no such fusion.
        """
        from .speed.linked import rank_roofline

        return rank_roofline(self, device, dtype, fusion, links)

    def estimate(
        self,
        device: Device | str,
        mode: str = "eager",
        dtype: Any = None,
        profile: str | Profile | None = None,
    ) -> Estimate:
        """How long the forward pass (with `training=True` the whole step) takes on a device, and in what range.

        Unlike :meth:`roofline`, which nothing beats, this is what such runs took: shares by kind of kernel, fitted on
        published measurements, with the error that they had on models that they were not fitted on.

        Args:
            device: a :class:`fxcost.Device`, or the name of a known one: "rtx4090", "h100".
            mode: "eager", or "compiled" as by `torch.compile` with its default settings.
            dtype: the peak to reckon products with: "tf32", "bfloat16". By default each operator's own dtype.
            profile: the profile of another class of devices ("ampere", "ada", "hopper", "cpu" …), or one of your own.

        Raises:
            DeviceError: there is no such device, no profile for its class, or no peak for a dtype.
            UnknownNameError: there is no such mode or profile.
        """
        from .estimate.estimate import estimate

        return estimate(self, device, mode, dtype, profile)

    def _told_of(self, device: Device | str, mode: str) -> tuple[str, str, tuple[str, ...]]:
        """A device's name, the time that is estimated there, and its range and the memory in words."""
        from .text import units

        found = self.estimate(device, mode)
        what = "a training step" if found.training else "a forward pass"
        notes = [f"{units.seconds(found.low)} to {units.seconds(found.high)} for {what}, {mode}"]
        if found.profile.name != "cpu" and not (self.training is not None and self.training.storages is None):
            memory = self.memory_on(device)
            low, high, has = map(units.byte_size, (memory.low_bytes, memory.high_bytes, memory.memory_bytes))
            notes.append(f"{low} to {high} of {has}{'' if memory.fits else ': does not fit'}")
        return found.device.name, units.seconds(found.seconds), tuple(notes)

    def memory_on(self, device: Device | str) -> DeviceMemory:
        """Memory as a CUDA device reports it: allocated, reserved, and the process with its context.

        It is that of the forward pass; of a report with a training step that of training, in the second step, with
        what the optimizer's own step takes for a moment (`foreach`, the default on CUDA).

        The allocator is simulated from births and deaths of all storages, as the model's code held them; in the order
        of the graph where that was not seen.

        Args:
            device: a :class:`fxcost.Device`, or the name of a known one.

        Raises:
            DeviceError: there is no such device.
            ReportFileError: the report has a training step, and was read from a file.
            TrainingError: the optimizer can't step on meta tensors.
        """
        from .footprint.on_device import on_device

        return on_device(self, device)
