"""Multi-head latent attention with its projections absorbed: attention over the latents that the cache holds.

DeepSeek-V2's paper (arXiv 2405.04434, section 2.1.2): q · (W_uk c) = (W_ukᵀ q) · c, and the values' projection can
follow the sum. A token in decoding then costs the latent's size for each cached token instead of a whole expansion. In
a prompt, expanding is cheaper.

Which modules: those of transformers that have `expand_kv`, `kv_b_proj` and `kv_lora_rank`, as all of its models with
latent attention do. What they compute stays a graph of ordinary operators.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from ..meta.masked import masked_attention


def latent_modules(model: nn.Module) -> list[nn.Module]:
    """The attention modules of a model that keep latents in their cache."""
    wanted = ("expand_kv", "kv_b_proj", "kv_lora_rank", "qk_nope_head_dim", "v_head_dim")
    return [m for m in model.modules() if all(hasattr(m, name) for name in wanted)]


def absorb(model: nn.Module, absorbed: bool) -> None:
    """Have a model (a copy of ours) run latent attention absorbed, or expand the latents as its code does."""
    for module in latent_modules(model):
        for name in ("expand_kv", "fxcost_absorbed"):
            module.__dict__.pop(name, None)
        if absorbed:
            module.__dict__["expand_kv"] = MethodType(_as_it_is, module)
            module.__dict__["fxcost_absorbed"] = MethodType(_over_latents, module)


def _as_it_is(module: nn.Module, latent: Tensor, rotated: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
    return latent, rotated


def _over_latents(module: Any, query: Tensor, latent: Tensor, rotated: Tensor, settings: tuple[Any, ...]) -> Tensor:
    """query (n, heads, l_q, d_nope + d_rope), latent (n, 1, l_k, rank), rotated (n, 1, l_k, d_rope)."""
    batch, heads, l_q, d = query.shape
    nope, rank = module.qk_nope_head_dim, module.kv_lora_rank
    weight = module.kv_b_proj.weight.view(heads, nope + module.v_head_dim, rank)
    to_keys, to_values = weight[:, :nope], weight[:, nope:]
    plain, turned = query.split([nope, d - nope], -1)
    rows = plain.transpose(0, 1).reshape(heads, batch * l_q, nope)
    inside = torch.bmm(rows, to_keys).view(heads, batch, l_q, rank).transpose(0, 1)
    whole = torch.cat((inside, turned), -1)
    out = masked_attention(whole, latent, latent, rotated, *settings)[0]
    rows = out.permute(2, 0, 1, 3).reshape(heads, batch * l_q, rank)
    values = torch.bmm(rows, to_values.transpose(1, 2)).view(heads, batch, l_q, module.v_head_dim)
    return values.permute(1, 2, 0, 3).contiguous()
