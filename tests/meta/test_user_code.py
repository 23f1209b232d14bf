"""Lines of the model's code in messages: the user's own by full path, an installed package's by the package's path."""

import pytest
import torch

import fxcost


def test_a_line_of_an_installed_package_is_the_same_on_every_machine():
    """The wrong number of channels fails inside torchvision: its path starts at the package."""
    models = pytest.importorskip("torchvision.models")
    with pytest.raises(fxcost.ModelRunError, match=r" at torchvision/models/resnet\.py:\d+ \(x = self\.conv1\(x\)\)"):
        fxcost.analyze(models.resnet18(), (1, 4, 32, 32))


def test_a_line_of_the_users_own_has_its_whole_path():
    """What fails here is found here."""

    def model(x):
        return x @ torch.ones(3, 3)

    with pytest.raises(fxcost.ModelRunError) as error:
        fxcost.analyze(model, (2, 2))
    assert f" at {__file__}:" in str(error.value)
