"""Records are frozen, compare by value, and are made as any dataclass is."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from typing import Any

import pytest
import torch

from fxcost.records import recording as records
from fxcost.records.recording import NodeRecord, TensorSpec

RECORDS: list[Any] = [
    value
    for value in vars(records).values()
    if dataclasses.is_dataclass(value)
    and isinstance(value, type)
    and value.__module__ == records.__name__
    and hasattr(value, "__slots__")
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_records_are_made_from_their_fields(record: Any) -> None:
    """By position or by name (where a record allows both), with the defaults that the class names."""
    fields = dataclasses.fields(record)
    needed = [f.name for f in fields if f.default is dataclasses.MISSING]
    made = record(**{name: name for name in needed})
    for field in fields:
        assert getattr(made, field.name) == (field.name if field.name in needed else field.default)
    every = {f.name: f"the {f.name}" for f in fields}
    assert dataclasses.asdict(record(**every)) == every
    if not fields[0].kw_only:
        assert record(*every.values()) == record(**every)
        assert list(inspect.signature(record).parameters) == list(every)
    with pytest.raises(TypeError, match="missing"):
        record()
    with pytest.raises(TypeError, match="unexpected"):
        record(**every, other=1)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_records_are_frozen_and_can_be_copied(record: Any) -> None:
    """Nobody changes one; a copy, and one that went through a file, is equal."""
    made = record(**{f.name: f"the {f.name}" for f in dataclasses.fields(record)})
    name = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, name, "another")
    assert hash(made) == hash(copy.deepcopy(made))
    assert pickle.loads(pickle.dumps(made)) == made == dataclasses.replace(made)
    assert dataclasses.replace(made, **{name: "another"}) != made


def test_sizes_follow_from_a_spec() -> None:
    """Broadcast dimensions (stride 0) are stored once, sparse values with an index per dimension."""
    spec = TensorSpec((2, 3), torch.float32, (0, 1))
    assert (spec.numel, spec.nbytes, spec.stored_bytes) == (6, 24, 12)
    sparse = TensorSpec((100, 100), torch.float32, stored=5)
    assert (sparse.numel, sparse.stored_bytes) == (5, 5 * (4 + 2 * 8))
    assert NodeRecord("a", "call_module", "a", "a").is_call
    assert not NodeRecord("a", "placeholder", "a", "").is_call
