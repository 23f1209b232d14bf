"""How torchinfo 1.8.0 lays its table out: names of rows, columns, lines of totals. Knows nothing of models."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum

from ..errors import InputError
from ..text.choice import choose

TITLES = {
    "kernel_size": "Kernel Shape",
    "input_size": "Input Shape",
    "output_size": "Output Shape",
    "num_params": "Param #",
    "params_percent": "Param %",
    "mult_adds": "Mult-Adds",
    "trainable": "Trainable",
}
"""Every column, and its heading."""
SETTINGS = ("depth", "var_names", "ascii_only", "hide_recursive_layers")
"""What `row_settings` may hold."""
NEEDS_INPUT = frozenset(("input_size", "output_size", "mult_adds"))
_INDENT = 5


@dataclass(frozen=True, slots=True)
class Line:
    """One row: what it is called, and what stands in its columns; `inner` has a line for each parameter."""

    kind: str
    name: str
    depth: int
    number: int
    repeated: bool
    cells: dict[str, str]
    inner: tuple[tuple[str, dict[str, str]], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The options of the table."""

    depth: int = 3
    columns: tuple[str, ...] = ("output_size", "num_params")
    width: int = 25
    settings: Collection[str] = field(default=("depth",))
    verbose: int = 1

    def title(self, line: Line) -> str:
        """A row's name: "Conv2d (conv1): 1-1"."""
        name = line.kind
        if "var_names" in self.settings and line.name:
            name += f" ({line.name})"
        if "depth" in self.settings and line.depth > 0:
            name += f": {line.depth}-{line.number}"
        return name

    def start(self, depth: int) -> str:
        """The signs in front of a row's name."""
        plain = "ascii_only" in self.settings
        if depth < 2:
            return "" if not depth else "+ " if plain else "├─"
        return ("|    " if plain else "│    ") * (depth - 1) + ("+ " if plain else "└─")

    def table(self, lines: Sequence[Line], totals: Sequence[Sequence[str]]) -> str:
        """The whole text: heading, rows, and blocks of totals, each under a rule."""
        names = 40
        longest = max((len(self.title(line)) + line.depth * _INDENT + 1 for line in lines), default=0)
        if longest >= names:
            names = math.ceil(longest / _INDENT) * _INDENT
        rule = "=" * (len(self.columns) * self.width + names)

        def row(name: str, cells: dict[str, str]) -> str:
            texts = [f"{cells.get(column, ''):<{self.width}} " for column in self.columns]
            return f"{name:<{names}} {''.join(texts)}".rstrip()

        heading = f"Layer (type{' (var_name)' if 'var_names' in self.settings else ''}"
        heading += f"{':depth-idx' if 'depth' in self.settings else ''})"
        shown = [rule, row(heading, TITLES), rule]
        for line in lines:
            hidden = "hide_recursive_layers" in self.settings and line.repeated
            if line.depth <= self.depth and not hidden:
                shown.append(row(f"{self.start(line.depth)}{self.title(line)}", line.cells))
                if self.verbose == 2:
                    shown += [row(f"{self.start(line.depth + 1)}{name}", cells) for name, cells in line.inner]
        for block in totals:
            shown += [rule, *block]
        return "\n".join([*shown, rule])


def layout(
    depth: int,
    col_names: Sequence[str] | None,
    col_width: int,
    row_settings: Sequence[str] | None,
    verbose: int,
    *,
    has_input: bool,
) -> Layout:
    """The options as torchinfo takes them.

    Raises:
        UnknownNameError: a column or setting is not known.
        InputError: a width, a level of detail, or a column that needs inputs without any.
    """
    usual = ("output_size", "num_params") if has_input else ("num_params",)
    columns = usual if col_names is None else tuple(choose("column", str(name), tuple(TITLES)) for name in col_names)
    settings = tuple(choose("row setting", str(name), SETTINGS) for name in row_settings or ()) or ("depth",)
    if row_settings is not None and not row_settings:
        settings = ()
    if col_width <= 0:
        raise InputError(f"Column width must be greater than 0: col_width={col_width}")
    if verbose not in (0, 1, 2):
        raise InputError("Verbose must be either 0 (quiet), 1 (default), or 2 (verbose).")
    if not has_input and (lacking := NEEDS_INPUT.intersection(columns)):
        raise InputError(f"You must pass input_data or input_size in order to use columns: {sorted(lacking)}")
    return Layout(depth=depth, columns=columns, width=col_width, settings=settings, verbose=verbose)


class Units(str, Enum):  # noqa: UP042  how a str that is an enum reads in an f-string hangs on the Python
    """torchinfo's units. Since Python 3.11 it prints their names, "Units.GIGABYTES", where before it printed "G"."""

    MEGABYTES = "M"
    GIGABYTES = "G"
    TERABYTES = "T"


def readable(number: int, *, scaled: bool) -> str:
    """A total after its name: ": 25,557,032", or scaled ": 4.09" with its unit, as torchinfo prints it here."""
    if not scaled:
        return f": {number:,d}"
    large, huge = number >= 1e9, number >= 1e12
    unit, size = (Units.TERABYTES, 1e12) if huge else (Units.GIGABYTES, 1e9) if large else (Units.MEGABYTES, 1e6)
    value = number / size
    text = f"{int(value):,d}" if value.is_integer() else f"{value:,.2f}"
    return f" ({unit}): {text}"
