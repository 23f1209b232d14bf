"""Every exception that fxcost raises. Messages say what was seen, where, and what to do about it.

In: arguments of public functions, to be checked (arguments.py). Out: children of :class:`FxcostError`. May use nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from reprlib import Repr
from typing import Any


class FxcostError(Exception):
    """Base class of all errors that fxcost raises on purpose."""


class InputError(FxcostError, ValueError):
    """The inputs do not fit the model: wrong number, shape, rank or dtype, or an unreadable shape."""


class ModelLoadError(FxcostError):
    """No model could be made from what the user named (a CLI spec, a file, a config)."""


class ModelCopyError(FxcostError):
    """A module holds something that cannot be copied, so the model cannot be isolated."""


class CaptureError(FxcostError):
    """No graph could be captured: tracing met something that it cannot follow."""


class ModelRunError(FxcostError):
    """The model itself raised while it ran on meta tensors; the cause is chained."""


class MissingMetaKernelError(ModelRunError):
    """An operator has no meta kernel, so the shape of its result is not known."""


class UnknownValueError(ModelRunError):
    """Control flow or a shape depends on a tensor's value that is not known on meta tensors."""


class TrainingError(FxcostError):
    """No training step can be taken: nothing requires a gradient, the loss is no scalar, no such optimizer."""


class MissingLibraryError(FxcostError, ImportError):
    """Something was asked for that needs a library which is not installed."""


class DrawingError(FxcostError):
    """A program that draws (Graphviz) was called, and failed."""


class ShardingError(FxcostError):
    """A model can't be run as one rank of many: no such rank or mesh, a recipe that fails or shards nothing."""


class PipelineError(FxcostError, ValueError):
    """A model can't be cut into so many stages, or an argument that says how can't be."""


class PlanError(FxcostError, ValueError):
    """No choice of modules to checkpoint makes a training step fit, or there is none to choose."""


class UncostedOperatorError(FxcostError):
    """`strict=True`, and at least one operator that ran has no rule."""


class RuleError(FxcostError):
    """A rule was registered for something that is no operator, or failed on a record."""


class DuplicateRuleError(RuleError):
    """A rule is already registered for this operator."""


class UnknownNameError(FxcostError, LookupError):
    """A report was asked for a module, node, column, sort key or format that it does not have."""


class ReportFileError(FxcostError, ValueError):
    """What was read is no report, one in a layout of another version, or broken; or only a fresh report has it."""


class BudgetError(FxcostError, ValueError):
    """A budget that can't be read or checked: an unknown limit, nothing to check, a baseline on other inputs."""


class WorkerError(FxcostError):
    """A process of a sweep did not start, died, took too long, or raised; the message says which."""


class ConventionError(FxcostError):
    """No such convention, a convention that counts nothing, or a model that the tool itself refuses."""


class FormulaError(FxcostError, ValueError):
    """No formula fits a model's numbers, or one was asked for a point outside of its domain."""


class DeviceError(FxcostError):
    """No such device, known or here, or one that has no peak for a dtype."""


class MeasureError(FxcostError):
    """A model can't be measured: it or its inputs hold no data, or it raised while it ran."""


_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_LONGEST = 100


def shown(value: Any) -> str:
    """A value as an error message shows it: its `repr`, on one line, the middle left out where it is long.

    >>> shown([1, "two"]), shown("x" * 1000)
    ("[1, 'two']", "'xxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxxxxxxxxxx'")
    """
    try:
        text = _SHORT.repr(value)
    except Exception:  # an object of the user's that can't be shown, or a number of too many digits
        text = f"<{type(value).__name__}>"
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}"


def nearest(given: Any, known: Iterable[str], n: int = 3, cutoff: float = 0.6) -> list[str]:
    """Those of the known names that are most like what was given; of a very long text only the start is looked at.

    >>> nearest("convolutoin", ["convolution", "relu"]), nearest(5, ["relu"])
    (['convolution'], [])
    """
    return get_close_matches(given[:_LONGEST], list(known), n, cutoff) if isinstance(given, str) else []


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_OVERLOADS = re.compile(r",? but expected one of:.*", re.DOTALL)


def said(error: BaseException) -> str:
    """What an exception of others says, in one line: without colours, and without PyTorch's list of all overloads.

    >>> said(TypeError("wrong - got (\\x1b[31;1mlist\\x1b[0m), but expected one of:\\n * (Tensor input)"))
    'wrong - got (list)'
    """
    return " ".join(_OVERLOADS.sub("", _COLOURS.sub("", str(error))).split())
