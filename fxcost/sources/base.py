"""What the model libraries share: the record of a source, and helpful errors."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch

from ..errors import InputError, ModelLoadError
from .shapes import Inputs


@dataclass(frozen=True, slots=True)
class Source:
    """How to build one model, and its default inputs for a batch size once it is built.

    `bare` builds it without its head, where its library has such a thing; `notes` is what a report is to say of it.
    """

    build: Callable[[], Any]
    inputs: Callable[[torch.nn.Module, int], Inputs]
    bare: Callable[[], Any] | None = None
    notes: Callable[[torch.nn.Module], tuple[str, ...]] = lambda model: ()


def library(name: str) -> Any:
    """Import a module of a model library.

    Raises:
        ModelLoadError: it isn't installed; the message says which extra brings it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != name.partition(".")[0]:
            raise  # the library is there, something that it needs is not
        package = name.partition(".")[0]
        raise ModelLoadError(f"{package} is not installed: `pip install {package}`") from error


def no_such_model(prefix: str, name: str, known: Iterable[str], instead: str = "") -> ModelLoadError:
    """An error that offers the nearest names."""
    near = get_close_matches(name.lower(), list(known), n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(f'{prefix}:{n}' for n in near)}?" if near else instead
    return ModelLoadError(f"{prefix} has no model {name!r}" + (f"; {hint}" if hint else ""))


def no_inputs(model: torch.nn.Module, batch: int = 1) -> Inputs:
    """No inputs at all, for models whose forward needs none.

    Raises:
        InputError: its forward has arguments that must be given; the message names them.
    """
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):  # a ScriptModule or the like
        return Inputs()
    many = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [p.name for p in signature.parameters.values() if p.default is p.empty and p.kind not in many]
    if needed:
        raise InputError(
            f"the forward of {type(model).__name__} needs {', '.join(needed)}: "
            "give each one's shape, e.g. --input 1,3,224,224 or --input 1,128:int64"
        )
    return Inputs()
