"""Devices: the table, names, peaks, and what is refused."""

import dataclasses
import subprocess
import sys

import pytest
import torch

import fxcost
from fxcost import Device
from fxcost.speed.dtypes import dtype_key


def device(**changes):
    given = {"name": "box", "flops_per_s": {"float32": 2e12}, "bytes_per_s": 1e11, "memory_bytes": 2**34, **changes}
    return Device(**given)


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("h100", "NVIDIA H100 SXM5 80GB"),
        ("H100 PCIe", "NVIDIA H100 PCIe 80GB"),
        ("A100-80GB", "NVIDIA A100 SXM4 80GB"),
        ("NVIDIA A100-SXM4-40GB", "NVIDIA A100 SXM4 40GB"),  # as its driver says it, and so the next two
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 SXM5 80GB"),
        ("Tesla V100-PCIE-32GB", "NVIDIA V100 PCIe 32GB"),
        ("RTX 4090", "NVIDIA GeForce RTX 4090"),
        ("NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 3090"),
        ("Tesla T4", "NVIDIA T4"),
        ("tpu v5e", "Google TPU v5e"),
        ("Tesla V100S-PCIE-32GB", "NVIDIA V100S PCIe 32GB"),
        ("NVIDIA A10G", "NVIDIA A10G"),
        ("Quadro RTX 5000", "NVIDIA Quadro RTX 5000"),
        ("NVIDIA H100 NVL", "NVIDIA H100 NVL 94GB"),
        ("NVIDIA H100 PCIe", "NVIDIA H100 PCIe 80GB"),
        ("NVIDIA L40S", "NVIDIA L40S"),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 SXM4 80GB"),
        ("NVIDIA H200", "NVIDIA H200 SXM 141GB"),
        ("NVIDIA B200", "NVIDIA B200 SXM 180GB"),
        ("NVIDIA RTX A6000", "NVIDIA RTX A6000"),
        ("NVIDIA RTX 6000 Ada Generation", "NVIDIA RTX 6000 Ada Generation"),
        ("NVIDIA GH200 480GB", "NVIDIA GH200 96GB"),
        ("AMD Instinct MI300X", "AMD Instinct MI300X"),
        ("v5litepod", "Google TPU v5e"),
    ],
)
def test_devices_are_found_by_any_of_their_names(name, full):
    """Case, spaces and dashes play no part."""
    assert Device.named(name).name == full


def test_every_name_means_one_device():
    """No two devices share a short name, and each is found by all of its own."""
    keys = [key for known in Device.known() for key in known.keys]
    assert len(keys) == len(set(keys))
    assert all(Device.named(key) is known for known in Device.known() for key in known.keys)


def test_every_device_has_a_document_of_its_vendor():
    """The source names a page of the maker."""
    makers = {"NVIDIA": "nvidia.com", "AMD": "amd.com", "Google": "cloud.google.com", "Intel": "intel.com"}
    for known in Device.known():
        assert makers[known.name.split()[0]] in known.source


@pytest.mark.parametrize(
    ("name", "dtype", "tera"),
    [("a100", "float16", 312), ("h100", "bfloat16", 989.5), ("h100-pcie", "float8", 1513), ("l4", "int8", 242.5)],
)
def test_peaks_are_dense(name, dtype, tera):
    """The figures without sparsity; data sheets also print twice as much."""
    assert Device.named(name).peak(dtype) == tera * 1e12


def test_lower_precision_is_never_slower():
    """A check on the table against slips: within a device, peaks do not fall from float64 to int8."""
    order = ("float64", "float32", "tf32", "bfloat16", "float16", "float8", "int8")
    for known in Device.known():
        peaks = [known.flops_per_s[dtype] for dtype in order if dtype in known.flops_per_s]
        assert peaks == sorted(peaks), known.name


def test_an_unknown_device_is_answered_with_the_nearest():
    """The error offers names, and the two ways to go without the table."""
    with pytest.raises(fxcost.DeviceError, match=r"no device 'h10' is known; did you mean .*h100") as caught:
        Device.named("h10")
    assert "Device.calibrate()" in str(caught.value)
    with pytest.raises(fxcost.DeviceError, match=r"there are v100, .*mi300x"):
        Device.named("zzz")


def test_a_device_without_a_dtype_names_those_that_it_has():
    """A TPU has no float32 peak."""
    with pytest.raises(fxcost.DeviceError, match="TPU v5e has no peak for float32; it has bfloat16, int8"):
        Device.named("tpu-v5e").peak(torch.float32)


@pytest.mark.parametrize(
    ("dtype", "key"),
    [
        (torch.bfloat16, "bfloat16"),
        (torch.float8_e5m2, "float8"),
        (torch.complex64, "float32"),
        (torch.quint8, "int8"),
        ("fp16", "float16"),
        ("TF32", "tf32"),
    ],
)
def test_dtypes_have_one_name(dtype, key):
    """torch's dtypes, their names and usual short forms."""
    assert dtype_key(dtype) == key


def test_the_ridge_is_where_both_roofs_meet():
    """2 TFLOPS over 100 GB/s."""
    assert device().ridge("float32") == 20.0


@pytest.mark.parametrize(
    "changes", [{"flops_per_s": {}}, {"flops_per_s": {"float32": 0.0}}, {"bytes_per_s": -1}, {"overhead_s": -1e-6}]
)
def test_rates_must_be_positive(changes):
    """A device that can do nothing is a mistake."""
    with pytest.raises(fxcost.DeviceError, match="rates above 0"):
        device(**changes)


def test_the_table_needs_no_torch():
    """`fxcost devices` answers at once."""
    code = "import sys; from fxcost.cli import main; main(['devices']); print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "NVIDIA H100 SXM5 80GB" in out
    assert out.splitlines()[-1] == "False"


def test_bounds_are_reckoned_at_the_highest_clock_and_shares_at_the_printed_one():
    """A card that can run a tenth faster than its data sheet says has bounds a tenth lower, and the same peak."""
    report = fxcost.analyze(torch.nn.Linear(512, 512), (4096, 512), training=True)
    plain = fxcost.Device(name="mine", flops_per_s={"float32": 1e9}, bytes_per_s=1e12, memory_bytes=10**9)
    fast = dataclasses.replace(plain, clock=1.1)
    assert report.roofline(fast).latency_s == pytest.approx(report.roofline(plain).latency_s / 1.1)
    assert fast.peak("float32") == plain.peak("float32")
    assert "1.1 × that" in str(report.roofline(fast))
    assert {device.clock for device in fxcost.Device.known() if "RTX" not in device.name} == {1.0}
