"""How weights are stored where the model itself says so: its `quantization_config`, or the headers of its files.

Headers are read, weights are not. Where neither is there, weights stay as the model has them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from ..memory.analysis import Analysis
from ..totals.parameters import unique_parameters
from .formats import named
from .headers import held_by_files
from .stored import Held, in_format, is_matrix, looked_up_only, matches

Patterns = tuple[str, tuple[str, ...], tuple[str, ...]]
"""A format, names of modules that it is for (none: all matrices), and names that are left out."""


def declared_weights(report: Analysis, wanted: str | None, config: Any, source: str) -> dict[str, Held]:
    """How each weight is stored, by what the model says of itself.

    Args:
        report: an analysis of the model.
        wanted: "config", "files", or None: the configuration, if it says anything.
        config: the model's configuration.
        source: where it was taken from: `hf:folder`.

    Raises:
        InputError: there is no such declaration, or one that is not known here.
    """
    if wanted == "files":
        folder = os.path.expanduser(source.removeprefix("hf:"))
        if not source or not os.path.exists(folder):
            raise InputError("weights='files' needs a model from a folder: hf:path/to/folder")
        return held_by_files(report, folder if os.path.isdir(folder) else os.path.dirname(folder) or ".")
    settings = quantization(config)
    if settings is None:
        if wanted == "config":
            raise InputError("weights='config': the model's configuration has no quantization_config")
        return {}
    return _held(report, format_of(settings))


def quantization(config: Any) -> dict[str, Any] | None:
    """A configuration's `quantization_config` as a dict; None if it has none."""
    found = getattr(config, "quantization_config", None)
    if found is None:
        return None
    return dict(found) if isinstance(found, Mapping) else dict(found.to_dict())


def format_of(settings: Mapping[str, Any]) -> Patterns:
    """The format that a `quantization_config` means, by the conventions of the library that wrote it.

    Source: the classes of `transformers/utils/quantization_config.py`; compressed-tensors' and ModelOpt's own formats.

    Raises:
        InputError: the method is none of those known here.
    """
    method = str(settings.get("quant_method", "")).lower()
    if hasattr(settings.get("quant_method"), "value"):
        method = str(settings["quant_method"].value).lower()
    kept = settings.get("modules_to_not_convert") or settings.get("ignore") or settings.get("exclude_modules") or ()
    left = tuple(_pattern(name) for name in kept)
    head = () if settings.get("lm_head") else ("lm_head",)
    if method in ("gptq", "awq", "auto-round"):
        bits, group = int(settings.get("bits", 4)), int(settings.get("group_size", 128))
        name = "int8" if bits == 8 else f"int{bits}:g{group}" if group > 0 else f"int{bits}:g128"
        return name, (), (*left, *head)
    if method == "fp8":
        block = settings.get("weight_block_size")
        return (f"fp8:{block[0]}x{block[1]}" if block else "fp8"), (), (*left, "lm_head")
    if method in ("fbgemm_fp8", "fp-quant"):
        return "fp8:channel" if method == "fbgemm_fp8" else "nvfp4", (), (*left, "lm_head")
    if method in ("bitsandbytes", "bitsandbytes_4bit", "bitsandbytes_8bit"):
        skipped = tuple(settings.get("llm_int8_skip_modules") or ("lm_head",))
        if settings.get("load_in_4bit") or method.endswith("4bit"):
            return ("nf4:double" if settings.get("bnb_4bit_use_double_quant") else "nf4"), (), skipped
        return "int8", (), skipped
    if method == "mxfp4":
        return "mxfp4", ("*.experts",), left
    if method in ("compressed-tensors", "sparseml"):
        return _compressed(settings), (), left
    if method == "modelopt":
        algorithm = str(settings.get("quant_algo") or settings.get("quantization", {}).get("quant_algo", "")).lower()
        return ("nvfp4" if "fp4" in algorithm else "fp8"), (), (*left, "lm_head")
    if method == "quanto":
        weights = str(settings.get("weights", "int8"))
        return {"float8": "fp8", "int4": "int4:g128", "int2": "int2:g128"}.get(weights, "int8"), (), (*left, "lm_head")
    if method == "hqq":
        return f"int4:g{int(settings.get('group_size') or 64)}:bf16", (), (*left, "lm_head")
    if method == "torchao":
        text = str(settings.get("quant_type", "")).lower()
        name = "int4:g128:bf16" if "int4" in text else "fp8:channel" if "float8" in text else "int8"
        return name, (), (*left, "lm_head")
    raise InputError(
        f"the model's quantization_config has quant_method {method or 'missing'!r}, which is not known here; say how "
        "weights are stored: weights='int4:g128', or formats by patterns of names"
    )


def _compressed(settings: Mapping[str, Any]) -> str:
    groups = settings.get("config_groups") or {}
    weights: Mapping[str, Any] = (
        next((g.get("weights") for g in groups.values() if g.get("weights")), {}) if groups else {}
    )
    bits, kind = int(weights.get("num_bits", 8)), weights.get("type", "int")
    group = weights.get("group_size")
    if kind == "float":
        if bits == 4:
            return "nvfp4" if group == 16 else "mxfp4"
        return "fp8:channel" if weights.get("strategy") == "channel" else "fp8"
    return "int8" if bits == 8 else f"int{bits}:g{group or 128}"


def _pattern(name: str) -> str:
    """A name or expression of what is left out, as a pattern of ours."""
    return f"*{name.removeprefix('re:').strip('.*^$')}*" if name.startswith("re:") else name


def _held(report: Analysis, patterns: Patterns) -> dict[str, Held]:
    text, only, left = patterns
    chosen, tables = named(text), looked_up_only(report)
    found: dict[str, Held] = {}
    for parameter in unique_parameters(report.recording.parameters):
        names = parameter.names
        if parameter.is_buffer or not parameter.spec.is_floating or not is_matrix(parameter.spec):
            continue
        if parameter.name in tables or any(_left_out(pattern, names) for pattern in left):
            continue
        if only and not any(matches(pattern, names) or matches(f"{pattern}.*", names) for pattern in only):
            continue
        found[parameter.name] = in_format(chosen, parameter)
    return found


def _left_out(pattern: str, names: tuple[str, ...]) -> bool:
    """A name that is left out may be a whole path, or a part of one: transformers takes both."""
    return matches(pattern, names) or any(f".{pattern}." in f".{name}." for name in names)
