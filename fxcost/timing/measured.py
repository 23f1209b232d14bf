"""What was measured of a model on a device, beside what its roofline predicts.

Times are wall-clock seconds: medians over runs, with the distance between the quartiles as their spread.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import median, quantiles

from ..errors.arguments import checked
from ..records.cost import Cost
from ..report import Report
from ..speed.roofline import Roofline
from ..speed.times import NodeTime


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of several runs of the same work (units: seconds), in the order in which they ran."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.seconds)

    @property
    def best(self) -> float:
        """The shortest one."""
        return min(self.seconds)

    @property
    def spread(self) -> float:
        """The distance between the quartiles: half of the runs lie within. 0.0 for a single run."""
        if len(self.seconds) < 2:
            return 0.0
        first, _, third = quantiles(self.seconds, n=4, method="inclusive")
        return third - first


@dataclass(frozen=True, slots=True)
class NodeMeasurement:
    """A node of the graph: how long it took, beside its roofline time."""

    name: str
    module: str
    timing: Timing
    predicted: NodeTime
    cost: Cost

    @property
    def flops_per_s(self) -> float:
        """The speed that was reached, FLOPS."""
        return self.cost.flops / self.timing.median if self.timing.median else 0.0

    @property
    def bytes_per_s(self) -> float:
        """The traffic that was reached; above the device's bandwidth where data came from a cache."""
        return self.cost.bytes_moved / self.timing.median if self.timing.median else 0.0

    @property
    def efficiency(self) -> float:
        """Predicted over measured time: 1.0 is the roofline itself; 0.0 for nodes that are predicted to take none."""
        return self.predicted.time_s / self.timing.median if self.timing.median else 0.0


@dataclass(frozen=True, slots=True)
class StepMeasurement:
    """A training step without its optimizer: forward pass with loss, and backward pass.

    `flops` are those of the step, recomputation by checkpointing included; `model_flops` are 2 × MACs of it without.
    """

    forward: Timing
    backward: Timing
    total: Timing
    predicted_forward_s: float
    predicted_backward_s: float
    flops: int
    model_flops: int

    @property
    def predicted_s(self) -> float:
        """The roofline time of both passes."""
        return self.predicted_forward_s + self.predicted_backward_s


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """All runs of an operator in one run of the model, by PyTorch's profiler: its own time, without callees."""

    name: str
    calls: int
    seconds: float


@checked
@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of a model that was run on real tensors.

    `forward` is the whole model as the user calls it, `nodes` its graph node by node, `training` a training step if one
    was asked for, `operators` what PyTorch's profiler saw of one run (of the step, if there is one). `device` is what
    speeds are compared with, `place` where the model ran, `batch` the first dimension of its first input.
    `notes` say what could not be measured, and why.
    """

    report: Report
    roofline: Roofline
    place: str
    dtype: str
    batch: int | None
    forward: Timing
    nodes: tuple[NodeMeasurement, ...] = ()
    training: StepMeasurement | None = None
    operators: tuple[OperatorTime, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def predicted_s(self) -> float:
        """The roofline time of the forward pass."""
        return self.roofline.latency_s

    @property
    def flops_per_s(self) -> float:
        """The speed of the forward pass: all its FLOPs per second."""
        return self.report.flops / self.forward.median

    @property
    def bytes_per_s(self) -> float:
        """Bytes that the operators read and wrote per second."""
        return self.report.cost.bytes_moved / self.forward.median

    @cached_property
    def share_of_peak(self) -> float:
        """FLOPS that were reached over the device's peak: 1.0 is all of it."""
        return self.flops_per_s / self.roofline.device.peak(self.dtype)

    @property
    def share_of_bandwidth(self) -> float:
        """Bytes per second over the device's bandwidth; above 1.0 where caches serve."""
        return self.bytes_per_s / self.roofline.device.bytes_per_s

    @property
    def mfu(self) -> float:
        """Model FLOPs utilization: 2 × MACs per second over the peak; of the training step if one was measured.

        What activation checkpointing recomputes does not count. Source: Chowdhery et al., "PaLM: Scaling Language
        Modeling with Pathways", 2022, appendix B.
        """
        step = self.training
        work, seconds = (2 * self.report.macs, self.forward.median)
        if step is not None:
            work, seconds = step.model_flops, step.total.median
        return work / seconds / self.roofline.device.peak(self.dtype)

    @property
    def throughput(self) -> float | None:
        """Samples per second of the forward pass; None if the inputs have no batch dimension."""
        return self.batch / self.forward.median if self.batch else None

    @property
    def training_throughput(self) -> float | None:
        """Samples per second of training steps without the optimizer; None if none was measured."""
        return self.batch / self.training.total.median if self.batch and self.training else None

    @cached_property
    def nodes_s(self) -> float:
        """The nodes' medians added up."""
        return sum(node.timing.median for node in self.nodes)

    def by_family(self) -> dict[str, tuple[float, float]]:
        """(measured, predicted) seconds by family of operators, the longest measured first."""
        sums: dict[str, tuple[float, float]] = {}
        for node in self.nodes:
            if node.predicted.family:
                measured, predicted = sums.get(node.predicted.family, (0.0, 0.0))
                times = measured + node.timing.median, predicted + node.predicted.time_s
                sums[node.predicted.family] = times
        return dict(sorted(sums.items(), key=lambda item: -item[1][0]))
