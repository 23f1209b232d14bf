"""The tables of fvcore and mmengine: parameters, flops and activations by module, repeated lines merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn


def format_size(x: float) -> str:
    """Three decimals at most, with a suffix from a tenth of its unit on.

    >>> format_size(118013952), format_size(9408), format_size(64)
    ('0.118G', '9.408K', '64')
    """
    for power, suffix in ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "K")):
        if abs(x) > 10 ** (power - 1):
            return f"{x / 10**power:.3f}".rstrip("0").rstrip(".") + suffix
    return str(x)


def parameter_count(model: nn.Module) -> dict[str, int]:
    """Elements of every parameter and, summed up, of every module that holds some; "" is the model."""
    found: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        for depth in range(len(parts) + 1):
            prefix = ".".join(parts[:depth])
            found[prefix] = found.get(prefix, 0) + parameter.numel()
    return found


@dataclass(frozen=True, slots=True)
class Column:
    """A statistic by module; modules in `uncalled` show nothing."""

    header: str
    by_module: Mapping[str, int]
    uncalled: frozenset[str] = frozenset()


class StatsTable:
    """Lines of the table: a tree of modules and parameters, with the texts of each column."""

    def __init__(self, model: nn.Module, columns: Iterable[Column], show_param_shapes: bool) -> None:
        header = "#parameters or shape" if show_param_shapes else "#parameters"
        self.columns = [Column(header, parameter_count(model)), *columns]
        shapes = {name: str(tuple(p.shape)) for name, p in model.named_parameters()}
        names = dict.fromkeys(name for column in self.columns for name in column.by_module)
        self._children: dict[str, list[str]] = {}
        for name in names:
            if name:
                self._children.setdefault(name.rpartition(".")[0], []).append(name)
        self._texts: dict[str, dict[str, str]] = {}
        self._keep("", shapes, show_param_shapes)

    def _keep(self, name: str, shapes: Mapping[str, str], show: bool) -> bool:
        """Make the texts of a line and those below; False if all of it is zero."""
        kept = [child for child in self._children.get(name, []) if self._keep(child, shapes, show)]
        values = {c.header: c.by_module[name] for c in self.columns if name in c.by_module}
        if name and not kept and not any(values.values()):
            return False
        self._children[name] = [child for child in kept if show or child not in shapes]
        texts = {header: format_size(value) for header, value in values.items()}
        for column in self.columns:
            if name in column.uncalled:
                texts[column.header] = ""
        if name in shapes:
            texts[self.columns[0].header] = shapes[name]
        self._texts[name] = texts
        return True

    def _merged(self, name: str) -> tuple[str, dict[str, str]]:
        """Follow a line whose only child says the same."""
        texts = self._texts[name]
        while len(children := self._children[name]) == 1:
            below = self._texts[children[0]]
            if texts.keys() != below.keys() or any(a != b and a and b for a, b in _pairs(texts, below)):
                break
            name, texts = children[0], {header: texts[header] or below[header] for header in texts}
        return name, texts

    def rows(self, max_depth: int = 3) -> tuple[list[str], list[list[str]]]:
        """Headers and lines, indented by depth."""
        headers = [column.header for column in self.columns]
        root, texts = self._merged("")
        made = [self._row(root or "model", texts, headers, 0)]
        shared = f"{root}." if root else ""

        def fill(name: str, depth: int) -> None:
            for child in self._children[name] if depth <= max_depth else []:
                full, texts = self._merged(child)
                made.append(self._row(full.removeprefix(shared), texts, headers, depth))
                fill(full, depth + 1)

        fill(root, 1)
        return ["module", *headers], made

    @staticmethod
    def _row(name: str, texts: Mapping[str, str], headers: list[str], depth: int) -> list[str]:
        indent = " " * depth
        return [indent + name, *(indent + texts[h] if h in texts else "" for h in headers)]


def _pairs(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterable[tuple[Any, Any]]:
    return ((a[key], b[key]) for key in a)
