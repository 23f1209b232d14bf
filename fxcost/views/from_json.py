"""Reports that were written as JSON, read back: the same records and prices, so the same answers. No rule is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike, fspath
from typing import Any, TypeVar

from ..errors import InputError, ReportFileError, shown
from ..memory.analysis import Analysis
from ..memory.training import Training
from ..records.communication import Group
from ..records.cost import NodeCost
from ..records.integrity import faults
from ..records.plain import cost_dict
from ..records.reading import Unpacker
from ..records.recording import Recording, TensorSpec
from ..records.skeleton import HeldTensor, ModuleBone, skeleton
from ..text.words import printable, shortened
from .as_json import SCHEMA

LONGEST_PATH = 200
"""Characters of a path that an error shows."""
Kind = TypeVar("Kind", bound=Analysis)
"""The class that a report is read as."""


def read_json(source: str | PathLike[str], kind: type[Kind]) -> Kind:
    """A report from a file, or from JSON text.

    Raises:
        InputError: it is neither a path nor text.
        ReportFileError: as :func:`read_dict`, or the file can't be read, or it is no JSON.
    """
    if not isinstance(source, (str, PathLike)):
        raise InputError(
            f"give a report of fxcost.analyze(model, inputs), or the path of its JSON file, not {type(source).__name__}"
        )
    is_text = isinstance(source, str) and source.lstrip().startswith("{")
    where = "the text" if is_text else shortened(printable(fspath(source)), LONGEST_PATH)
    try:
        if is_text:
            return read_dict(json.loads(fspath(source), parse_constant=_no_number), kind)
        with open(source, encoding="utf-8") as file:
            return read_dict(json.load(file, parse_constant=_no_number), kind)
    except OSError as error:
        raise ReportFileError(f"cannot read {where}: {error.strerror or error}") from error
    except ReportFileError as error:
        raise ReportFileError(f"{where}: {error}") from error.__cause__
    except (ValueError, RecursionError) as error:
        raise ReportFileError(f"{where} is no JSON: {error}") from error


def _no_number(name: str) -> None:
    """What Python's reader takes, and JSON has not: NaN and infinities."""
    raise ValueError(f"{name} is no number")


def read_dict(data: Any, kind: type[Kind]) -> Kind:
    """A report from what :meth:`Report.to_dict` gave.

    Raises:
        ReportFileError: it is no report, its layout is of another version, or it is broken.
    """
    _check_schema(data)
    report = replace(_report(data["recording"], kind), formulas=data.get("formula"))
    if data.get("totals") != cost_dict(report.cost):
        raise ReportFileError("the totals are not those of the recording: the file was changed by hand")
    return report


def _check_schema(data: Any) -> None:
    schema = data.get("schema") if isinstance(data, Mapping) else None
    family, _, version = SCHEMA.rpartition("/")
    if not isinstance(schema, str) or not schema.startswith(f"{family}/"):
        raise ReportFileError(
            'this is no report of fxcost (it has no "schema": "fxcost.report/…"); write one by to_json'
        )
    if schema != SCHEMA:
        found = schema.rpartition("/")[2]
        newer = found.isdecimal() and len(found) < 10 and int(found) > int(version)
        remedy = "read it with a newer fxcost" if newer else "analyse the model again"
        raise ReportFileError(f"the layout is {shown(schema)}, and this fxcost reads {SCHEMA!r}: {remedy}")
    if not isinstance(data.get("recording"), Mapping):
        raise ReportFileError(
            'there is no "recording" in it, which an older fxcost did not write: analyse the model again'
        )


_PARTS: tuple[tuple[str, Any], ...] = (
    ("run", Recording),
    ("nodes", tuple[NodeCost, ...]),
    ("training", Training | None),
    ("modules", tuple[ModuleBone, ...]),
)
"""What a recording in a file is made of, beside the tables to which these refer."""


def _report(recording: Mapping[str, Any], kind: type[Kind]) -> Kind:
    missing = [part for part in ("tables", *(name for name, _ in _PARTS)) if part not in recording]
    if missing:
        raise ReportFileError(f"the recording has no {', '.join(missing)}")
    unpacker = Unpacker(recording["tables"], (TensorSpec, HeldTensor, Group))
    bare, nodes, training, modules = (
        unpacker.read(recording[part], hint, f"recording.{part}") for part, hint in _PARTS
    )
    for fault in faults(bare, nodes):
        raise ReportFileError(fault)
    return kind(replace(bare, root=skeleton(modules, bare.parameters)), nodes, training)
