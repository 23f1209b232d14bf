"""Published measurements of serving beside bounds: none may be beaten. `python benchmarks/serving_points.py`

Sources: gpt-fast (github.com/meta-pytorch/gpt-fast, README.md: A100 80GB, batch 1), TensorRT-LLM 0.6.1
(docs/source/performance.md, static batching) and 1.0 (docs/source/performance/perf-overview.md, offline throughput),
llama.cpp (github.com/ggml-org/llama.cpp, pull requests 17505 and 15802), pavlokhmel.com (gpt-oss 20B, one request).
Formats are those of the source, or the smallest that it may mean, so that a bound stays one.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

import torch
import transformers as tf

import fxcost
from fxcost.serving.bounds import unchecked_bounds
from fxcost.serving.generation import Generation

_LLAMA2 = {"vocab_size": 32000, "max_position_embeddings": 8192}
_LLAMA3 = {"vocab_size": 128256, "num_key_value_heads": 8, "max_position_embeddings": 131072}
CONFIGS: dict[str, Any] = {
    "llama2_7b": lambda: tf.LlamaConfig(
        hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32, **_LLAMA2
    ),
    "llama2_70b": lambda: tf.LlamaConfig(
        hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64, num_key_value_heads=8,
        **_LLAMA2,
    ),
    "llama3_8b": lambda: tf.LlamaConfig(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, **_LLAMA3
    ),
    "llama3_70b": lambda: tf.LlamaConfig(
        hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64, **_LLAMA3
    ),
    "llama3_405b": lambda: tf.LlamaConfig(
        hidden_size=16384, intermediate_size=53248, num_hidden_layers=126, num_attention_heads=128, **_LLAMA3
    ),
    "mixtral_8x7b": lambda: tf.MixtralConfig(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8,
        num_local_experts=8, num_experts_per_tok=2, **_LLAMA2,
    ),
    "qwen3_30b_a3b": lambda: tf.Qwen3MoeConfig(
        hidden_size=2048, moe_intermediate_size=768, num_hidden_layers=48, num_attention_heads=32,
        num_key_value_heads=4, head_dim=128, num_experts=128, num_experts_per_tok=8, vocab_size=151936,
        max_position_embeddings=40960,
    ),
    "gpt_oss_20b": lambda: tf.GptOssConfig(
        num_hidden_layers=24, num_local_experts=32, vocab_size=201088, hidden_size=2880, intermediate_size=2880,
        head_dim=64, num_attention_heads=64, num_key_value_heads=8, sliding_window=128, num_experts_per_tok=4,
        max_position_embeddings=131072,
    ),
}  # fmt: skip

INT4 = "int4:g32:bf16"
ALONE = [  # model, weights, device, devices, context, tokens/s
    ("llama2_7b", "bf16", "a100", 1, 100, 104.9), ("llama2_7b", "int8", "a100", 1, 100, 155.58),
    ("llama2_7b", INT4, "a100", 1, 100, 196.8), ("llama2_70b", "int8", "a100", 1, 100, 19.13),
    ("llama2_70b", INT4, "a100", 1, 100, 25.25), ("llama3_8b", "bf16", "a100", 1, 100, 93.89),
    ("llama3_8b", "int8", "a100", 1, 100, 137.64), ("llama3_70b", "int8", "a100", 1, 100, 18.04),
    ("mixtral_8x7b", "int8", "a100", 1, 100, 97.92), ("llama2_7b", "bf16", "a100", 8, 100, 328.43),
    ("llama2_70b", "bf16", "a100", 8, 100, 62.5), ("mixtral_8x7b", "bf16", "a100", 8, 100, 227.82),
    ("llama3_405b", "int8", "a100", 8, 100, 15.6), ("llama3_8b", "q4_0", "rtx4090", 1, 32768, 102.76),
    ("llama3_8b", "q4_0", "rtx3090", 1, 256, 156.56), ("gpt_oss_20b", "mxfp4", "h100", 1, 500, 286),
    ("gpt_oss_20b", "mxfp4", "rtx4090", 1, 500, 266), ("gpt_oss_20b", "mxfp4", "a100", 1, 500, 189),
]  # fmt: skip
STATIC = [  # model, weights and cache, device, devices, batch, prompt, tokens, tokens/s together
    ("llama2_7b", "fp8", "h100", 1, 768, 128, 128, 19694), ("llama2_7b", "fp8", "h100", 1, 112, 128, 2048, 6818),
    ("llama2_7b", "fp8", "h100", 1, 80, 2048, 128, 2244), ("llama2_7b", "fp8", "h100", 1, 48, 2048, 2048, 2740),
    ("llama2_70b", "fp8", "h100", 2, 1024, 128, 128, 5314), ("llama2_70b", "fp8", "h100", 2, 96, 2048, 128, 612),
    ("llama2_70b", "fp8", "h100", 2, 64, 2048, 2048, 1094), ("llama2_7b", "bf16", "a100", 1, 384, 128, 128, 5586),
    ("llama2_7b", "bf16", "a100", 1, 60, 128, 2048, 1928), ("llama2_7b", "bf16", "a100", 1, 52, 2048, 128, 591),
    ("llama2_7b", "fp8", "l40s", 1, 64, 128, 128, 3240), ("llama2_7b", "fp8", "l40s", 1, 32, 2048, 128, 581),
]  # fmt: skip
FIRST = [  # model, weights, device, devices, prompt, milliseconds
    ("llama2_7b", "fp8", "h100", 1, 128, 7), ("llama2_7b", "fp8", "h100", 1, 2048, 36),
    ("llama2_70b", "fp8", "h100", 4, 128, 26), ("llama2_70b", "fp8", "h100", 4, 2048, 109),
    ("llama2_7b", "bf16", "a100", 1, 128, 16), ("llama2_7b", "bf16", "a100", 1, 2048, 133),
    ("llama2_70b", "bf16", "a100", 4, 128, 47), ("llama2_70b", "bf16", "a100", 4, 2048, 377),
    ("llama2_7b", "fp8", "l40s", 1, 128, 14), ("llama2_7b", "fp8", "l40s", 1, 2048, 73),
]  # fmt: skip
LENGTHS = ((128, 128), (128, 2048), (1000, 1000), (2048, 128), (2048, 2048), (5000, 500), (20000, 2000))
OFFLINE = [  # model, weights, device, devices, tokens/s together for each pair of lengths (0: not published)
    ("llama3_8b", "fp8", "h100", 1, (28312, 22714, 15220, 3450, 9305, 3459, 1351)),
    ("llama3_8b", "fp8", "h200", 1, (27911, 26221, 17744, 3538, 12194, 3902, 1804)),
    ("llama3_70b", "fp8", "h200", 1, (3803, 4336, 2909, 442, 2003, 566, 283)),
    ("llama3_70b", "fp8", "h100", 2, (6378, 0, 0, 0, 3082, 0, 437)),
    ("llama3_70b", "nvfp4", "b200", 1, (11147, 0, 7007, 0, 4783, 0, 665)),
    ("qwen3_30b_a3b", "nvfp4", "b200", 1, (39827, 0, 25828, 0, 17554, 0, 2944)),
]


def main() -> None:
    """Every point with its factor: bound over measurement, 1 and more where the bound holds."""
    found = []
    for what, factor in (point for name in CONFIGS for point in _points(name)):
        found.append((what, factor))
        print(f"{what:60} {factor:6.2f}{'  BEATEN' if factor < 1 else ''}", flush=True)
    factors = [factor for _, factor in found]
    beaten = sum(factor < 1 for factor in factors)
    print(f"{len(found)} points, {beaten} beaten, median factor {median(factors):.2f}, largest {max(factors):.1f}")


def _points(name: str) -> Iterator[tuple[str, float]]:
    config = CONFIGS[name]()
    mapping = tf.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING
    with torch.device("meta"):
        model = mapping[type(config)]._from_config(config, dtype=torch.bfloat16).eval()
    made: dict[Any, Any] = {}

    def bounds(weights: str, device: str, devices: int, prompt: int, new: int, batch: int = 1, kv: Any = None) -> Any:
        if (weights, kv) not in made:
            made[weights, kv] = fxcost.generation(
                model, prompt=100, new_tokens=2, weights=weights, kv=kv, longest=min(40000, _longest(config))
            )
        gen = made[weights, kv]
        same = Generation(
            steps=gen._steps, prompt=prompt, new_tokens=new, batch=batch, kv=kv, experts="uniform", formats=weights
        )
        same._bare = gen._bare_decode  # work in closed form holds at any context
        same._works = {(1, same._last): gen.decode_work}
        same.__dict__["held"] = gen.held
        return unchecked_bounds(same, device, devices, None, 0)

    for who, weights, device, devices, context, rate in ALONE:
        if who == name:
            alone = bounds(weights, device, devices, context, 2)
            yield f"{name} {weights} {devices}x{device} alone", 1 / alone.decode_time(context).time_s / rate
    for who, weights, device, devices, prompt, ms in FIRST:
        if who == name:
            first = bounds(weights, device, devices, prompt, 2)
            yield f"{name} {weights} {devices}x{device} first of {prompt}", ms / 1e3 / first.ttft_s
    for who, weights, device, devices, batch, prompt, new, rate in STATIC:
        if who == name:
            served = bounds(weights, device, devices, prompt, new, batch, "fp8" if weights == "fp8" else None)
            what = f"{name} {weights} {devices}x{device} B={batch} {prompt}/{new}"
            yield what, batch * new / served.batch_s / rate
    for who, weights, device, devices, rates in OFFLINE:
        for (prompt, new), rate in zip(LENGTHS, rates, strict=True):
            if who == name and rate:
                served = bounds(weights, device, devices, prompt, new, 1, "fp8")
                yield f"{name} {weights} {devices}x{device} {prompt}/{new}", served.offline_tokens_per_s / rate


def _longest(config: Any) -> int:
    return int(config.max_position_embeddings)


if __name__ == "__main__":
    main()
