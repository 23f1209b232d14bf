"""`fxcost fit MODEL`: the largest batch that fits into memory."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Any

import click

from ..text.amounts import parse_bytes
from .checks import check_numbers
from .devices import find_device
from .group import fxcost
from .model import ModelOptions, load_model, model_options, parse_arguments, parse_optimizer
from .output import FAILED, GOOD, present
from .progress import working


@fxcost.command()
@model_options
@click.option("--memory", metavar="SIZE", help="The limit: 24GiB, 80GB, or bytes.  [all of the device's]")
@click.option("--device", metavar="NAME", help="What this device reports must fit: rtx4090, h100 …")
@click.option(
    "--training",
    "optimizer",
    is_flag=False,
    flag_value="adamw",
    metavar="[OPTIMIZER]",
    help="A training step must fit, with this optimizer (adamw).",
)
@click.option("--reserve", metavar="SIZE", default="0", help="Leave so much free for what is not counted.")
@click.option("--serve", is_flag=True, help="Requests of a language model (hf:…) must fit: weights and caches.")
@click.option("--context", metavar="N", default="4k", help="With --serve: tokens of each request: 32k.")
@click.option("--weights", metavar="FORMAT", help="With --serve: how weights are stored: int4:g128.")
@click.option("--kv", metavar="FORMAT", help="With --serve: how the cache is stored: fp8.")
def fit(
    *,
    memory: str | None,
    device: str | None,
    optimizer: str | None,
    reserve: str,
    serve: bool,
    context: str,
    weights: str | None,
    kv: str | None,
    **options: Any,
) -> int:
    """Find the largest batch with which MODEL fits into memory; exit code 1 if not even one sample does.

    \b
      fxcost fit torchvision:resnet50 --memory 24GiB --training adamw
      fxcost fit torchvision:resnet50 --device rtx4090 --training adamw
      fxcost fit hf:llama --serve --context 32k --kv fp8 --memory 80GB
    """
    _check_given(serve)
    for size in filter(None, (memory, reserve)):
        parse_bytes(size)
    if memory is None and (device is None or serve):
        raise click.UsageError("there is no limit: --memory 24GiB, or without --serve --device rtx4090")
    where = None if device is None else find_device(device)
    check_numbers(dtype=options["dtype"], training=True, optimizer=parse_optimizer(optimizer))
    from ..fit import fit as find

    if serve and memory is not None:
        return _serving(options["model"], options["arguments"], context, weights, kv, memory, reserve)
    chosen = ModelOptions(**{**options, "train": options["train"] or optimizer is not None})
    with redirect_stdout(sys.stderr), working(f"fitting {chosen.model}"):
        loaded, inputs = load_model(chosen)
        found = find(
            loaded.model,
            inputs.args,
            inputs.kwargs,
            memory=memory,
            device=where,
            reserve=reserve,
            optimizer=parse_optimizer(optimizer),
            capture=chosen.capture,
            dtype=chosen.dtype,
        )
    present(lambda: str(found))
    return GOOD if found.fits else FAILED


_OF_REQUESTS = frozenset({"context", "weights", "kv"})
_OF_BOTH = frozenset({"model", "memory", "reserve", "serve", "arguments", "quiet"})


def _check_given(serve: bool) -> None:
    """See that no option was given that says nothing here.

    Raises:
        UsageError: one was.
    """
    context = click.get_current_context()
    given = {n for n in context.params if context.get_parameter_source(n) is click.core.ParameterSource.COMMANDLINE}
    idle = given - _OF_BOTH - _OF_REQUESTS if serve else given & _OF_REQUESTS
    names = [o.opts[-1] for o in context.command.params if o.name in idle]
    if names:
        raise click.UsageError(
            f"{' and '.join(names)} {'say' if names[1:] else 'says'} nothing with{'' if serve else 'out'} --serve"
        )


def _serving(
    model: str, arguments: Any, context: str, weights: str | None, kv: str | None, memory: str, reserve: str
) -> int:
    """How many requests of a language model fit."""
    from ..serving.generation import generation
    from .serve import parse_length

    length = parse_length(context)
    with redirect_stdout(sys.stderr), working(f"fitting {model}"):
        gen = generation(
            model, prompt=max(length - 1, 1), new_tokens=1, weights=weights, kv=kv, arguments=parse_arguments(arguments)
        )
        requests = gen.fitting(memory, length, reserve)
    present(lambda: gen.fitting_text(memory, length, reserve))
    return GOOD if requests else FAILED
