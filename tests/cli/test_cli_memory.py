"""The command line's answers about memory and training."""

import sys
import types

import pytest
import torch
from torch import nn

import fxcost


class Net(nn.Module):
    """Two layers and a dropout."""

    def __init__(self):
        super().__init__()
        self.first, self.drop, self.second = nn.Linear(10, 50), nn.Dropout(0.5), nn.Linear(50, 10)

    def forward(self, x):
        return self.second(self.drop(self.first(x)))


@pytest.fixture
def net(monkeypatch):
    """A module that the command line can import the model from."""
    module = types.ModuleType("memory_test_net")
    module.Net = Net
    monkeypatch.setitem(sys.modules, "memory_test_net", module)
    return "memory_test_net:Net"


def test_memory(run, net):
    """The table of memory follows that of costs."""
    code, out, _ = run(net, "-i", "4,10", "--memory")
    assert code == 0
    memory = fxcost.analyze(Net().eval(), (4, 10)).memory
    assert out.endswith(f"{memory}\n")
    assert "Peak, graph order" in out


def test_training(run, net):
    """In training mode, with the optimizer that is named: dropout's mask is saved."""
    code, out, _ = run(net, "-i", "4,10", "--training", "--optimizer", "momentum")
    assert code == 0
    assert "Optimizer state (momentum)" in out
    training = fxcost.analyze(Net().train(), (4, 10), training=True, optimizer="momentum").training
    assert out.endswith(f"{training}\n")
    assert training.by_module()["drop"].saved_bytes == 200


def test_bytes_per_parameter(run, net):
    """A number is an optimizer too."""
    assert "12.0 bytes per parameter" in run(net, "-i", "4,10", "--training", "--optimizer", "12")[1]


@pytest.mark.parametrize("options", [(), ("--training",)])
def test_plot(run, net, tmp_path, options):
    """A picture in the format that the file's name asks for."""
    pytest.importorskip("matplotlib")
    path = tmp_path / "memory.svg"
    assert run(net, "-i", "4,10", "--plot", path, *options)[0] == 0
    assert "<svg" in path.read_text()


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("no/such/folder/x.png", "cannot write no/such/folder/x.png"),
        ("x.xyz", "no picture format 'xyz'; choose one of"),
        ("x", "no picture format ''"),
        ("-", "--plot writes to a file"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--device", "h100")])
def test_no_plot(run, net, path, complaint, options):
    """A path that can't be written, or that says no format: one line that is understood."""
    pytest.importorskip("matplotlib")
    code, _, err = run(net, "-i", "4,10", "--plot", path, *options)
    assert code == 2
    (line,) = err.splitlines()
    assert complaint in line
    assert "unexpected" not in line


def test_plot_without_matplotlib(run, net, tmp_path, monkeypatch):
    """What to install is said."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, err = run(net, "-i", "4,10", "--plot", tmp_path / "memory.png")
    assert code == 2
    assert "pip install matplotlib" in err


def test_fit(run, net):
    """The same answer as the function's."""
    code, out, _ = run("fit", net, "-i", "1,10", "--memory", "64KiB", "--training", "sgd")
    found = fxcost.fit(Net().train(), (1, 10), memory="64KiB", optimizer="sgd")
    assert (code, out) == (0, f"{found}\n")
    assert found.batch > 1


def test_fit_with_an_optimizer_by_default(run, net):
    """`--training` alone means adamw."""
    found = fxcost.fit(Net().train(), (1, 10), memory="64KiB", optimizer="adamw")
    assert run("fit", net, "-i", "1,10", "--memory", "64KiB", "--training")[1] == f"{found}\n"


def test_nothing_fits(run, net):
    """Exit code 1: analysed, but what was asked for does not hold."""
    code, out, _ = run("fit", net, "-i", "1,10", "--memory", "1KiB")
    assert code == 1
    assert "does not fit" in out


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--training", "--optimizer", "adamz"), "'adam'"),
        (("--optimizer", "adam"), "--optimizer is for --training"),
    ],
)
def test_errors(run, net, args, words):
    """One line on the error stream, exit code 2."""
    code, _, err = run(net, "-i", "4,10", *args)
    assert code == 2
    assert words in err
    assert len(err.splitlines()) == 1


def test_frozen_models(run, monkeypatch):
    """A model without trainable parameters can't be trained."""
    module = types.ModuleType("memory_test_frozen")
    module.model = nn.Linear(10, 3).requires_grad_(False)
    monkeypatch.setitem(sys.modules, "memory_test_frozen", module)
    code, _, err = run("memory_test_frozen:model", "-i", "4,10", "--training")
    assert code == 2
    assert "requires a gradient" in err
    assert torch.is_grad_enabled()
