"""`fxcost measure MODEL`: run a model on real tensors and take the time, beside what its roofline predicts."""

from __future__ import annotations

import json as json_library
import os
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import click

from .checks import check_device, check_format, check_numbers, check_plot
from .devices import find_device
from .group import fxcost
from .model import ModelOptions, load_model, model_options
from .output import GOOD, check_writable, present, write, write_file, wrote
from .progress import working

if TYPE_CHECKING:
    from ..timing.measurement import Measurement


@fxcost.command()
@model_options
@click.option("--runs", type=click.IntRange(min=1), default=10, show_default=True, help="Runs that are timed.")
@click.option("--warmup", type=click.IntRange(min=0), default=3, show_default=True, help="Runs before them.")
@click.option("--device", metavar="NAME", help="Compare with this device; by default with this machine, calibrated.")
@click.option("--on", "place", metavar="PLACE", help="Where to run: cpu, cuda, cuda:1.  [default: cpu]")
@click.option("--threads", type=click.IntRange(1, 65536), help="Threads of the CPU.")
@click.option("--training", is_flag=True, help="Also time a training step, in training mode: forward, loss, backward.")
@click.option("--operators", is_flag=True, help="Also list the operators of one run, by PyTorch's profiler.")
@click.option("--top", type=click.IntRange(min=1), default=20, show_default=True, help="How many nodes to show.")
@click.option("--format", "table_format", metavar="FORMAT", default="rounded_outline", help="Any format of tabulate.")
@click.option("--json", metavar="PATH", help="Write all numbers as JSON; - is the standard output.")
@click.option("--plot", metavar="PATH", help="Draw the roofline with the speeds that were reached; needs matplotlib.")
def measure(**options: Any) -> int:
    """Run MODEL on real tensors and take the time, of the whole and of each node, beside what is predicted.

    Its weights are random, and so are its inputs. Nothing is downloaded.

    \b
      fxcost measure torchvision:resnet50 --input 8,3,224,224
      fxcost measure timm:vit_small_patch16_224 --training --on cuda
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else its profiler says when it starts and stops
    plot, json, layout = options.pop("plot"), options.pop("json"), {"top": options.pop("top")}
    layout["format"] = options.pop("table_format")
    check_format(layout["format"])
    check_device(options["device"], None)
    check_plot(plot)
    check_writable(json)
    check_numbers(dtype=options["dtype"], training=True, optimizer=None)
    with redirect_stdout(sys.stderr), working(f"measuring {options['model']}"):
        measurement = _measured(**options)
    if plot is not None:
        write_file(plot, measurement.plot)
        wrote(plot)
    written = None if json is None else write(json, json_library.dumps(measurement.to_dict(), indent=1) + "\n")
    if written != "-":
        present(lambda: measurement.table(**layout), markup=layout["format"])
    return GOOD


def _measured(*, device: str | None, threads: int | None, dtype: str | None, **options: Any) -> Measurement:
    """Build the model with random weights, in the dtype that is wanted, and measure it."""
    import torch

    from ..model.inputs import as_float_dtype
    from ..sources.shapes import converted
    from ..timing.measure import measure as run

    how = {name: options.pop(name) for name in ("warmup", "runs", "place", "operators")}
    compared = find_device(device) if device is not None else None
    chosen = ModelOptions(**{**options, "dtype": dtype, "real": True})
    if threads is not None:
        torch.set_num_threads(threads)
    loaded, inputs = load_model(chosen)
    model = loaded.model
    if dtype is not None:
        model, inputs = model.to(as_float_dtype(dtype)), converted(inputs, as_float_dtype(dtype))
    capture, training = chosen.capture, chosen.training
    return run(model, inputs.args, inputs.kwargs, device=compared, capture=capture, training=training, **how)
