"""What was learnt of a class of devices from measurements: the numbers of the model of time, their source and error.

Profiles ship in profiles.json, which `benchmarks/estimates.py` writes. A device takes the profile of its architecture;
one that was never measured takes that of its class all the same, and says so.

Not here: what the numbers mean (times.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor

from ..errors import DeviceError, UnknownNameError, nearest, shown
from ..speed.devices import Device
from .times import BY_VARIANT, VARIANTS

MODES = ("eager", "compiled")
"""How a model is run: its own code operator by operator, or through `torch.compile`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """How far estimates were from measurements that they were not fitted on.

    `median` and `p90` are of |estimate ÷ measured − 1|; `low` and `high` the 10th and 90th percentile of measured ÷
    estimate, over `rows` measurements of `what`.
    """

    median: float
    p90: float
    low: float
    high: float
    rows: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The model of time of a class of devices.

    `parameters` are named in times.py, each by variant, with a "default" for those that were not seen. `launch_s` is
    what the host takes to start a kernel, `view_s` what it takes for an operator that starts none, `training_factor` by
    how much training steps took longer than their kernels' times say. `errors` are by mode ("eager", "compiled",
    "training"). `source` says what it was fitted on, `note` what it leaves open.
    """

    name: str
    source: str
    note: str
    launch_s: float
    view_s: float
    training_factor: float
    parameters: Mapping[str, Mapping[str, float]]
    errors: Mapping[str, Errors]

    def tensors(self) -> dict[str, Tensor]:
        """The parameters as times.py takes them: a column over `VARIANTS` each."""
        found: dict[str, Tensor] = {}
        for name in BY_VARIANT:
            values = self.parameters[name]
            default = values["default"]
            found[name] = torch.tensor([values.get(v, default) for v in VARIANTS], dtype=torch.float64)
        return found

    def error(self, mode: str) -> Errors:
        """The errors in a mode, or those of the other one where this one was never measured."""
        return self.errors.get(mode) or next(iter(self.errors.values()))


_CLASSES = (
    ("ampere", r"\brtx ?30\d\d|\ba10\b|\ba40\b|\ba6000\b|orin"),
    ("ampere-datacenter", r"\ba100|\ba30\b|\ba800"),
    ("ada", r"\brtx ?40\d\d|\bl4\b|\bl40s?\b|\brtx 6000 ada"),
    ("hopper", r"\bh100|\bh200|\bh800|\bh20\b|\bgh200"),
    ("blackwell", r"\brtx ?50\d\d|\brtx[ -]pro|\bb200|\bb300|\bgb200|\bgb300|\bb100\b"),
    ("cpu", r"\bcore i\d|\bxeon|\bepyc|\bryzen|\bthreads?$"),
)
"""Class, and what the names of its devices look like; the first that fits holds."""


def profile_for(device: Device, named: str | Profile | None = None) -> Profile:
    """The profile of a device's class, or the one that is named.

    Raises:
        DeviceError: no class is known that the device belongs to.
        UnknownNameError: there is no profile of that name.
    """
    if isinstance(named, Profile):
        return named
    known = profiles()
    if named is not None:
        if named not in known:
            near = nearest(named, known)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise UnknownNameError(f"there is no profile {shown(named)}; {hint}")
        return known[named]
    names = " ".join((device.name, *device.keys)).lower()
    for name, pattern in _CLASSES:
        if re.search(pattern, names) and name in known:
            return known[name]
    raise DeviceError(
        f"no profile is known for {device.name}; there are {', '.join(known)}. Name the nearest (profile='ampere'), "
        "fit one on your own measurements (benchmarks/estimates.py), or ask for the bound (roofline)"
    )


@cache
def profiles() -> dict[str, Profile]:
    """All profiles that ship, by name."""
    text = files(__package__).joinpath("profiles.json").read_text(encoding="utf-8")
    return {name: _profile(name, fields) for name, fields in json.loads(text).items()}


def _profile(name: str, fields: Mapping[str, object]) -> Profile:
    given = dict(fields)
    errors = {mode: Errors(**values) for mode, values in given.pop("errors").items()}  # type: ignore[attr-defined]
    return Profile(name=name, errors=errors, **given)  # type: ignore[arg-type]
