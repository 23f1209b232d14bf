"""Reports that were written as JSON, read back: the same records and prices, so the same answers. No rule is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike, fspath
from typing import Any, TypeVar

from ..errors import InputError, ReportFileError
from ..memory.analysis import Analysis
from ..memory.lifetimes import LiveTensor
from ..memory.training import NodeStep, StepCost, Training
from ..records.codec import Unpacker
from ..records.cost import Cost, NodeCost, OpCost
from ..records.plain import cost_dict
from ..records.recording import (
    InnerCall,
    ModuleCall,
    ModuleRecord,
    NodeRecord,
    OpRecord,
    ParameterRecord,
    Recording,
    TensorSpec,
)
from ..records.skeleton import HeldTensor, ModuleBone, ModuleKind, skeleton
from .as_json import SCHEMA

CLASSES = (
    Cost,
    HeldTensor,
    InnerCall,
    LiveTensor,
    ModuleBone,
    ModuleCall,
    ModuleKind,
    ModuleRecord,
    NodeCost,
    NodeRecord,
    NodeStep,
    OpCost,
    OpRecord,
    ParameterRecord,
    Recording,
    StepCost,
    TensorSpec,
    Training,
)
"""Records that a file may hold."""

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
    where = "the text" if is_text else fspath(source)
    try:
        if is_text:
            return read_dict(json.loads(fspath(source)), kind)
        with open(source, encoding="utf-8") as file:
            return read_dict(json.load(file), kind)
    except OSError as error:
        raise ReportFileError(f"cannot read {where}: {error.strerror or error}") from error
    except ReportFileError as error:
        raise ReportFileError(f"{where}: {error}") from error.__cause__
    except (ValueError, RecursionError) as error:
        raise ReportFileError(f"{where} is no JSON: {error}") from error


def read_dict(data: Any, kind: type[Kind]) -> Kind:
    """A report from what :meth:`Report.to_dict` gave.

    Raises:
        ReportFileError: it is no report, its layout is of another version, or it is broken.
    """
    _check_schema(data)
    try:
        report = replace(_report(data["recording"], kind), formulas=data.get("formula"))
        totals = cost_dict(report.cost)
    except ReportFileError:
        raise
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, RecursionError, RuntimeError) as error:
        raise ReportFileError(f"the recording is broken ({type(error).__name__}: {error})") from error
    if data.get("totals") != totals:
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
        newer = found.isdecimal() and int(found) > int(version)
        remedy = "read it with a newer fxcost" if newer else "analyse the model again"
        raise ReportFileError(f"the layout is {schema!r}, and this fxcost reads {SCHEMA!r}: {remedy}")
    if not isinstance(data.get("recording"), Mapping):
        raise ReportFileError(
            'there is no "recording" in it, which an older fxcost did not write: analyse the model again'
        )


def _report(recording: Mapping[str, Any], kind: type[Kind]) -> Kind:
    unpacker = Unpacker(recording["tables"], CLASSES)
    bare = unpacker.unpack(recording["run"])
    nodes = unpacker.unpack(recording["nodes"])
    training = unpacker.unpack(recording["training"])
    modules = unpacker.unpack(recording["modules"])
    if not (isinstance(bare, Recording) and isinstance(nodes, tuple) and isinstance(training, Training | None)):
        raise ReportFileError("run, nodes and training are not what they should be")
    return kind(replace(bare, root=skeleton(modules, bare.parameters)), nodes, training)
