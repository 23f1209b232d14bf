"""The options that say as which rank of a sharded model it is analysed, and how it is sharded."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])
WAYS = ("fsdp", "hsdp", "ddp", "replicate", "tp", "cp", "pp", "transformers")


def rank_options(function: Function) -> Function:
    """`--mesh` and what goes with it."""
    options = [
        click.option("--mesh", metavar="NAME=SIZE,…", help="One rank of a mesh of devices: dp=8,tp=8."),
        click.option(
            "--parallel",
            metavar="WAY:DIM,…",
            help="For --mesh: fsdp:dp, fsdp:dp:bfloat16, hsdp:dp+shard, ddp:dp, replicate:dp, tp:tp, cp:cp, "
            "pp:pp:SCHEDULE:MICROBATCHES, transformers.",
        ),
        click.option(
            "--parallelize", metavar="FILE.py:NAME", help="For --mesh: a function of a model and a DeviceMesh."
        ),
        click.option("--rank", metavar="N", help="For --mesh: which rank, or worst.  [default: 0]"),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def sharding(mesh: str | None, parallel: str | None, parallelize: str | None, rank: str | None) -> dict[str, Any]:
    """What these options mean to `analyze`; nothing, if none is given.

    Raises:
        UsageError: one can't be read, or one is missing.
        FxcostError: the function can't be found.
    """
    if mesh is None:
        if parallel is not None or parallelize is not None or rank is not None:
            raise click.UsageError(
                "--parallel, --parallelize and --rank are for --mesh: --mesh dp=8 --parallel fsdp:dp"
            )
        return {}
    if (parallel is None) == (parallelize is None):
        raise click.UsageError("--mesh needs one of --parallel (fsdp:dp,tp:tp) and --parallelize (FILE.py:NAME)")
    recipe = _ready(parallel) if parallel is not None else _own(str(parallelize))
    chosen = rank if rank is not None else "0"
    return {
        "mesh": parse_mesh(mesh),
        "parallelize": recipe,
        "rank": int(chosen) if chosen.lstrip("-").isdecimal() else chosen,
    }


def parse_mesh(text: str) -> dict[str, int]:
    """Sizes by name, from `NAME=SIZE,…`.

    >>> parse_mesh("dp=8, tp=4")
    {'dp': 8, 'tp': 4}
    """
    sizes: dict[str, int] = {}
    for part in text.split(","):
        found = re.fullmatch(r"\s*([A-Za-z]\w*)\s*=\s*(\d{1,9})\s*", part)
        if found is None:
            raise click.UsageError(f"--mesh {text!r}: give NAME=SIZE,…, e.g. --mesh dp=8,tp=8")
        if found[1] in sizes:
            raise click.UsageError(f"--mesh {text!r}: {found[1]} is given twice")
        sizes[found[1]] = int(found[2])
    return sizes


def _ready(text: str) -> Any:
    """A recipe from `WAY:DIM,…`."""
    from .. import parallel

    return parallel.together(*(_one(part.strip(), parallel) for part in text.split(",")))


def _one(text: str, parallel: Any) -> Any:
    way, *rest = text.split(":")
    dims = rest[0].split("+") if rest else []
    if (
        way not in WAYS
        or len(rest) > 2 + (way == "pp")
        or (way == "transformers") == bool(dims)
        or len(dims) > 1 + (way == "hsdp")
    ):
        raise click.UsageError(
            f"--parallel {text!r}: give WAY:DIM,…, with one of {', '.join(WAYS)}, e.g. fsdp:dp,tp:tp"
        )
    dtype = rest[1] if len(rest) == 2 else None
    if way == "pp":
        return _pipeline(text, dims[0], rest[1:], parallel)
    if dtype is not None and way not in ("fsdp", "hsdp"):
        raise click.UsageError(f"--parallel {text!r}: a dtype is for fsdp and hsdp")
    if way == "hsdp" and len(dims) != 2:
        raise click.UsageError(f"--parallel {text!r}: hsdp takes two dimensions, hsdp:REPLICATED+SHARDED")
    if way in ("fsdp", "hsdp"):
        return parallel.fully_shard(dims[-1], replicate=dims[0] if way == "hsdp" else None, param_dtype=dtype)
    made = {
        "ddp": parallel.ddp,
        "replicate": parallel.replicate,
        "tp": parallel.tensor_parallel,
        "cp": parallel.context_parallel,
    }
    return parallel.transformers() if way == "transformers" else made[way](dims[0])


def _pipeline(text: str, dim: str, options: list[str], parallel: Any) -> Any:
    """A pipeline: its schedule and its number of microbatches, both of which may be missing."""
    schedule, count = (*options, "", "")[:2]
    if count and not count.isdecimal():
        raise click.UsageError(f"--parallel {text!r}: give pp:DIM:SCHEDULE:MICROBATCHES, e.g. pp:pp:1F1B:8")
    how = {"schedule": schedule} if schedule else {}
    return parallel.pipeline(dim, microbatches=int(count) if count else None, **how)


def _own(text: str) -> Any:
    """The function that a file or module has under a name."""
    from ..sources.python import at_home, find

    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        raise click.UsageError(f"--parallelize {text!r}: give FILE.py:NAME or package.module:NAME")
    with at_home(place):
        return find(place, name)
