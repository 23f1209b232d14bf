"""Marks and laps, on the CPU's clock and on CUDA's events; and where time can be taken at all."""

import types

import pytest
import torch

import fxcost
from fxcost.speed.stopwatch import Stopwatch, find_place

CUDA = torch.device("cuda", 0)


class FakeCuda:
    """A GPU on which each event happens 2 ms after the one before, and which notes when it is waited for."""

    def __init__(self):
        self.recorded = []
        self.waited = 0
        fake = self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self, stream):
                assert stream == "stream of cuda:0"
                fake.recorded.append(self)

            def elapsed_time(self, other):
                assert fake.waited, "read before the device was waited for"
                return 2.0 * (fake.recorded.index(other) - fake.recorded.index(self))

        self.Event = Event

    def current_stream(self, place):
        return f"stream of {place}"

    def synchronize(self, place):
        self.waited += 1


@pytest.fixture
def gpu(monkeypatch):
    fake = FakeCuda()
    for name in ("Event", "current_stream", "synchronize"):
        monkeypatch.setattr(torch.cuda, name, getattr(fake, name))
    return fake


def test_cuda_laps_are_between_events_in_the_stream(gpu):
    """Marks wait for nothing; laps wait once, and milliseconds become seconds."""
    watch = Stopwatch(CUDA)
    for _ in range(3):
        watch.mark()
    assert gpu.waited == 0
    assert watch.laps() == [0.002, 0.002]
    assert gpu.waited == 1
    assert watch.laps() == []


def test_laps_start_afresh():
    """What was read is not read again."""
    times = iter([1.0, 2.0, 5.0, 5.5])
    watch = Stopwatch(torch.device("cpu"), lambda: next(times))
    watch.mark(), watch.mark()
    assert watch.laps() == [1.0]
    watch.mark(), watch.mark()
    assert watch.laps() == [0.5]


def test_no_cuda_is_said(monkeypatch):
    """And what to do instead."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(fxcost.DeviceError, match=r"no cuda on this machine .*is_available.* is False.*'cpu'"):
        find_place("cuda")


def test_a_gpu_that_is_not_there(monkeypatch):
    """Two GPUs: there is no third."""
    cuda = types.SimpleNamespace(is_available=lambda: True, device_count=lambda: 2, current_device=lambda: 1)
    monkeypatch.setattr(torch, "cuda", cuda)
    assert find_place("cuda") == torch.device("cuda", 1)
    assert find_place("cuda:0") == CUDA
    with pytest.raises(fxcost.DeviceError, match=r"no cuda:2 on this machine.*2 CUDA devices"):
        find_place("cuda:2")


@pytest.mark.parametrize("place", ["meta", "mps", "gpu", 3.5])
def test_places_where_nothing_can_be_timed(place):
    """A clear answer, whatever is given."""
    with pytest.raises(fxcost.DeviceError, match="cpu"):
        find_place(place)
