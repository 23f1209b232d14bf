"""The published JSON Schema: it describes all that is written, and a field does not go without a new version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from hand_made import residual_net
from torch import nn

import fxcost
from fxcost.report import Report
from fxcost.views.as_json import SCHEMA, schema
from tests.views.test_from_json import Checkpointed, mixtral

GOLDEN = Path(__file__).parent.parent / "golden"
VALIDATOR = jsonschema.Draft202012Validator


def sealed(part: Any) -> Any:
    """A schema in which objects with named fields may have no others, so that a field left undescribed is found."""
    if isinstance(part, list):
        return [sealed(item) for item in part]
    if not isinstance(part, dict):
        return part
    inner = {key: sealed(value) for key, value in part.items()}
    if "properties" in part and "required" in part:
        inner["additionalProperties"] = False
    return inner


def reports() -> Iterator[Report]:
    """Reports with everything that the layout has a place for."""
    yield residual_net(True, ("Routing is uniform.",))
    yield fxcost.analyze(nn.LSTM(4, 8), (3, 2, 4), capture="concrete")
    yield fxcost.analyze(Checkpointed(), (2, 4), training=True)
    yield fxcost.analyze(mixtral(), {"input_ids": fxcost.spec(1, 4, dtype=torch.int64)})
    yield fxcost.analyze(torch.fx.symbolic_trace(nn.ReLU()), (2,))
    split = fxcost.parallel.tensor_parallel("tp", {"0": "colwise_gathered"})
    yield fxcost.analyze(nn.Sequential(nn.Linear(4, 4)), (2, 4), training=True, mesh={"tp": 2}, parallelize=split)


def test_the_schema_is_one() -> None:
    """It keeps the rules of JSON Schema, and its version is that of the layout."""
    VALIDATOR.check_schema(schema())
    assert schema()["properties"]["schema"]["const"] == SCHEMA


def test_schema_and_output_agree() -> None:
    """Every report fits, every field is described, and all that is described is written."""
    validator = VALIDATOR(sealed(schema()))
    for report in reports():
        validator.validate(json.loads(report.to_json()))


@pytest.mark.parametrize(
    ("way", "value"),
    [(["totals", "macs"], 1.5), (["totals", "macs"], None), (["nodes", 0, "kind"], "call"), (["schema"], "x")],
)
def test_what_does_not_fit_is_refused(way: list[Any], value: Any) -> None:
    """A number that is not whole, one that is missing, an unknown kind, another schema."""
    data = json.loads(residual_net().to_json())
    place = data
    for key in way[:-1]:
        place = place[key]
    if value is None:
        del place[way[-1]]
    else:
        place[way[-1]] = value
    assert not VALIDATOR(schema()).is_valid(data)


def described(part: Any, way: str = "") -> Iterator[str]:
    """The names of all fields of a schema, those of shared definitions once."""
    for name, inner in part.get("properties", {}).items():
        yield f"{way}{name}"
        yield from described(inner, f"{way}{name}.")
    if isinstance(part.get("items"), dict):
        yield from described(part["items"], way)
    for name, inner in part.get("$defs", {}).items():
        yield from described(inner, f"{name}: ")


def test_no_field_goes_without_a_new_version() -> None:
    """The fields of this version, as they were published. Fields may be added here; if one has to go, the version in
    as_json.SCHEMA goes up, with a schema and a list of its own."""
    published = (GOLDEN / f"{SCHEMA.replace('/', '-')}.fields.txt").read_text(encoding="utf-8").split("\n")[:-1]
    fields = set(described(schema()))
    assert fields >= set(published)
    assert fields <= set(published), "write the new fields into the list, so that they can't go again unnoticed"
