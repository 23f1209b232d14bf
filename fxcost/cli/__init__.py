"""The command `fxcost`: arguments, exit codes and output streams. Nothing else in the package prints.

`fxcost MODEL …` is short for `fxcost cost MODEL …`. A command is a file of this package: a function with
`@fxcost.command()`, which shares the options that say which model is meant through `@model_options`; import it below.
torch is imported when a command runs, not for `--help`.

Exit codes: 0 good; 1 the model was analysed but something asked for does not hold (`--strict`); 2 bad usage, or a
model that can't be built or analysed, with one line on the error stream.

In: arguments. Out: text on the output streams, and files. May use every room; none may use it.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from ..errors import FxcostError
from . import check, completion, conventions, cost, devices, diff, explain, fit, measure, model, show, solve, sweep
from .group import fxcost
from .output import BAD_USAGE, GOOD, INTERRUPTED, fail

__all__ = [
    "check",
    "completion",
    "conventions",
    "cost",
    "devices",
    "diff",
    "explain",
    "fit",
    "fxcost",
    "main",
    "measure",
    "model",
    "show",
    "solve",
    "sweep",
]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (by default the process's own) and return its exit code. The console script."""
    args = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is downloaded, whatever a model's own code asks for
    try:
        if completion.VARIABLE in os.environ:
            return completion.answer(os.environ[completion.VARIABLE])
        code = fxcost.main(args, prog_name="fxcost", standalone_mode=False)
        return code if isinstance(code, int) else GOOD
    except (KeyboardInterrupt, click.Abort):
        return fail("interrupted", INTERRUPTED)
    except click.ClickException as error:
        return fail(f"{error.format_message()} (fxcost --help)", BAD_USAGE)
    except Exception as error:
        if "--debug" in args:
            traceback.print_exc()
        if isinstance(error, FxcostError):
            return fail(str(error), BAD_USAGE)
        kind = type(error).__name__
        return fail(f"unexpected {kind}: {error}; --debug shows where" if str(error) else kind, BAD_USAGE)
