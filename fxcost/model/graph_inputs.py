"""Inputs of a traced graph from what was left on its nodes: `ShapeProp`'s `tensor_meta`, or fake tensors in `val`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx

from ..errors import InputError
from .inputs import spec


def inputs_left(graph: fx.GraphModule) -> list[Any]:
    """For each placeholder what `meta["val"]` or `meta["tensor_meta"]` says of it.

    A placeholder with a default value that has neither, and all after it, are left out.

    Raises:
        InputError: a placeholder has neither and no default value, or a size in it is a symbol.
    """
    found: list[Any] = []
    for node in graph.graph.nodes:
        if node.op != "placeholder":
            continue
        left = next((node.meta[key] for key in ("val", "tensor_meta") if node.meta.get(key) is not None), None)
        if left is None and node.args:
            break
        if left is None:
            raise InputError(
                f"give inputs: nothing says what shape the placeholder {node.name!r} has. Run "
                "torch.fx.passes.shape_prop.ShapeProp(graph_module).propagate(…) before, or pass them: "
                "analyze_graph(graph_module, (1, 3, 224, 224))"
            )
        found.append(_described(left, node.name))
    return found


def _described(left: Any, name: str) -> Any:
    """A spec for each tensor or its metadata; other values as they are."""
    if isinstance(left, tuple) and hasattr(left, "shape") and hasattr(left, "dtype"):  # TensorMetadata
        return _spec(left.shape, left.dtype, name)
    if isinstance(left, torch.Tensor):
        return _spec(left.shape, left.dtype, name)
    if isinstance(left, Mapping):
        return {key: _described(value, name) for key, value in left.items()}
    if isinstance(left, (tuple, list)):
        return type(left)(_described(value, name) for value in left)
    return left


def _spec(shape: Any, dtype: torch.dtype, name: str) -> Any:
    if not all(isinstance(size, int) for size in shape):
        raise InputError(
            f"the placeholder {name!r} has a size that is a symbol ({tuple(shape)}): give inputs with sizes, or with "
            'names as analyze takes them, ("B", 3)'
        )
    return spec(*shape, dtype=dtype)
