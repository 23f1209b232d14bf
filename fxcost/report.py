"""The finished analysis: sums, memory, other tools' numbers, and the views made from them.

A report only reads what capture, propagation and the rules recorded; it runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from os.path import splitext
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .errors.arguments import checked
from .on_devices import OnDevices
from .text import files

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd
    import torch

    from .conventions import Convention
    from .conventions.reconcile import Reconciliations
    from .conventions.seen import Seen
    from .explain.explanation import Explanation
    from .formula.formula import Formula
    from .rules.registry import OpKey, Rule, RuleFunction
    from .speed.devices import Device

Path = str | PathLike[str]


@checked
@dataclass(frozen=True, eq=False, repr=False)
class Report(OnDevices):
    """What a model costs. Numbers are exact Python ints and, where nothing else is said, those of the forward pass.

    `recording` is what was captured, `nodes` are the nodes of the graph with their prices, in execution order.
    """

    def stored(self, weights: Any = None, kv: str | None = None) -> Report:
        """The report with its weights and caches stored in other formats: memory, traffic and roofline follow.

        Args:
            weights: a format for all matrices ("fp8", "int4:g128", "mxfp4", "q4_k" …), or formats by patterns of names,
                the first that matches: `{"*.experts.*": "mxfp4", "lm_head": "bf16"}`.
            kv: a format for caches that the run was given.

        Arithmetic stays as it is; :meth:`roofline` takes other peaks.

        Raises:
            InputError: there is no such format, it does not fit a shape, or a pattern fits no weight.
        """
        from .storage.stored import stored_report

        return stored_report(self, weights, kv)

    def assuming(self, *texts: str) -> Report:
        """The same report with more sentences under its assumptions; itself for none."""
        if not texts:
            return self
        return replace(self, recording=replace(self.recording, assumptions=(*self.recording.assumptions, *texts)))

    @cached_property
    def formula(self) -> Formula:
        """The numbers as formulas in the dims that were left open: `analyze(model, ("B", 3), dims={"B": Dim(1, 64)})`.

        Raises:
            FormulaError: no dim was left open, or no formula fits; the message says why.
        """
        from .formula.formula import Formula

        return Formula.given(self.formulas)

    @cached_property
    def graph(self) -> torch.fx.GraphModule:
        """The graph, every node carrying `meta["tensor_meta"]` and `meta["fxcost"]`, its :class:`NodeCost`.

        Raises:
            ReportFileError: the report was read from a file, which holds no graph.
        """
        from .capture.graph import to_graph_module

        return to_graph_module(self.recording, self.nodes)

    def explain(self, name: str = "", *, rules: Mapping[OpKey, RuleFunction | Rule] | None = None) -> Explanation:
        """How the cost of a module or node came about; prints as text.

        For each operator that ran: its rule, its formula with the numbers put in, where the formula comes from, and
        where each number comes from, down to the sizes of tensors. "" is the whole model.

        Args:
            name: a module, by any of its FQNs, or a node.
            rules: those that `analyze` was given.

        Raises:
            UnknownNameError: there is no such module or node; the message names the nearest.
            RuleError: the rules are not those that the report was made with.
        """
        from .explain.explain import explain

        return explain(self, name, rules)

    # Other tools' numbers ---------------------------------------------------------------------------------------

    def count(self, convention: str | Convention = "macs") -> int:
        """What another tool would print: its headline figure, MACs where it prints MACs and FLOPs.

        `convention` is a name (:func:`fxcost.conventions` lists them) or a :class:`fxcost.Convention` of your own.

        Raises:
            ConventionError: no such convention, or the tool itself refuses this model.
        """
        from .conventions import lookup

        return lookup(convention).count(self._seen)

    def counts(self, convention: str | Convention) -> dict[str, Any]:
        """All figures of a tool, by the tool's own names, the headline first.

        Raises:
            ConventionError: as :meth:`count`.
        """
        from .conventions import lookup

        return lookup(convention).counts(self._seen)

    def reconcile(self, *conventions: str | Convention) -> Reconciliations:
        """Why each tool's number differs from ours: terms that add up exactly; prints as a table for each tool.

        Raises:
            ConventionError: as :meth:`count`, or a convention counts neither MACs nor FLOPs.
        """
        from .conventions import lookup
        from .conventions.reconcile import reconcile

        return reconcile(self._seen, map(lookup, conventions))

    def compared(self, *conventions: str | Convention, format: str = "rounded_outline") -> str:  # noqa: A002
        """Each tool's figures and the table of :meth:`reconcile`, as text; a tool that refuses the model says why.

        Raises:
            ConventionError: no such convention.
        """
        from .conventions import lookup
        from .conventions.reconcile import compared

        return compared(self._seen, [lookup(convention) for convention in conventions], format)

    @cached_property
    def _seen(self) -> Seen:
        from .conventions.seen import Seen

        return Seen(self)

    # Views ------------------------------------------------------------------------------------------------------

    def table(
        self,
        by: str = "module",
        depth: int = 3,
        top: int | None = None,
        sort: str | None = None,
        columns: Sequence[str] | None = None,
        format: str = "rounded_outline",  # noqa: A002  tabulate's users know it by this name
        *,
        fold: bool = True,
        summary: bool = True,
    ) -> str:
        """A table as text, with the totals around it.

        Args:
            by: "module" (a tree), "node", "operator", "family", or "collective": what a rank of a sharded model sends.
            depth: how many levels of modules to show below the root.
            top: show only so many rows, the largest first.
            sort: a column to sort by, largest first; modules are then listed by FQN instead of as a tree.
            columns: which columns to show, in this order; :data:`fxcost.views.as_table.COLUMNS` has all.
            format: any format of the tabulate library, such as "github" or "html".
            fold: show a run of modules that are alike as one row with their sum.
            summary: also say what was analysed, the totals, what was not costed and what is assumed.

        Raises:
            UnknownNameError: `by`, `sort`, `format` or a column is not known; the message lists the choices.
        """
        from .views.as_table import table

        return table(
            self, by=by, depth=depth, top=top, sort=sort, columns=columns, format=format, fold=fold, summary=summary
        )

    def to_dict(self) -> dict[str, Any]:
        """The whole report as plain dicts, lists, strings and numbers, in a versioned layout."""
        from .views.as_json import to_dict

        return to_dict(self)

    def to_json(self, path: Path | None = None) -> str:
        """The report as JSON with exact integers; written to `path` if one is given."""
        from .views.as_json import to_json

        return _written(to_json(self), path)

    @classmethod
    def from_json(cls, source: Path) -> Report:
        """Read a report back that :meth:`to_json` wrote: a path, or the text itself. Only `graph` is not in it.

        Raises:
            InputError: `source` is neither a path nor text.
            ReportFileError: it can't be read, is no report, is broken, or its layout is of another version.
        """
        from .views.from_json import read_json

        return read_json(source, cls)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """Read a report back from what :meth:`to_dict` gave.

        Raises:
            ReportFileError: as :meth:`from_json`.
        """
        from .views.from_json import read_dict

        return read_dict(data, cls)

    def to_csv(self, path: Path | None = None) -> str:
        """The nodes as CSV with exact integers, one line each; written to `path` if one is given."""
        from .views.as_csv import to_csv

        return _written(to_csv(self), path)

    def to_dot(self, path: Path | None = None, *, collapse: int | None = None, fold: bool = True) -> str:
        """The graph in Graphviz's DOT language; written to `path` if one is given.

        Args:
            path: where to write.
            collapse: draw each module at this depth (children of the root are 1) as one box with all that is below
                it. None picks the deepest level that makes a readable picture; a large number draws every node.
            fold: draw a repeated block once, with the number of times. Where nothing else fits on a page, blocks of
                one structure and other sizes are one, too, which then says its sizes from the first to the last.
        """
        from .views.as_dot import to_dot

        return _written(to_dot(self, collapse=collapse, fold=fold), path)

    def to_html(self, path: Path | None = None, *, devices: Sequence[Device | str] = (), mode: str = "eager") -> str:
        """A page to look at: one file with everything inside, which works offline; written to `path` if one is given.

        It has totals, icicle and treemap, tables, the graph, formulas, memory over time and other tools' numbers; for
        each of `devices` the time that is estimated there in a `mode`, and the memory as that device reports it.

        Raises:
            DeviceError: as :meth:`estimate`.
            UnknownNameError: there is no such mode.
        """
        from .views.as_html import page

        return _written(page(self, devices=[self._told_of(device, mode) for device in devices]), path)

    def to_networkx(self) -> nx.DiGraph[str]:
        """The graph for networkx: nodes carry their cost, edges the tensors' bytes and shapes."""
        from .views.as_networkx import to_networkx

        return to_networkx(self)

    def to_svg(self, path: Path | None = None, *, collapse: int | None = None, fold: bool = True) -> str:
        """The graph of :meth:`to_dot`, drawn by Graphviz as SVG; written to `path` if one is given.

        Raises:
            MissingLibraryError: Graphviz is not installed.
            DrawingError: Graphviz failed.
        """
        from .views.as_graphviz import drawn

        return _written(drawn(self.to_dot(collapse=collapse, fold=fold), "svg").decode(), path)

    def to_png(self, path: Path | None = None, *, collapse: int | None = None, fold: bool = True) -> bytes:
        """The graph of :meth:`to_dot`, drawn by Graphviz as a PNG; written to `path` if one is given.

        Raises:
            MissingLibraryError: Graphviz is not installed.
            DrawingError: Graphviz failed.
        """
        from .views.as_graphviz import drawn

        picture = drawn(self.to_dot(collapse=collapse, fold=fold), "png")
        if path is not None:
            files.write(path, picture)
        return picture

    def to_markdown(self, path: Path | None = None, *, depth: int = 2) -> str:
        """Totals, the modules down to `depth`, families and memory as Markdown; written to `path` if one is given."""
        from .views.as_markdown import to_markdown

        return _written(to_markdown(self, depth), path)

    def card(self) -> str:
        """One line of Markdown for a model card or a README: what was analysed, and its totals."""
        from .views.as_markdown import card

        return card(self)

    def to_dataframe(self, by: str = "node") -> pd.DataFrame:
        """The numbers as a pandas DataFrame (the extra `fxcost[pandas]`), whose index is the name.

        Args:
            by: "node", "module", "operator", "family" or "parameter": what a row is. All but the last have a column for
                each number of a cost, exact (`macs`, `flops`, `bytes_read` …); shapes are tuples.

        Raises:
            MissingLibraryError: pandas is not installed.
            UnknownNameError: `by` is none of these.
        """
        from .views.as_dataframe import to_dataframe

        return to_dataframe(self, by)

    def to_speedscope(self, path: Path | None = None, weight: str = "flops", device: Device | str | None = None) -> str:
        """A flame graph of the modules for https://www.speedscope.app; written to `path` if one is given.

        Args:
            path: where to write.
            weight: the profile that it opens at: "flops", "macs", "bytes" or "activations"; all are in the file.
            device: also how long each node takes at least on a device, as :meth:`roofline` says: the weight "time".

        Raises:
            UnknownNameError: there is no such weight, or it is "time" and no device is given.
            DeviceError: there is no such device.
        """
        from .views.as_speedscope import to_speedscope

        return _written(to_speedscope(self, weight, device), path)

    def to_model_explorer(self, path: Path | None = None) -> str:
        """The graph for Model Explorer, in layers by module; written to `path` if one is given.

        Beside it are written the numbers by which Model Explorer colours nodes, a file for each: for `net.json`
        `net.flops.json`, `net.macs.json`, `net.bytes.json` and `net.activations.json`. To see them:
        `model-explorer net.json --node_data_paths net.flops.json`.
        """
        from .views.as_model_explorer import OVERLAYS, node_data, to_model_explorer

        if path is not None:
            stem, ending = splitext(path)
            for number in OVERLAYS:
                _written(node_data(self, number), f"{stem}.{number}{ending}")
        return _written(to_model_explorer(self), path)

    def __str__(self) -> str:
        from .views.as_table import printed

        return printed(self)

    def __repr__(self) -> str:
        from .views.summary import one_line

        return f"<Report: {one_line(self)}>"

    def _repr_html_(self) -> str:
        from .views.as_notebook import to_notebook

        return to_notebook(self)


def as_report(given: Report | Path) -> Report:
    """A report as it is, or read from a path or from JSON text.

    Raises:
        InputError, ReportFileError: as :meth:`Report.from_json`.
    """
    if isinstance(given, Report):
        return given
    if not isinstance(given, (str, PathLike)):
        kind = type(given).__name__
        raise InputError(f"give a report of fxcost.analyze, or a path or text of one, not {kind}")
    return Report.from_json(given)


def _written(text: str, path: Path | None) -> str:
    """Write the text if a path is given, and return it."""
    if path is not None:
        files.write(path, text)
    return text
