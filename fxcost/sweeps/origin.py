"""What the numbers of a row hang on, so that a sweep which goes on knows whether they still hold.

An origin is a tuple of texts `NAME=VALUE`: a digest of the item itself (of which its name is the short form), the
versions of fxcost, PyTorch and the model's library, and a digest of each file of the user's that the code of the model
is in, from its own to all that these import. Not seen are files that the code reads as data, and modules that it
imports by a name which it makes up.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ..sources import SOURCES
from ..sources.python import file_of, is_file, is_users, path_of
from ..text.version import VERSION
from .items import Item

LIBRARIES = {"hf": "transformers"}
"""Packages whose names are not the prefixes of their specs."""
ITEM = "item"


def origin(item: Item, model: Any = None) -> tuple[str, ...]:
    """The origin of an item's row, once it was measured; `model` is what was built, if that went well.

    Empty, so that the row holds for nothing, where it can't be said: code of the user's raises when it is asked.
    """
    try:
        return _origin(item, model)
    except Exception:
        return ()


def _origin(item: Item, model: Any) -> tuple[str, ...]:
    described, modules = _described(item)
    for module in model.modules() if isinstance(model, nn.Module) else ():
        modules.add(type(module).__module__)
    files, packages = _places(item.model) if isinstance(item.model, str) else ([], set())
    packages |= {name.partition(".")[0] for name in modules if not is_users(sys.modules.get(name))}
    known = _closure([*files, *modules], path_of(files[0]).parent if files else None)
    versions = {name: _version(name) for name in sorted({"fxcost", "torch", *packages})}
    parts = {ITEM: described, **{name: found for name, found in versions.items() if found}, **known}
    return tuple(f"{name}={value}" for name, value in parts.items())


def holding() -> Callable[[Item, Iterable[str]], bool]:
    """A function that says whether a row of such an origin still holds for an item. Each file is read once."""
    now = functools.cache(_now)

    def holds(item: Item, noted: Iterable[str]) -> bool:
        parts = dict(part.rpartition("=")[::2] for part in noted)
        try:
            same = parts.pop(ITEM, None) == _described(item)[0]
        except Exception:  # as for `origin`
            return False
        return same and all(now(name) == was for name, was in parts.items())

    return holds


def _now(name: str) -> str:
    """The digest of a file, or the version of a package."""
    return _digest(Path(name)) if os.path.isabs(name) else _version(name)


def _version(package: str) -> str:
    if package == "fxcost":
        return VERSION
    try:
        return metadata.version(package)
    except (metadata.PackageNotFoundError, ValueError):
        return ""


def _digest(path: Path) -> str:
    """Of what is in a file; nothing where there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError:
        return ""


# ------------------------------------------------------------------------------------------------------------ the item


def _described(item: Item) -> tuple[str, set[str]]:
    """A digest of all there is to an item, and the modules that its classes and functions are from."""
    modules: set[str] = set()
    files = _places(item.model)[0] if isinstance(item.model, str) else []  # the same spec may be meant elsewhere
    fed = (item.arguments, item.inputs, item.kwargs, item.batch, item.train, item.real, item.options)
    text = _said((item.model, files, *fed), modules)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16], modules


def _said(value: Any, modules: set[str]) -> str:
    """A value in words that are the same in each process, unless its own are not."""
    if isinstance(value, torch.Tensor):
        # Numbers of floating point decide nothing unless they are computed with; others are lengths, masks, indices.
        known = not (value.is_meta or value.is_floating_point() or value.is_complex())
        return f"{value.shape} {value.dtype} {value.tolist() if known else ''}"
    if isinstance(value, nn.Module):
        tensors = (*value.named_parameters(), *value.named_buffers())
        shapes = [f"{name} {tensor.shape} {tensor.dtype} {tensor.requires_grad}" for name, tensor in tensors]
        return f"{_said(type(value), modules)} {value.training} {value!r} {shapes}"
    if isinstance(value, partial):
        return f"partial {_said((value.func, value.args, value.keywords), modules)}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_said(k, modules)}: {_said(v, modules)}" for k, v in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return type(value).__name__ + "(" + ", ".join(_said(v, modules) for v in value) + ")"
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(module, str) and isinstance(name, str):
        modules.add(module)
        return name
    return repr(value)


# ------------------------------------------------------------------------------------------------------------ the code


def _places(spec: str) -> tuple[list[str], set[str]]:
    """The files and packages that a spec names."""
    prefix, _, name = spec.partition(":")
    if prefix in SOURCES:
        path = os.path.realpath(os.path.expanduser(name))
        config = path if os.path.isfile(path) else os.path.join(path, "config.json")
        return [config] if prefix == "hf" and os.path.isfile(config) else [], {LIBRARIES.get(prefix, prefix)}
    place = spec.rpartition(":")[0]
    if is_file(place):
        return [str(path_of(place))], set()
    found = file_of(place, Path.cwd())
    return ([str(found)], set()) if found is not None else ([], {place.partition(".")[0]})


def _closure(starts: Iterable[str], folder: Path | None) -> dict[str, str]:
    """Digests of files, and of all files of the user's that they import, wherever in their code.

    Args:
        starts: paths, and names of modules.
        folder: where modules are looked for before what is imported already.
    """
    waiting = [(Path(start), "") if os.path.isabs(start) else start for start in starts]
    found: dict[str, str] = {}
    while waiting:
        one = waiting.pop()
        path, package = one if isinstance(one, tuple) else _module_file(one, folder)
        if path is not None and str(path) not in found:
            found[str(path)] = _digest(path)
            waiting.extend(_imported(path, package))
    return dict(sorted(found.items()))


def _module_file(name: str, folder: Path | None) -> tuple[Path | None, str]:
    """The user's file that a module is in, if it is one, and the package to which it belongs."""
    beside = file_of(name, folder) if folder is not None else None
    if beside is not None:
        return beside, name if beside.name == "__init__.py" else name.rpartition(".")[0]
    module = sys.modules.get(name)
    file = vars(module).get("__file__") if isinstance(module, ModuleType) and is_users(module) else None
    package = vars(module).get("__package__") if module is not None else None
    return (Path(os.path.realpath(file)) if isinstance(file, str) else None), package or ""


def _imported(path: Path, package: str) -> Iterator[str]:
    """The names of all modules that a file imports, the packages that they are in among them."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join(filter(None, [*above, node.module]))
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in filter(None, names):
            parts = name.split(".")
            yield from (".".join(parts[: n + 1]) for n in range(len(parts)))
