"""Bounds of serving beside what was measured: none beaten, by which factor, and in which order.

    python benchmarks/serving.py --data DIR [--csv rows.csv]

DIR has `end-to-end-h100.csv`: aggregated serving on H100, a row for each model, precision, lengths and concurrency
(ai-dynamo/aiconfigurator, `silicon_sample.csv`), with the columns `model_path precision isl osl batch_size tp_size
pp_size attention_dp_size silicon_ttft_ms silicon_tpot_ms`.

For each row: time to the first token against the prompt of one request alone; time for each further token against a
step of decoding of one request alone (`alone`: always a bound), and of as many as decode at one time on average
(`tpot`: by the row's own two times, so none where requests are not spread evenly); output tokens a second against what
arithmetic or memory leave at that concurrency. Weights and caches are taken in the smallest format
that the row's precision allows, so that bounds stay bounds.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers

import fxcost

LLAMA = {"num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072}
QWEN = {"head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 131072}
CONFIGS: dict[str, Any] = {
    "meta-llama/Llama-3.1-8B-Instruct": lambda: transformers.LlamaConfig(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, **LLAMA
    ),
    "meta-llama/Llama-3.1-70B": lambda: transformers.LlamaConfig(
        hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64, **LLAMA
    ),
    "Qwen/Qwen3-32B": lambda: transformers.Qwen3Config(
        hidden_size=5120, intermediate_size=25600, num_hidden_layers=64, num_attention_heads=64, num_key_value_heads=8,
        **QWEN,
    ),
    "Qwen/Qwen3-235B-A22B-FP8": lambda: transformers.Qwen3MoeConfig(
        hidden_size=4096, moe_intermediate_size=1536, intermediate_size=12288, num_hidden_layers=94,
        num_attention_heads=64, num_key_value_heads=4, num_experts=128, num_experts_per_tok=8, **QWEN,
    ),
    "openai/gpt-oss-120b": lambda: transformers.GptOssConfig(
        hidden_size=2880, intermediate_size=2880, num_hidden_layers=36, num_attention_heads=64, num_key_value_heads=8,
        head_dim=64, num_local_experts=128, num_experts_per_tok=4, vocab_size=201088, sliding_window=128,
        max_position_embeddings=131072,
    ),
}  # fmt: skip
"""Published configurations."""
FORMATS = {"": (None, None), "fp8": ("fp8", "fp8"), "fp4": ("mxfp4", "fp8")}
"""Of weights and cache, by a row's precision."""


def main() -> None:
    """Read the rows, compare, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, help="folder with end-to-end-h100.csv")
    parser.add_argument("--csv", help="where to write every row's numbers")
    arguments = parser.parse_args()
    rows = list(csv.DictReader((Path(arguments.data) / "end-to-end-h100.csv").open()))
    start = time.perf_counter()
    found = [result for kind in dict.fromkeys(map(_kind, rows)) for result in _compared(kind, rows)]
    print(f"{len(found)} of {len(rows)} rows, {time.perf_counter() - start:.0f} s; others: no configuration here")
    for number in ("ttft", "alone", "tpot", "rate"):
        _report(number, found)
    if arguments.csv:
        with open(arguments.csv, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(found[0]))
            writer.writeheader()
            writer.writerows(found)


def _kind(row: dict[str, str]) -> tuple[str, str]:
    return row["model_path"], row["precision"]


def _compared(kind: tuple[str, str], rows: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    name, precision = kind
    if name not in CONFIGS or precision not in FORMATS:
        return
    config, (weights, kv) = CONFIGS[name](), FORMATS[precision]
    mapping = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING
    with torch.device("meta"):
        model = mapping[type(config)]._from_config(config, dtype=torch.bfloat16).eval()
    mine = [row for row in rows if _kind(row) == kind]
    longest = max(int(row["isl"]) + int(row["osl"]) for row in mine)
    gen = fxcost.generation(model, prompt=min(1024, longest - 1), new_tokens=1, weights=weights, kv=kv, longest=longest)
    prompts = {length: gen.work(length, 0) for length in {int(row["isl"]) for row in mine}}
    for row in mine:
        yield _row(gen, prompts[int(row["isl"])], row)


def _row(gen: Any, prompt: Any, row: dict[str, str]) -> dict[str, Any]:
    from fxcost.serving.bounds import unchecked_bounds

    isl, osl, concurrency = int(row["isl"]), int(row["osl"]), int(row["batch_size"])
    devices = int(row["tp_size"]) * int(row["pp_size"]) * int(row["attention_dp_size"] or 1)
    ttft, tpot = float(row["silicon_ttft_ms"]) / 1e3, float(row["silicon_tpot_ms"]) / 1e3
    bounds = unchecked_bounds(gen, "h100", devices, None, 0)
    decoding = max(int(concurrency * tpot * (osl - 1) / (ttft + tpot * (osl - 1))), 1)
    first = bounds.step_time(prompt, 0, 1)
    each = bounds.decode_time(isl + osl // 2, decoding)
    step = bounds.decode_time(isl + osl // 2, concurrency)
    alone = bounds.decode_time(isl, 1)
    compute = first.compute_s + (osl - 1) * step.compute_s / concurrency
    memory = (osl - 1) * (step.weights_s + step.cache_s) / concurrency
    rate = concurrency * osl / (ttft + tpot * (osl - 1))
    return {
        "id": row["id"], "model": row["model_path"], "precision": row["precision"], "devices": devices,
        "ttft_bound": first.time_s, "ttft": ttft, "tpot_bound": each.time_s, "tpot": tpot,
        "alone_bound": alone.time_s, "alone": tpot,
        "rate_bound": osl / max(compute, memory), "rate": rate,
    }  # fmt: skip


def _report(number: str, found: list[dict[str, Any]]) -> None:
    """How far measurements are from bounds (1 is a bound that is reached), and whether they come in the same order."""
    print(f"\n{number}: rows, beaten, median and largest factor, rank correlation")
    groups = {"all": found}
    for row in found:
        groups.setdefault(f"{row['model']} {row['precision']}".strip(), []).append(row)
    for name, rows in groups.items():
        pairs = [(row[f"{number}_bound"], row[number]) for row in rows]
        factors = [bound / seen if number == "rate" else seen / bound for bound, seen in pairs]
        beaten = sum(factor < 1 for factor in factors)
        order = _rank_correlation(pairs) if len(pairs) > 2 else float("nan")
        print(f"  {name:40} {len(rows):4} {beaten:3} {median(factors):6.2f} {max(factors):7.1f} {order:6.3f}")
    worst = sorted((r for r in found if _factor(number, r) < 1), key=lambda r: _factor(number, r))
    for row in worst[:5]:
        print(f"    beaten: {row['id']} {_factor(number, row):.3f}")


def _factor(number: str, row: dict[str, Any]) -> float:
    bound, seen = float(row[f"{number}_bound"]), float(row[number])
    return bound / seen if number == "rate" else seen / bound


def _rank_correlation(pairs: list[tuple[float, float]]) -> float:
    """Spearman's: the correlation of the ranks, ties sharing theirs."""

    def ranks(values: list[float]) -> list[float]:
        places: dict[float, list[int]] = {}
        for place, value in enumerate(sorted(values)):
            places.setdefault(value, []).append(place)
        return [sum(places[v]) / len(places[v]) for v in values]

    one, other = ranks([a for a, _ in pairs]), ranks([b for _, b in pairs])
    middle = (len(pairs) - 1) / 2
    top = sum((a - middle) * (b - middle) for a, b in zip(one, other, strict=True))
    below = (sum((a - middle) ** 2 for a in one) * sum((b - middle) ** 2 for b in other)) ** 0.5
    return top / below if below else float("nan")


if __name__ == "__main__":
    main()
