"""The command `fxcost`: arguments, exit codes and output streams. Nothing else in the package prints.

`fxcost MODEL …` is short for `fxcost cost MODEL …`. A command is a file of this package: a function with
`@fxcost.command()`, which shares the options that say which model is meant through `@model_options`, and a line in
commands.py. It is imported when it is asked for, and torch when it runs, not for `--help`.

Exit codes: 0 good; 1 the model was analysed but something asked for does not hold (`--strict`); 2 bad usage, or a
model that can't be built or analysed, with one line on the error stream; 130 interrupted.

In: arguments. Out: text on the output streams, and files. May use every room; none may use it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from ..errors import FxcostError, nearest
from .commands import VARIABLE
from .group import fxcost
from .output import BAD_USAGE, GOOD, INTERRUPTED, fail, prepare_streams, silence

__all__ = ["fxcost", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (by default the process's own) and return its exit code. The console script."""
    args = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is downloaded, whatever a model's own code asks for
    prepare_streams()
    try:
        if VARIABLE in os.environ:
            from .completion import answer

            return answer(os.environ[VARIABLE])
        return _run(args)
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED)
    except click.NoSuchOption as error:
        return fail(f"{_no_option(error)}{_where_to_read(error)}", BAD_USAGE)
    except click.ClickException as error:
        return fail(f"{error.format_message()}{_where_to_read(error)}", BAD_USAGE)
    except BrokenPipeError:  # a reader of the help that has gone
        silence(sys.stdout)
        return GOOD
    except BaseException as error:  # a model's code may raise anything
        if "--debug" in args:
            import traceback  # which takes time to load

            traceback.print_exc()
        if isinstance(error, OSError):  # perhaps the help on a full disk
            silence(sys.stdout)
        return fail(_said(error), BAD_USAGE)


def _run(args: list[str]) -> int:
    """Run a command. Not by click's own `main`, which has views of its own on interrupts and broken pipes."""
    try:
        with fxcost.make_context("fxcost", args) as context:
            code = fxcost.invoke(context)
    except click.exceptions.Exit as done:  # --help, --version
        return done.exit_code
    return code if isinstance(code, int) else GOOD


OTHERS = {
    "--input-size": "--input", "--input-shape": "--input", "--shape": "--input", "--batch-size": "--batch",
    "--cols": "--columns", "--col-names": "--columns", "--output": "--html, --json, --csv …", "-o": "--html, --json …",
}  # fmt: skip
"""Options of other programs, and ours."""


def _no_option(error: click.NoSuchOption) -> str:
    """What there is in place of an option that there is not."""
    given = error.option_name
    known = [o for p in (error.ctx.command.params if error.ctx is not None else ()) for o in p.opts if o[:1] == "-"]
    near = [OTHERS[given]] if given in OTHERS else nearest(given, known, n=2, cutoff=0.7)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"no option {given}{hint}"


def _where_to_read(error: click.ClickException) -> str:
    """The help of the command that was used wrongly; what can't be written is no matter of usage."""
    context = getattr(error, "ctx", None)
    if context is not None and context.info_name not in (None, "fxcost", fxcost.default):
        return f" (fxcost {context.info_name} --help)"
    return "" if isinstance(error, click.FileError) else " (fxcost --help)"


def _said(error: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(error, FxcostError):
        from .wording import in_options

        return in_options(str(error))
    if isinstance(error, SystemExit):
        return f"the code of the model ended the process (SystemExit: {error.code}); --debug shows where"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f': {error.filename}' if error.filename else ''}; --debug shows where"
    kind = type(error).__name__
    return f"unexpected {kind}: {error}; --debug shows where" if str(error) else kind
