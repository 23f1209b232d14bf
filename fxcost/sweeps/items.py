"""What a sweep runs over: specs, patterns, pairs and dicts → items, each with a name of its own.

An item is a recipe: its model is built where it is measured. Not here: building and measuring (rows.py).
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import Any

import torch
from torch import nn

from ..analyze import analyze
from ..errors import InputError
from ..model.inputs import InputSpec, is_shape, tensors_in
from ..sources import matching


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One model to measure, on one set of inputs.

    `model` is a spec, a class or function that makes a model (called with `arguments`), or a model. Without `inputs`
    and `kwargs` it gets its default inputs, `batch` samples at once. With `real` its weights are real, if it is built
    here, and noise is put in place of default inputs and specs. `options` go to :func:`fxcost.analyze`.
    """

    name: str
    model: Any
    arguments: Mapping[str, Any] = field(default_factory=dict)
    inputs: Any = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    batch: int | None = None
    train: bool = False
    real: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def given(self) -> bool:
        """True if the inputs are given; else the model's default ones are meant."""
        return self.inputs is not None or bool(self.kwargs)

    @property
    def repeatable(self) -> bool:
        """True if its name says all there is to it, so that a second item of that name is the same."""
        return isinstance(self.model, str) and not any(True for _ in tensors_in((self.inputs, dict(self.kwargs))))


_FIELDS = tuple(f.name for f in dataclasses.fields(Item) if f.name != "options")
_OPTIONS = tuple(n for n in inspect.signature(analyze).parameters if n not in ("model", "inputs", "kwargs"))


def items_of(given: Any, common: Mapping[str, Any]) -> list[Item]:
    """All items, patterns written out, in order. What is given twice is there once; equal names are numbered.

    Args:
        given: a spec or pattern, a model, a pair or dict, or an iterable of these.
        common: what holds for every item that does not say otherwise.

    Raises:
        InputError: something is no item, or has a part that an item does not have.
        ModelLoadError: no model matches a pattern.
    """
    alone = isinstance(given, (str, nn.Module, Mapping)) or not isinstance(given, Iterable)
    found: dict[str, Item] = {}
    for one in [given] if alone else given:
        for item in _written_out(one, common):
            if item.name not in found:
                found[item.name] = item
            elif not (item.repeatable and found[item.name].repeatable):
                number = next(n for n in range(2, len(found) + 3) if f"{item.name} #{n}" not in found)
                found[f"{item.name} #{number}"] = dataclasses.replace(item, name=f"{item.name} #{number}")
    return list(found.values())


def _written_out(given: Any, common: Mapping[str, Any]) -> Iterator[Item]:
    parts = {**common, **_parts(given)}
    model = parts.get("model")
    for one in matching(model) if isinstance(model, str) else [model]:
        yield _item({**parts, "model": one})


def _parts(given: Any) -> dict[str, Any]:
    """The parts of one item by name."""
    if isinstance(given, Mapping):
        if "model" not in given:
            raise InputError(f"an item has no model: {_text(given)}; give {{'model': …, 'inputs': …}}")
        return dict(given)
    if isinstance(given, (tuple, list)):
        if len(given) != 2:
            raise InputError(f"an item is a model, a pair (model, inputs) or a dict, not {_text(given)}")
        return {"model": given[0], "inputs": given[1]}
    return {"model": given}


def _item(parts: dict[str, Any]) -> Item:
    for key in parts:
        if key not in (*_FIELDS, *_OPTIONS):
            near = get_close_matches(key, [*_FIELDS, *_OPTIONS], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join((*_FIELDS, *_OPTIONS))}"
            raise InputError(f"an item of a sweep has no {key!r}; {hint}")
    if not (isinstance(parts["model"], (str, torch.export.ExportedProgram)) or callable(parts["model"])):
        raise InputError(f"{parts['model']!r} is no model: give a spec, a class, a function that makes one, or one")
    options = {key: parts.pop(key) for key in _OPTIONS if key in parts}
    name = parts.pop("name", None)
    item = Item(name="", **parts, options=options)
    if item.batch is not None and item.given:
        raise InputError("batch is for the default inputs; give the batch size in inputs")
    return dataclasses.replace(item, name=str(name) if name is not None else _described(item))


# What items are called ------------------------------------------------------------------------------------------------


def _described(item: Item) -> str:
    """The item in one line: its model and whatever else is said of it."""
    words = [model_name(item.model), *_pairs(item.arguments)]
    words += [f"batch={item.batch}"] if item.batch is not None else []
    words += [described_inputs(item.inputs, item.kwargs)] if item.given else []
    words += [word for word, asked in (("train", item.train), ("real", item.real)) if asked]
    return " ".join(filter(None, [*words, *_pairs(item.options)]))


def model_name(model: Any) -> str:
    """A spec itself; else the name of the class or function, with the arguments that are bound to it.

    >>> model_name("timm:resnet18"), model_name(nn.ReLU()), model_name(partial(nn.Linear, 3, bias=False))
    ('timm:resnet18', 'ReLU', 'Linear 3 bias=False')
    """
    if isinstance(model, str):
        return model
    if isinstance(model, partial):
        return " ".join([model_name(model.func), *map(_text, model.args), *_pairs(model.keywords)])
    is_instance = isinstance(model, nn.Module) or not hasattr(model, "__qualname__")
    return type(model).__name__ if is_instance else str(model.__qualname__)


def described_inputs(inputs: Any, kwargs: Mapping[str, Any]) -> str:
    """Inputs as the command line takes them.

    >>> described_inputs([(1, 3, 8, 8), torch.ones(1, 4, dtype=torch.int64)], {"flag": True})
    '1,3,8,8 1,4:int64 flag=True'
    """
    if isinstance(inputs, Mapping):
        return " ".join(_pairs({**inputs, **kwargs}))
    several = isinstance(inputs, (tuple, list)) and not is_shape(inputs)
    positional = inputs if several else [] if inputs is None else [inputs]
    return " ".join([*map(_text, positional), *_pairs(kwargs)])


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{key}={_text(value)}" for key, value in values.items()]


def _text(value: Any) -> str:
    """A value in a name: the same in every process, so no address of an object in it."""
    if isinstance(value, torch.Tensor):
        return f"{','.join(map(str, value.shape))}:{_text(value.dtype)}"
    if isinstance(value, InputSpec):
        return ",".join(map(str, value.shape)) + (f":{_text(value.dtype)}" if value.dtype is not None else "")
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if is_shape(value):
        return ",".join(map(str, value))
    if isinstance(value, Mapping):
        return "{" + "; ".join(_pairs(value)) + "}"
    if isinstance(value, (tuple, list)):
        return "[" + "; ".join(map(_text, value)) + "]"
    if value is None or isinstance(value, (str, int, float)):
        return str(value)
    return model_name(value)
