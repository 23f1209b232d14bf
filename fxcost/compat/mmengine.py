"""`from mmengine.analysis import get_model_complexity_info` (0.10.7)."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..analyze import analyze
from ..conventions.fvcore import matmul, with_vectors
from .fvcore import ActivationCountAnalysis, FlopCountAnalysis, stats_table
from .statistics import format_size


class _Flops(FlopCountAnalysis):
    """With the rule by which the two tools differ."""

    table = with_vectors(matmul)


def get_model_complexity_info(
    model: nn.Module,
    input_shape: tuple[Any, ...] | None = None,
    inputs: Any = None,
    show_table: bool = True,
    show_arch: bool = True,
) -> dict[str, Any]:
    """Flops (MACs), activations and parameters, as integers and as strings, and two texts.

    `input_shape` is one shape or a tuple of shapes, without the batch, which is 1; `inputs` are given as they are.
    `out_table` is the tool's table, `out_arch` the model's representation with the figures of each module.

    Raises:
        ValueError: neither or both of `input_shape` and `inputs` are given, or the shapes can't be read.
    """
    report = analyze(model, _given(input_shape, inputs))
    figures = report.counts("mmengine")
    flops, activations = _Flops(model, None), ActivationCountAnalysis(model, None)
    flops.report = activations.report = report
    return {
        "flops": figures["flops"],
        "flops_str": format_size(figures["flops"]),
        "activations": figures["activations"],
        "activations_str": format_size(figures["activations"]),
        "params": figures["params"],
        "params_str": format_size(figures["params"]),
        "out_table": "\n" + _boxed(*stats_table(model, flops, activations, True).rows()) if show_table else "",
        "out_arch": "\n" + _architecture(model, flops, activations) if show_arch else "",
    }


def _given(input_shape: tuple[Any, ...] | None, inputs: Any) -> Any:
    if (input_shape is None) == (inputs is None):
        missing = 'One of "input_shape" and "inputs" should be set.'
        raise ValueError(missing if inputs is None else '"input_shape" and "inputs" cannot be both set.')
    if inputs is not None:
        return inputs if isinstance(inputs, tuple) else (inputs,)
    shapes = (input_shape,) if all(isinstance(size, int) for size in input_shape or ()) else input_shape
    if not all(isinstance(shape, tuple) and all(isinstance(n, int) for n in shape) for shape in shapes or ()):
        raise ValueError('"input_shape" should be either a `tuple of int` or a `tuple of tuple of int`.')
    return [(1, *shape) for shape in shapes or () if shape is not None]


def _boxed(headers: list[str], rows: list[list[str]]) -> str:
    """The tool's box of `+`, `-` and `|`."""
    widths = [max(len(row[i].rstrip()) for row in (headers, *rows)) for i in range(len(headers))]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    lines = ["| " + " | ".join(f"{text:<{w}}" for text, w in zip(row, widths, strict=True)) + " |" for row in rows]
    head = "| " + " | ".join(f"{text:<{w}}" for text, w in zip(headers, widths, strict=True)) + " |"
    return "\n".join([rule, head, rule, *lines, rule]) + "\n"


def _architecture(model: nn.Module, flops: FlopCountAnalysis, activations: ActivationCountAnalysis) -> str:
    """The model's representation, a line for each module, with its figures."""
    by_flops, by_activations = flops.by_module(), activations.by_module()
    lines = []
    for name, module in model.named_modules():
        depth = name.count(".") + 1 if name else 0
        figures = [("#params", sum(p.numel() for p in module.parameters())), ("#flops", by_flops[name])]
        figures.append(("#acts", by_activations[name]))
        text = ", ".join(f"{label}: {format_size(value)}" for label, value in figures if value)
        label = f"({name.rpartition('.')[2]}): " if name else ""
        lines.append(f"{'  ' * depth}{label}{type(module).__name__}{f'  {text}' if text else ''}")
    return "\n".join(lines)
