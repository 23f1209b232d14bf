"""The finished analysis: totals, sums by module, operator and family, and the views made from them.

A report only reads what capture, propagation and the rules recorded; it runs nothing. Making one is cheap: every sum
is made when it is first asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from os import PathLike
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .errors import UnknownNameError
from .experts import ExpertLayer, expert_assumptions, expert_layers
from .module_tree import ModuleCost, module_tree
from .parameters import ParameterTotals, add_up, params_by_dtype, unique_parameters
from .records import Cost, NodeCost, OpCost, ParameterRecord, Recording

if TYPE_CHECKING:
    import networkx as nx
    import torch

    from .conventions import Convention
    from .conventions.reconcile import Reconciliations
    from .conventions.seen import Seen
    from .memory import Memory
    from .training import Training

UNCOSTED_FAMILY = "uncosted"
"""The name under which :meth:`Report.by_family` adds up the traffic of operators that have no rule."""

Path = str | PathLike[str]


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """All runs of one operator, or of one family, added up."""

    name: str
    family: str
    count: int
    cost: Cost


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What a model costs. Numbers are exact Python ints and, where nothing else is said, those of the forward pass.

    `recording` is what was captured, `nodes` are the nodes of the graph with their prices, in execution order.
    """

    recording: Recording
    nodes: tuple[NodeCost, ...]
    training: Training | None = None
    """What a training step costs; only `analyze(…, training=True)` fills it in."""

    # Totals -----------------------------------------------------------------------------------------------------

    @cached_property
    def cost(self) -> Cost:
        """The total of all nodes."""
        return Cost.total(node.cost for node in self.nodes)

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.cost.macs

    @property
    def flops(self) -> int:
        """Floating-point operations: 2 × MACs + all others."""
        return self.cost.flops

    @property
    def transcendentals(self) -> int:
        """Exponentials, logarithms, roots and their like, which are among the FLOPs."""
        return self.cost.transcendentals

    @property
    def bytes_read(self) -> int:
        """Bytes that operators read."""
        return self.cost.bytes_read

    @property
    def bytes_written(self) -> int:
        """Bytes that operators write."""
        return self.cost.bytes_written

    @property
    def activations(self) -> int:
        """Elements of the tensors that operators produce, views excluded."""
        return self.cost.activations

    # Parameters -------------------------------------------------------------------------------------------------

    @cached_property
    def parameters(self) -> tuple[ParameterRecord, ...]:
        """Parameters and buffers, each piece of memory once, with all its names."""
        return unique_parameters(self.recording.parameters)

    @cached_property
    def parameter_totals(self) -> ParameterTotals:
        """Elements and bytes of parameters and buffers."""
        return add_up(self.parameters)

    @property
    def params(self) -> int:
        """Elements of the parameters; tied weights are one."""
        return self.parameter_totals.params

    @property
    def trainable_params(self) -> int:
        """Elements of the parameters that require a gradient."""
        return self.parameter_totals.trainable_params

    @property
    def buffers(self) -> int:
        """Elements of the buffers."""
        return self.parameter_totals.buffers

    @property
    def param_bytes(self) -> int:
        """Bytes of the parameters."""
        return self.parameter_totals.param_bytes

    @property
    def buffer_bytes(self) -> int:
        """Bytes of the buffers."""
        return self.parameter_totals.buffer_bytes

    @property
    def params_by_dtype(self) -> dict[str, int]:
        """Elements of the parameters by dtype: `{"float32": 25557032}`."""
        return params_by_dtype(self.parameters)

    @property
    def macs_by_dtype(self) -> dict[str, int]:
        """MACs by the dtype of the first numeric tensor that the contraction reads."""
        macs: Counter[str] = Counter()
        for op in self._operations():
            if op.cost.macs:
                names = (s.dtype_name for s in op.record.inputs if s.dtype_name != "bool")
                macs[next(names, "unknown")] += op.cost.macs
        return dict(macs)

    # Sums -------------------------------------------------------------------------------------------------------

    @cached_property
    def modules(self) -> Mapping[str, ModuleCost]:
        """Every module by its FQN, parents before children, with costs, parameters and calls."""
        return MappingProxyType(module_tree(self.recording, self.nodes, self.parameters))

    def by_module(self, *, own: bool = False) -> dict[str, Cost]:
        """Cost by module FQN, children included; "" is the root. A module used under many names stands under one.

        With `own=True` each module has only what ran in itself, outside its children: these add up to the total.
        """
        return {name: module.own if own else module.cost for name, module in self.modules.items()}

    def by_operator(self) -> dict[str, Cost]:
        """Cost by operator, such as "aten.convolution.default"; the values add up to the total."""
        return {entry.name: entry.cost for entry in self.operators}

    def by_family(self) -> dict[str, Cost]:
        """Cost by family of operators, such as "conv"; the values add up to the total."""
        return {entry.name: entry.cost for entry in self.families}

    @cached_property
    def operators(self) -> tuple[OperatorCost, ...]:
        """Every operator that ran, in order of its first run."""
        return _grouped(self._operations(), lambda op: str(op.record.op))

    @cached_property
    def families(self) -> tuple[OperatorCost, ...]:
        """Every family of operators that ran, in order of its first run."""
        return _grouped(self._operations(), lambda op: op.family or UNCOSTED_FAMILY)

    def cost_of(self, name: str) -> Cost:
        """The cost of a module, by any of its FQNs, or of a node, by its name; a module goes first.

        Raises:
            UnknownNameError: there is no such module or node; the message names the nearest.
        """
        module = self.modules.get(self.canonical(name))
        if module is not None:
            return module.cost
        for node in self.nodes:
            if node.name == name:
                return node.cost
        known = [*self.modules, *(node.name for node in self.nodes)]
        near = get_close_matches(name, known, n=5, cutoff=0.5)
        hint = f"did you mean {', '.join(map(repr, dict.fromkeys(near)))}?" if near else "by_module() lists the modules"
        raise UnknownNameError(f"{self.model_type} has no module or node named {name!r}; {hint}")

    def canonical(self, module: str) -> str:
        """The name under which a module's cost stands; another one only if the module is shared."""
        return self._canonical.get(module, module)

    # What the numbers rest on -----------------------------------------------------------------------------------

    @property
    def uncosted(self) -> dict[str, int]:
        """How often each operator ran without a rule; empty means that the report is complete."""
        return dict(Counter(str(op) for node in self.nodes for op in node.uncosted))

    @cached_property
    def costed_nodes(self) -> int:
        """How many nodes ran only operators that are costed or known to be free."""
        return sum(not node.uncosted for node in self.nodes)

    # Memory -----------------------------------------------------------------------------------------------------

    @cached_property
    def memory(self) -> Memory:
        """What the forward pass needs in memory: its peak, when it is reached, and by which tensors."""
        from .memory import forward_memory

        return forward_memory(self.recording)

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

    @property
    def model_type(self) -> str:
        """The class of the model."""
        return self.recording.model_type

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

    @cached_property
    def _canonical(self) -> dict[str, str]:
        return {alias: module.name for module in self.recording.modules for alias in module.aliases}

    def _operations(self) -> Iterator[OpCost]:
        for node in self.nodes:
            yield from node.operations


def _grouped(operations: Iterable[OpCost], key: Any) -> tuple[OperatorCost, ...]:
    """Operations added up by a key, in order of first appearance."""
    groups: dict[str, list[OpCost]] = {}
    for op in operations:
        groups.setdefault(key(op), []).append(op)
    return tuple(
        OperatorCost(name, runs[0].family or UNCOSTED_FAMILY, len(runs), Cost.total(run.cost for run in runs))
        for name, runs in groups.items()
    )


def _written(text: str, path: Path | None) -> str:
    """Write the text if a path is given, and return it."""
    if path is not None:
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    return text
