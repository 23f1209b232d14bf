"""Models of three libraries, built as the command line builds them: each is analysed completely.

About sixty small ones run by default; `pytest -m zoo` runs the whole sweep of benchmarks/zoo.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import fxcost
from fxcost.meta.answers import forgotten
from fxcost.model.inputs import make_arguments, parameter_dtype
from fxcost.model.isolate import MetaCopier
from fxcost.sources.load import load

ROOT = Path(__file__).parent.parent

VISION = [
    "torchvision:alexnet",
    "torchvision:convnext_tiny",
    "torchvision:efficientnet_b0",
    "torchvision:googlenet",
    "torchvision:inception_v3",
    "torchvision:lraspp_mobilenet_v3_large",
    "torchvision:mnasnet0_5",
    "torchvision:mobilenet_v3_small",
    "torchvision:r3d_18",
    "torchvision:regnet_y_400mf",
    "torchvision:resnet18",
    "torchvision:resnext50_32x4d",
    "torchvision:shufflenet_v2_x0_5",
    "torchvision:squeezenet1_1",
    "torchvision:swin_t",
    "torchvision:vgg11",
    "torchvision:vit_b_32",
    "timm:beit_base_patch16_224",
    "timm:coat_tiny",
    "timm:convmixer_768_32",
    "timm:crossvit_tiny_240",
    "timm:deit_tiny_patch16_224",
    "timm:edgenext_xx_small",
    "timm:gcresnet33ts",
    "timm:ghostnet_100",
    "timm:hardcorenas_a",
    "timm:levit_128s",
    "timm:maxvit_nano_rw_256",
    "timm:mixer_s32_224",
    "timm:mobilevit_xxs",
    "timm:nf_regnet_b0",
    "timm:visformer_tiny",
    "timm:poolformer_s12",
    "timm:repvgg_a0",
    "timm:resmlp_12_224",
    "timm:res2net50_14w_8s",
    "timm:tiny_vit_5m_224",
    "timm:xcit_nano_12_p16_224",
]
"""Models of convolutions, matrix products and attention alone, whose count PyTorch's own counter must share."""

ONE = {"num_hidden_layers": 1}
LANGUAGE = [
    ("hf:albert", ONE),
    ("hf:bart", {"encoder_layers": 1, "decoder_layers": 1}),
    ("hf:bert", ONE),
    ("hf:bloom", {"n_layer": 1}),
    ("hf:clip", {}),
    ("hf:convbert", ONE),
    ("hf:deberta-v2", ONE),
    ("hf:detr", {"encoder_layers": 1, "decoder_layers": 1}),
    ("hf:distilbert", {"n_layers": 1}),
    ("hf:gemma", ONE),
    ("hf:gpt2", {"n_layer": 1}),
    ("hf:gpt_oss", ONE),
    ("hf:hubert", ONE),
    ("hf:llama", ONE),
    ("hf:longformer", ONE),
    ("hf:mamba", ONE),
    ("hf:mamba2", ONE),
    ("hf:mistral", ONE),
    ("hf:mixtral", ONE),
    ("hf:qwen2_moe", ONE),
    ("hf:reformer", {"attn_layers": ["lsh", "local"]}),
    ("hf:roberta", ONE),
    ("hf:rwkv", ONE),
    ("hf:segformer", {}),
    ("hf:swin2sr", {}),
    ("hf:switch_transformers", {"num_layers": 2, "num_decoder_layers": 2}),
    ("hf:t5", {"num_layers": 1}),
    ("hf:videomae", ONE),
    ("hf:vits", ONE),
    ("hf:wav2vec2", ONE),
    ("hf:whisper", {"encoder_layers": 1, "decoder_layers": 1}),
    ("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn", {}),
    ("torchvision:ssdlite320_mobilenet_v3_large", {}),
]
"""Models that symbolic tracing can't follow, that read values, or whose operators other counters don't know."""


def loaded(spec, arguments=None):
    """A model and its default inputs."""
    pytest.importorskip({"hf": "transformers"}.get(spec.partition(":")[0], spec.partition(":")[0]))
    made = load(spec, arguments)
    return made.model, made.default_inputs()


def counted_by_pytorch(model, inputs):
    """MACs by torch.utils.flop_counter, of the plain model on meta tensors."""
    copier = MetaCopier()
    copy = copier.model(model)
    arguments = make_arguments(inputs.args, dict(inputs.kwargs), copier, parameter_dtype(model, None))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        copy(*arguments.args, **arguments.kwargs)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("spec", VISION)
def test_vision(spec):
    """Nothing is uncosted, the nodes add up, and MACs are those of PyTorch's own counter."""
    model, inputs = loaded(spec)
    report = fxcost.analyze(model, inputs.args, inputs.kwargs, strict=True)
    assert report.cost == fxcost.Cost.total(node.cost for node in report.nodes)
    assert report.params == sum(p.numel() for p in {id(p): p for p in model.parameters()}.values())
    assert report.macs == counted_by_pytorch(model, inputs)
    assert report.assumptions == ()


@pytest.mark.parametrize(("spec", "arguments"), LANGUAGE, ids=[spec for spec, _ in LANGUAGE])
def test_models_that_run_concretely(spec, arguments):
    """Nothing is uncosted, the modules add up to the total, and the model is as it was."""
    model, inputs = loaded(spec, arguments)
    before = {name: (id(p), p.device) for name, p in model.named_parameters()}
    report = fxcost.analyze(model, inputs.args, inputs.kwargs, strict=True)
    assert report.capture == "concrete"
    assert 0 < report.macs < report.flops
    own = report.by_module(own=True)
    assert fxcost.Cost.total(own.values()) == report.cost == report.by_module()[""]
    assert {name: (id(p), p.device) for name, p in model.named_parameters()} == before


@pytest.mark.parametrize("spec", ["torchvision:resnet18", "torchvision:swin_t", "timm:deit_tiny_patch16_224"])
def test_symbolic_and_concrete_capture_agree(spec):
    """Every total is the same, whichever way the graph was captured."""
    model, inputs = loaded(spec)
    symbolic, concrete = (
        fxcost.analyze(model, inputs.args, inputs.kwargs, capture=capture).cost for capture in ("symbolic", "concrete")
    )
    assert symbolic == concrete


@pytest.mark.parametrize("spec", ["torchvision:vit_b_32", "torchvision:shufflenet_v2_x0_5", "hf:bert", "hf:mixtral"])
def test_what_is_remembered_changes_nothing(spec):
    """The first analysis, the one that follows it, and one whose calls were met in other models."""
    model, inputs = loaded(spec, ONE if spec.startswith("hf:") else None)
    with forgotten():
        first, second = (fxcost.analyze(model, inputs.args, inputs.kwargs, capture="concrete") for _ in range(2))
    later = fxcost.analyze(model, inputs.args, inputs.kwargs, capture="concrete")
    for report in (second, later):
        assert [n.record.target for n in report.nodes] == [n.record.target for n in first.nodes]
        assert [n.cost for n in report.nodes] == [n.cost for n in first.nodes]
        assert report.memory.peak_bytes == first.memory.peak_bytes
        assert sorted(n for _, n in report.recording.deaths) == sorted(n for _, n in first.recording.deaths)


def test_detection_costs_all_proposals():
    """The box head of a Faster R-CNN at low resolution sees the 150 proposals that its region network may keep."""
    model, inputs = loaded("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn")
    report = fxcost.analyze(model, inputs.args)
    assert model.rpn.post_nms_top_n() == 150
    assert report.cost_of("roi_heads.box_head.fc6").macs == 150 * 256 * 7 * 7 * 1024
    assert report.by_operator()["torchvision.roi_align.default"].flops > 0
    assert any("non-maximum suppression keeps every box" in sentence for sentence in report.assumptions)


@pytest.mark.zoo
@pytest.mark.parametrize("library", ["torchvision", "timm", "hf"])
def test_sweep(library, tmp_path):
    """The whole library: whatever is not analysed completely is named in docs/coverage.md, with its reason."""
    pytest.importorskip({"hf": "transformers"}.get(library, library))
    out = tmp_path / "zoo.jsonl"
    command = [sys.executable, str(ROOT / "benchmarks" / "zoo.py"), library, "--out", str(out), "--processes", "2"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    explained = (ROOT / "docs" / "coverage.md").read_text()
    incomplete = [r["model"] for r in rows if r["error"] or r["uncosted"]]
    assert rows
    assert [name for name in incomplete if f"`{library}:{name}`" not in explained] == []
