"""Ready recipes for `fxcost.analyze(…, mesh=…, parallelize=…)`: PyTorch's own parallelisms, each along a dimension.

>>> import fxcost, torch
>>> model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 64))
>>> plan = {"0": "colwise", "2": "rowwise"}
>>> report = fxcost.analyze(model, (8, 64), mesh={"tp": 4}, parallelize=fxcost.parallel.tensor_parallel("tp", plan))
>>> report.macs * 4 == 2 * 8 * 64 * 256, report.communication.by_kind()["all_reduce"].payload_bytes
(True, 2048)

A recipe is a function of a model and a `DeviceMesh`; so any function of your own is one. :func:`together` makes one of
several, in the order in which PyTorch wants them.

In: names of a mesh's dimensions, and options. Out: a `Recipe`, which shards a model. May use `errors`, `records`,
`model` and `ranks`.
"""

from .data import ddp, fully_shard, replicate
from .model import context_parallel, tensor_parallel
from .of_transformers import transformers
from .pipelined import pipeline
from .recipe import Recipe, together

__all__ = [
    "Recipe",
    "context_parallel",
    "ddp",
    "fully_shard",
    "pipeline",
    "replicate",
    "tensor_parallel",
    "together",
    "transformers",
]
