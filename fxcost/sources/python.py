"""Models in Python files and importable modules: `path/to/file.py:NAME`, `package.module:NAME`.

The code is imported as if it were a script of its own: what stands beside it can be imported and goes before what was
imported of the same name from elsewhere, and the arguments of the command line are not ours. Not here: building what
was found (load.py).
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any
from weakref import WeakSet

from ..errors import ModelLoadError


def is_file(place: str) -> bool:
    """True for the path of a file, there or not; false for the name of a module."""
    return place.endswith(".py") or os.path.isfile(os.path.expanduser(place))


def path_of(place: str) -> Path:
    """The file that a path names, absolute, with a home folder (`~`) written out."""
    return Path(os.path.realpath(os.path.expanduser(place)))


@contextmanager
def at_home(place: str) -> Iterator[None]:
    """Let the code of a file or module be imported and run meanwhile as a script of its own would be.

    One at a time, since modules and arguments are the process's.
    """
    folder = path_of(place).parent if is_file(place) else Path.cwd()
    with _alone, _importable(folder):
        ours, sys.argv = sys.argv, [place]
        try:
            yield
        finally:
            sys.argv = ours


_alone = RLock()


def find(place: str, name: str, known: Iterable[str] = ()) -> Any:
    """The attribute `name`, which may have dots, of a file or module; inside :func:`at_home`.

    Args:
        place: the path of a file, or the name of a module.
        name: what is looked for in it.
        known: what else could have been meant by `place`: prefixes of libraries.

    Raises:
        ModelLoadError: there is no such file, module or attribute (with the nearest names), or importing failed.
    """
    found: Any = _import_file(path_of(place)) if is_file(place) else _import_name(place, known)
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            near = get_close_matches(part, dir(found), n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise ModelLoadError(f"{place} has no {name!r}{hint}") from None
        except (Exception, SystemExit) as error:  # of a module that imports when it is asked
            raise ModelLoadError(f"cannot get {name!r} of {place}: {_reason(error)}") from error
    return found


def file_of(name: str, folder: Path) -> Path | None:
    """The file that a module of this name has in a folder, or below it; None if there is none."""
    path = folder.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if os.path.isfile(file)), None)


def is_users(module: ModuleType | None) -> bool:
    """True for a module whose code is the user's own: in no folder of installed packages, nor of Python or fxcost."""
    place = _place(module) if module is not None else None
    if place is None or "site-packages" in place.parts or "dist-packages" in place.parts:
        return False
    return not any(place.is_relative_to(folder) for folder in _LIBRARIES)


_LIBRARIES = (*(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")), Path(__file__).parents[1])


def _place(module: ModuleType) -> Path | None:
    """The file of a module, or the folder of a package without one; None for what is built in."""
    file, folders = (vars(module).get(name) for name in ("__file__", "__path__"))
    found = file if isinstance(file, str) else next(iter(folders or ()), None)
    return Path(os.path.realpath(found)) if found is not None else None


# ------------------------------------------------------------------------------------------------- modules of a folder

_brought: WeakSet[ModuleType] = WeakSet()
"""Modules that were imported from beside a model: they make way for those of the next one."""


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let files in `folder` be imported meanwhile, before any others of their names.

    Two models may each have a `blocks.py` beside them. A module of such a name that was imported from elsewhere makes
    way; if the user's program had imported it, it is there again afterwards.
    """
    offered = _offered(folder)
    away = {
        name: module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in offered and _is_elsewhere(module, folder)
    }
    before = set(sys.modules) - set(away)
    for name in away:
        del sys.modules[name]
    entry = str(folder)
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(entry)
        new = [module for name, module in list(sys.modules.items()) if name not in before]
        _brought.update(module for module in new if isinstance(module, ModuleType) and is_users(module))
        sys.modules.update({name: module for name, module in away.items() if module not in _brought})


def _offered(folder: Path) -> set[str]:
    """Names of what could be imported from a folder."""
    try:
        return {name.removesuffix(".py") for name in os.listdir(folder)} - {"__main__"}
    except OSError:
        return set()


def _is_elsewhere(module: Any, folder: Path) -> bool:
    """True for a module of the user's that is from another folder."""
    if not isinstance(module, ModuleType) or not is_users(module):
        return False
    place = _place(module)
    return place is not None and not place.is_relative_to(folder)


_count = itertools.count()


def _import_file(path: Path) -> ModuleType:
    """Import a file under a name of its own, so that it can't stand in for another module."""
    if not os.path.isfile(path):
        raise ModelLoadError(f"no such file: {path}")
    name = f"_fxcost_model_{next(_count)}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelLoadError(f"{path} is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses and pickle look there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ModelLoadError(f"importing {path} failed: {_reason(error)}") from error
    return module


def _import_name(name: str, known: Iterable[str]) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        near = get_close_matches(name, list(known), n=1)
        hint = f"; did you mean {near[0]}:…?" if near else ""
        raise ModelLoadError(f"cannot import {name}: {_reason(error)}{hint}") from error


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return (
            f"it ends the process ({error!r}). It gets no arguments here; what reads some, or runs, should stand under "
            '`if __name__ == "__main__":`'
        )
    return f"{type(error).__name__}: {error}"
