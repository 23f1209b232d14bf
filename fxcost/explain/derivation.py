"""Integers that remember how they came about, so that a count can be explained without writing its formula twice.

A rule is run once more on :class:`Traced` sizes. They are ints, so that it computes what it computed before; but each
result keeps the operation and the operands, and the function in which that happened. :func:`derive` turns this into a
:class:`Term`: the formula in the names that its author gave, the same with numbers, and for each name where it comes
from, down to the sizes of tensors.

A function's names are those of its local variables, found by looking at the caller's frame. What a rule computes
beside + − · // % (a maximum, a greatest common divisor) appears as its result.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import unwrap
from itertools import groupby
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

MOST_OPERANDS = 24
"""A longer sum or product leaves its middle out."""
_COMPREHENSIONS = ("<genexpr>", "<listcomp>", "<setcomp>", "<dictcomp>")
_ADDITIVE, _MULTIPLICATIVE, _UNARY, _POWER, _ATOM = range(1, 6)
_STRENGTH = dict(zip("+-·", (_ADDITIVE, _ADDITIVE, _MULTIPLICATIVE), strict=True))
_STRENGTH.update({"//": _MULTIPLICATIVE, "%": _MULTIPLICATIVE, "^": _POWER})


@dataclass(frozen=True, slots=True)
class Function:
    """A function that computed something: its name, where it stands, and what its docstring says.

    `source` is what follows "Source:" in the docstring; `arguments` are the sizes and flags that it was called with.
    """

    name: str
    file: str
    line: int
    summary: str
    source: str
    arguments: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A number and how it came about: `value` = `numbers` = `formula`, where `where` says what the names stand for.

    A size has where it comes from as its `formula` and nothing below it; a constant has no formula at all.
    """

    name: str
    value: int
    formula: str = ""
    numbers: str = ""
    function: Function | None = None
    where: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True)
class _Step:
    """The operation that made a number, and the names that its operands have in the function that did it."""

    symbol: str
    operands: tuple[int, ...]
    names: tuple[str | None, ...]
    frame: FrameType


class Traced(int):
    """An int that remembers: `source` for one that was given, `step` for one that was computed."""

    source: str
    step: _Step | None

    def __new__(cls, value: int, source: str = "", step: _Step | None = None) -> Traced:
        """An int that was given (`source` says where it comes from), or computed (`step`)."""
        self = super().__new__(cls, value)
        self.source, self.step = source, step
        return self

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (int(self),)

    def __neg__(self) -> Traced:
        return _made("-", -int(self), (self,), sys._getframe(1))

    def bit_length(self) -> Traced:
        """As of any int; it remembers."""
        return _made("bit_length", int(self).bit_length(), (self,), sys._getframe(1))


def _operation(symbol: str, function: Callable[[int, int], Any], reflected: bool) -> Callable[[Traced, Any], Any]:
    def method(self: Traced, other: Any) -> Any:
        if not isinstance(other, int):
            return NotImplemented
        left, right = (other, self) if reflected else (self, other)
        if not isinstance(other, Traced) and (other == 0 or other == 1):
            neutral = _without(symbol, self, int(other), reflected)
            if neutral is not None:
                return neutral
        value = function(int(left), int(right))
        if not isinstance(value, int):  # to the power of a negative number
            return value
        return _made(symbol, value, (left, right), sys._getframe(1))

    return method


def _without(symbol: str, number: Traced, constant: int, reflected: bool) -> int | None:
    """The result of an operation that does nothing: + 0, · 1, // 1, or · 0."""
    if symbol == "·":
        return number if constant else 0
    if (symbol == "+" and not constant) or (not reflected and ((symbol == "-") != bool(constant)) and symbol in "-//"):
        return number
    return None


for _symbol, _name, _function in (
    ("+", "add", operator.add),
    ("-", "sub", operator.sub),
    ("·", "mul", operator.mul),
    ("//", "floordiv", operator.floordiv),
    ("%", "mod", operator.mod),
    ("^", "pow", operator.pow),
):
    setattr(Traced, f"__{_name}__", _operation(_symbol, _function, False))
    setattr(Traced, f"__r{_name}__", _operation(_symbol, _function, True))


def _made(symbol: str, value: int, operands: tuple[int, ...], caller: FrameType) -> Traced:
    """The result of an operation that `caller` does."""
    frame = caller
    while frame.f_code.co_name in _COMPREHENSIONS and frame.f_back is not None:
        frame = frame.f_back
    names = tuple(_name_in(frame, operand) if isinstance(operand, Traced) else None for operand in operands)
    return Traced(value, step=_Step(symbol, operands, names, frame))


def _name_in(frame: FrameType, number: Traced) -> str | None:
    """What a number is called in a function that did not compute it: a variable, an item of one, or its maker."""
    if number.step is not None:
        if number.step.frame is frame:
            return None  # part of the same formula
        if not any(outer is number.step.frame for outer in _callers(frame)):
            return _variable(frame, number, frame.f_code.co_argcount) or _call_name(number)
    return _variable(frame, number, None) or number.source or None


def _variable(frame: FrameType, number: Traced, count: int | None) -> str | None:
    """The variable that holds a number, or the sequence that does; only the first `count` if that is given."""
    inside: str | None = None
    for name in frame.f_code.co_varnames[:count]:
        value = frame.f_locals.get(name)
        if value is number:
            return name
        if inside is None and isinstance(value, (tuple, list)):
            inside = next((f"{name}[{i}]" for i, item in enumerate(value) if item is number), None)
    return inside


def _callers(frame: FrameType) -> Iterator[FrameType]:
    outer = frame.f_back
    while outer is not None:
        yield outer
        outer = outer.f_back


def _call_name(number: Traced) -> str:
    """The function that made a number; of a property of a tensor also the tensor."""
    assert number.step is not None
    code = number.step.frame.f_code
    if code.co_varnames[: code.co_argcount] == ("self",):
        tensors = {source.rpartition("[")[0] for source in _sources(number)}
        if len(tensors) == 1:
            return f"{tensors.pop()}.{code.co_name}"
    return code.co_name


def _sources(number: Traced) -> Iterator[str]:
    stack: list[int] = [number]
    while stack:
        found = stack.pop()
        if isinstance(found, Traced):
            if found.step is None:
                yield found.source
            else:
                stack.extend(found.step.operands)


def derive(name: str, value: int) -> Term:
    """How a number came about, to the last term."""
    if not isinstance(value, Traced):
        return Term(name=name, value=value)
    if value.step is None:
        return Term(name=name, value=int(value), formula=value.source)
    equation = _Equation()
    formula, numbers, _ = equation.written(value)
    return Term(
        name=name,
        value=int(value),
        formula=formula,
        numbers=numbers,
        function=_function_of(value.step.frame),
        where=tuple(derive(symbol, number) for symbol, number in equation.symbols()),
    )


Text = tuple[str, str, int]
"""A formula, the same with numbers, and how strongly it holds together."""


class _Equation:
    """Writes a number in terms of what the function that computed it was given."""

    def __init__(self) -> None:
        self._named: dict[int, tuple[str, Traced]] = {}
        self._taken: set[str] = set()

    def symbols(self) -> list[tuple[str, Traced]]:
        """What the names stand for, in order of their first use."""
        return list(self._named.values())

    def written(self, number: int, name: str | None = None) -> Text:
        """A number under its name, or else as the operation that made it."""
        if not isinstance(number, Traced):
            return f"{number:,}", f"{number:,}", _ATOM if number >= 0 else _UNARY
        if name is not None or number.step is None:
            symbol = self._symbol(number, name or number.source)
            return symbol, f"{number:,}", _ATOM if number >= 0 else _UNARY
        step = number.step
        if step.symbol in ("+", "·"):
            return self._chain(number, step.symbol)
        if len(step.operands) == 1:
            formula, numbers, strength = self.written(step.operands[0], step.names[0])
            if step.symbol == "-":
                return f"-{_held(formula, strength, _ATOM)}", f"-{_held(numbers, strength, _ATOM)}", _UNARY
            return f"{step.symbol}({formula})", f"{step.symbol}({numbers})", _ATOM
        (formula, numbers, strength), right = (
            self.written(*pair) for pair in zip(step.operands, step.names, strict=True)
        )
        needed = (_ADDITIVE, _MULTIPLICATIVE) if step.symbol == "-" else (_ATOM, _ATOM)
        formula = f"{_held(formula, strength, needed[0])} {step.symbol} {_held(right[0], right[2], needed[1])}"
        numbers = f"{_held(numbers, strength, needed[0])} {step.symbol} {_held(right[1], right[2], needed[1])}"
        return formula, numbers, _STRENGTH[step.symbol]

    def _symbol(self, number: Traced, name: str) -> str:
        """A name that no other number of this equation has."""
        if id(number) not in self._named:
            choices = [name, number.source or name, *(f"{name}′" + "′" * i for i in range(len(self._taken) + 1))]
            free = next(choice for choice in choices if choice not in self._taken)
            self._taken.add(free)
            self._named[id(number)] = free, number
        return self._named[id(number)][0]

    def _chain(self, number: Traced, symbol: str) -> Text:
        """A sum or product of any length; a factor that repeats is a power."""
        strength = _STRENGTH[symbol]
        texts = [self.written(operand, name) for operand, name in _operands(number, symbol)]
        runs = [(text, len(list(run))) for text, run in groupby(texts)]
        parts: list[tuple[str, str]] = []
        for (formula, numbers, held), times in runs:
            needed = strength if symbol == "+" else _ATOM
            pair = _held(formula, held, needed), _held(numbers, held, needed)
            if symbol == "·" and times > 3:
                pair = f"{_held(formula, held, _ATOM)}^{times}", f"{_held(numbers, held, _ATOM)}^{times}"
                times = 1
            parts.extend([pair] * times)
        if len(parts) > MOST_OPERANDS:
            parts = [*parts[: MOST_OPERANDS - 2], ("…", "…"), parts[-1]]
        formulas, numbers_ = zip(*parts, strict=True)
        return f" {symbol} ".join(formulas), f" {symbol} ".join(numbers_), strength


def _operands(number: Traced, symbol: str) -> list[tuple[int, str | None]]:
    """Operands of a chain of one operation, from left to right."""
    found: list[tuple[int, str | None]] = []
    stack: list[tuple[int, str | None]] = [(number, None)]
    while stack:
        operand, name = stack.pop()
        step = operand.step if isinstance(operand, Traced) and name is None else None
        if step is not None and step.symbol == symbol:
            stack.extend(reversed(list(zip(step.operands, step.names, strict=True))))
        else:
            found.append((operand, name))
    return found


def _held(text: str, strength: int, needed: int) -> str:
    """A part of a formula, in parentheses if it would fall apart."""
    return text if strength >= needed else f"({text})"


def function_of(function: Callable[..., Any], arguments: str = "") -> Function:
    """What can be said of a Python function."""
    function = unwrap(function)  # a formula of the user's, which a rule of ours asks
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return Function(getattr(function, "__name__", repr(function)), "", 0, "", "")
    return _described(code, getattr(function, "__globals__", {}), function.__doc__, arguments)


def _function_of(frame: FrameType) -> Function:
    given = []
    code, known = frame.f_code, frame.f_locals
    for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        value = known.get(name)
        if isinstance(value, (bool, int, float, str)):
            given.append(f"{name}={value:,}" if type(value) in (int, Traced) else f"{name}={value!r}")
        elif isinstance(value, (tuple, list)) and value and all(type(item) in (int, Traced) for item in value):
            given.append(f"{name}={tuple(map(int, value))}")
    return _described(code, frame.f_globals, None, ", ".join(given))


def _described(code: CodeType, names: dict[str, Any], doc: str | None, arguments: str) -> Function:
    """The docstring is that of the function, or else of the one that made it (a rule made from a table)."""
    maker = names.get(code.co_qualname.partition(".<locals>")[0])
    text = (doc or getattr(maker, "__doc__", None) or "").partition(">>>")[0]
    lines = [line.strip() for line in text.strip().splitlines()]
    body = " ".join(line for line in lines if line)
    summary, _, source = body.partition("Source: ")
    package = Path(__file__).parents[1]
    path = Path(code.co_filename)
    file = str(path.relative_to(package.parent)) if path.is_relative_to(package) else code.co_filename
    name = code.co_qualname.partition(".<locals>")[0]
    return Function(name, file, code.co_firstlineno, summary.strip(), source.strip(), arguments)
