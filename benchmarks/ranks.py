"""Every type of transformers with a plan for tensor parallel, on two ranks: `python benchmarks/ranks.py [TYPE …]`.

Each is built with its default configuration, two layers deep, and run as one rank of two by transformers' own plan.
Printed are MACs × 2 ÷ those of the whole model (1.0 if everything is split), the share of parameters that a rank holds
twice, and what was not costed; at the end how many types did what.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections import Counter
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

import fxcost

TOKENS = {"input_ids": fxcost.spec(1, 64, dtype="int64")}


def types() -> list[str]:
    """The types with a plan that are language models."""
    known = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return [name for name in sorted(known) if getattr(CONFIG_MAPPING[name], "base_model_tp_plan", None)]


def model_of(name: str) -> Any:
    """A shallow model of a type, on meta."""
    config = CONFIG_MAPPING[name]()
    for depth in ("num_hidden_layers", "n_layer", "num_layers"):
        if getattr(config, depth, None):
            setattr(config, depth, 2)
    for row in ("layer_types", "mlp_layer_types"):
        if getattr(config, row, None):
            setattr(config, row, getattr(config, row)[:2])
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
