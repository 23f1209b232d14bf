"""`hf:TYPE_OR_FOLDER`: models of transformers, built from a configuration.

`hf:llama` is the default configuration of a model type, `hf:LlamaForCausalLM` that of a model class; `hf:folder` and
`hf:config.json` are a configuration on disk, as a model's page on the hub offers for download. Nothing is ever
downloaded here. Which class a type stands for is in hf_heads.py, what it is fed by default in hf_defaults.py.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from functools import partial
from typing import Any

from ..errors import ModelLoadError
from . import hf_heads
from .base import Source, library, no_such_model
from .hf_defaults import default_inputs


def source(name: str, arguments: dict[str, Any]) -> Source:
    """A configuration by model type or from disk; `arguments` override its entries.

    Raises:
        ModelLoadError: transformers isn't installed, or there is no such type, folder or file.
    """
    config = _config(_transformers(), name, arguments)
    return Source(
        partial(_build, name, config),
        default_inputs,
        bare=partial(_build_bare, name, config),
        notes=partial(_notes, name, config),
    )


def _transformers() -> Any:
    transformers = library("transformers")
    transformers.logging.set_verbosity_error()
    return transformers


def configuration(name: str, arguments: dict[str, Any]) -> tuple[Any, bool]:
    """A configuration as :func:`source` takes it, and whether it is the default one of a type or class.

    Raises:
        ModelLoadError: as :func:`source`.
    """
    path = os.path.expanduser(name)
    on_disk = os.path.isfile(path) or os.path.isfile(os.path.join(path, "config.json"))
    return _config(_transformers(), name, arguments), not on_disk


def generating(name: str, config: Any) -> Any:
    """The model with the head that generates text: a causal LM, or else one that turns anything into text.

    Raises:
        ModelLoadError: transformers has none for this configuration.
    """
    found = hf_heads.generating(_transformers(), config)
    if found is None:
        kind = type(config).__name__
        raise ModelLoadError(f"hf:{name} does not generate text: transformers has no causal LM for {kind}")
    return _made(found, config)


def _notes(name: str, config: Any, model: Any) -> tuple[str, ...]:
    """What is to be said of a model beside its class: no head, though there are some; weights that are quantized."""
    found = [stored_otherwise(model)]
    transformers = _transformers()
    if hf_heads.named(transformers, config) is None and hf_heads.with_head(transformers, config) is None:
        known = hf_heads.heads(transformers, config)
        if type(model).__name__ not in known and known:
            listed = ", ".join(f"hf:{head}" for head in known[: hf_heads.MOST_NAMED])
            found.append(f"hf:{name} says no head: {type(model).__name__} has none; with one: {listed}")
    return tuple(filter(None, found))


def stored_otherwise(model: Any) -> str:
    """What is to be said of a model whose configuration says that its weights are stored quantized; "" for others."""
    settings = getattr(getattr(model, "config", None), "quantization_config", None)
    if settings is None:
        return ""
    found = settings if isinstance(settings, dict) else getattr(settings, "__dict__", {})
    method = getattr(found.get("quant_method"), "value", found.get("quant_method")) or "some method"
    return (
        f"the configuration says that weights are stored quantized ({method}); they are analysed in the model's own "
        "dtype (fxcost serve, or Report.stored, counts them as they are stored)"
    )


def _config(transformers: Any, name: str, arguments: dict[str, Any]) -> Any:
    path = os.path.expanduser(name)
    if os.path.isfile(path) or os.path.isfile(os.path.join(path, "config.json")):
        local = {"local_files_only": True, "trust_remote_code": False}  # else it asks, and runs code on a "y"
        read = partial(transformers.AutoConfig.from_pretrained, path, **local)
    elif name in transformers.CONFIG_MAPPING:
        read = transformers.CONFIG_MAPPING[name]
    elif _is_model_class(transformers, name):
        read = partial(_of_class, getattr(transformers, name))
    else:
        raise _no_config(transformers, name, path)
    try:
        known = read()
        unknown = [key for key in arguments if not hasattr(known, key)]  # transformers takes any name without a word
        if not unknown:
            return read(**arguments) if arguments else known
    except Exception as error:  # whatever a configuration's own class makes of it
        if "trust_remote_code" in str(error):
            raise ModelLoadError(
                f"hf:{name} needs code that is in its folder (its configuration's auto_map), which fxcost doesn't run; "
                "if you trust it, give the class of the model itself: path/to/modeling_file.py:NAME"
            ) from error
        raise ModelLoadError(f"cannot make a configuration from hf:{name}: {error}") from error
    raise ModelLoadError(f"the configuration of hf:{name} has no {unknown[0]!r}{_hint(known, unknown[0])}")


def _is_model_class(transformers: Any, name: str) -> bool:
    found = getattr(transformers, name, None) if name.isidentifier() and name[:1].isupper() else None
    return isinstance(getattr(found, "config_class", None), type)


def _of_class(model_class: Any, **arguments: Any) -> Any:
    config = model_class.config_class(**arguments)
    config.architectures = [model_class.__name__]
    return config


def _hint(config: Any, name: str) -> str:
    """Where else an entry is, or what it may be called."""
    parts = [key for key in getattr(config, "sub_configs", {}) if hasattr(getattr(config, key, None), name)]
    if parts:
        return f", but its {', '.join(parts)} do{'' if parts[1:] else 'es'}: --arg \"{parts[0]}={{'{name}': …}}\""
    near = get_close_matches(name, config.to_dict(), n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _no_config(transformers: Any, name: str, path: str) -> ModelLoadError:
    """What to say where `name` is neither a configuration on disk nor a model type."""
    if os.path.isdir(path):
        return ModelLoadError(f"the folder {name} has no config.json")
    if "/" in name and not name.startswith(("/", ".", "~")):
        return ModelLoadError(
            f"{name!r} is no folder; if it is a model's name on the Hugging Face hub, download its config.json first "
            "(fxcost never downloads) and give its folder: hf:path/to/folder"
        )
    return no_such_model("hf", name, transformers.CONFIG_MAPPING, "give a model type (hf:bert) or a folder")


def _build(name: str, config: Any) -> Any:
    """The architecture that the configuration names, else the one with a language-model head, else the bare one."""
    transformers = _transformers()
    found = hf_heads.named(transformers, config) or hf_heads.with_head(transformers, config)
    return _build_bare(name, config) if found is None else _made(found, config)


def _build_bare(name: str, config: Any) -> Any:
    found = hf_heads.bare(_transformers(), config)
    if found is None:
        raise ModelLoadError(f"hf:{name}: transformers has no model for {type(config).__name__} alone")
    return _made(found, config)


def _made(model_class: Any, config: Any) -> Any:
    """What AutoModel.from_config makes, which sets dtype and attention; some classes take the text's part alone."""
    part = getattr(config, "sub_configs", {}).get("text_config")
    own = config.get_text_config() if part is not None and model_class.config_class is part else config
    return model_class._from_config(own)


def model_types() -> list[str]:
    """Every model type that there is a model for, sorted; other types configure a part of a model."""
    transformers = library("transformers")
    return sorted({kind for table in hf_heads.tables(transformers) for kind in table._model_mapping})
