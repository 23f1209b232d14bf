"""`hf:TYPE_OR_FOLDER`: models of transformers, built from a configuration.

`hf:llama` is the default configuration of a model type, `hf:LlamaForCausalLM` that of a model class; `hf:folder` and
`hf:config.json` are a configuration on disk, as a model's page on the hub offers for download. Nothing is ever
downloaded here. What they are fed by default is in hf_defaults.py.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from functools import partial
from typing import Any

from ..errors import ModelLoadError
from .base import Source, library, no_such_model
from .hf_defaults import default_inputs


def source(name: str, arguments: dict[str, Any]) -> Source:
    """A configuration by model type or from disk; `arguments` override its entries.

    Raises:
        ModelLoadError: transformers isn't installed, or there is no such type, folder or file.
    """
    transformers = _transformers()
    config = _config(transformers, name, arguments)
    return Source(partial(_build, transformers, name, config), default_inputs)


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
    transformers = _transformers()
    for architecture in getattr(config, "architectures", None) or ():
        model_class = getattr(transformers, architecture, None)
        if model_class is not None and model_class.can_generate():
            return model_class._from_config(config)
    mapping = transformers.models.auto.modeling_auto
    first = _GENERATING[2:] if getattr(config, "is_encoder_decoder", False) else ()
    for table in (getattr(mapping, name, {}) for name in (*first, *_GENERATING)):
        if type(config) in table:
            found = table[type(config)]
            return (found[0] if isinstance(found, tuple) else found)._from_config(config)
    raise ModelLoadError(f"hf:{name} does not generate text: transformers has no causal LM for {type(config).__name__}")


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


_GENERATING = (
    "MODEL_FOR_CAUSAL_LM_MAPPING",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
    "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING",
    "MODEL_FOR_MULTIMODAL_LM_MAPPING",
)
"""Tables of transformers, in the order in which a model with a head is looked for."""


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


def _build(transformers: Any, name: str, config: Any) -> Any:
    """The architecture that the configuration names, else the bare model of its type."""
    for architecture in getattr(config, "architectures", None) or ():
        model_class = getattr(transformers, architecture, None)
        if model_class is not None:
            return model_class._from_config(config)  # what AutoModel.from_config calls: sets dtype and attention
    found = _models_for(transformers, type(config))
    own = [model_class for model_class in found if model_class.config_class is type(config)]
    if not found:
        raise ModelLoadError(f"hf:{name}: transformers has no model for {type(config).__name__} alone")
    return (own or found)[0]._from_config(config)  # that of musicgen's bare model is the configuration of its decoder


def _models_for(transformers: Any, config_class: type) -> list[Any]:
    """Every model class that transformers lists for a class of configurations, in the order of :func:`_tables`."""
    found = (table[config_class] for table in _tables(transformers) if config_class in table)
    return [classes[0] if isinstance(classes, tuple) else classes for classes in found]


def _tables(transformers: Any) -> list[Any]:
    """Which model classes go with a configuration: the bare model's table first, then those of its tasks."""
    mapping = transformers.models.auto.modeling_auto
    names = (t for t in dir(mapping) if t.endswith("_MAPPING") and t.startswith("MODEL_"))
    return [getattr(mapping, name) for name in sorted(names, key=len)]


def model_types() -> list[str]:
    """Every model type that there is a model for, sorted; other types configure a part of a model."""
    transformers = library("transformers")
    return sorted({kind for table in _tables(transformers) for kind in table._model_mapping})
