"""Model specs → models: `timm:NAME`, `torchvision:NAME`, `hf:TYPE_OR_FOLDER`, `file.py:Class`, `package.module:name`.

Nothing is downloaded and no weights are read: a model is its code and its configuration. Not here: what single
libraries call their models and feed them (sources/), and the analysis.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from ..errors import FxcostError, InputError, ModelLoadError
from . import SOURCES, Source, as_spec, no_inputs
from .python import at_home, find
from .shapes import Inputs

LARGE_FLOAT = 2**16
"""Floating-point tensors with more elements than this are built on meta."""
LARGE = 2**24
"""Other tensors with more elements than this are built on meta."""

_FACTORIES = {
    torch.empty, torch.empty_strided, torch.zeros, torch.ones, torch.full, torch.eye, torch.rand, torch.randn,
    torch.normal,
}  # fmt: skip
"""What parameters are made with. Other factories (arange, linspace, tensor) make tables, which stay real."""
_MOVES = {torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.cuda}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model and, where its library knows them, its default inputs."""

    name: str
    model: torch.nn.Module
    source: Source | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report on the model is to say under "Assumed"."""
        return () if self.source is None else self.source.notes(self.model)

    def default_inputs(self, batch: int = 1) -> Inputs:
        """What the model is fed where the user says nothing, `batch` samples at once.

        Raises:
            InputError: nothing is known of this model's inputs; the message names the arguments of its forward. Or
                none can be made for what its configuration says.
        """
        if self.source is None:
            return no_inputs(self.model, batch)
        try:
            return self.source.inputs(self.model, batch)
        except FxcostError:
            raise
        except Exception as error:  # a configuration may say anything
            reason = f"{type(error).__name__}: {error}"
            raise InputError(
                f"no default inputs for {self.name}, as it is configured ({reason}); give --input"
            ) from error


def load(
    spec: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    train: bool = False,
    real: bool = False,
    head: str = "auto",
) -> Loaded:
    """The model that `spec` names, built without weights.

    Args:
        spec: `timm:NAME`, `torchvision:NAME`, `hf:TYPE_OR_FOLDER`, `path/to/file.py:NAME` or `package.module:NAME`.
        arguments: keyword arguments for the class, the builder or the configuration.
        train: leave the model in training mode; else it is in eval mode.
        real: build every tensor on the CPU, not only small ones.
        head: "none" for a model of transformers without the head that it has.

    Raises:
        InputError: `head` is neither "auto" nor "none".
        ModelLoadError: no such model (with the nearest names), a library is missing, or building it failed.
    """
    prefix, colon, name = spec.partition(":")
    if not colon or not name or not prefix or "\0" in spec:
        near = as_spec(spec.strip(":"))
        hint = f"did you mean {' or '.join(near)}?" if near else f"give {FORMS}"
        raise ModelLoadError(f"{spec!r} names no model; {hint}")
    arguments = dict(arguments or {})
    source = SOURCES[prefix](name, arguments) if prefix in SOURCES else None
    if head not in HEADS:
        raise InputError(f"head={head!r}: choose from {', '.join(HEADS)}")
    if head == "none" and (source is None or source.bare is None):
        raise ModelLoadError(f"{spec} has no form without a head that fxcost knows; head='none' is for hf:NAME")
    if source is not None:
        model = build(spec, source.build if head == "auto" else source.bare or source.build, real=real)
    else:
        place, _, attribute = spec.rpartition(":")
        model = _from_python(spec, place, attribute, arguments, real)
    return Loaded(spec, model.train(train), source)


HEADS = ("auto", "none")
FORMS = "torchvision:NAME, timm:NAME, hf:TYPE_OR_FOLDER, file.py:NAME or package.module:NAME"


def build(spec: str, factory: Callable[[], Any], *, real: bool = False) -> torch.nn.Module:
    """Call `factory` for a model. The one place that decides on which device its tensors are.

    Large floating-point tensors (weights) are made on meta: they cost no memory and no time to initialise. Small
    ones, and all integer and boolean ones (index tables, masks), are real, since a model's control flow may hang on
    their values. Where such a mixture can't be built everything is on meta, or else on the CPU. Random numbers are
    drawn from a fixed seed, so that a model with random structure is the same each time, and the caller's generator
    is left as it was.

    Raises:
        ModelLoadError: the factory failed, or made something that is no module.
    """
    on_cpu = nullcontext()
    places: list[AbstractContextManager[Any]] = [on_cpu] if real else [LargeOnMeta(), _all_on_meta(), on_cpu]
    seen = ""
    for place in places:
        try:
            model = _build_at(place, factory)
        except FxcostError:
            raise
        except (Exception, SystemExit) as error:
            # The same error twice is not the place's fault, unless it is about meta tensors: then don't make all
            # weights on the CPU only to see it once more.
            if place is on_cpu or (repr(error) == seen and "meta" not in seen.lower()):
                reason = repr(error) if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"
                raise ModelLoadError(f"building {spec} failed: {reason}") from error
            seen = repr(error)
        else:
            break
    if not isinstance(model, torch.nn.Module):
        raise ModelLoadError(f"{spec} returned a {type(model).__name__}, not a torch.nn.Module")
    return model


def _build_at(place: AbstractContextManager[Any], factory: Callable[[], Any]) -> Any:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), place:
        torch.manual_seed(0)
        warnings.simplefilter("ignore")  # of initialisation, which plays no part
        return factory()


class LargeOnMeta(TorchFunctionMode):
    """While active, tensors that factories make go to meta if they are large; an explicit device is respected.

    What is on meta stays there: a factory that ends with `model.to(device)` works.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _MOVES and args[0].is_meta:
            return _stay(func, args, kwargs)
        if func not in _FACTORIES or kwargs.get("device") is not None or kwargs.get("out") is not None:
            return func(*args, **kwargs)
        if any(isinstance(a, torch.Tensor) for a in args):  # torch.normal(mean_tensor, ...)
            return func(*args, **kwargs)
        on_meta = func(*args, **{**kwargs, "device": "meta"})
        is_float = on_meta.is_floating_point() or on_meta.is_complex()
        large = on_meta.numel() > (LARGE_FLOAT if is_float else LARGE)
        return on_meta if large else func(*args, **kwargs)


@contextmanager
def _all_on_meta() -> Iterator[None]:
    """While active, all tensors are made on meta, and stay there."""
    with LargeOnMeta(), torch.device("meta"):
        yield


def _stay(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """`Tensor.to`, `.cpu` or `.cuda` of a tensor on meta, to which a new dtype alone is given."""
    tensor: torch.Tensor = args[0]
    asked = [*args[1:], *kwargs.values()] if func is torch.Tensor.to else []
    dtypes = [a.dtype if isinstance(a, torch.Tensor) else a for a in asked]
    return tensor.to(next((d for d in dtypes if isinstance(d, torch.dtype)), tensor.dtype))


def _from_python(spec: str, place: str, name: str, arguments: dict[str, Any], real: bool) -> torch.nn.Module:
    """A module, or what a class or factory makes, from a file or an importable module."""
    with at_home(place):
        found = find(place, name, SOURCES)
        if isinstance(found, torch.nn.Module):
            if arguments:
                raise ModelLoadError(f"{spec} is a module already built: it takes no --arg {next(iter(arguments))}")
            return found
        if not callable(found):
            raise ModelLoadError(f"{spec} is a {type(found).__name__}; give a class, a factory or a torch.nn.Module")
        _check_arguments(spec, found, arguments)
        return build(spec, partial(found, **arguments), real=real)


def _check_arguments(spec: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Say which arguments are missing or unknown before a half-built model does."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # built in C
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ModelLoadError(f"{spec}{signature}: {error}; give arguments as --arg NAME=VALUE") from error
