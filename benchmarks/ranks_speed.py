"""How long one rank of a Llama-3 takes to analyse, beside the plain run: `python benchmarks/ranks_speed.py [CASE …]`.

A training step in bfloat16 on 8,192 tokens, of transformers' own model; each case in a process of its own, in seconds
of processor time, with the most memory that the process held. "First" is the first analysis of the process, imports of
PyTorch's parallelism included, "next" one after it. The plain run is what an analysis makes PyTorch do, without
fxcost: the model is sharded twice, runs once without gradients and once with them, and backward, on meta tensors in
the same fake world, under a dispatch mode that does nothing but move what is made to meta.
"""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
import time
import warnings
from contextlib import nullcontext
from math import prod
from typing import Any

import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensor
from torch.distributed.device_mesh import init_device_mesh
from torch.utils._python_dispatch import TorchDispatchMode

import fxcost
from fxcost.ranks.private import adapted

LENGTH, META = 8192, torch.device("meta")
SIZES = {"8B": (4096, 32, 32, 14336), "405B": (16384, 126, 128, 53248)}
"""Width, layers, heads, inner width."""
P = fxcost.parallel
CASES: dict[str, tuple[str, dict[str, int], Any]] = {
    "8B fsdp 8": ("8B", {"dp": 8}, P.fully_shard()),
    "8B fsdp 128": ("8B", {"dp": 128}, P.fully_shard()),
    "8B tp 8": ("8B", {"tp": 8}, P.tensor_parallel()),
    "8B fsdp 16 × tp 8": ("8B", {"dp": 16, "tp": 8}, P.together(P.fully_shard(), P.tensor_parallel())),
    "405B fsdp 64 × tp 8": ("405B", {"dp": 64, "tp": 8}, P.together(P.fully_shard(), P.tensor_parallel())),
}
"""Size, mesh, recipe; of 405B all layers are run again in the backward pass."""


def model_of(size: str) -> Any:
    """The model on meta."""
    hidden, layers, heads, inner = SIZES[size]
    config = transformers.LlamaConfig(
        vocab_size=128256,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=8,
        use_cache=False,
        max_position_embeddings=131072,
    )
    with META:
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    if size == "405B":
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
    return model


class OnMeta(TorchDispatchMode):
    """Makes everything on meta, and nothing else."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        fake = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)
        if fake is None and not any(issubclass(kind, FakeTensor) for kind in types):
            if not {torch.Tensor, torch.nn.Parameter}.issuperset(types):
                return NotImplemented
            if kwargs.get("device") is not None:
                kwargs = {**kwargs, "device": META}
        return func(*args, **kwargs)


def analyzed(size: str, mesh: dict[str, int], recipe: Any) -> float:
    """An analysis: seconds."""
    model, tokens = model_of(size), {"input_ids": fxcost.spec(1, LENGTH, dtype="int64")}
    gc.collect()
    start = time.process_time()
    fxcost.analyze(model, tokens, training=True, mesh=mesh, parallelize=recipe)
    return time.process_time() - start


def plain(size: str, mesh: dict[str, int], recipe: Any) -> float:
    """The same runs without fxcost: seconds."""
    models = [model_of(size) for _ in range(2)]
    numbers = {name: torch.empty(1, LENGTH, dtype=torch.int64, device=META) for name in ("input_ids", "position_ids")}
    mask = torch.empty(1, 1, LENGTH, LENGTH, dtype=torch.bool, device=META)  # or transformers asks for values
    gc.collect()
    start = time.process_time()
    with fxcost.fake_world(prod(mesh.values())), adapted():
        devices = init_device_mesh("cpu", tuple(mesh.values()), mesh_dim_names=tuple(mesh))
        for model, context in zip(models, (torch.no_grad(), nullcontext()), strict=True):
            sharded = recipe(model, devices) or model
            with OnMeta(), context:
                out = sharded(**numbers, attention_mask=mask).logits
                if out.requires_grad:
                    getattr(out, "_local_tensor", out).float().sum().backward()
    return time.process_time() - start


def one(name: str) -> None:
    """Measure a case and print its line."""
    first, again = (analyzed(*CASES[name]) for _ in range(2))
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    floor = min(plain(*CASES[name]) for _ in range(2))
    print(f"{name:20} {first:7.2f} {again:7.2f} {floor:7.2f} {again / floor:7.2f} {held:7.2f}", flush=True)


def main() -> None:
    """Print a line for each case."""
    if sys.argv[1:2] == ["--one"]:
        warnings.simplefilter("ignore")
        transformers.logging.set_verbosity_error()
        one(sys.argv[2])
        return
    print(f"{'case':20} {'first':>7} {'next':>7} {'plain':>7} {'ratio':>7} {'GiB':>7}", flush=True)
    for name in sys.argv[1:] or CASES:
        subprocess.run([sys.executable, __file__, "--one", name], check=True)


if __name__ == "__main__":
    main()
