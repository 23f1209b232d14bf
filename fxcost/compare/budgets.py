"""Budgets that stand in a project's pyproject.toml: which models, on which inputs, within which limits.

One budget is the table `[tool.fxcost]` itself; several are `[tool.fxcost.budgets.NAME]`, which have what the former
says wherever they don't say otherwise. Keys are the options of `fxcost check` without their dashes. Paths count from
the folder of the file.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BudgetError, InputError
from ..text.amounts import LONGEST, parse_share
from ..text.words import shortened
from .limits import LIMITS, NAMES, unknown

if TYPE_CHECKING:
    from ..report import Report
    from .check import Check

MODEL_KEYS = ("model", "input", "batch", "arg", "train", "capture", "dtype", "real", "head", "training", "optimizer")
KEYS = (*MODEL_KEYS, *(name.replace("_", "-") for name in NAMES))
"""What a budget in pyproject.toml may say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A model with its inputs and limits. `inputs` are as on the command line; `limits` go to :func:`fxcost.check`.

    `folder` is where paths count from.
    """

    model: str
    name: str = ""
    inputs: tuple[str, ...] = ()
    batch: int | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    train: bool = False
    capture: str = "auto"
    dtype: str | None = None
    real: bool = False
    head: str = "auto"
    training: bool = False
    optimizer: str | float | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()

    def analyse(self) -> Report:
        """The report on the model.

        Raises:
            FxcostError: the model can't be built or analysed.
        """
        from ..analyze import analyze
        from ..model.inputs import parameter_dtype
        from ..sources.load import load
        from ..sources.shapes import parse_inputs, with_data

        if self.inputs and self.batch:
            raise BudgetError("batch is for the default inputs; give the batch size in input")
        with chdir(self.folder):
            train = self.train or self.training
            loaded = load(self.model, self.arguments, train=train, real=self.real, head=self.head)
            inputs = parse_inputs(self.inputs) if self.inputs else loaded.default_inputs(self.batch or 1)
            if self.real:
                inputs = with_data(inputs, parameter_dtype(loaded.model, None))
            report = analyze(
                loaded.model,
                inputs.args,
                inputs.kwargs,
                capture=self.capture,
                dtype=self.dtype,
                training=self.training,
                optimizer=self.optimizer,
            )
        return report.assuming(*loaded.notes)

    def check(self, report: Report | None = None) -> Check:
        """Check the model, or a report on it that is there already.

        Raises:
            BudgetError: as :func:`fxcost.check`.
            FxcostError: as :meth:`analyse`.
        """
        from .check import check

        found = self.analyse() if report is None else report
        with chdir(self.folder):
            return check(found, **self.limits)


def find_project(start: Path) -> Path:
    """The nearest pyproject.toml, in a folder or one above it, that has a table `[tool.fxcost]`.

    Raises:
        BudgetError: there is none.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        path = folder / "pyproject.toml"
        if os.path.isfile(path) and "fxcost" in _tools(path):
            return path
    raise BudgetError(f"no budget: there is no pyproject.toml with [tool.fxcost] in {start.resolve()} or above it")


def read_budgets(path: Path) -> dict[str, Budget]:
    """The budgets in a pyproject.toml by name; the one of `[tool.fxcost]` itself has the name "".

    Raises:
        BudgetError: the file can't be read, or says what no budget has.
    """
    given = _tools(path).get("fxcost", {})
    try:
        if not isinstance(given, dict):
            raise BudgetError(f"fxcost must be a table, [tool.fxcost], not {given!r}")
        table = dict(given)
        several = table.pop("budgets", {})
        budgets = dict(_budgets(table, several, path.resolve().parent))
        if not budgets:
            raise BudgetError("there is no model in [tool.fxcost], and no [tool.fxcost.budgets.NAME]")
    except BudgetError as error:
        raise BudgetError(f"{path}: {error}") from error.__cause__
    return budgets


def _budgets(table: dict[str, Any], several: Any, folder: Path) -> Iterator[tuple[str, Budget]]:
    if not isinstance(several, dict) or not all(isinstance(one, dict) for one in several.values()):
        raise BudgetError("budgets must be tables: [tool.fxcost.budgets.NAME]")
    if "model" in table or not several:
        yield "", _budget("", table, folder)
    for name, one in several.items():
        whole = {**table, **one}
        if "baseline" not in whole and "tolerance" not in one:
            whole.pop("tolerance", None)  # said once for all budgets, meant for those with a baseline
        yield name, _budget(name, whole, folder)


def _tools(path: Path) -> dict[str, Any]:
    """The tables of all tools in a pyproject.toml."""
    try:
        with open(path, "rb") as file:
            tools = tomllib.load(file).get("tool", {})
    except (OSError, ValueError, RecursionError) as error:
        raise BudgetError(f"cannot read {path}: {error}") from error
    return tools if isinstance(tools, dict) else {}


def _budget(name: str, table: Mapping[str, Any], folder: Path) -> Budget:
    """One budget from its table, whose keys may have dashes or underscores."""
    said = {key.replace("_", "-"): value for key, value in table.items()}
    where = f"[tool.fxcost.budgets.{name}]" if name else "[tool.fxcost]"
    if "model" not in said:
        raise BudgetError(f'{where} says no model; give model = "torchvision:resnet50" or the like')
    for key, value in said.items():
        _check(f"{where} {key}", key, value)
    inputs = said.get("input", ())
    return Budget(
        model=said["model"],
        name=name,
        inputs=(inputs,) if isinstance(inputs, str) else tuple(inputs),
        arguments=said.get("arg", {}),
        limits={key.replace("-", "_"): _limit(key, value) for key, value in said.items() if key not in MODEL_KEYS},
        folder=folder,
        **{key: said[key] for key in MODEL_KEYS if key in said and key not in ("model", "input", "arg")},
    )


def _check(where: str, key: str, value: Any) -> None:
    """Refuse a key that no budget has, and a value that it can't have."""
    if key not in KEYS:
        raise unknown(key, KEYS)
    fits, words = KINDS[key]
    if not fits(value):
        raise BudgetError(f"{where} must be {words}, not {shortened(repr(value), LONGEST)}")
    limit = LIMITS.get(key.removeprefix("max-").replace("-", "_"))
    try:
        if limit is not None:
            limit.parse(_limit(key, value))
        elif key == "tolerance":
            parse_share(value)
    except InputError as error:
        raise BudgetError(f"{where}: {error}") from error


def _limit(key: str, value: Any) -> Any:
    """A limit of 4.2e9, which TOML takes for a fraction, as a whole number."""
    return int(value) if key.startswith("max-") and isinstance(value, float) else value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _are_texts(value: Any) -> bool:
    return _is_text(value) or (isinstance(value, list) and all(map(_is_text, value)))


Kind = tuple[Callable[[Any], bool], str]
_TEXT: Kind = (_is_text, "a text")
_SWITCH: Kind = (lambda value: isinstance(value, bool), "true or false")
_AMOUNT: Kind = (lambda value: _is_text(value) or _is_number(value), "a number, or a text such as")
KINDS: Mapping[str, Kind] = {
    "model": (_is_text, 'a text such as "torchvision:resnet50"'),
    "input": (_are_texts, 'a text such as "1,3,224,224", or a list of them'),
    "batch": (lambda value: _is_number(value) and isinstance(value, int) and value > 0, "a whole number above 0"),
    "arg": (lambda value: isinstance(value, dict), "a table such as { width = 64 }"),
    "capture": (lambda value: value in ("auto", "symbolic", "concrete"), '"auto", "symbolic" or "concrete"'),
    "head": (lambda value: value in ("auto", "none"), '"auto" or "none"'),
    "optimizer": (_AMOUNT[0], f'{_AMOUNT[1]} "adamw"'),
    "tolerance": (_AMOUNT[0], f'{_AMOUNT[1]} "1%"'),
    **dict.fromkeys(("dtype", "baseline"), _TEXT),
    **dict.fromkeys(("train", "real", "training", "no-uncosted"), _SWITCH),
    **{
        f"max-{name.replace('_', '-')}": (_AMOUNT[0], f'{_AMOUNT[1]} "{limit.example}"')
        for name, limit in LIMITS.items()
    },
}
"""What each key may be: a test, and words for it."""
