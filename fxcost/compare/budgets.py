"""Budgets that stand in a project's pyproject.toml: which models, on which inputs, within which limits.

One budget is the table `[tool.fxcost]` itself; several are `[tool.fxcost.budgets.NAME]`, which have what the former
says wherever they don't say otherwise. Keys are the options of `fxcost check` without their dashes. Paths count from
the folder of the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BudgetError
from .limits import NAMES, unknown

if TYPE_CHECKING:
    from ..report import Report
    from .check import Check

MODEL_KEYS = ("model", "input", "batch", "arg", "train", "capture", "dtype", "real", "training", "optimizer")
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
            loaded = load(self.model, self.arguments, train=self.train or self.training, real=self.real)
            inputs = parse_inputs(self.inputs) if self.inputs else loaded.default_inputs(self.batch or 1)
            if self.real:
                inputs = with_data(inputs, parameter_dtype(loaded.model, None))
            return analyze(
                loaded.model,
                inputs.args,
                inputs.kwargs,
                capture=self.capture,
                dtype=self.dtype,
                training=self.training,
                optimizer=self.optimizer,
            )

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
        if path.is_file() and "fxcost" in _read(path).get("tool", {}):
            return path
    raise BudgetError(f"no budget: there is no pyproject.toml with [tool.fxcost] in {start.resolve()} or above it")


def read_budgets(path: Path) -> dict[str, Budget]:
    """The budgets in a pyproject.toml by name; the one of `[tool.fxcost]` itself has the name "".

    Raises:
        BudgetError: the file can't be read, or says what no budget has.
    """
    table = dict(_read(path).get("tool", {}).get("fxcost", {}))
    several = table.pop("budgets", {})
    try:
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


def _read(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except (OSError, ValueError) as error:
        raise BudgetError(f"cannot read {path}: {error}") from error


def _budget(name: str, table: Mapping[str, Any], folder: Path) -> Budget:
    """One budget from its table, whose keys may have dashes or underscores."""
    said = {key.replace("_", "-"): value for key, value in table.items()}
    for key in said:
        if key not in KEYS:
            raise unknown(key, KEYS)
    if not isinstance(said.get("model"), str):
        where = f"[tool.fxcost.budgets.{name}]" if name else "[tool.fxcost]"
        raise BudgetError(f'{where} says no model; give model = "torchvision:resnet50" or the like')
    inputs = said.get("input", ())
    arguments = said.get("arg", {})
    if not isinstance(arguments, dict):
        raise BudgetError(f"arg must be a table such as {{ width = 64 }}, not {arguments!r}")
    return Budget(
        model=said["model"],
        name=name,
        inputs=(inputs,) if isinstance(inputs, str) else tuple(map(str, inputs)),
        arguments=arguments,
        limits={key.replace("-", "_"): value for key, value in said.items() if key not in MODEL_KEYS},
        folder=folder,
        **{key: said[key] for key in MODEL_KEYS if key in said and key not in ("model", "input", "arg")},
    )
