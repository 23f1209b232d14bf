"""torchinfo's table to the character, and `fxcost.summary`, whose numbers are ours; the smaller drop-ins."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import Any

import pytest
import torch
from peer_cases import CASES, build
from torch import nn

import fxcost
from fxcost.compat import calflops, deepspeed, torchinfo, torchprofile

ALL = ("input_size", "output_size", "num_params", "params_percent", "kernel_size", "mult_adds", "trainable")
OPTIONS: list[dict[str, Any]] = [
    {},
    {"col_names": ALL, "depth": 2, "row_settings": ("var_names", "depth")},
    {"col_names": ALL, "depth": 9, "row_settings": ("ascii_only", "hide_recursive_layers"), "col_width": 18},
]
SAMPLE = ("relu_reuse", "shared_across", "gru_fc", "lraspp", "squeezenet1_0")


@pytest.mark.parametrize("case", [pytest.param(c, marks=[] if c in SAMPLE else pytest.mark.zoo) for c in CASES])
@pytest.mark.parametrize("options", OPTIONS, ids=("default", "names", "deep"))
def test_the_table_is_torchinfos(case: str, options: dict[str, Any]) -> None:
    """To the character, as the installed torchinfo prints it, and so are the totals."""
    tool = pytest.importorskip("torchinfo")
    model, inputs = build(case)
    theirs = tool.summary(model, input_data=list(inputs), verbose=0, device="cpu", **options)
    ours = torchinfo.summary(model, input_data=list(inputs), verbose=0, device="cpu", **options)
    assert str(ours) == str(theirs)
    for name in ("total_params", "trainable_params", "total_mult_adds", "total_input", "total_output_bytes"):
        assert getattr(ours, name) == getattr(theirs, name)


def test_a_table_without_inputs_and_with_details() -> None:
    """Without inputs only parameters are listed; `verbose=2` has a line for each of them; a batch dimension."""
    tool = pytest.importorskip("torchinfo")
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()), nn.Conv2d(4, 4, 1))
    assert str(torchinfo.summary(model, verbose=0)) == str(tool.summary(model, verbose=0))
    for options in (
        {"verbose": 2, "input_size": (1, 3, 8, 8)},
        {"verbose": 1, "input_size": (3, 8, 8), "batch_dim": 0},
    ):
        printed = []
        for summary in (torchinfo.summary, tool.summary):
            text = io.StringIO()
            with redirect_stdout(text):
                summary(model, device="cpu", col_names=("kernel_size", "input_size", "num_params"), **options)
            printed.append(text.getvalue())
        assert printed[0] == printed[1]


def test_summary_has_our_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """Names of torchinfo, numbers of the report; attention is counted, and the column of MACs adds up to the total."""
    model = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    found = fxcost.summary(model, input_size=(2, 5, 16), depth=3)
    report = fxcost.analyze(model.eval(), (2, 5, 16))
    assert capsys.readouterr().out == f"{found}\n"
    assert (found.total_mult_adds, found.total_params) == (report.macs, report.params)
    assert found.total_flops == report.flops
    deep = fxcost.summary(model, input_size=(2, 5, 16), depth=9, verbose=0)
    column = [line.cells["mult_adds"].replace(",", "") for line in deep.lines]
    assert sum(int(text) for text in column if text != "--") == report.macs
    assert fxcost.summary(model, input_data=torch.empty(2, 5, 16), verbose=0).total_mult_adds == report.macs
    assert capsys.readouterr().out == ""


def test_summary_leaves_the_model_alone() -> None:
    """Its mode and its weights stay, whatever `device` says."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout()).train()
    model[1].eval()
    fxcost.summary(model, input_size=(1, 4), verbose=0, device="meta")
    assert [module.training for module in model.modules()] == [True, True, False]
    assert not model[0].weight.is_meta


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give input_size"),
        ({"input_size": (1, 4), "input_data": torch.empty(1, 4)}, "Only one of"),
        ({"input_size": (1, -4)}, "negative size"),
        ({"input_size": (1, 4), "col_names": ("macs",)}, "no column 'macs'"),
        ({"input_size": (1, 4), "row_settings": ("dept",)}, "did you mean 'depth'"),
        ({"input_size": (1, 4), "mode": "test"}, "neither 'train' nor 'eval'"),
        ({"input_size": (1, 4), "verbose": 3}, "Verbose must be"),
    ],
)
def test_mistakes(options: dict[str, Any], words: str) -> None:
    """Our errors, in plain words."""
    with pytest.raises(fxcost.FxcostError, match=words):
        fxcost.summary(nn.Linear(4, 4), **options)


@pytest.mark.parametrize(
    ("model", "words"),
    [("torchvision:resnet18", "is a str, no model"), (nn.Linear, "is a class of modules: make one, Linear")],
)
def test_what_is_no_model_yet(model: Any, words: str) -> None:
    """A name, or a class, is answered with what to do."""
    with pytest.raises(fxcost.InputError, match=words):
        fxcost.analyze(model, (1, 4))


def test_a_builder_is_no_model() -> None:
    """A function of torchvision that makes a model is to be called."""
    models = pytest.importorskip("torchvision.models")
    with pytest.raises(fxcost.InputError, match=r"call it, resnet18\(\)"):
        fxcost.analyze(models.resnet18, (1, 3, 8, 8))


def test_names_that_are_not_there() -> None:
    """The nearest is offered."""
    with pytest.raises(AttributeError, match="did you mean summary"):
        fxcost.sumary  # noqa: B018


def net() -> nn.Module:
    """A small network."""
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))


def test_calflops() -> None:
    """As the tool itself returns, as numbers and as text; backward by its factor."""
    tool = pytest.importorskip("calflops")
    for options in ({"output_as_string": False}, {}, {"include_backPropagation": True, "output_precision": 4}):
        call = {"input_shape": (2, 3, 8, 8), "print_results": False, **options}
        assert calflops.calculate_flops(net(), **call) == tool.calculate_flops(net(), **call)


def test_deepspeed() -> None:
    """As the tool itself returns, as numbers and as text."""
    tool = pytest.importorskip("deepspeed.profiling.flops_profiler")
    for as_string in (False, True):
        call = {"input_shape": (2, 3, 8, 8), "print_profile": False, "as_string": as_string}
        assert deepspeed.get_model_profile(net(), **call) == tool.get_model_profile(net(), **call)


def test_torchprofile() -> None:
    """As the tool itself returns."""
    tool = pytest.importorskip("torchprofile")
    x = torch.rand(2, 3, 8, 8)
    assert torchprofile.profile_macs(net().eval(), x) == tool.profile_macs(net().eval(), x)


def test_totals_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the tools print; texts have the tools' units."""
    texts = calflops.calculate_flops(net(), (2, 3, 8, 8))
    assert (
        capsys.readouterr().out == f"fwd MACs: {texts[1]}\nfwd FLOPs: {texts[0]}\nTotal Training Params: {texts[2]}\n"
    )
    deepspeed.get_model_profile(net(), (2, 3, 8, 8))
    assert "fwd MACs: " in capsys.readouterr().out
    with pytest.raises(fxcost.ConventionError, match="ignore_modules"):
        deepspeed.get_model_profile(net(), (2, 3, 8, 8), ignore_modules=[nn.ReLU])
