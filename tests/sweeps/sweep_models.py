"""Models for sweeps, in a file that worker processes can import."""

import os
import signal
import time

import torch
from torch import nn


class Net(nn.Module):
    """15 parameters with the width as given: 3 · width + width · 2 MACs for each row."""

    def __init__(self, width=3):
        super().__init__()
        self.first, self.second = nn.Linear(3, width, bias=False), nn.Linear(width, 2, bias=False)

    def forward(self, x):
        return self.second(self.first(x))


class Exits(Net):
    """Ends its process."""

    def forward(self, x):
        os._exit(3)


class Killed(Net):
    """Is killed, as a process is that takes too much memory."""

    def forward(self, x):
        os.kill(os.getpid(), signal.SIGKILL)


class Hangs(Net):
    """Does not come back."""

    def forward(self, x):
        time.sleep(600)


class Greedy(Net):
    """Allocates 64 GiB outside of PyTorch."""

    def forward(self, x):
        self.held = bytearray(2**36)
        return x


class Raises(Net):
    """Raises, and says so on the standard output."""

    def forward(self, x):
        print("about to raise")
        raise KeyError("lost")


class Quits(Net):
    """Behaves like a script."""

    def forward(self, x):
        raise SystemExit(7)


class Decides(nn.Module):
    """Control flow that hangs on weights and data."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(600, 600)

    def forward(self, x):
        return x if self.layer(x).abs().sum() > 1e9 else -x


def make(width):
    """A function that makes a model."""
    return Net(width)


def not_a_model():
    """Makes something else."""
    return torch.zeros(3)
