"""Which models there are, known before any library is imported: a mistyped name is answered at once.

Names are read from source files, as for the shell's Tab (complete.py). What is not known here is left to the library.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from importlib.util import find_spec

import click

from ..errors import nearest
from .complete import LIBRARIES, defined, names

FORMS = "torchvision:NAME, timm:NAME, hf:TYPE_OR_FOLDER, file.py:NAME or package.module:NAME"
WEIGHTS = (".onnx", ".pt", ".pt2", ".pth", ".safetensors", ".ckpt", ".gguf", ".tflite")
"""Endings of files that hold no Python code."""
MOST_NAMED = 12
"""Names that an error lists at most."""


def is_report(name: str) -> bool:
    """True for the path of a JSON report, where a model is expected."""
    return name.endswith(".json") and (":" not in name or os.path.isfile(name))


def check_model(context: click.Context, parameter: click.Parameter, spec: str | None) -> str | None:
    """A click callback: a model that can't be there is refused before PyTorch is imported.

    Raises:
        UsageError: it names none; the message has the nearest names, or what a file defines.
    """
    if spec is not None and not context.resilient_parsing and not is_report(spec):
        check_spec(spec)
    return spec


def check_spec(spec: str) -> None:
    """As :func:`check_model`, of the text alone."""
    prefix, colon, name = spec.partition(":")
    if not colon or not name or not prefix:
        raise click.UsageError(_incomplete(spec.strip(":")))
    if prefix not in LIBRARIES:
        _check_python(spec)
    elif prefix == "hf" and ("/" in name or os.path.exists(os.path.expanduser(name))):
        return  # a folder
    elif prefix == "timm" and name.startswith(("hf-hub:", "hf_hub:")):
        return  # of which the library's own source has something to say
    elif known := names(prefix):
        wanted = name.partition(".")[0] if prefix == "timm" else name.lower() if prefix == "torchvision" else name
        if wanted not in known:
            raise click.UsageError(f"{prefix} has no model {name!r}; {_near(prefix, name, known)}")


def _near(prefix: str, name: str, known: set[str]) -> str:
    spelled = {k.lower(): k for k in sorted(known)}
    found = [spelled[n] for n in nearest(name.lower(), spelled, n=3)]
    hint = f"did you mean {' or '.join(f'{prefix}:{n}' for n in found)}? " if found else ""
    return f"{hint}`fxcost models {prefix}:` lists all"


def _incomplete(text: str) -> str:
    """What to say of a text without a prefix: it may be a file, or the name of a model in some library."""
    if text in LIBRARIES:
        return f"{text}: names no model; `fxcost models {text}:` lists all"
    if text.endswith(WEIGHTS):
        return f"{text!r} is no Python file: fxcost runs a model's code, not saved weights or graphs; give {FORMS}"
    if text.endswith(".py") or os.path.isfile(text):
        if not os.path.isfile(text):
            return f"no such file: {text}"
        found = defined(text)
        if not found:
            return f"{text} defines no class and no function at its top level; give {FORMS}"
        listed = ", ".join(f"{text}:{name}" for name in list(found)[:MOST_NAMED])
        more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        return f"say which model in {text} is meant: {listed}{more}"
    exact = [f"{prefix}:{text}" for prefix in LIBRARIES if text in names(prefix)]
    like = [f"{p}:{n}" for p in LIBRARIES for n in nearest(text.lower(), names(p), n=1, cutoff=0.75)]
    hint = exact or like
    said = f"did you mean {' or '.join(hint)}?" if hint else f"give {FORMS}; `fxcost models` lists names"
    return f"{text!r} names no model; {said}"


def _check_python(spec: str) -> None:
    """A file that is not there, or has no such name at its top level."""
    place, _, name = spec.rpartition(":")
    path = os.path.expanduser(place)
    if not place.endswith(".py"):
        top = place.partition(".")[0]
        if os.path.isfile(path) or _is_module(top):
            return
        near = nearest(top.lower(), LIBRARIES, n=1, cutoff=0.75)
        hint = f"did you mean {near[0]}:{name}?" if near else f"give {FORMS}"
        raise click.UsageError(f"there is no module {top!r}, here or installed; {hint}")
    if not os.path.isfile(path):
        raise click.UsageError(f"no such file: {path}")


def _is_module(name: str) -> bool:
    """True if Python could import it, from this folder or an installed package. Nothing is imported."""
    if any(os.path.exists(f"{name}{ending}") for ending in ("", ".py")):
        return True
    try:
        return name.isidentifier() and find_spec(name) is not None
    except ValueError:  # a module that says nothing of where it is from
        return True


def matching(pattern: str) -> list[str]:
    """Specs that match `PREFIX:PATTERN`, `PATTERN` or `FILE.py`; without wildcards a part of the name is enough.

    Raises:
        UsageError: there is no such library.
    """
    prefix, colon, wanted = pattern.partition(":")
    if pattern.endswith(".py"):
        return [f"{pattern}:{name}" for name in defined(pattern)]
    if colon and prefix not in LIBRARIES:
        raise click.UsageError(f"no library {prefix!r}; there are {', '.join(LIBRARIES)}, or give a file: net.py")
    prefixes = [prefix] if colon else [*LIBRARIES]
    wanted = wanted if colon else pattern
    wanted = wanted if any(sign in wanted for sign in "*?[") else f"*{wanted}*"
    return [f"{p}:{name}" for p in prefixes for name in sorted(names(p)) if fnmatchcase(name.lower(), wanted.lower())]
