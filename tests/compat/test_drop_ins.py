"""Drop-ins against the tools themselves where they are installed, and against what they printed before."""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import pytest
import torch
from peer_cases import build
from torch import nn

import fxcost
from fxcost.compat import fvcore, mmengine, ptflops, thop, torchstat, torchsummary

SIZE = (3, 224, 224)


def tool_of(package: str) -> Any:
    """A tool, or a skip where it is not installed; ultralytics-thop is imported as `thop` too."""
    tool = pytest.importorskip(package)
    if package == "thop":
        try:
            distribution("thop")
        except PackageNotFoundError:
            pytest.skip("what is imported as thop is ultralytics-thop")
    return tool


def model_of(case: str) -> nn.Module:
    """The model of a case."""
    return build(case)[0]


def printed(capsys: pytest.CaptureFixture[str], function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """What a function prints."""
    capsys.readouterr()
    function(*args, **kwargs)
    return capsys.readouterr().out


@pytest.mark.parametrize("case", ["article_alexnet", "resnet18"])
def test_torchsummary_prints_its_table(
    case: str, capsys: pytest.CaptureFixture[str], golden: Callable[[str, str], None]
) -> None:
    """To the character, as torchsummary 1.5.1 printed it."""
    golden(f"torchsummary_{case}.txt", printed(capsys, torchsummary.summary, model_of(case), SIZE, device="cpu"))


@pytest.mark.parametrize(
    "case", ["article_alexnet", "resnet18", "squeezenet1_0", "relu_reuse", "shared_across", "gru_fc"]
)
@pytest.mark.parametrize("batch", [-1, 4])
def test_torchsummary_itself_prints_the_same(case: str, batch: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The live tool, with and without a batch size: shared modules, several outputs."""
    tool = pytest.importorskip("torchsummary")
    model, inputs = build(case)
    size = tuple(inputs[0].shape[1:])
    expected = printed(capsys, tool.summary, model, size, batch_size=batch, device="cpu")
    assert printed(capsys, torchsummary.summary, model, size, batch_size=batch, device="cpu") == expected


def test_torchsummary_of_two_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    """Sizes as a list, the batch in every total."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f = nn.Linear(4, 3)

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return self.f(a) + self.f(b)

    text = printed(capsys, torchsummary.summary, Two(), [(4,), (4,)], batch_size=2)
    assert text.count("Linear-") == 2
    assert "Total params: 30\n" in text
    assert "[2, 3]" in text


def test_torchsummary_refuses_an_unknown_device() -> None:
    """As the tool does."""
    with pytest.raises(AssertionError, match="cuda"):
        torchsummary.summary(nn.Linear(1, 1), (1,), device="tpu")


def test_thop_profile() -> None:
    """Floats; the article's AlexNet; the tree that ret_layer_info gives adds up."""
    model = model_of("article_alexnet").train()
    ops, params = thop.profile(model, inputs=(torch.empty(1, *SIZE, device="meta"),))  # type: ignore[misc]
    assert (ops, params) == (861301280.0, 61264904.0)
    assert isinstance(ops, float)
    assert model.training
    assert thop.clever_format([ops, params], "%.3f") == ("861.301M", "61.265M")
    total, _, tree = thop.profile(model, (torch.empty(1, *SIZE),), ret_layer_info=True)  # type: ignore[misc]
    assert sum(branch[0] for branch in tree.values()) == total
    assert tree["classifier"][2]["1"][0] == 9216 * 4096
    with pytest.raises(fxcost.ConventionError, match="custom_ops"):
        thop.profile(model, (torch.empty(1, *SIZE),), custom_ops={nn.ReLU: print})


@pytest.mark.parametrize("case", ["mobilenet_v3_small", "shared_across", "tel", "lstm", "root_conv"])
def test_thop_itself_returns_the_same(case: str) -> None:
    """Totals and the tree."""
    tool = tool_of("thop")
    model, inputs = build(case)
    expected = tool.profile(model, inputs=inputs, verbose=False, ret_layer_info=True)
    model, inputs = build(case)  # the tool leaves hooks behind on shared modules
    assert thop.profile(model, inputs=inputs, ret_layer_info=True) == expected
    for number in (999, 1000, 1001.5, 5e6, 2e9, 3e12):
        assert thop.clever_format(number) == tool.clever_format(number)
    assert thop.clever_format([1, 2e6], "%.3f") == tool.clever_format([1, 2e6], "%.3f")


def test_torchstat_report(capsys: pytest.CaptureFixture[str], golden: Callable[[str, str], None]) -> None:
    """The totals that the article prints, and a row for each leaf."""
    text = printed(capsys, torchstat.stat, model_of("article_alexnet"), SIZE)
    for line in ("Total params: 61,264,904", "Total memory: 4.98MB", "Total MAdd: 1.72GMAdd"):
        assert line in text
    assert "Total Flops: 862.36MFlops\nTotal MemR+W: 244.14MB\n" in text
    golden("torchstat_article_alexnet.txt", text)


def test_torchstat_granularity(capsys: pytest.CaptureFixture[str]) -> None:
    """At 2 the two Sequentials stand for their leaves, and the totals stay."""
    model = model_of("article_alexnet")
    text = printed(capsys, torchstat.stat, model, SIZE, query_granularity=2)
    assert re.findall(r"^\S+", text, re.MULTILINE)[1:4] == ["feature_extraction", "classifier", "total"]
    assert "58,630,144" in text
    assert "Total Flops: 862.36MFlops" in text
    with pytest.raises(AssertionError):
        torchstat.stat(model, (224, 224))


@pytest.mark.parametrize("backend", ["pytorch", "aten"])
def test_ptflops_returns_strings_or_integers(backend: str) -> None:
    """And writes our table where it is told to."""
    model, out = model_of("resnet18"), io.StringIO()
    macs, params = ptflops.get_model_complexity_info(model, SIZE, backend=backend, ost=out)
    assert (macs, params) == ({"pytorch": "1.83 GMac", "aten": "1.81 GMac"}[backend], "11.69 M")
    assert "layer1" in out.getvalue()
    exact, _ = ptflops.get_model_complexity_info(model, SIZE, False, False, backend=backend)
    assert exact == {"pytorch": 1825313768, "aten": 1814074344}[backend]
    with pytest.raises(fxcost.ConventionError, match="ignore_modules"):
        ptflops.get_model_complexity_info(model, SIZE, ignore_modules=[nn.ReLU])


@pytest.mark.parametrize("units", [None, "MMac", "other"])
def test_ptflops_itself_returns_the_same(units: str | None) -> None:
    """Strings in all units."""
    tool = pytest.importorskip("ptflops")
    model = model_of("mobilenet_v3_small")
    options: Any = {"print_per_layer_stat": False, "flops_units": units, "output_precision": 3}
    assert ptflops.get_model_complexity_info(model, SIZE, **options) == tool.get_model_complexity_info(
        model, SIZE, **options
    )


def test_mmengine_dictionary() -> None:
    """The article's row of ResNet-18's first convolution, and all keys of the tool."""
    found = mmengine.get_model_complexity_info(model_of("resnet18"), input_shape=SIZE)
    assert (found["flops_str"], found["activations_str"], found["params_str"]) == ("1.819G", "2.485M", "11.69M")
    (row,) = (line for line in found["out_table"].splitlines() if " conv1 " in line)
    assert row.split() == ["|", "conv1", "|", "9.408K", "|", "0.118G", "|", "0.803M", "|"]
    assert "(conv1): Conv2d  #params: 9.408K, #flops: 0.118G, #acts: 0.803M" in found["out_arch"]
    for wrong in ({}, {"input_shape": (1,), "inputs": (1,)}, {"input_shape": ("a",)}):
        with pytest.raises(ValueError, match="input_shape"):
            mmengine.get_model_complexity_info(nn.Linear(1, 1), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", ["resnet18", "mobilenet_v3_small", "article_alexnet", "transformer", "matmul_mv"])
def test_mmengine_itself_returns_the_same(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All figures, strings and the table; the architecture is printed in our own way."""
    tool = pytest.importorskip("mmengine.analysis")
    monkeypatch.setenv("COLUMNS", "200")
    model, inputs = build(case)
    expected = tool.get_model_complexity_info(model, inputs=inputs)
    found = mmengine.get_model_complexity_info(model, inputs=inputs)
    assert set(found) == set(expected)
    for key in set(expected) - {"out_arch"}:
        assert found[key] == expected[key], key


@pytest.mark.parametrize("case", ["resnet18", "mobilenet_v3_small", "shared_across", "lstmcell", "gn", "up_bicubic"])
def test_fvcore_itself_returns_the_same(case: str) -> None:
    """Totals, by module, by operator, by both, what has no handler, what was not called, and the table."""
    tool = pytest.importorskip("fvcore.nn")
    model, inputs = build(case)
    theirs = tool.FlopCountAnalysis(model, inputs).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    ours = fvcore.FlopCountAnalysis(model, inputs).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    assert ours.total() == theirs.total()
    assert ours.by_module() == theirs.by_module()
    assert ours.by_operator() == theirs.by_operator()
    assert ours.by_module_and_operator() == theirs.by_module_and_operator()
    if case != "lstmcell":  # a cell's inner operators are not listed
        assert ours.unsupported_ops() == theirs.unsupported_ops()
    assert ours.uncalled_modules() == theirs.uncalled_modules()
    activations = tool.ActivationCountAnalysis(model, inputs), fvcore.ActivationCountAnalysis(model, inputs)
    assert activations[1].by_module() == activations[0].by_module()
    for depth, shapes in ((3, True), (1, False)):
        expected = tool.flop_count_table(theirs, depth, activations[0], shapes)
        assert fvcore.flop_count_table(ours, depth, activations[1], shapes) == expected


def test_fvcore_analysis() -> None:
    """Recorded figures of ResNet-18, a child's share, and names that do not exist."""
    analysis = fvcore.FlopCountAnalysis(model_of("resnet18"), torch.empty(1, *SIZE, device="meta"))
    assert analysis.total() == 1_819_065_856
    assert analysis.by_operator() == {
        "conv": 1_813_561_344,
        "batch_norm": 4_967_424,
        "adaptive_avg_pool2d": 25_088,
        "linear": 512_000,
    }
    assert analysis.unsupported_ops() == {"aten::max_pool2d": 1, "aten::add_": 8}
    assert analysis.total("conv1") == analysis.by_module()["conv1"] == 118_013_952
    assert analysis.by_module()["layer1"] == sum(analysis.by_module()[f"layer1.{i}"] for i in range(2))
    with pytest.raises(KeyError, match="layer9"):
        analysis.total("layer9")
    with pytest.raises(fxcost.ConventionError, match="handlers"):
        analysis.set_op_handle("aten::add", None)
    with pytest.raises(fxcost.ConventionError, match="owner"):
        analysis.ancestor_mode("caller")


TOOLS = {
    "thop.profile": thop.profile,
    "thop.clever_format": thop.clever_format,
    "torchsummary.summary": torchsummary.summary,
    "torchstat.stat": torchstat.stat,
    "ptflops.get_model_complexity_info": ptflops.get_model_complexity_info,
    "mmengine.analysis.get_model_complexity_info": mmengine.get_model_complexity_info,
    "fvcore.nn.flop_count_table": fvcore.flop_count_table,
}


@pytest.mark.parametrize("name", TOOLS)
def test_arguments_are_the_tools_own(name: str) -> None:
    """Same names, in the same order, with defaults in the same places."""
    package, _, function = name.rpartition(".")
    tool = tool_of(package)
    theirs = inspect.signature(getattr(tool, function)).parameters.values()
    ours = inspect.signature(TOOLS[name]).parameters.values()
    required = [(p.name, p.default is p.empty) for p in theirs]
    assert [(p.name, p.default is p.empty) for p in ours] == required
