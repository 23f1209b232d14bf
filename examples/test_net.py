"""A model's cost as a test: fxcost brings the fixtures."""

from net import Net


def test_net_stays_small(assert_cost):
    """Limits as `fxcost check` has them; the report comes back."""
    report = assert_cost(Net(), (1, 3, 32, 32), max_macs="1M", max_params="10K", no_uncosted=True)
    assert report.by_module()["head"].macs == 16 * 10


def test_budget_of_pyproject(fxcost_budget):
    """The same budget as `fxcost check net`."""
    fxcost_budget("net")
