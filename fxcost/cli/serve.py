"""`fxcost serve MODEL`: what a language model costs to serve, and what no engine can beat on a device."""

from __future__ import annotations

import re
import sys
from contextlib import redirect_stdout
from textwrap import fill
from typing import TYPE_CHECKING, Any

import click

from .checks import check_device, check_format, check_numbers, check_plot
from .complete import complete_model
from .devices import find_device
from .group import fxcost
from .model import comma_separated, parse_arguments
from .output import GOOD, check_writable, present, write, wrote
from .progress import quiet_option, working

if TYPE_CHECKING:
    from ..serving.bounds import Bounds
    from ..serving.generation import Generation

_SIZE = re.compile(r"\s*(\d+)\s*([km]?)\s*", re.IGNORECASE)


def parse_length(text: str) -> int:
    """A number of tokens: 512, 4k (4,096), 1m (1,048,576).

    >>> parse_length("4k"), parse_length("512")
    (4096, 512)
    """
    found = _SIZE.fullmatch(text)
    if found is None or not int(found[1]):
        raise click.UsageError(f"{text!r} is no number of tokens; give 512, 4k or 128k")
    return int(found[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20}[found[2].lower()]


def parse_batches(texts: list[str] | None) -> list[int | str]:
    """Batches: numbers, and "max".

    >>> parse_batches(["1", "max"])
    [1, 'max']
    """
    found: list[int | str] = []
    for text in texts or ["1", "max"]:
        if text == "max":
            found.append(text)
        elif text.isdecimal() and int(text):
            found.append(int(text))
        else:
            raise click.UsageError(f"--batch {text!r}: give numbers above 0 and max, e.g. --batch 1,8,max")
    return found


def parse_weights(texts: tuple[str, ...]) -> Any:
    """Formats: one for all, or PATTERN=FORMAT.

    >>> parse_weights(("int4:g128",)), parse_weights(("*.experts.*=mxfp4", "lm_head=bf16"))
    ('int4:g128', {'*.experts.*': 'mxfp4', 'lm_head': 'bf16'})
    """
    if not texts:
        return None
    if len(texts) == 1 and "=" not in texts[0]:
        return texts[0]
    pairs = [text.partition("=") for text in texts]
    return {name if equals else "*": value if equals else name for name, equals, value in pairs}


def parse_peak(text: str | None) -> Any:
    """A dtype, or matmul=float8,attention=bfloat16."""
    if text is None or "=" not in text:
        return text
    return dict(part.strip().split("=", 1) for part in text.split(",") if "=" in part)


@fxcost.command()
@click.argument("model", shell_complete=complete_model)
@quiet_option
@click.option("--prompt", metavar="N", default="1k", show_default=True, help="Tokens of a prompt: 512, 8k.")
@click.option("--new", metavar="N", default="128", show_default=True, help="Tokens that are generated after it.")
@click.option("--batch", metavar="N,…", callback=comma_separated, help="Requests at once; max is what fits.  [1,max]")
@click.option("--context", metavar="N,…", callback=comma_separated, help="Contexts to decode at: 4k,128k.")
@click.option("--weights", multiple=True, metavar="FORMAT", help="How weights are stored: fp8, int4:g128, "
              "PATTERN=FORMAT, config, files. Repeat for more.")  # fmt: skip
@click.option("--kv", metavar="FORMAT", help="How the cache is stored: fp8.")
@click.option("--device", "names", metavar="NAME,…", callback=comma_separated, help="Devices: h100,rtx4090 or here.")
@click.option("--devices", type=click.IntRange(min=1), default=1, help="How many share the work evenly.")
@click.option("--peak", metavar="DTYPE", help="Peak to reckon with: float8, or matmul=float8,attention=bfloat16.")
@click.option(
    "--reserve", metavar="SIZE", default="0", help="Memory of each device that is not for weights and caches."
)
@click.option("--experts", default="uniform", help="How tokens spread over experts: uniform, all, fewest, or a number.")
@click.option("--speculate", type=click.IntRange(min=1), metavar="K", help="Guess K tokens, and check them at once.")
@click.option("--acceptance", type=click.FloatRange(0, 1), default=0.7, show_default=True, help="Of a guessed token.")
@click.option("--as-written", is_flag=True, help="Attention and cache as transformers' own code runs them.")
@click.option("--arg", "arguments", multiple=True, metavar="NAME=VALUE", help="An entry of the configuration.")
@click.option("--dtype", help="Of weights and activations: bfloat16.")
@click.option("--csv", "csv_path", metavar="PATH", help="Write the rows as CSV; - for standard output.")
@click.option("--plot", "plot_path", metavar="PATH", help="Draw throughput against latency (first device).")
@click.option("--format", "table_format", metavar="FORMAT", default="simple", help="Any format of tabulate.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def serve(*, model: str, names: list[str] | None, csv_path: str | None, plot_path: str | None, **options: Any) -> int:
    """What MODEL (hf:TYPE, hf:CLASS, hf:FOLDER) costs to serve: weights, cache, and bounds of its speed on devices.

    \b
      fxcost serve hf:llama --prompt 8k --new 512 --batch 1,8,max --context 4k,128k --device h100
      fxcost serve hf:folder --weights int4:g128 --kv fp8 --device h100,rtx4090 --csv table.csv
      fxcost serve hf:deepseek_v3 --weights fp8:128x128 --device h200 --devices 8 --speculate 4 --acceptance 0.8
    """
    for path, option in ((csv_path, "--csv"), (plot_path, "--plot")):
        if path is not None and not names:
            raise click.UsageError(f"{option} needs a device: --device h100")
    check_writable(csv_path)
    check_plot(plot_path)
    check_format(options["table_format"])
    check_numbers(dtype=options["dtype"], training=False, optimizer=None)
    for name in names or ():
        check_device(name, None)
    with redirect_stdout(sys.stderr), working(f"analysing {model}"):
        gen = _generation(model, options)
        made = [_bounds(gen, name, options) for name in names or ()]
        contexts = [parse_length(text) for text in options["context"] or ()] or None
        batches = parse_batches(options["batch"])
        sweeps = [bounds.sweep(batches, contexts) for bounds in made]
    if csv_path is not None:
        tables = [sweep.to_csv().splitlines() for sweep in sweeps]
        write(csv_path, "\n".join([*tables[0], *(line for table in tables[1:] for line in table[1:])]) + "\n")
    if plot_path is not None:
        sweeps[0].plot(plot_path)
        wrote(plot_path)
    if csv_path != "-":
        present(lambda: _text(gen, made, sweeps, options), markup=options["table_format"])
    return GOOD


def _generation(model: str, options: dict[str, Any]) -> Generation:
    from ..serving.generation import generation

    prompt, new = parse_length(options["prompt"]), parse_length(options["new"])
    longest = max([prompt + new, *(parse_length(text) for text in options["context"] or ())])
    spread = options["experts"]
    how = "as written" if options["as_written"] else ""
    return generation(
        model,
        prompt=prompt,
        new_tokens=new,
        weights=parse_weights(options["weights"]),
        kv=options["kv"],
        attention=how or "fused",
        cache=how or "in-place",
        experts=int(spread) if spread.isdecimal() else spread,
        dtype=options["dtype"],
        arguments=parse_arguments(options["arguments"]),
        longest=longest,
    )


def _bounds(gen: Generation, name: str, options: dict[str, Any]) -> Bounds:
    return gen.bounds(find_device(name), options["devices"], parse_peak(options["peak"]), options["reserve"])


def _text(gen: Generation, made: list[Bounds], sweeps: list[Any], options: dict[str, Any]) -> str:
    from ..serving.as_serving import assumed, facts_text, generation_text

    if not made:
        return "\n".join([generation_text(gen), *assumed(gen.assumptions)])
    parts = [facts_text(gen)]
    for bounds, sweep in zip(made, sweeps, strict=True):
        parts += ["", bounds.summary(), "", sweep.table(options["table_format"])]
        if options["speculate"]:
            rate = bounds.speculative(options["speculate"], options["acceptance"])
            told = f"{options['speculate']} guessed tokens, each taken with {options['acceptance']:g}"
            said = f"With {told}: ≤ {rate:,.1f} tokens/s for one request, guessing not counted"
            parts.append(fill(said, 80))
    return "\n".join([*parts, "", *assumed(gen.assumptions)])
