"""Formulas of models of torchvision, timm, transformers and diffusers, each beside fresh analyses: docs/formula.md.

    python benchmarks/formula.py [--points 100] [--only NAME …] [--training] [--jsonl formula.jsonl]

For each model: how many analyses found its formulas, the time of that against one analysis, the time of `at`, and at
how many random points of the domain every number, module, operator and family is that of a fresh analysis. Lines
are added to the JSON file as they are done; models that stand there already are left out.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import nn

import fxcost
from fxcost import Dim
from fxcost.formula.dims import with_sizes
from fxcost.formula.ledger import PARAMETER_NUMBERS
from fxcost.formula.numbers import reported
from fxcost.records.cost import Cost

BATCH = {"B": Dim(1, 64)}
TEXT = {**BATCH, "S": Dim(8, 1024)}
IMAGE = {**BATCH, "H": Dim(64, 512), "W": Dim(64, 512)}
IDS = {"input_ids": fxcost.spec("B", "S", dtype="int64")}
PIXELS = ("B", 3, "H", "W")
Case = tuple[Callable[[], nn.Module], Any, dict[str, Dim]]


def of_torchvision(name: str, dims: dict[str, Dim] = IMAGE, shape: Any = PIXELS) -> Case:
    def make() -> nn.Module:
        import torchvision

        return torchvision.models.get_model(name)

    return make, shape, dims


def of_timm(name: str, dims: dict[str, Dim] = IMAGE, shape: Any = PIXELS, **options: Any) -> Case:
    def make() -> nn.Module:
        import timm

        return timm.create_model(name, **options)

    return make, shape, dims


def of_transformers(kind: str, model: str = "", inputs: Any = IDS, dims: dict[str, Dim] = TEXT, **options: Any) -> Case:
    def make() -> nn.Module:
        import transformers

        config = getattr(transformers, f"{kind}Config")(**options)
        return getattr(transformers, model or f"{kind}Model")(config)

    return make, inputs, dims


def of_diffusers(name: str, inputs: Any, dims: dict[str, Dim], **options: Any) -> Case:
    def make() -> nn.Module:
        import diffusers

        return getattr(diffusers, name)(**options)

    return make, inputs, dims


FIXED = ("B", 3, 224, 224)
FEW = {"num_hidden_layers": 2}
"""Layers are alike: what holds for two holds for more, and a thousand analyses take their time."""
NO_CACHE = {**FEW, "use_cache": False}
LATENT = {**BATCH, "H": Dim(16, 128), "W": Dim(16, 128)}
TWO_BLOCKS = {
    "down_block_types": ("DownEncoderBlock2D", "DownEncoderBlock2D"),
    "up_block_types": ("UpDecoderBlock2D", "UpDecoderBlock2D"),
    "block_out_channels": (64, 128),
}
CONDITION = {"timestep": fxcost.spec("B", dtype="int64"), "encoder_hidden_states": ("B", "S", 768)}
CASES: dict[str, Case] = {
    **{
        f"torchvision:{name}": of_torchvision(name)
        for name in (
            *(
                "alexnet",
                "vgg11",
                "vgg13",
                "resnet18",
                "resnet34",
                "resnet50",
                "resnext50_32x4d",
                "wide_resnet50_2",
                "densenet121",
            ),
            *("mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x1_0", "squeezenet1_1", "mnasnet1_0"),
            *("efficientnet_b0", "efficientnet_v2_s", "regnet_y_400mf", "convnext_tiny"),
        )
    },
    "torchvision:vit_b_16": of_torchvision("vit_b_16", BATCH, FIXED),
    "torchvision:swin_t": of_torchvision("swin_t", {**BATCH, "H": Dim(224, 1344), "W": Dim(224, 1344)}),
    "torchvision:googlenet": of_torchvision("googlenet"),
    **{
        f"timm:{name}": of_timm(name)
        for name in (
            *("resnet50d", "tf_efficientnet_b0", "convnextv2_atto", "mobilenetv4_conv_small", "repvgg_a0"),
            *("resnet10t", "lcnet_050", "tinynet_e", "mobilenetv3_small_050", "regnetx_002", "test_resnet"),
            *("res2net50_26w_4s", "ghostnet_100", "hrnet_w18_small", "darknet53", "fastvit_t8"),
        )
    },
    "timm:vit_small_patch16_224 (dynamic)": of_timm("vit_small_patch16_224", dynamic_img_size=True),
    "timm:deit_tiny_patch16_224": of_timm("deit_tiny_patch16_224", BATCH, FIXED),
    "timm:mixer_s32_224": of_timm("mixer_s32_224", BATCH, FIXED),
    "timm:beit_base_patch16_224": of_timm("beit_base_patch16_224", BATCH, FIXED),
    "timm:vit_tiny_patch16_224": of_timm("vit_tiny_patch16_224", BATCH, FIXED, depth=2),
    "timm:eva02_tiny_patch14_224": of_timm("eva02_tiny_patch14_224", BATCH, FIXED, depth=2),
    "hf:bert": of_transformers("Bert", **FEW),
    "hf:roberta": of_transformers("Roberta", **FEW),
    "hf:distilbert": of_transformers("DistilBert", n_layers=2),
    "hf:albert": of_transformers("Albert", **FEW),
    "hf:electra": of_transformers("Electra", **FEW),
    "hf:deberta_v2": of_transformers("DebertaV2", **FEW),
    "hf:gpt2": of_transformers("GPT2", "GPT2LMHeadModel", n_layer=2, use_cache=False),
    "hf:gpt_neox": of_transformers("GPTNeoX", **NO_CACHE),
    "hf:opt": of_transformers("OPT", **NO_CACHE),
    "hf:bloom": of_transformers("Bloom", n_layer=2, use_cache=False),
    "hf:llama": of_transformers("Llama", "LlamaForCausalLM", **NO_CACHE),
    "hf:mistral": of_transformers("Mistral", "MistralForCausalLM", **NO_CACHE),
    "hf:qwen3": of_transformers("Qwen3", **NO_CACHE),
    "hf:gemma3_text": of_transformers("Gemma3Text", "Gemma3TextModel", **NO_CACHE),
    "hf:phi3": of_transformers("Phi3", pad_token_id=0, **NO_CACHE),
    "hf:olmo2": of_transformers("Olmo2", **NO_CACHE),
    "hf:t5": of_transformers(
        "T5",
        inputs={**IDS, "decoder_input_ids": fxcost.spec("B", "T", dtype="int64")},
        dims={**BATCH, "S": Dim(8, 512), "T": Dim(8, 512)},
        num_layers=2,
        use_cache=False,
    ),
    "hf:vit": of_transformers("ViT", inputs={"pixel_values": FIXED}, dims=BATCH, **FEW),
    "hf:wav2vec2": of_transformers(
        "Wav2Vec2", inputs={"input_values": ("B", "S")}, dims={**BATCH, "S": Dim(800, 64000)}, **FEW
    ),
    "hf:modernbert": of_transformers("ModernBert", **FEW),
    "hf:mpnet": of_transformers("MPNet", **FEW),
    "hf:camembert": of_transformers("Camembert", **FEW),
    "hf:gemma2": of_transformers("Gemma2", **NO_CACHE),
    "hf:starcoder2": of_transformers("Starcoder2", **NO_CACHE),
    "hf:stablelm": of_transformers("StableLm", **NO_CACHE),
    "hf:granite": of_transformers("Granite", **NO_CACHE),
    "hf:cohere": of_transformers("Cohere", **NO_CACHE),
    "hf:dinov2": of_transformers("Dinov2", inputs={"pixel_values": FIXED}, dims=BATCH, **FEW),
    "hf:deit": of_transformers("DeiT", inputs={"pixel_values": FIXED}, dims=BATCH, **FEW),
    "diffusers:UNet2DModel": of_diffusers(
        "UNet2DModel",
        {"sample": PIXELS, "timestep": fxcost.spec("B", dtype="int64")},
        LATENT,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 128),
        layers_per_block=1,
    ),
    "diffusers:AutoencoderKL": of_diffusers("AutoencoderKL", PIXELS, IMAGE, **TWO_BLOCKS),
    "diffusers:VQModel": of_diffusers("VQModel", PIXELS, IMAGE, **TWO_BLOCKS),
    "diffusers:AutoencoderTiny": of_diffusers("AutoencoderTiny", PIXELS, IMAGE),
    "diffusers:UNet2DConditionModel": of_diffusers(
        "UNet2DConditionModel",
        {**CONDITION, "sample": ("B", 4, "H", "W")},
        {**LATENT, "S": Dim(4, 154)},
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 128),
        layers_per_block=1,
        cross_attention_dim=768,
    ),
    "diffusers:ControlNetModel": of_diffusers(
        "ControlNetModel",
        {**CONDITION, "sample": ("B", 4, 32, 32), "controlnet_cond": ("B", 3, 256, 256)},
        {**BATCH, "S": Dim(4, 154)},
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        block_out_channels=(64, 128),
        layers_per_block=1,
        cross_attention_dim=768,
    ),
    "diffusers:DiTTransformer2DModel": of_diffusers(
        "DiTTransformer2DModel",
        {
            "hidden_states": ("B", 4, 32, 32),
            "timestep": fxcost.spec("B", dtype="int64"),
            "class_labels": fxcost.spec("B", dtype="int64"),
        },
        BATCH,
        num_layers=2,
    ),
    "diffusers:PixArtTransformer2DModel": of_diffusers(
        "PixArtTransformer2DModel",
        {
            "hidden_states": ("B", 4, 32, 32),
            "encoder_hidden_states": ("B", "S", 4096),
            "timestep": fxcost.spec("B", dtype="int64"),
        },
        {**BATCH, "S": Dim(8, 300)},
        num_layers=2,
        sample_size=32,
        caption_channels=4096,
        use_additional_conditions=False,
    ),
}
"""Name → how the model is made (on meta), its inputs, its dims."""


def nonzero(costs: dict[str, Cost]) -> dict[str, Cost]:
    return {name: cost for name, cost in costs.items() if cost != Cost()}


def differences(report: fxcost.Report, fresh: fxcost.Report, point: dict[str, int]) -> list[str]:
    """What the formulas say otherwise than a fresh analysis."""
    costs, missing = report.formula.at(**point), report.formula.missing
    wanted = {name: value for name, value in reported(fresh).items() if name not in missing}

    def known(costs: dict[str, Cost]) -> dict[str, Cost]:
        return {name: replace(cost, **dict.fromkeys(missing, 0)) for name, cost in costs.items()}

    found = [name for name, value in wanted.items() if costs.numbers.get(name) != value]
    found += [f"{name} is not in an analysis" for name in costs.numbers if name not in wanted]
    modules, fresh_modules = costs.by_module(), known(fresh.by_module())
    found += [f"module {n}" for n in {**modules, **fresh_modules} if modules.get(n) != fresh_modules.get(n)]
    for name, module in fresh.modules.items():
        numbers = report.formula.of(name).numbers
        wrong = (n for n in PARAMETER_NUMBERS if numbers[n](costs.point) != getattr(module.parameters, n))
        found += [f"{number} of module {name}" for number in wrong]
    found += ["operators"] * (costs.by_operator() != nonzero(known(fresh.by_operator())))
    found += ["families"] * (costs.by_family() != nonzero(known(fresh.by_family())))
    return found


def digest(report: fxcost.Report) -> str:
    """What tells formulas and domains from others: those of the same digest need not be proven again."""
    formula = report.formula
    ranges = [(name, sizes.low, sizes.high, sizes.step) for name, sizes in formula.domain.items()]
    entries = sorted((*key, str(polynomial)) for key, polynomial in formula.ledger.entries.items())
    live = sorted((name, sorted(map(str, polynomials))) for name, polynomials in formula.ledger.live.items())
    return hashlib.sha256(repr((ranges, entries, live)).encode()).hexdigest()[:16]


def measured(name: str, points: int, training: bool) -> dict[str, Any]:
    """A row of the table."""
    make, inputs, dims = CASES[name]
    try:
        with torch.device("meta"):
            model = make()
    except NotImplementedError:  # it looks at its weights while it makes them
        model = make()
    model.train(training)
    row: dict[str, Any] = {"model": name, "training": training, "dims": ",".join(dims)}
    middle = with_sizes(inputs, {n: dim.middle for n, dim in dims.items()})
    fxcost.analyze(model, middle, training=training)  # what is loaded at the first time is not timed
    gc.collect()
    gc.freeze()
    start = time.process_time()
    report = fxcost.analyze(model, inputs, dims=dims, training=training)
    row["seconds"] = round(time.process_time() - start, 3)
    formula = report.formula
    row["analyses"], row["verified"] = formula.domain.analyses, formula.domain.verified
    row["domain"] = {n: str(sizes) for n, sizes in formula.domain.items()}
    chance = random.Random(11)
    times, calls, exact, wrong = [], [], 0, []
    formula.at(**formula.domain.sample(chance))
    for _ in range(points):
        point = formula.domain.sample(chance)
        start = time.process_time()
        fresh = fxcost.analyze(model, with_sizes(inputs, point), training=training)
        times.append(time.process_time() - start)
        start = time.perf_counter()
        formula.at(**point)
        calls.append(time.perf_counter() - start)
        found = differences(report, fresh, point)
        exact += not found
        if found and len(wrong) < 3:
            wrong.append({"point": point, "what": found[:5]})
    row["one"] = round(statistics.median(times), 4) if times else None
    row["times"] = round(row["seconds"] / row["one"], 1) if times else None
    row["at_ms"] = round(1e3 * statistics.median(calls), 4) if calls else None
    row["points"], row["exact"], row["wrong"] = points, exact, wrong
    row["formulas"] = digest(report)
    return row


def rows(names: list[str], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Rows of what stands in the file, and of what is run now."""
    path = Path(options.jsonl) if options.jsonl else None
    known = [json.loads(line) for line in path.read_text().splitlines()] if path and path.exists() else []
    yield from known
    done = {row["model"] for row in known}
    for name in names:
        if name in done:
            continue
        try:
            row = measured(name, options.points, options.training)
        except Exception as error:
            row = {"model": name, "error": f"{type(error).__name__}: {error}"[:500]}
        if path:
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        print(json.dumps(row), file=sys.stderr, flush=True)
        yield row


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--training", action="store_true")
    parser.add_argument("--jsonl")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    wanted = [name for part in options.only or [""] for name in CASES if part in name]
    names = list(dict.fromkeys(wanted))
    columns = ("model", "dims", "analyses", "times", "at_ms", "exact", "points", "error")
    table = [[row.get(column, "") for column in columns] for row in rows(names, options)]
    print(tabulate(table, headers=columns, tablefmt="github"))


if __name__ == "__main__":
    main()
