"""What the cases of diffusers' classes are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from fxcost.model.inputs import spec

TIME = torch.tensor([1])
NOW = torch.tensor([0.5])
SIZE = torch.tensor([[1024.0, 1024.0]])
CORNER = torch.tensor([[0.0, 0.0]])


@dataclass(frozen=True)
class Case:
    """How to build one class, and its inputs; those that are not named here are made by name.

    An input that is a function is called with the model for its value.
    """

    config: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    complete: bool = False
    """`inputs` are all that the model is fed."""
    prepare: str | Callable[[Any], object] = ""
    """A method to call once the model is built, or a function to call with it."""


def ones(*shape: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    """A mask, or the numbers of tokens."""
    return torch.ones(shape, dtype=dtype)


def places(frames: int, height: int, width: int) -> torch.Tensor:
    """Frame, row and column of every patch: (frames · height · width, 3)."""
    axes = torch.meshgrid(torch.arange(frames), torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([axis.flatten() for axis in axes], -1)


def controls(name: str, count: int = 1, **config: Any) -> Callable[[], Mapping[str, Any]]:
    """The control networks that a model of several holds."""

    def make() -> Mapping[str, Any]:
        import diffusers

        return {"controlnets": [getattr(diffusers, name)(**config) for _ in range(count)]}

    return make


def adapters() -> Mapping[str, Any]:
    import diffusers

    return {"adapters": [diffusers.T2IAdapter(), diffusers.T2IAdapter()]}


def fed(*, config: Any = (), prepare: str | Callable[[Any], object] = "", **inputs: Any) -> Case:
    """A case whose inputs are all given."""
    return Case(config or {}, inputs, True, prepare)


def given(*, config: Any = (), prepare: str | Callable[[Any], object] = "", **inputs: Any) -> Case:
    """A case with the inputs that differ from those made by name."""
    return Case(config or {}, inputs, False, prepare)


def shares_parts(controlnet: Any) -> None:
    """Give a control network of Z-Image the parts that it shares with the transformer that it goes with."""
    import diffusers

    diffusers.ZImageControlNetModel.from_transformer(controlnet, diffusers.ZImageTransformer2DModel(n_layers=1))


def empty_cache(model: Any) -> object:
    """The object that Wan-Animate-2 writes the keys and values of a reference to."""
    from diffusers.models.transformers.transformer_wan_animate_2 import WanAnimate2KVCache

    return WanAnimate2KVCache(model.config.num_layers)


RESIDUES = 128
_ATOM_TYPES, _RESIDUE_TYPES, _TOKEN_TYPES = 37, 147, 7
ANY_ATOM: dict[str, Any] = {
    "atom37_mask": [[True] * _ATOM_TYPES] * _RESIDUE_TYPES,
    "allowed_residue_types": [[True] * _RESIDUE_TYPES] * _TOKEN_TYPES,
}
"""Every residue may have every atom, and every token may be every residue: tables that a checkpoint has."""
_PER_ATOM = ("hbond", "pistack", "pication", "saltbridge", "hydrophobic", "metal-coord")
_PER_TOKEN = ("molecule_iid", "molecule_entity_id", "condition_index-group_1_token")


def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    """Annotations that say nothing."""
    return torch.zeros(shape, dtype=dtype)


PROTEIN: dict[str, Any] = {
    "padding_mask": ones(1, RESIDUES, dtype=torch.bool),
    "token_type": zeros(1, RESIDUES),
    "atom37_mask": ones(1, RESIDUES, _ATOM_TYPES, dtype=torch.bool),
    "conditioning": {
        "is_in_context_conditioning": zeros(1, RESIDUES, dtype=torch.bool),
        "supports_local_latent": ones(1, RESIDUES, dtype=torch.bool),
        "token_bond_path_length": zeros(1, RESIDUES, RESIDUES),
        **{f"condition_{name}_1_atom": zeros(1, RESIDUES, _ATOM_TYPES) for name in _PER_ATOM},
        **{name: zeros(1, RESIDUES) for name in _PER_TOKEN},
    },
}
"""A protein of which nothing is known but its length."""

HUNYUAN: dict[str, Any] = {
    "hidden_states": spec(1, 4, 64, 64),
    "timestep": NOW,
    "encoder_hidden_states": spec(1, 77, 1024),
    "text_embedding_mask": ones(1, 77),
    "encoder_hidden_states_t5": spec(1, 256, 2048),
    "text_embedding_mask_t5": ones(1, 256),
    "image_meta_size": torch.tensor([[512.0, 512, 512, 512, 0, 0]]),
    "style": torch.tensor([0]),
}
