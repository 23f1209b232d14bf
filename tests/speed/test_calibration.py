"""Calibration: arithmetic on a clock that is known, and a real machine in short."""

import time

import pytest
import torch

import fxcost
from fxcost import Device
from fxcost.speed import calibration


def test_speeds_follow_from_the_clock(monkeypatch):
    """On a clock that moves 1 ms at each reading: 2·256³ operations, 3 × 64 MiB, and 200 additions take 1 ms each."""
    monkeypatch.setattr(calibration, "_LARGEST", 256)
    now = 0.0

    def clock():
        nonlocal now
        now += 1e-3
        return now

    found = Device.calibrate(dtypes=["float32"], seconds=0.5, clock=clock)
    assert found.flops_per_s == {"float32": pytest.approx(33_554_432 / 1e-3)}
    assert found.bytes_per_s == pytest.approx(201_326_592 / 1e-3)
    assert found.overhead_s == pytest.approx(5e-6)


def test_this_machine():
    """In the time that is given, it comes to speeds that a machine can have, and says where they are from."""
    state, start = torch.get_rng_state(), time.perf_counter()
    found = Device.calibrate(dtypes=["float32", "bf16"], seconds=0.4)
    assert time.perf_counter() - start < 10
    assert set(found.flops_per_s) == {"float32", "bfloat16"}
    assert 1e7 < found.peak("float32") < 1e15
    assert 1e7 < found.bytes_per_s < 1e13
    assert 1e-8 < found.overhead_s < 1e-2
    assert found.memory_bytes > 2**20
    assert "measured by Device.calibrate('cpu')" in found.source
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("seconds", [0, -1, 11])
def test_it_never_takes_longer_than_ten_seconds(seconds):
    """More is refused, and so is nothing."""
    with pytest.raises(fxcost.DeviceError, match="at most 10 seconds"):
        Device.calibrate(seconds=seconds)


def test_a_dtype_without_matrix_products():
    """Unknown names, and dtypes that have none on the CPU."""
    with pytest.raises(fxcost.DeviceError, match="no dtype 'float12' to calibrate"):
        Device.calibrate(dtypes=["float12"], seconds=0.1)
    with pytest.raises(fxcost.DeviceError, match="no matrix product for bool"):
        Device.calibrate(dtypes=["bool"], seconds=0.1)
