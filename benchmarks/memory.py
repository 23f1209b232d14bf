"""Predicted memory and backward arithmetic against what really happens on a CPU.

    python benchmarks/memory.py                 # all models
    python benchmarks/memory.py resnet50 bert   # some
    python benchmarks/memory.py --json memory.json --markdown

For each model: bytes saved for backward, peak of activations in graph order and as eager Python holds them, peak of a
whole training step, each as predicted ÷ measured; and backward MACs ÷ those of FlopCounterMode on meta. Measured means:
real tensors on the CPU, every storage that an operator returns followed by a weak reference; the training step also by
torch.distributed._tools.mem_tracker.MemTracker. Models are small in width,
not in structure; dropout is off, because kernels differ in what they keep of it.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
import warnings
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from live import LiveStorages, base_of, eager_peak, graph_peak, tensors

import fxcost

aten = torch.ops.aten
Model = tuple[nn.Module, Any]


def _vision(name: str, size: int = 64, **kwargs: Any) -> Callable[[], Model]:
    def make() -> Model:
        import torchvision

        return getattr(torchvision.models, name)(**kwargs), torch.randn(2, 3, size, size)

    return make


def _timm(name: str, size: int = 64, **kwargs: Any) -> Callable[[], Model]:
    def make() -> Model:
        import timm

        return timm.create_model(name, **kwargs), torch.randn(2, 3, size, size)

    return make


def _text(config: str, model: str, **kwargs: Any) -> Callable[[], Model]:
    def make() -> Model:
        import transformers

        made = getattr(transformers, model)(getattr(transformers, config)(vocab_size=500, **kwargs))
        return made, {"input_ids": torch.zeros(2, 48, dtype=torch.long)}

    return make


class Recurrent(nn.Module):
    """Embedding, a two-layer LSTM, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(100, 32), nn.LSTM(32, 64, 2, batch_first=True)
        self.classifier = nn.Linear(64, 10)

    def forward(self, ids: Tensor) -> Tensor:
        return self.classifier(self.lstm(self.embedding(ids))[0][:, -1])


BERT = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
GPT = {"n_embd": 64, "n_layer": 2, "n_head": 4, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
T5 = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0}
MODELS: dict[str, Callable[[], Model]] = {
    "resnet18": _vision("resnet18"),
    "resnet50": _vision("resnet50"),
    "resnext50_32x4d": _vision("resnext50_32x4d"),
    "mobilenet_v2": _vision("mobilenet_v2", dropout=0.0),
    "mobilenet_v3_small": _vision("mobilenet_v3_small", dropout=0.0),
    "efficientnet_b0": _vision("efficientnet_b0", dropout=0.0, stochastic_depth_prob=0.0),
    "densenet121": _vision("densenet121"),
    "shufflenet_v2_x1_0": _vision("shufflenet_v2_x1_0"),
    "mnasnet0_5": _vision("mnasnet0_5", dropout=0.0),
    "vgg11": _vision("vgg11", dropout=0.0),
    "wide_resnet50_2": _vision("wide_resnet50_2"),
    "squeezenet1_1": _vision("squeezenet1_1", dropout=0.0),
    "regnet_y_400mf": _vision("regnet_y_400mf"),
    "convnext_tiny": _vision("convnext_tiny", stochastic_depth_prob=0.0),
    "vit_b_16": _vision("vit_b_16", image_size=64),
    "swin_t": _vision("swin_t"),
    "timm resnet26": _timm("resnet26"),
    "timm deit_tiny": _timm("deit_tiny_patch16_224", img_size=64),
    "timm mixer_s32": _timm("mixer_s32_224", img_size=64),
    "timm hrnet_w18_small": _timm("hrnet_w18_small"),
    "timm efficientvit_b0": _timm("efficientvit_b0"),
    "timm ghostnet_100": _timm("ghostnet_100", drop_rate=0.0),
    "bert": _text("BertConfig", "BertModel", **BERT, **NO_DROPOUT),
    "bert mlm": _text("BertConfig", "BertForMaskedLM", **BERT, **NO_DROPOUT),
    "distilbert": _text(
        "DistilBertConfig",
        "DistilBertModel",
        dim=64,
        n_layers=2,
        n_heads=4,
        hidden_dim=128,
        dropout=0.0,
        attention_dropout=0.0,
    ),
    "gpt2": _text("GPT2Config", "GPT2LMHeadModel", **GPT),
    "llama": _text("LlamaConfig", "LlamaForCausalLM", **BERT, num_key_value_heads=2),
    "qwen3": _text("Qwen3Config", "Qwen3ForCausalLM", **BERT, num_key_value_heads=2, head_dim=16),
    "t5 encoder": _text("T5Config", "T5EncoderModel", **T5),
    "lstm": lambda: (Recurrent(), torch.zeros(2, 20, dtype=torch.long)),
}


def on_meta(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: on_meta(v) for k, v in value.items()}
    return value.to("meta")


def call(model: nn.Module, given: Any) -> Any:
    return model(**given) if isinstance(given, dict) else model(given)


def loss_of(out: Any) -> Tensor:
    """The sum of floating outputs, as fxcost takes it."""
    floating = [t for t in tensors(out) if t.is_floating_point() and t.requires_grad]
    total = floating[0].sum()
    for tensor in floating[1:]:
        total = total + tensor.sum()
    return total


def measured_step(model: nn.Module, given: Any) -> tuple[int, int]:
    """Bytes saved for backward and peak of a real training step, both without parameters, buffers and inputs."""
    base = base_of(model, given)
    resident = {t.untyped_storage()._cdata for t in base}
    saved: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in resident:
            saved[tensor.untyped_storage()._cdata] = tensor  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = call(model, given)
    saved_bytes = sum(t.untyped_storage().nbytes() for t in saved.values())
    saved.clear()
    del out
    model.zero_grad(set_to_none=True)
    with LiveStorages(base) as live:
        out = call(model, given)
        loss_of(out).backward()
    model.zero_grad(set_to_none=True)
    return saved_bytes, live.peak


def tracked_by_torch(model: nn.Module, given: Any) -> int | None:
    """Peak of a training step as PyTorch's MemTracker counts it; None where it fails."""
    from torch.distributed._tools.mem_tracker import MemTracker

    tracker = MemTracker()
    tracker.track_external(model, *tensors(given))
    try:
        with tracker:
            out = call(model, given)
            loss_of(out).backward()
    except Exception:  # its module hooks refuse modules that are called within themselves
        return None
    finally:
        model.zero_grad(set_to_none=True)
    kinds = {
        str(getattr(k, "value", k)): n for k, n in next(iter(tracker.get_tracker_snapshot("peak").values())).items()
    }
    return int(kinds["Gradient"] + kinds["Activation"] + kinds["Temp"])


def convolution_backward(
    grad: Any, x: Any, w: Any, _b: Any, _s: Any, _p: Any, _d: Any, transposed: bool, *rest: Any, **_: Any
) -> int:
    """FLOPs of a convolution's gradients. FlopCounterMode's own formula multiplies by the groups once too often."""
    places = (x if transposed else grad)[len(x) - len(w) + 2 :]
    return 2 * (x[0] if len(x) == len(w) else 1) * prod(places) * prod(w) * sum(map(int, rest[2][:2]))


def backward_flops(model: nn.Module, given: Any) -> int:
    """FlopCounterMode on meta, corrected for grouped convolutions."""
    model.to("meta")
    loss = loss_of(call(model, on_meta(given)))
    with FlopCounterMode(display=False, custom_mapping={aten.convolution_backward: convolution_backward}) as counter:
        loss.backward()
    return int(counter.get_total_flops())


def row(name: str) -> dict[str, Any]:
    """All ratios of one model; None where there is nothing to compare with."""
    torch.manual_seed(0)
    model, given = MODELS[name]()
    named = given if isinstance(given, dict) else None
    args = () if named is not None else (given,)
    result: dict[str, Any] = {"model": name}
    report = fxcost.analyze(model.train(), given, capture="concrete", training=True)
    training = report.training
    assert training is not None
    saved, step = measured_step(model, given)
    parts = training.peak_parts
    made = parts["gradients"] + parts["saved activations"] + parts["temporaries"]
    result["saved MB"], result["saved"] = saved / 1e6, training.saved_bytes / saved
    result["step peak"] = max(training.live) / step
    tracked = tracked_by_torch(model, given)
    result["MemTracker"] = max(training.live) / tracked if tracked else None
    assert made == max(training.live)
    model.eval()
    memory = fxcost.analyze(model, given, capture="concrete").memory
    eager = eager_peak(model, args, named)
    result["eager MB"], result["eager peak"] = eager / 1e6, (memory.peak_eager_activation_bytes or 0) / eager
    try:
        symbolic = fxcost.analyze(model, given, capture="symbolic")
        result["graph peak"] = symbolic.memory.peak_activation_bytes / graph_peak(model, symbolic.recording.graph, args)
    except fxcost.FxcostError:
        result["graph peak"] = None
    result["eager/graph"] = eager / memory.peak_activation_bytes
    result["backward"] = 2 * training.backward.macs / backward_flops(model.train(), given)
    result["backward/forward"] = training.backward.macs / training.forward.macs
    return result


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--markdown", action="store_true", help="print a table for a document")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in options.models or MODELS:
        rows.append(row(name))
        print(rows[-1], file=sys.stderr, flush=True)
    text = [{k: f"{v:.3f}" if isinstance(v, float) else "–" if v is None else v for k, v in r.items()} for r in rows]
    print(
        tabulate(
            text, headers="keys", tablefmt="github" if options.markdown else "rounded_outline", disable_numparse=True
        )
    )
    if options.json:
        versions = {"torch": torch.__version__, "python": platform.python_version()}
        options.json.write_text(json.dumps({"versions": versions, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
