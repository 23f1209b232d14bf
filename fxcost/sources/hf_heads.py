"""Which class of transformers' stands for a configuration: the one that it names, one with a language-model head, or
the bare one.

The head of a language model is as wide as the vocabulary, which the configuration says; so `hf:llama` has it. How wide
a classifier is, or what else is put on a model, a type does not say: there the bare model is taken, and a note says so.
"""

from __future__ import annotations

from typing import Any

_GENERATING = (
    "MODEL_FOR_CAUSAL_LM_MAPPING",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
    "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING",
    "MODEL_FOR_MULTIMODAL_LM_MAPPING",
)
"""Tables of transformers, in the order in which a model that generates text is looked for."""
_MASKED = "MODEL_FOR_MASKED_LM_MAPPING"
"""Encoders that guess masked words; their classes in the table of causal models are for those with `is_decoder`."""
MOST_NAMED = 3
"""Classes that a note names at most."""


def named(transformers: Any, config: Any) -> Any:
    """The class that a configuration names (`architectures`); None if it names none that there is."""
    for architecture in getattr(config, "architectures", None) or ():
        found = getattr(transformers, architecture, None)
        if found is not None:
            return found
    return None


def generating(transformers: Any, config: Any) -> Any:
    """The class that generates text: the one named, a causal LM, or else what turns anything into text; or None."""
    found = named(transformers, config)
    if found is not None and found.can_generate():
        return found
    first = _GENERATING[2:] if getattr(config, "is_encoder_decoder", False) else ()
    return _first(transformers, config, (*first, *_GENERATING))


def with_head(transformers: Any, config: Any) -> Any:
    """The class with a language-model head: that of an encoder if the configuration is one; or None."""
    decodes = getattr(config, "is_encoder_decoder", False) or getattr(config, "is_decoder", False)
    masked = None if decodes else _first(transformers, config, (_MASKED,))
    return masked or generating(transformers, config)


def bare(transformers: Any, config: Any) -> Any:
    """The class without a head, or else the first with one; None if transformers has no model of this type alone."""
    found = _all(transformers, config)
    own = [model_class for model_class in found if model_class.config_class is type(config)]
    return next(iter(own or found), None)  # that of musicgen's bare model is the configuration of its decoder


def heads(transformers: Any, config: Any) -> list[str]:
    """Names of the classes with a head that there are."""
    return list(dict.fromkeys(c.__name__ for c in _all(transformers, config) if "For" in c.__name__))


def tables(transformers: Any) -> list[Any]:
    """Which model classes go with a configuration: the bare model's table first, then those of its tasks."""
    mapping = transformers.models.auto.modeling_auto
    names = (t for t in dir(mapping) if t.endswith("_MAPPING") and t.startswith("MODEL_"))
    return [getattr(mapping, name) for name in sorted(names, key=len)]


def _all(transformers: Any, config: Any) -> list[Any]:
    kind = type(config)
    return [_single(table[kind]) for table in tables(transformers) if kind in table]


def _first(transformers: Any, config: Any, names: tuple[str, ...]) -> Any:
    mapping = transformers.models.auto.modeling_auto
    part = getattr(config, "sub_configs", {}).get("text_config")
    for table in (getattr(mapping, name, {}) for name in names):
        found = _single(table[type(config)]) if type(config) in table else None
        own = getattr(found, "config_class", None)
        if isinstance(own, type) and (issubclass(type(config), own) or own is part):
            return found  # musicgen's causal LM, which is listed too, takes the configuration of its decoder
    return None


def _single(found: Any) -> Any:
    return found[0] if isinstance(found, tuple) else found
