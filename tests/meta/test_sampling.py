"""Values that follow from unknown ones: pending until a model asks for them, then evaluated on noise, and said so."""

import torch
from torch import nn

import fxcost


class Router(nn.Module):
    """Tokens sorted by expert with float counters, as JetMoE and Granite do it."""

    experts = 4

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(8, self.experts, bias=False)
        self.layers = nn.ModuleList(nn.Linear(8, 8, bias=False) for _ in range(self.experts))

    def forward(self, x):
        chosen = self.gate(x).topk(2, dim=1).indices
        counts = torch.zeros(len(x), self.experts).scatter(1, chosen, 1).long().sum(0).tolist()
        rows = x.repeat(2, 1).split(counts)
        return torch.cat([layer(part) for layer, part in zip(self.layers, rows, strict=True)])


def test_floats_that_follow_from_pending_integers_are_pending_too():
    """The counts add up to two experts for each token, whichever the noise chose."""
    report = fxcost.analyze(Router(), (5, 8))
    assert report.macs == 5 * 8 * 4 + 2 * 5 * 8 * 8
    assert any("seeded noise" in sentence for sentence in report.assumptions)


class Levels(nn.Module):
    """Boxes are sorted into levels by their clamped size, as in a feature pyramid."""

    def __init__(self):
        super().__init__()
        self.score = nn.Linear(6, 1, bias=False)

    def forward(self, x):
        level = torch.clamp(self.score(x)[:, 0], min=2, max=5).long()
        return [x[torch.where(level == k)[0]] for k in (2, 3, 4, 5)]


def test_noise_in_the_place_of_a_clamped_value_is_clamped():
    """Every box lands on a level between the bounds."""
    report = fxcost.analyze(Levels(), (40, 6))
    (output,) = [node for node in report.nodes if node.kind == "output"]
    assert sum(spec.shape[0] for spec in output.outputs) == 40
    assert sum(spec.shape[0] > 0 for spec in output.outputs) > 1
