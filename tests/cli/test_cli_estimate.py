"""`fxcost MODEL --estimate` and `fxcost rank`."""

from __future__ import annotations

import pytest

from fxcost.cli import main

MODEL = "torchvision:squeezenet1_1"


def test_estimates(capsys: pytest.CaptureFixture[str]) -> None:
    """One device with its nodes, two as rows, and all."""
    assert main([MODEL, "--autocast", "float16", "--estimate", "rtx4090", "--mode", "compiled", "--top", "3"]) == 0
    out = capsys.readouterr().out
    assert "compiled, forward pass" in out
    assert "autocast casts to float16" in out
    assert main([MODEL, "--estimate", "rtx4090,h100"]) == 0
    out = capsys.readouterr().out
    assert "NVIDIA GeForce RTX 4090" in out
    assert "NVIDIA H100 SXM5 80GB" in out
    assert main([MODEL, "--estimate", "rtx4090", "--html", "-"]) == 0
    assert "On NVIDIA GeForce RTX 4090" in capsys.readouterr().out
    assert main([MODEL, "--estimate", "all"]) == 0
    assert "Without a profile" in capsys.readouterr().out


def test_rank(capsys: pytest.CaptureFixture[str]) -> None:
    """A leaderboard; what can't be built is named at the end."""
    assert main(["rank", MODEL, "torchvision:alexnet", "--device", "rtx3090", "--batch", "8"]) == 0
    assert "samples/s" in capsys.readouterr().out
    assert main(["rank", MODEL, "torchvision:none_such", "--device", "rtx3090"]) == 1
    shown = capsys.readouterr()
    assert "squeezenet" in shown.out
    assert "none_such" in shown.err


def test_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown devices are known before models are built."""
    assert main(["rank", MODEL, "--device", "rtx9999"]) == 2
    assert "no device" in capsys.readouterr().err
    assert main([MODEL, "--estimate", "v100"]) == 2
    assert "no profile" in capsys.readouterr().err
    assert main([MODEL, "--autocast", "float32"]) == 2
    assert "float16 or bfloat16" in capsys.readouterr().err


def test_a_mistyped_device_is_said_before_the_analysis(capsys: pytest.CaptureFixture[str]) -> None:
    """No table comes first, and the nearest names are offered."""
    assert main(["torchvision:resnet18", "--estimate", "rtx4090,rtx409"]) != 0
    out, err = capsys.readouterr()
    assert not out
    assert "'rtx409'" in err
    assert "rtx4090" in err
