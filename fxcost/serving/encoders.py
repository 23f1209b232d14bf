"""What encoder-decoders read: tokens or frames of sound before the first step, the encoder's output after it."""

from __future__ import annotations

from typing import Any

import torch

from ..errors import InputError
from ..model.inputs import spec
from ..sources.hf_defaults import default_inputs
from .models import Served


def encoder_inputs(of: Served, batch: int, length: int) -> dict[str, Any]:
    """What the encoder is fed: `length` tokens, or what the model's library feeds it by default.

    Raises:
        InputError: nothing is known of what it reads.
    """
    if "input_ids" in of.names:
        return {"input_ids": spec(batch, length, dtype="int64")}
    given = dict(default_inputs(of.model, batch).kwargs)
    found = {name: value for name, value in given.items() if not name.startswith("decoder_")}
    if not found:
        raise InputError(f"nothing is known of what the encoder of {type(of.model).__name__} reads")
    return found


def encoder_outputs(of: Served, batch: int, length: int) -> dict[str, Any]:
    """The encoder's output as it is handed to a step of the decoder (batch, length, width)."""
    from transformers.modeling_outputs import BaseModelOutput

    from ..capture.capture import returned

    model: Any = of.model
    encoder = model.get_encoder()
    given = {k: v for k, v in encoder_inputs(of, 1, length).items() if k != "use_cache"}
    out = returned(encoder, given, {}).last_hidden_state
    hidden = torch.empty((batch, *out.shape[1:]), dtype=out.dtype, device="meta")
    return {"encoder_outputs": BaseModelOutput(last_hidden_state=hidden)}
