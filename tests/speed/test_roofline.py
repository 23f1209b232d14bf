"""Rooflines: closed forms on small models, bounds, dtypes, and reports that were read from a file."""

import pytest
import torch
from hand_made import residual_net
from torch import nn

import fxcost
from fxcost import Device

BOX = Device(
    name="box", flops_per_s={"float32": 1e9, "bfloat16": 4e9, "tf32": 2e9}, bytes_per_s=1e8, memory_bytes=2**30
)
"""10 FLOPs per byte in float32."""


def test_a_linear_layer_by_hand():
    """2·8·16·32 FLOPs at 1 GFLOPS against (8·16 + 16·32 + 32 + 8·32) floats at 100 MB/s: memory is slower."""
    roofline = fxcost.analyze(nn.Linear(16, 32), (8, 16)).roofline(BOX)
    node = next(node for node in roofline.nodes if node.time_s)
    assert node.compute_s == pytest.approx(8192 / 1e9)
    assert node.memory_s == pytest.approx(4 * (128 + 512 + 32 + 256) / 1e8)
    assert (node.bound, node.family, node.dtype) == ("memory", "matmul", "float32")
    assert roofline.latency_s == node.time_s == node.memory_s
    assert roofline.flops_per_s == pytest.approx(8192 / node.memory_s)


def test_large_products_are_bound_by_arithmetic():
    """x @ x of 512² floats: 2·512³ FLOPs, one tensor read, one written."""
    node = fxcost.analyze(lambda x: x @ x, (512, 512)).roofline(BOX).nodes[1]
    assert node.bound == "compute"
    assert node.arithmetic_intensity == 128.0
    assert node.time_s == pytest.approx(2 * 512**3 / 1e9)


def test_the_longer_of_both_counts_for_each_operator():
    """A node of two operators takes the sum of their times, though one is bound by memory, the other by arithmetic."""

    class Both(nn.Module):
        def forward(self, x):
            return (x @ x).relu()

    roofline = fxcost.analyze(nn.Sequential(Both()), (512, 512), leaf_modules=(Both,)).roofline(BOX)
    node = roofline.nodes[1]
    assert node.time_s == pytest.approx(2 * 512**3 / 1e9 + 2 * 4 * 512**2 / 1e8)
    assert node.time_s > max(node.compute_s, node.memory_s)


def test_sums_agree():
    """The latency is the sum over nodes, families and bounds."""
    roofline = residual_net().roofline(BOX)
    assert sum(roofline.by_family().values()) == pytest.approx(roofline.latency_s)
    assert sum(roofline.by_bound().values()) == pytest.approx(roofline.latency_s)
    assert max(roofline.compute_s, roofline.memory_s) <= roofline.latency_s <= roofline.compute_s + roofline.memory_s
    assert roofline.flops == residual_net().flops


def test_the_critical_path_takes_the_slower_branch():
    """Two branches of unlike length: the longer one and what joins them."""

    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.slow, self.fast = nn.Linear(64, 64), nn.Linear(64, 64), nn.ReLU()

        def forward(self, x):
            x = self.stem(x)
            return self.slow(x) + self.fast(x)

    roofline = fxcost.analyze(Branches(), (32, 64)).roofline(BOX)
    assert roofline.critical_path == ("stem", "slow", "add")
    assert roofline.critical_path_s == pytest.approx(roofline.latency_s - roofline.time_of("fast").time_s)


def test_what_is_overwritten_waits_for_its_readers():
    """The product must read y before relu_ overwrites it, though no value flows from one to the other."""

    def function(x):
        y = x.exp()
        z = y @ y
        y.relu_()
        return z

    roofline = fxcost.analyze(function, (64, 64)).roofline(BOX)
    assert roofline.critical_path == ("exp", "matmul", "relu_")


def test_a_chain_is_its_own_critical_path():
    """Nothing runs beside anything."""
    roofline = fxcost.analyze(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)), (4, 8)).roofline(BOX)
    assert roofline.critical_path_s == roofline.latency_s
    assert roofline.critical_path == ("_0", "_1", "_2")


def test_a_named_dtype_sets_the_peak():
    """tf32 doubles the speed of arithmetic; traffic stays as analysed."""
    report = fxcost.analyze(lambda x: x @ x, (512, 512))
    plain, fast = report.roofline(BOX), report.roofline(BOX, dtype="tf32")
    assert fast.compute_s == pytest.approx(plain.compute_s / 2)
    assert fast.memory_s == plain.memory_s
    assert report.roofline(BOX, dtype=torch.bfloat16).compute_s == pytest.approx(plain.compute_s / 4)


def test_each_operator_has_its_own_dtype():
    """A model in bfloat16 with a head in float32."""

    class Mixed(nn.Module):
        def forward(self, x):
            return (x @ x).float() @ torch.ones(64, 64)

    roofline = fxcost.analyze(Mixed(), fxcost.spec(64, 64, dtype="bfloat16")).roofline(BOX)
    assert [node.dtype for node in roofline.nodes if node.family == "matmul"] == ["bfloat16", "float32"]


def test_whole_numbers_need_no_peak_where_they_cost_nothing():
    """An embedding reads integers: only bytes move."""
    roofline = fxcost.analyze(nn.Embedding(10, 4), fxcost.spec(3, dtype="int64")).roofline(BOX)
    assert roofline.compute_s == 0.0
    assert roofline.by_bound().keys() == {"memory"}


def test_a_dtype_that_the_device_lacks():
    """The error names the node, the operator and what there is."""
    report = fxcost.analyze(nn.Linear(4, 4).double(), (2, 4))
    with pytest.raises(fxcost.DeviceError, match=r"box has no peak for float64; it has float32.*node 'linear'|'_root'"):
        report.roofline(BOX)


def test_unknown_fusions_and_devices():
    """Both list what there is."""
    report = residual_net()
    with pytest.raises(fxcost.UnknownNameError, match="no fusion 'all'; choose from none, pointwise"):
        report.roofline(BOX, fusion="all")
    with pytest.raises(fxcost.DeviceError, match="did you mean"):
        report.roofline("a1000")


def test_fusion_takes_the_time_of_one():
    """A linear layer and its activation become one kernel at the first node; the second says where it went."""
    report = fxcost.analyze(nn.Sequential(nn.Linear(64, 64), nn.ReLU()), (32, 64))
    fused = report.roofline(BOX, fusion="pointwise")
    assert fused.time_of("_1").time_s == 0.0
    assert fused.time_of("_1").fused_into == "_0"
    assert fused.bytes_moved == report.cost.bytes_moved - 2 * 4 * 32 * 64
    assert fused.latency_s < report.roofline(BOX).latency_s
    assert fused.critical_path == ("_0",)


def test_a_least_time_for_each_operator():
    """Operators that have next to nothing to do take the overhead."""
    slow = Device(name="slow", flops_per_s={"float32": 1e12}, bytes_per_s=1e12, memory_bytes=1, overhead_s=1e-3)
    roofline = fxcost.analyze(lambda x: x.relu().exp(), (2, 2)).roofline(slow)
    assert roofline.latency_s == pytest.approx(2e-3)
    assert roofline.by_bound() == {"overhead": pytest.approx(2e-3)}


def test_an_efficiency_stretches_its_family():
    """Matrix products at half the roofline take twice as long, and the numbers say that they are estimates."""
    report = fxcost.analyze(nn.Sequential(nn.Linear(64, 64), nn.ReLU()), (32, 64))
    half = Device(
        name="half", flops_per_s={"float32": 1e9}, bytes_per_s=1e8, memory_bytes=1, efficiency={"matmul": 0.5}
    )
    plain, stretched = report.roofline(BOX), report.roofline(half)
    assert stretched.time_of("_0").time_s == pytest.approx(2 * plain.time_of("_0").time_s)
    assert stretched.time_of("_1").time_s == plain.time_of("_1").time_s
    assert any("estimates" in note for note in stretched.notes)


def test_operators_without_a_rule_are_counted():
    """Their arithmetic is missing, and the table says so."""
    roofline = residual_net(uncosted=True).roofline(BOX)
    assert roofline.uncosted == 1
    assert "Not costed" in str(roofline)


@pytest.mark.parametrize("fusion", ["none", "pointwise"])
def test_a_report_from_a_file_has_the_same_roofline(fusion):
    """Nothing but the records is needed."""
    report = fxcost.analyze(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval(), (1, 3, 8, 8))
    again = fxcost.Report.from_json(report.to_json())
    assert again.roofline(BOX, fusion=fusion).nodes == report.roofline(BOX, fusion=fusion).nodes
    assert again.roofline(BOX, fusion=fusion).edges == report.roofline(BOX, fusion=fusion).edges


def test_without_memory_records_nothing_is_fused():
    """Records made by hand do not say what shares memory: a note says that fusion found nothing."""
    roofline = residual_net().roofline(BOX, fusion="pointwise")
    assert roofline.latency_s == residual_net().roofline(BOX).latency_s
    assert any("nothing is fused" in note for note in roofline.notes)


def test_a_model_that_does_nothing():
    """No work, no time, no division by zero."""
    roofline = fxcost.analyze(nn.Identity(), (2, 2)).roofline("t4")
    assert (roofline.latency_s, roofline.flops_per_s, roofline.critical_path) == (0, 0.0, ())
    assert "0 s" in str(roofline)
