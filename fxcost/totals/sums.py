"""What a model's nodes add up to: totals, and sums by module, operator and family.

Making a report is cheap: every sum is made when it is first asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from ..errors import InputError, UnknownNameError, nearest, shown
from ..errors.arguments import checked
from ..records.cost import Cost, NodeCost, OpCost
from ..records.recording import ParameterRecord, Recording, TensorSpec
from ..rules.registered import formula_assumptions
from .experts import ExpertLayer, expert_assumptions, expert_layers
from .module_tree import ModuleCost, module_tree
from .parameters import ParameterTotals, add_up, params_by_dtype, unique_parameters

UNCOSTED_FAMILY = "uncosted"
"""The name under which :meth:`Report.by_family` adds up the traffic of operators that have no rule."""


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """All runs of one operator, or of one family, added up."""

    name: str
    family: str
    count: int
    cost: Cost


@dataclass(frozen=True, eq=False, repr=False)
class Sums:
    """Numbers of a recording whose nodes are priced: exact Python ints, those of the forward pass.

    `recording` is what was captured, `nodes` are the nodes of the graph with their prices, in execution order.
    """

    recording: Recording
    nodes: tuple[NodeCost, ...]

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
        """MACs by the dtype in which they are done: that of the first numeric tensor that the contraction reads.

        With quantized weights that is their dtype; dynamically quantized layers quantize what they read as well.
        """
        macs: Counter[str] = Counter()
        for op in self._operations():
            if op.cost.macs:
                names = [s.dtype_name for s in op.record.inputs if s.dtype_name != "bool"]
                quantized = (name for name in names if name.startswith(("qint", "quint")))
                macs[next(quantized, names[0] if names else "unknown")] += op.cost.macs
        return dict(macs)

    # Sums -------------------------------------------------------------------------------------------------------

    @cached_property
    def modules(self) -> Mapping[str, ModuleCost]:
        """Every module by its FQN, parents before children, with costs, parameters and calls."""
        return MappingProxyType(module_tree(self.recording, self.nodes, self.parameters))

    @checked
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

    @checked
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
        near = nearest(name, known, n=5, cutoff=0.5)
        hint = f"did you mean {', '.join(map(repr, dict.fromkeys(near)))}?" if near else "by_module() lists the modules"
        raise UnknownNameError(f"{self.model_type} has no module or node named {shown(name)}; {hint}")

    def canonical(self, module: str) -> str:
        """The name under which a module's cost stands; another one only if the module is shared.

        Raises:
            InputError: it is no name.
        """
        try:
            return self._canonical.get(module, module)
        except TypeError:
            raise InputError(f"{shown(module)} is no name of a module") from None

    # What the numbers rest on -----------------------------------------------------------------------------------

    @property
    def capture(self) -> str:
        """How the graph was captured: "symbolic", "concrete", "real" or "given"."""
        return self.recording.capture

    @property
    def capture_reason(self) -> str:
        """Why the graph is not the symbolic one, which serves any shape; "" where it is, or was not asked for."""
        return self.recording.capture_reason

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Sentences that say what the numbers assume."""
        said = (*self.recording.assumptions, *expert_assumptions(self.expert_layers), *self._formulas)
        return (*said, _MASKED) if self._has_masks else said

    @cached_property
    def _has_masks(self) -> bool:
        """Whether attention was given a boolean mask as a tensor."""
        return any(
            len(op.record.args) > 3 and isinstance(mask := op.record.args[3], TensorSpec) and not mask.is_floating
            for op in self._operations()
            if op.family == "attention" and "scaled_dot_product_attention" in str(op.record.op)
        )

    @cached_property
    def _formulas(self) -> tuple[str, ...]:
        return tuple(formula_assumptions(op for node in self.nodes for op in node.operations))

    @cached_property
    def expert_layers(self) -> tuple[ExpertLayer, ...]:
        """The mixture-of-experts layers that ran; empty for dense models, and for a rank, which has a part of them."""
        return expert_layers(self.recording) if self.recording.rank is None else ()

    @property
    def active_params(self) -> int:
        """Parameters that a token uses: all but those of the experts that it does not go to."""
        return self.params - sum(layer.idle_params for layer in self.expert_layers)

    # Coverage ----------------------------------------------------------------------------------------------------

    @property
    def uncosted(self) -> dict[str, int]:
        """How often each operator ran without a rule; empty means that the report is complete."""
        return dict(Counter(str(op) for node in self.nodes for op in node.uncosted))

    @cached_property
    def costed_nodes(self) -> int:
        """How many nodes ran only operators that are costed or known to be free."""
        return sum(not node.uncosted for node in self.nodes)

    @property
    def model_type(self) -> str:
        """The class of the model."""
        return self.recording.model_type

    @cached_property
    def _canonical(self) -> dict[str, str]:
        return {alias: module.name for module in self.recording.modules for alias in module.aliases}

    def _operations(self) -> Iterator[OpCost]:
        for node in self.nodes:
            yield from node.operations


_MASKED = (
    "attention with a mask that is a tensor counts all places, those that it throws away too: paddings, what a static "
    "cache has room for, tokens outside of a window"
)


def _grouped(operations: Iterable[OpCost], key: Any) -> tuple[OperatorCost, ...]:
    """Operations added up by a key, in order of first appearance."""
    groups: dict[str, list[OpCost]] = {}
    for op in operations:
        groups.setdefault(key(op), []).append(op)
    return tuple(
        OperatorCost(name, runs[0].family or UNCOSTED_FAMILY, len(runs), Cost.total(run.cost for run in runs))
        for name, runs in groups.items()
    )
