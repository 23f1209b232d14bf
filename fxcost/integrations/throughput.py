"""Tokens/s, FLOPS and MFU while a model trains: for a plain loop; `transformers.py` and `lightning.py` have callbacks.

The FLOPs of each step are those of its own sequence lengths (:class:`fxcost.serving.per_token.PerToken`). Where a batch
has a mask of paddings (`attention_mask`), sequences are as long as that says.

Nothing is printed: a plain loop gets what was measured, callbacks hand it to their trainer's loggers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from ..serving.per_token import PerToken
from ..speed.devices import Device


class Throughput:
    """Measures steps of a plain loop: `rates = meter.step(seq_lens=[512, 1024])` after each, or `step(batch=batch)`.

    Args:
        flops: what :func:`fxcost.per_token` gave for the model.
        device: whose peak is meant, or the name that the driver gives.
        devices: how many share each step.
        convention: a trainer's convention for MFU; by default the exact count.
        dtype: whose peak; by default the one that the model computes in.
        clock: what to read the time from, in seconds.
    """

    def __init__(
        self,
        flops: PerToken,
        device: Device | str,
        *,
        devices: int = 1,
        convention: str | None = None,
        dtype: Any = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.flops, self.device, self.devices = flops, Device.named(device), devices
        self.convention, self.dtype, self._clock = convention, dtype, clock
        self._before = clock()

    def start(self) -> None:
        """Begin to time a step here; else it begins where the last one ended."""
        self._before = self._clock()

    def step(self, seq_lens: Iterable[int] | None = None, batch: Any = None) -> dict[str, float]:
        """What a step was that ends now: seconds, tokens/s, FLOPS and MFU.

        Raises:
            InputError: there are no lengths, or no time went by.
        """
        now = self._clock()
        seconds, self._before = now - self._before, now
        lengths = list(seq_lens) if seq_lens is not None else lengths_of(batch)
        found = self.flops(lengths)
        share = self.flops.mfu(
            seconds, self.device, self.convention, seq_lens=lengths, dtype=self.dtype, devices=self.devices
        )
        return {
            "step_seconds": seconds,
            "tokens_per_second": found.tokens / seconds,
            "flops_per_second": found.total / seconds,
            "mfu": share,
        }


def lengths_of(batch: Any) -> list[int]:
    """Lengths of the sequences of a batch: by its mask of paddings, or as long as its tensor of tokens is.

    >>> lengths_of({"input_ids": torch.zeros(2, 5), "attention_mask": torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])})
    [3, 5]
    """
    if isinstance(batch, Mapping):
        mask = batch.get("attention_mask")
        if isinstance(mask, torch.Tensor) and mask.dim() == 2:
            return [int(n) for n in mask.sum(1)]
        batch = batch.get("input_ids", next((v for v in batch.values() if isinstance(v, torch.Tensor)), None))
    if isinstance(batch, (list, tuple)) and batch:
        batch = batch[0]
    if not isinstance(batch, torch.Tensor) or batch.dim() < 2:
        return []
    return [int(batch.shape[1])] * int(batch.shape[0])
