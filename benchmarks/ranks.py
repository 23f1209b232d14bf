"""Every type of transformers with a plan for tensor parallel, on two ranks: `python benchmarks/ranks.py [TYPE …]`.

Each is built with its default configuration (and what that leaves open), two layers deep or as deep as to have one of
each kind, and run as one rank of two by transformers' own plan.
Printed are MACs × 2 ÷ those of the whole model (1.0 if everything is split), the share of parameters that a rank holds
twice, and what was not costed; at the end how many types did what.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections import Counter
from contextlib import suppress
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from zoo_hf import ARGUMENTS

import fxcost

TOKENS = {"input_ids": fxcost.spec(1, 64, dtype="int64")}


def types() -> list[str]:
    """The types with a plan that are language models."""
    known = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return [name for name in sorted(known) if getattr(CONFIG_MAPPING[name], "base_model_tp_plan", None)]


DEPTHS = ("num_hidden_layers", "n_layer", "num_layers")
KINDS = ("layer_types", "mlp_layer_types", "layers_block_type")


def model_of(name: str) -> Any:
    """A shallow model of a type, on meta: of two layers, or as many as have one of each kind."""
    config = CONFIG_MAPPING[name](**ARGUMENTS.get(name, {}))
    rows = [list(getattr(config, kind)) for kind in KINDS if getattr(config, kind, None)]
    depth = max([2, *(max(map(row.index, row)) + 1 for row in rows)])
    for attribute in DEPTHS:
        if getattr(config, attribute, None):
            setattr(config, attribute, depth)
    for kind in KINDS:
        if getattr(config, kind, None):
            with suppress(AttributeError):  # follows from the depth
                setattr(config, kind, getattr(config, kind)[:depth])
    if getattr(config, "num_kv_shared_layers", None):
        config.num_kv_shared_layers = 0
    config.use_cache = False
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config).eval()


def row(name: str) -> tuple[str, str]:
    """What came of a type: a class, and a line."""
    start = time.perf_counter()
    try:
        model = model_of(name)
        whole = fxcost.analyze(model, TOKENS, capture="concrete")
    except Exception as error:
        return "not built alone", f"{name:24} not built or run alone: {type(error).__name__}: {str(error)[:80]}"
    try:
        one = fxcost.analyze(model, TOKENS, mesh={"tp": 2}, parallelize=fxcost.parallel.transformers())
    except fxcost.FxcostError as error:
        return "refused", f"{name:24} refused: {str(error)[:160]}"
    ratio = 2 * one.macs / whole.macs
    kind = "all split" if ratio == 1 else "partly split" if 1 < ratio < 2 else "odd"
    took = time.perf_counter() - start
    return kind, f"{name:24} {ratio:7.4f} {one.redundancy:7.4f} {len(one.uncosted):3} {took:6.1f} s"


def main() -> None:
    """Print a line for each type."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    found: Counter[str] = Counter()
    print(f"{'type':24} {'MACs×2':>7} {'params':>7} uncosted")
    for name in sys.argv[1:] or types():
        kind, line = row(name)
        found[kind] += 1
        print(line, flush=True)
    print(dict(found))


if __name__ == "__main__":
    main()
