"""Runs a model on real tensors and takes the time: of the whole, of each node of its graph, of a training step.

The user's model is not touched: a copy runs (real.py). The whole model is timed as it is called; nodes are timed by an
interpreter of the captured graph (replay.py), which adds up to less or more than the whole, as calling Python modules
costs time and kernels may overlap. On CUDA times are taken by events in the stream. What single operators inside take
is for PyTorch's profiler to say, as it sees kernels of the backward pass too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch

from ..analyze import analyze
from ..capture.capture import Loss, exported, record_real
from ..capture.step import sum_of_outputs
from ..errors import DeviceError, FxcostError, InputError, MeasureError, said
from ..errors.arguments import checked
from ..model.inputs import parameter_dtype
from ..model.real import RealModel, home, same_random_numbers
from ..records.recording import Recording
from ..report import Report
from ..speed.devices import Device
from ..speed.dtypes import dtype_key
from ..speed.roofline import Roofline, step_seconds
from ..speed.stopwatch import Clock, Stopwatch, find_place
from .measured import NodeMeasurement, OperatorTime, StepMeasurement, Timing
from .measurement import Measurement
from .replay import Replay


@checked
def measure(
    model: Any,
    inputs: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    warmup: int = 3,
    runs: int = 10,
    device: Device | str | None = None,
    place: Any = None,
    training: bool = False,
    loss: Loss | None = None,
    nodes: bool = True,
    operators: bool = False,
    capture: str = "auto",
    clock: Clock = time.perf_counter,
) -> Measurement:
    """How fast is this model? Runs a copy of it on real tensors, beside what its roofline predicts.

    >>> import fxcost, torch
    >>> mine = fxcost.Device(name="mine", flops_per_s={"float32": 1e11}, bytes_per_s=1e10, memory_bytes=2**34)
    >>> measurement = fxcost.measure(torch.nn.Linear(64, 64), (32, 64), runs=3, device=mine)
    >>> measurement.forward.median > 0, measurement.report.macs
    (True, 131072)

    Args:
        model: as :func:`fxcost.analyze` takes it, with real weights. It is not changed: a copy runs, in the same mode.
        inputs: as :func:`fxcost.analyze` takes them. Shapes are filled: floats at random, integers 0,
            booleans True.
        kwargs: further keyword inputs.
        warmup: runs that are not counted.
        runs: runs that are.
        device: what speeds are compared with: a :class:`fxcost.Device`, or the name of a known one. By default the GPU
            that it ran on, if that is known, else this machine as :meth:`fxcost.Device.calibrate` finds it.
        place: the torch device to run on, "cpu" or "cuda"; by default where the model is.
        training: also time a training step: forward, loss, backward; no optimizer.
        loss: a function from what the model returns to the loss; by default the sum of all floating-point outputs.
        nodes: also time the nodes of the graph one by one.
        operators: also run it once more under PyTorch's profiler, for the time of each operator inside.
        capture: as for :func:`fxcost.analyze`.
        clock: what to read the time from, on the CPU; `time.thread_time` for one thread on a busy machine.

    Raises:
        MeasureError: the model or an input is on meta, or the model raised.
        DeviceError: no such device, no CUDA here, or the device has no peak for a dtype.
        InputError: the inputs do not fit, or a number of runs is none.
    """
    if runs < 1 or warmup < 0:
        raise InputError(f"runs={runs}, warmup={warmup}: give at least one run, and no negative number")
    if isinstance(model, torch.export.ExportedProgram):
        model, inputs, kwargs = exported(model, inputs, kwargs)
    compared = Device.named(device) if device is not None else None
    real = RealModel(model, inputs, kwargs, find_place(home(model, inputs) if place is None else place))
    report = analyze(
        model, list(real.arguments.args), real.arguments.kwargs, capture=capture, training=training, loss=loss
    )
    dtype = main_dtype(report, model)
    if compared is None:
        compared = device_at(real.place, dtype, clock)
    bench = _Bench(real, report, report.roofline(compared), dtype, Stopwatch(real.place, clock), warmup, runs)
    with same_random_numbers(real.place):
        return bench.measurement(nodes, operators, training, loss)


def main_dtype(report: Report, model: Any) -> str:
    """The dtype whose peak is the one to compare with: that of most MACs, else the model's."""
    macs = report.macs_by_dtype
    return dtype_key(max(macs, key=lambda name: macs[name]) if macs else parameter_dtype(model, None))


def device_at(place: torch.device, dtype: str, clock: Clock = time.perf_counter) -> Device:
    """The device at a place: a GPU that is known by the name that its driver gives, else what calibration finds."""
    if place.type == "cuda":
        reported = torch.cuda.get_device_name(place)
        try:
            return Device.named(reported)
        except DeviceError:
            pass  # not in the table, or not under this name: measure it
    return Device.calibrate(place, dtypes=[*dict.fromkeys(("float32", dtype))], seconds=3.0, clock=clock)


class _Bench:
    """Takes the times of one model."""

    def __init__(
        self, real: RealModel, report: Report, roofline: Roofline, dtype: str, watch: Stopwatch, warmup: int, runs: int
    ) -> None:
        self.real = real
        self.report = report
        self.roofline = roofline
        self.dtype = dtype
        self.watch = watch
        self.warmup = warmup
        self.runs = runs
        self.notes: list[str] = []

    def measurement(self, nodes: bool, operators: bool, training: bool, loss: Loss | None) -> Measurement:
        """Take all times that are wanted."""
        with torch.no_grad():
            forward = self._timed(self._run)
            single = self._nodes() if nodes else ()
        step = self._step(loss) if training else None
        return Measurement(
            report=self.report,
            roofline=self.roofline,
            place=str(self.real.place),
            dtype=self.dtype,
            batch=self.real.batch,
            forward=forward,
            nodes=single,
            training=step,
            operators=self._operators(training, loss) if operators else (),
            notes=tuple(self.notes),
        )

    def _run(self) -> Any:
        try:
            return self.real()
        except FxcostError:
            raise
        except Exception as error:
            text = said(error)
            raise MeasureError(
                f"the model raised when it ran on {self.real.place}: {type(error).__name__}: {text}"
            ) from error

    def _timed(self, work: Callable[[], Any]) -> Timing:
        for _ in range(self.warmup):
            work()
        for _ in range(self.runs):
            self.watch.mark()
            work()
            self.watch.mark()
        return Timing(tuple(self.watch.laps()[::2]))

    def _nodes(self) -> tuple[NodeMeasurement, ...]:
        """Each node's times; none, with a note, where the graph can't be run on real tensors."""
        try:
            replay, rows = self._replayed(self.report.recording)
        except Exception:  # a constant without data, a value that only a real run can tell
            try:
                arguments = self.real.arguments
                replay, rows = self._replayed(record_real(self.real.run, list(arguments.args), arguments.kwargs))
            except Exception as error:
                text = said(error)
                self.notes.append(f"no times of single nodes: the graph can't be run on real tensors ({text})")
                return ()
        known = {node.name: node for node in self.report.nodes}
        missing = [name for name in replay.names if name not in known]
        if missing:
            self.notes.append(f"{len(missing)} nodes ran on real tensors alone and have no prediction: {missing[0]} …")
        return tuple(
            NodeMeasurement(
                name, known[name].module, Timing(tuple(times)), self.roofline.time_of(name), known[name].cost
            )
            for name, *times in zip(replay.names, *rows, strict=True)
            if name in known
        )

    def _replayed(self, recording: Recording) -> tuple[Replay, list[list[float]]]:
        """Run a graph; for each run the seconds of its calls."""
        self.watch.laps()
        replay = Replay(recording, self.real.owner, self.real.place, self.watch)
        values = list(self.real.arguments.tensors())
        for _ in range(self.warmup):
            replay.seconds(values)
        rows = [replay.seconds(values) for _ in range(self.runs)]
        if not self._draws and not replay.agrees(self._run()):
            self.notes.append("the graph, run node by node, does not return what the model returns")
        return replay, rows

    @cached_property
    def _draws(self) -> bool:
        """True if the model draws random numbers or changes itself, so that two runs need not agree."""
        return any(module.training for module in self.real.modules) or "random" in self.report.by_family()

    def _step(self, loss: Loss | None) -> StepMeasurement:
        """A training step: its forward and backward passes."""
        assert self.report.training is not None  # analysed with training=True
        for _ in range(self.warmup):
            self._train(loss)
        self.watch.laps()
        passes: list[list[float]] = []
        for _ in range(self.runs):
            self._train(loss)
            passes.append(self.watch.laps())
        forward, backward = zip(*passes, strict=True)
        training = self.report.training
        both = step_seconds(training, self.roofline.device, self.dtype)
        return StepMeasurement(
            forward=Timing(forward),
            backward=Timing(backward),
            total=Timing(tuple(sum(seconds) for seconds in passes)),
            predicted_forward_s=both[0],
            predicted_backward_s=both[1],
            flops=training.total.flops,
            model_flops=2 * (training.forward.macs + training.backward.macs),
        )

    def _train(self, loss: Loss | None) -> None:
        """One step, with a mark before it, between its passes and after it. Gradients are dropped outside."""
        for tensor in (*self.real.parameters, *self.real.arguments.tensors()):
            tensor.grad = None
        with torch.enable_grad():
            self.watch.mark()
            value = (loss or sum_of_outputs)(self._run())
            self.watch.mark()
            value.backward()
            self.watch.mark()

    def _operators(self, training: bool, loss: Loss | None) -> tuple[OperatorTime, ...]:
        """What PyTorch's profiler sees in one more run, the longest first."""
        activities = [torch.profiler.ProfilerActivity.CPU]
        on_gpu = self.real.place.type == "cuda"
        if on_gpu:
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=activities) as profile, torch.no_grad():
            self._train(loss) if training else self._run()
        self.watch.laps()
        own = "self_device_time_total" if on_gpu else "self_cpu_time_total"
        found = [OperatorTime(e.key, e.count, getattr(e, own) / 1e6) for e in profile.key_averages()]  # microseconds
        return tuple(sorted((op for op in found if op.seconds), key=lambda op: -op.seconds))
