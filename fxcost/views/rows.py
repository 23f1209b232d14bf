"""What tables show, before it is laid out: one record per module, node, operator or family."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..records.cost import Cost
from ..records.recording import TensorSpec
from ..totals.module_tree import ModuleCost
from ..totals.parameters import ParameterTotals
from ..totals.sums import OperatorCost, Sums

MOST_OPERATORS = 3
"""How many operators the label of a module's own row names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row. `name` identifies it, `label` is how a reader sees it, `indent` its place in a tree."""

    name: str
    label: str
    cost: Cost
    indent: str = ""
    type_name: str = ""
    kind: str = ""
    operation: str = ""
    family: str = ""
    module: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    calls: int | None = None
    parameters: ParameterTotals | None = None


def rows_of(report: Sums, by: str, *, depth: int, fold: bool, tree: bool) -> list[Row]:
    """The rows of a table by "module", "node", "operator" or "family", in natural order.

    `tree` labels modules by their place below their parents and shows what they do themselves apart.
    """
    if by == "node":
        return node_rows(report)
    if by == "module":
        return module_rows(report, depth=depth, fold=fold) if tree else flat_module_rows(report, depth=depth)
    return [_group_row(entry) for entry in (report.operators if by == "operator" else report.families)]


def node_rows(report: Sums) -> list[Row]:
    """One row per node in execution order."""
    return [
        Row(
            name=node.name,
            label=node.name,
            cost=node.cost,
            kind=node.kind,
            operation=operation_name(report, node.kind, node.target),
            family=", ".join(dict.fromkeys(op.family or "uncosted" for op in node.operations)),
            module=node.module,
            inputs=node.inputs,
            outputs=node.outputs,
        )
        for node in report.nodes
    ]


def operation_name(report: Sums, kind: str, target: str) -> str:
    """What a node calls: the class of its module, or the name of its function."""
    module = report.modules.get(report.canonical(target)) if kind == "call_module" else None
    if module is not None and module.type_name:
        return module.type_name
    return target if kind.startswith("call_") else kind


def _group_row(entry: OperatorCost) -> Row:
    label = f"{entry.name} (not costed)" if entry.family == "uncosted" and entry.name != "uncosted" else entry.name
    return Row(name=entry.name, label=label, cost=entry.cost, family=entry.family, calls=entry.count)


def flat_module_rows(report: Sums, *, depth: int) -> list[Row]:
    """Every module down to `depth` by its FQN, children included in each."""
    return [
        _module_row(module, flat_label(module) or report.model_type, 1)
        for module in report.modules.values()
        if module.depth <= depth
    ]


@dataclass(frozen=True, slots=True)
class _Branch:
    """Modules that are alike, still to be shown: `times` counts them with the folds around them."""

    run: tuple[ModuleCost, ...]
    times: int
    calls_above: int
    indent: str
    below: str


def module_rows(report: Sums, *, depth: int, fold: bool) -> list[Row]:
    """The module tree. Under each module stand its children and a row for what it does itself: they add up to it.

    With `fold` a run of children that are alike and numbered in sequence is one row with their sum.
    """
    root = report.modules[""]
    rows: list[Row] = []
    stack: list[_Branch | Row] = [_Branch((replace(root, type_name=""),), 1, root.calls, "", "")]
    while stack:
        entry = stack.pop()
        if isinstance(entry, Row):
            rows.append(entry)
            continue
        module = entry.run[0]
        label = run_label(entry.run, entry.calls_above) or report.model_type
        rows.append(replace(_module_row(module, label, entry.times), indent=entry.indent))
        if module.depth < depth:
            stack.extend(reversed(_below(report, entry, fold)))
    return rows


def _below(report: Sums, entry: _Branch, fold: bool) -> list[_Branch | Row]:
    """The children of a module in runs, then its own work if it has both."""
    module = entry.run[0]
    runs = runs_of([report.modules[child] for child in module.children], fold)
    has_own = bool(runs) and (module.own != Cost() or module.own_parameters != ParameterTotals())
    branches: list[_Branch | Row] = []
    for i, run in enumerate(runs):
        is_last = i == len(runs) - 1 and not has_own
        tick, bar = ("└ ", "  ") if is_last else ("├ ", "│ ")
        times = entry.times * len(run)
        branches.append(_Branch(run, times, module.calls, entry.below + tick, entry.below + bar))
    if has_own:
        branches.append(replace(_own_row(module, entry.times), indent=entry.below + "└ "))
    return branches


def runs_of(modules: Sequence[ModuleCost], fold: bool) -> list[tuple[ModuleCost, ...]]:
    """Neighbours that are alike and numbered in sequence together, all others alone."""
    runs: list[tuple[ModuleCost, ...]] = []
    for module in modules:
        if fold and runs and runs[-1][-1].likeness == module.likeness and follows(runs[-1][-1], module):
            runs[-1] += (module,)
        else:
            runs.append((module,))
    return runs


def follows(before: ModuleCost, module: ModuleCost) -> bool:
    """True for names such as "block_2" and "block_3"."""
    stem, number = stem_and_number(before.local_name)
    return number is not None and stem_and_number(module.local_name) == (stem, number + 1)


def stem_and_number(name: str) -> tuple[str, int | None]:
    """A name without the number at its end, and that number.

    >>> stem_and_number("encoder_layer_11"), stem_and_number("fc")
    (('encoder_layer_', 11), ('fc', None))
    """
    stem = name.rstrip("0123456789")
    digits = name[len(stem) :]
    return stem, int(digits) if digits and digits.isascii() and str(int(digits)) == digits else None


def run_name(names: Sequence[str]) -> str:
    """One name for a run of names in sequence.

    >>> run_name(["1", "2", "3"]), run_name(["layer_0", "layer_1"]), run_name(["fc"])
    ('1–3', 'layer_0–1', 'fc')
    """
    return names[0] if len(names) == 1 else f"{names[0]}–{stem_and_number(names[-1])[1]}"


def stepped_name(first: str, last: str, times: int) -> str:
    """One name for a run of so many names; where they do not follow each other, the second is named too.

    A single one of these (`times` is 1) stands in a pattern that is repeated around it.

    >>> stepped_name("0", "3", 4), stepped_name("0", "396", 199), stepped_name("block_1", "block_9", 3)
    ('0–3', '0, 2 … 396', 'block_1, block_5 … 9')
    >>> stepped_name("0", "396", 1), stepped_name("block3a", "block3b", 2), stepped_name("conv", "head", 2)
    ('0 … 396', 'block3a … 3b', 'conv … head')
    """
    (stem, low), (other, high) = stem_and_number(first), stem_and_number(last)
    if low is None or high is None or stem != other:
        return f"{first} … {last[len(_before_digits(first, last)) :]}"
    if times < 2:
        return f"{first} … {high}"
    if (high - low) % (times - 1):
        return run_name([first, last])
    step = (high - low) // (times - 1)
    return run_name([first, last]) if step < 2 else f"{first}, {stem}{low + step} … {high}"


def _before_digits(first: str, last: str) -> str:
    """What both names begin with, if a digit follows in both."""
    stems = [re.split(r"\d", name, maxsplit=1)[0] for name in (first, last) if re.search(r"\d", name)]
    return stems[0] if len(set(stems)) == 1 and len(stems) == 2 else ""


def flat_label(module: ModuleCost) -> str:
    """A module's FQN and class; "" for the root."""
    return f"{module.name} ({module.type_name})" if module.name and module.type_name else module.name


def run_label(run: Sequence[ModuleCost], calls_above: int = 1) -> str:
    """A module's local name and class, how many alike are meant, and how often a shared one is used."""
    module = run[0]
    label = run_name([m.local_name for m in run])
    if module.type_name:
        label += f" ({module.type_name})"
    if len(run) > 1:
        label += f" ×{len(run)}"
    if module.calls > max(calls_above, 1):
        label += f", used {module.calls}×"
    return label


def _module_row(module: ModuleCost, label: str, times: int) -> Row:
    return Row(
        name=module.name,
        label=label,
        cost=module.cost * times,
        type_name=module.type_name,
        module=module.name,
        outputs=module.outputs,
        calls=module.calls * times,
        parameters=module.parameters * times,
    )


def _own_row(module: ModuleCost, times: int) -> Row:
    return Row(
        name=module.name,
        label=own_label(module),
        cost=module.own * times,
        module=module.name,
        parameters=module.own_parameters * times,
    )


def own_label(module: ModuleCost) -> str:
    """What a module does outside its children, by its operators: "[add_, flatten]"."""
    operators = list(dict.fromkeys(name.split(".")[-2] if "." in name else name for name in module.own_operators))
    more = ["…"] * (len(operators) > MOST_OPERATORS)
    held = "parameters" if module.own_parameters.params else "buffers"
    return f"[{', '.join(operators[:MOST_OPERATORS] + more) or held}]"
