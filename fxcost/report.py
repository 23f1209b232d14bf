"""The finished analysis: sums, memory, other tools' numbers, and the views made from them.

A report only reads what capture, propagation and the rules recorded; it runs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

from .experts import ExpertLayer, expert_assumptions, expert_layers
from .sums import Sums

if TYPE_CHECKING:
    import networkx as nx
    import torch

    from .conventions import Convention
    from .conventions.reconcile import Reconciliations
    from .conventions.seen import Seen
    from .memory import Memory
    from .training import Training

Path = str | PathLike[str]


@dataclass(frozen=True, eq=False, repr=False)
class Report(Sums):
    """What a model costs. Numbers are exact Python ints and, where nothing else is said, those of the forward pass.

    `recording` is what was captured, `nodes` are the nodes of the graph with their prices, in execution order.
    """

    training: Training | None = None
    """What a training step costs; only `analyze(…, training=True)` fills it in."""

    # What the numbers rest on -----------------------------------------------------------------------------------

    @property
    def capture(self) -> str:
        """How the graph was captured: "symbolic", "concrete", "real" or "given"."""
        return self.recording.capture

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Sentences that say what the numbers assume."""
        return (*self.recording.assumptions, *expert_assumptions(self.expert_layers))

    @cached_property
    def expert_layers(self) -> tuple[ExpertLayer, ...]:
        """The mixture-of-experts layers that ran; empty for dense models."""
        return expert_layers(self.recording)

    @property
    def active_params(self) -> int:
        """Parameters that a token uses: all but those of the experts that it does not go to."""
        return self.params - sum(layer.idle_params for layer in self.expert_layers)

    @cached_property
    def memory(self) -> Memory:
        """What the forward pass needs in memory: its peak, when it is reached, and by which tensors."""
        from .memory import forward_memory

        return forward_memory(self.recording)

    @cached_property
    def graph(self) -> torch.fx.GraphModule:
        """The graph, every node carrying `meta["tensor_meta"]` and `meta["fxcost"]`, its :class:`NodeCost`."""
        from .graph import to_graph_module

        return to_graph_module(self.recording, self.nodes)

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
            by: "module" (a tree), "node", "operator" or "family".
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
            fold: draw a repeated block once, with the number of times.
        """
        from .views.as_dot import to_dot

        return _written(to_dot(self, collapse=collapse, fold=fold), path)

    def to_networkx(self) -> nx.DiGraph[str]:
        """The graph for networkx: nodes carry their cost, edges the tensors' bytes and shapes."""
        from .views.as_networkx import to_networkx

        return to_networkx(self)

    def __str__(self) -> str:
        from .views.as_table import printed

        return printed(self)

    def __repr__(self) -> str:
        from .views.summary import one_line

        return f"<Report: {one_line(self)}>"

    def _repr_html_(self) -> str:
        from .views.as_table import printed

        return printed(self, format="html")

    # ------------------------------------------------------------------------------------------------------------


def _written(text: str, path: Path | None) -> str:
    """Write the text if a path is given, and return it."""
    if path is not None:
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    return text
