"""Bounds against hand formulas, published measurements, and what can't be; sweeps; the command."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import fxcost
from fxcost.cli import main

from .small import tiny

LLAMA3_8B = {
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
}  # fmt: skip
BOX = fxcost.Device(name="box", flops_per_s={"bfloat16": 1e12}, bytes_per_s=1e10, memory_bytes=2_000_000)


def llama3_8b() -> torch.nn.Module:
    """Llama 3 8B, on meta."""
    with torch.device("meta"):
        made: torch.nn.Module = transformers.LlamaForCausalLM._from_config(
            transformers.LlamaConfig(**LLAMA3_8B), dtype=torch.bfloat16
        )
    return made


def test_bounds_by_hand() -> None:
    """Each time is the longer of products at the peak and of weights and cache at the bandwidth."""
    gen = fxcost.generation(tiny("llama"), prompt=100, new_tokens=11, batch=2)
    bounds = gen.bounds(BOX)
    work = gen.decode_work
    for have in (100, 105):
        compute = 2 * (work.matmul_macs(2) + work.attention_macs(2, have)) / 1e12
        memory = float(work.weight_bytes(2) + work.cache_bytes(2, have)) / 1e10
        assert bounds.decode_time(have).time_s == pytest.approx(max(compute, memory))
    times = [bounds.decode_time(100 + i).time_s for i in range(10)]
    assert bounds.tpot_s == pytest.approx(sum(times) / 10)
    assert bounds.tokens_per_s == pytest.approx(2 / bounds.tpot_s)
    assert bounds.tokens_per_s_per_user == pytest.approx(1 / bounds.tpot_s)
    assert bounds.ttft_s == pytest.approx(
        max(2 * gen.step(new=100, have=0, batch=1).cost.masked_macs / 1e12, bounds.prefill_time.weights_s)
    )


def test_bounds_are_those_of_the_highest_clock() -> None:
    """A card that runs faster than its printed peak beats no bound; memory is no faster for it."""
    gen = fxcost.generation(tiny("llama"), prompt=100, new_tokens=11, batch=2)
    plain, fast = gen.bounds(BOX), gen.bounds(replace(BOX, clock=1.25))
    for name in ("compute_s", "weights_s"):
        before, after = (getattr(bounds.prefill_time, name) for bounds in (plain, fast))
        assert after == pytest.approx(before / (1.25 if name == "compute_s" else 1))
    assert "the highest clock" in str(fast)
    assert "the highest clock" not in str(plain)


def test_what_fits_is_exact() -> None:
    """One more request, or token, would not."""
    gen = fxcost.generation(tiny("gemma3"), prompt=50, new_tokens=14)
    bounds = gen.bounds(BOX)
    free = 2_000_000 - gen.weights.stored_bytes
    most = bounds.largest_batch
    assert gen.cache.bytes(context=64, batch=most) <= free < gen.cache.bytes(context=64, batch=most + 1)
    longest = bounds.at(5).largest_context
    assert gen.cache.bytes(context=longest, batch=5) <= free < gen.cache.bytes(context=longest + 1, batch=5)


def test_crossover_is_the_first_batch_that_computes_longer() -> None:
    """On a device with much bandwidth to its arithmetic; on another there is none."""
    gen = fxcost.generation(tiny("llama"), prompt=4, new_tokens=2)
    slow = fxcost.Device(name="slow", flops_per_s={"bfloat16": 1e10}, bytes_per_s=1e10, memory_bytes=10**9)
    bounds = gen.bounds(slow)
    first = bounds.crossover_batch
    assert first is not None
    assert bounds.at(first).bound == "compute"
    assert first == 1 or bounds.at(first - 1).bound != "compute"
    assert fxcost.generation(tiny("llama"), prompt=500, new_tokens=2).bounds(BOX).crossover_batch is None


def test_guessing_tokens() -> None:
    """Expected tokens of a round over the time of its check; all taken, none taken."""
    bounds = fxcost.generation(tiny("llama"), prompt=20, new_tokens=4).bounds(BOX)
    time = bounds.step_time(bounds.generation.work(5, 22), 22).time_s
    assert bounds.speculative(4, 1.0) == pytest.approx(5 / time)
    assert bounds.speculative(4, 0.0) == pytest.approx(1 / time)
    assert bounds.speculative(4, 0.5) == pytest.approx((1 + 0.5 + 0.25 + 0.125 + 0.0625) / time)
    with pytest.raises(fxcost.InputError, match="acceptance from 0 to 1"):
        bounds.speculative(4, 1.5)


# gpt-fast's README: tokens/s and the bandwidth that they mean, on an A100 80GB, batch 1; so bytes for each token.
GPT_FAST = [("bf16", 1410.76e9 / 93.89, 93.89), ("int8", 1030.89e9 / 137.64, 137.64)]


def test_gpt_fasts_bytes_a_token() -> None:
    """Llama 3.1 8B: what a step reads is within 1 % of what gpt-fast says, and no measurement is faster."""
    model = llama3_8b()
    for weights, published, rate in GPT_FAST:
        gen = fxcost.generation(model, prompt=5, new_tokens=200, weights=weights)
        bounds = gen.bounds("a100")
        read = float(gen.decode_work.weight_bytes(1) + gen.decode_work.cache_bytes(1, 105))
        assert read == pytest.approx(published, rel=0.01)
        assert bounds.tokens_per_s > rate
    assert gen.cache.bytes(context=8192) == 2**30


def test_peaks_follow_formats() -> None:
    """What engines could compute in at best, where the device can; or what is asked for."""
    model = tiny("llama")
    h100 = fxcost.generation(model, prompt=8, new_tokens=2, weights="fp8").bounds("h100")
    assert dict(h100.names) == {"matmul": "float8", "attention": "bfloat16"}
    a100 = fxcost.generation(model, prompt=8, new_tokens=2, weights="fp8").bounds("a100")
    assert dict(a100.names) == {"matmul": "bfloat16", "attention": "bfloat16"}
    asked = fxcost.generation(model, prompt=8, new_tokens=2).bounds("h100", peak={"matmul": "float8"})
    assert asked.peaks == {"matmul": 1979e12, "attention": 989.5e12}
    two = fxcost.generation(model, prompt=8, new_tokens=2).bounds("h100", devices=2)
    one = fxcost.generation(model, prompt=8, new_tokens=2).bounds("h100")
    assert (two.memory, two.tpot_s) == (2 * one.memory, pytest.approx(one.tpot_s / 2))


def test_what_can_not_be_is_said() -> None:
    """Weights that are too large, a batch that is, a peak that is not there, numbers that are none."""
    gen = fxcost.generation(tiny("llama"), prompt=100, new_tokens=10, batch=200)
    with pytest.raises(fxcost.InputError, match=r"a batch of 200 requests of 110 tokens .* at most 6"):
        gen.bounds(BOX)
    with pytest.raises(fxcost.InputError, match=r"weights .* are larger than the memory of box"):
        gen.bounds(BOX, reserve=1_990_000)
    with pytest.raises(fxcost.DeviceError, match="no peak for bfloat16"):
        gen.bounds("t4")
    with pytest.raises(fxcost.DeviceError, match="no peak for float8"):
        gen.bounds("a100", peak="float8")
    bounds = fxcost.generation(tiny("llama"), prompt=4, new_tokens=2).bounds(BOX)
    with pytest.raises(fxcost.InputError, match="'all' is no batch"):
        bounds.sweep(batch=["all"])


def test_sweeps_have_a_row_for_each_point() -> None:
    """As the bounds say one by one; from few analyses; as CSV; within 80 columns."""
    bounds = fxcost.generation(tiny("gemma3"), prompt=30, new_tokens=10).bounds(BOX)
    contexts = (4, 9, 20, 33, 40)
    sweep = bounds.sweep(batch=(1, 3, "max", 10_000), context=contexts)
    assert len(sweep.rows) == 20
    for row in sweep.rows:
        assert row.tpot_s == bounds.at(row.batch).decode_time(row.context).time_s
        assert row.fits == (row.batch <= row.largest_batch)
    alone = [bounds.step_time(bounds.generation.work(c, 0), 0, 1).time_s for c in contexts]
    assert [row.ttft_s for row in sweep.rows[::4]] == pytest.approx(alone)
    read = list(csv.DictReader(io.StringIO(sweep.to_csv())))
    assert [float(line["tokens_per_s"]) for line in read] == [row.tokens_per_s for row in sweep.rows]
    assert max(map(len, sweep.table().splitlines())) <= 80


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table within 80 columns, CSV, formats from a configuration; and without a device."""
    config = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100,
        "max_position_embeddings": 4096, "torch_dtype": "bfloat16",
        "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32},
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    name, table = f"hf:{tmp_path}", tmp_path / "t.csv"
    given = [
        "serve",
        name,
        "--prompt",
        "1k",
        "--new",
        "8",
        "--batch",
        "1,max",
        "--context",
        "512,2k",
        "--device",
        "h100",
    ]
    assert main([*given, "--csv", str(table), "--speculate", "3"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "int4:g32" in out
    assert "3 guessed tokens" in out
    assert [line["context"] for line in csv.DictReader(table.open())] == ["512", "512", "2048", "2048"]
    assert main(["serve", name]) == 0
    assert "A token" in capsys.readouterr().out
    assert main(["serve", name, "--prompt", "8k"]) == 2
    assert "more than the 4,096 positions" in capsys.readouterr().err
    assert main([name, "--input", "input_ids=1,4:int64"]) == 0
    assert "stored quantized (gptq)" in capsys.readouterr().out.replace("\n", " ").replace("  ", " ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["hf:llama", "--batch", "none"], "give numbers above 0 and max"), (["hf:vit"], "does not generate text"),
        (["hf:nothing"], "no model 'nothing'"), (["hf:gpt2", "--prompt", "x"], "no number of tokens"),
        (["hf:gpt2", "--csv", "x.csv"], "--csv needs a device"), (["timm:resnet18"], "hf:CLASS or hf:FOLDER"),
        (["hf:gpt2", "--device", "h100", "--batch", "999999"], "999,999 requests of 1,152 tokens keeps 3,538.94 GB"),
        (["hf:gpt2", "--device", "v100"], "no peak for bfloat16, in which the model computes"),
        (["hf:gpt2", "--weights", "int4:g100"], "groups of 100 do not divide the 768 numbers of a row"),
        (["hf:bert", "--arg", "num_hidden_layers=1"], "returns no cache"),
    ],
)  # fmt: skip
def test_the_commands_errors_are_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On the error stream."""
    more: Any = [] if "hf:llama" in arguments else ["--arg", "n_layer=1"] if "hf:gpt2" in arguments else []
    assert main(["serve", *arguments, *more]) == 2
    err = capsys.readouterr().err.strip()
    assert said in err
    assert len(err.splitlines()) == 1
