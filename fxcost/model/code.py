"""What a function's code asks for from outside, by its instructions: names that stand in it may be anything.

`F.relu(x)` reads the global `F` and an attribute of it; a global `relu` has no part in it.

Not here: what the names mean (reach.py).
"""

from __future__ import annotations

import sys
import sysconfig
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from dis import opmap
from functools import partial
from types import CodeType
from typing import Any

_VARIABLES = frozenset(opmap[n] for n in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS") if n in opmap)
_SHIFTS = {  # how far the index of a name is shifted in an instruction's argument; the bits below are flags
    opmap[name]: shift
    for name, shift in (
        ("LOAD_GLOBAL", 1),
        ("LOAD_NAME", 0),
        ("LOAD_FROM_DICT_OR_GLOBALS", 0),
        ("LOAD_ATTR", 1 if sys.version_info >= (3, 12) else 0),
        ("LOAD_METHOD", 0),
        ("LOAD_SUPER_ATTR", 2),
        ("STORE_ATTR", 0),
        ("DELETE_ATTR", 0),
        ("STORE_GLOBAL", 0),
        ("DELETE_GLOBAL", 0),
        ("IMPORT_NAME", 0),
        ("IMPORT_FROM", 0),
    )
    if name in opmap
}
_ATTRIBUTES = frozenset(opmap[name] for name in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR") if name in opmap)
_CHANGED = frozenset({opmap["STORE_ATTR"], opmap["DELETE_ATTR"]})
_WRITTEN = frozenset({opmap["STORE_GLOBAL"], opmap["DELETE_GLOBAL"]})
_CELLS = frozenset(opmap[name] for name in ("STORE_DEREF", "DELETE_DEREF"))
_NULL = opmap["PUSH_NULL"]
_METHOD = opmap.get("LOAD_METHOD", -1)
_IMPORTED, _FROM, _EXTENDED, _CACHE = opmap["IMPORT_NAME"], opmap["IMPORT_FROM"], opmap["EXTENDED_ARG"], 0

_NOT_THE_USERS = frozenset(
    {"torch", "torchgen", "functorch", "numpy", "sympy", "triton", "fxcost", "pytest", "_pytest", "pluggy", "IPython"}
)
_STANDARD_LIBRARY = sysconfig.get_path("stdlib")


@dataclass(frozen=True, slots=True)
class Reads:
    """What a code object, and what is defined within it, asks for.

    `variables` are globals in the order of the code, each with the attributes that are read of it at once (`("F",
    "relu")`); `imports` modules that are imported; `written` the globals and the variables of enclosing functions that
    are set; `changed` globals with the attribute of theirs that is set; `called` those of the variables, and the names
    of those attributes, that are called on the spot. `attributes` are the names of all attributes and methods, and what
    stands in the code as text and could be such a name.
    """

    variables: tuple[tuple[str, ...], ...]
    imports: frozenset[str]
    written: frozenset[str]
    changed: frozenset[tuple[str, ...]]
    called: frozenset[tuple[str, ...] | str]
    attributes: frozenset[str]


_known: dict[int, tuple[weakref.ref[CodeType], Reads]] = {}
"""By the code's id; an entry goes with its code, and code can't change."""


def reads(code: CodeType) -> Reads:
    """What a code object asks for.

    >>> reads((lambda x: F.relu(x) + y).__code__).variables
    (('F', 'relu'), ('y',))
    """
    place = id(code)
    known = _known.get(place)
    if known is None:
        known = weakref.ref(code, partial(_known.pop, place)), _read(code)  # the reference is pop's default
        _known[place] = known
    return known[1]


def _read(code: CodeType) -> Reads:
    variables: dict[tuple[str, ...], None] = {}
    imports: set[str] = set()
    written: set[str] = set()
    changed: set[tuple[str, ...]] = set()
    called: set[tuple[str, ...] | str] = set()
    attributes = {text for text in code.co_consts if isinstance(text, str) and text.isidentifier()}
    chain: tuple[str, ...] = ()
    for op, name, calls in (*_named(code), (_CACHE, "", False)):
        if op in _ATTRIBUTES or op == _FROM:
            attributes.add(name)
            if calls:
                called.add(name)
        if chain and op in _ATTRIBUTES:
            chain = (*chain, name)
        elif chain:
            variables[chain] = None
            if op in _CHANGED:
                changed.add((*chain, name))
            chain = ()
        if op in _VARIABLES:
            chain = (name,)
        elif op == _IMPORTED:
            imports.add(name)
        elif op in _WRITTEN or op in _CELLS:
            written.add(name)
        if chain and calls:
            called.add(chain)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found = reads(inner)
            variables.update(dict.fromkeys(found.variables))
            imports |= found.imports
            written |= found.written
            changed |= found.changed
            called |= found.called
            attributes |= found.attributes
    return Reads(
        tuple(variables),
        frozenset(imports),
        frozenset(written),
        frozenset(changed),
        frozenset(called),
        frozenset(attributes),
    )


def _named(code: CodeType) -> Iterator[tuple[int, str, bool]]:
    """Operation, name ("" for none) and whether what is loaded is called at once, of each instruction.

    As `dis` has it, at a tenth of its time.
    """
    raw, names, extended, null = code.co_code, code.co_names, 0, False
    cells = code._varname_from_oparg  # type: ignore[attr-defined]
    for i in range(0, len(raw), 2):
        op = raw[i]
        if op == _CACHE:
            continue
        argument = raw[i + 1] | extended
        if op == _EXTENDED:
            extended = argument << 8
            continue
        extended = 0
        shift = _SHIFTS.get(op)
        if shift is not None:
            yield op, names[argument >> shift], null or op == _METHOD or bool(shift and argument & 1)
        else:
            yield op, cells(argument) if op in _CELLS else "", False
        null = op == _NULL


def is_the_users(scope: dict[str, Any]) -> bool:
    """True for the globals of a file of the user's or of a library of his; false for PyTorch's, NumPy's, Python's."""
    name = str(scope.get("__name__")).partition(".")[0]
    if name in _NOT_THE_USERS:
        return False
    if name not in sys.stdlib_module_names or name == "__main__":
        return True
    file = scope.get("__file__")  # a file of the user's may be called as one of Python's is
    return isinstance(file, str) and not file.startswith(_STANDARD_LIBRARY)
