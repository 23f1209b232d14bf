"""Text generation with a model: a prompt, then token by token, from the model's own graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import InputError, shown
from ..errors.arguments import checked
from ..model.inputs import as_float_dtype
from ..storage.formats import named
from .bounds import Bounds, bounds
from .models import served
from .own import OwnSteps
from .plan import Plan
from .steps import Steps
from .work import touched

if TYPE_CHECKING:
    from ..speed.devices import Device

Inputs = Callable[[int, int, int], Any]
"""(new, have, batch) → what an own model is called with in such a step, its cache included."""
ATTENTIONS, CACHES = ("fused", "as written"), ("in-place", "as written")


class Generation(Plan):
    """A prompt and the tokens after it, for `batch` requests at once. Made by :func:`fxcost.generation`."""

    def bounds(self, device: Device | str, devices: int = 1, peak: Any = None, reserve: Any = 0) -> Bounds:
        """What no engine can beat on a device: time to the first token, time of each further one, tokens a second.

        Args:
            device: a :class:`fxcost.Device`, or the name of a known one.
            devices: how many share the work evenly; what they tell each other is not counted.
            peak: the peaks to reckon with: a dtype, or `{"matmul": "float8", "attention": "bfloat16"}`. By default the
                fastest in which an engine could compute with weights stored so.
            reserve: bytes of each device, or text, that are not for weights and caches.

        Raises:
            DeviceError: there is no such device, or it has no such peak.
            InputError: the batch does not fit into memory.
        """
        return bounds(self, device, devices, peak, reserve)

    def __str__(self) -> str:
        from .as_serving import generation_text

        return generation_text(self)


@checked
def generation(
    model: Any,
    *,
    prompt: int = 1024,
    new_tokens: int = 128,
    batch: int = 1,
    weights: Any = None,
    kv: str | None = None,
    attention: str = "fused",
    cache: str = "in-place",
    latents: str = "auto",
    experts: str | int = "uniform",
    dtype: torch.dtype | str | None = None,
    inputs: Inputs | None = None,
    extra: Mapping[str, Any] | None = None,
    arguments: Mapping[str, Any] | None = None,
    longest: int | None = None,
) -> Generation:
    """What it costs to serve a model: a prompt, each further token, the cache, the weights.

    Args:
        model: a causal LM of transformers (or an encoder-decoder, or one that takes images too): the module, or
            "hf:llama", "hf:LlamaForCausalLM", "hf:folder". Nothing is downloaded, no weight is read, and the model is
            left as it is. Or any `nn.Module` of your own, with `inputs`.
        prompt: tokens of a request's prompt (of an encoder-decoder: tokens that the encoder reads).
        new_tokens: tokens that are generated for it.
        batch: requests at once.
        weights: how weights are stored: a format for all matrices ("fp8", "int4:g128", "mxfp4" …), formats by patterns
            of names, "config" (what the model's `quantization_config` says) or "files" (what the headers of the
            safetensors or GGUF files in its folder say). By default "config" where there is one, else as they are.
        kv: how the cache is stored: "fp8" …; by default as the model makes it.
        attention: "fused" (as serving engines run it) or "as written" (as the model's own code does).
        cache: "in-place" (new tokens are written into memory that is there) or "as written".
        latents: latent attention "absorbed" or "expanded", or "auto": what costs less in a step.
        experts: how tokens spread over experts, for the bytes that are read: "uniform", "all", "fewest", or how many.
        dtype: of the weights that are not stored otherwise, and of activations.
        inputs: for a model of your own, a function of (new, have, batch): the arguments of a step, as a dict of keyword
            inputs or as :func:`fxcost.analyze` takes them, its cache among them.
        extra: further keyword inputs of the prompt, of a batch's size: `{"pixel_values": fxcost.spec(1, 3, 336, 336),
            "input_ids": ids}`, the latter with the tokens that an image stands for.
        arguments: entries of the configuration, for a model given by name.
        longest: the longest context that will be asked for, if that is more than prompt + new_tokens.

    Raises:
        InputError: the model does not generate text, has no room for so many tokens, or an argument is none of these.
        ModelLoadError: there is no such model.
    """
    for name, value, known in (("attention", attention, ATTENTIONS), ("cache", cache, CACHES)):
        if value not in known:
            raise InputError(f"{name}={shown(value)}: choose from {', '.join(known)}")
    if latents not in ("auto", "absorbed", "expanded"):
        raise InputError(f"latents={shown(latents)}: choose from auto, absorbed, expanded")
    for name, number in (("prompt", prompt), ("new_tokens", new_tokens), ("batch", batch)):
        if number < 1:
            raise InputError(f"{name}={number}: there must be at least 1")
    touched(8, 2, 1, experts)
    if kv is not None:
        named(kv)
    wanted = as_float_dtype(dtype) if dtype is not None else None
    fused = attention == "fused"
    steps: Steps | OwnSteps
    if inputs is not None:
        steps = OwnSteps(model, inputs, wanted)
    else:
        needed = new_tokens + 1 if _is_encoder(model) else prompt + new_tokens
        of = served(model, fused=fused, longest=max(needed, longest or 0), dtype=wanted, arguments=arguments)
        how = latents if latents == "auto" else latents == "absorbed"
        steps = Steps(of, in_place=cache == "in-place", latents=how, source_length=prompt, extra=extra)
    return Generation(
        steps=steps, prompt=prompt, new_tokens=new_tokens, batch=batch, kv=kv, experts=experts, formats=weights,
        source=model if isinstance(model, str) else "",
    )  # fmt: skip


def _is_encoder(model: Any) -> bool:
    if isinstance(model, nn.Module):
        return bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
    if isinstance(model, str) and model.startswith("hf:"):
        from ..sources.hf import configuration

        return bool(getattr(configuration(model[3:], {})[0], "is_encoder_decoder", False))
    return False
