"""Reports that are written as JSON and read back: nothing is lost, nothing is run, and what is broken is told."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hand_made import residual_net, transformer
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_alike import answers
from torch import nn

import fxcost
from fxcost.conventions import by_module, rule
from fxcost.errors import ReportFileError
from fxcost.records.codec import NamedOperator, Opaque, Packer
from fxcost.records.reading import Unpacker
from fxcost.report import Report

OUR_OWN = torch.library.Library("fxcost_reading", "DEF")
OUR_OWN.define("scaled(Tensor x, float by) -> Tensor")
OUR_OWN.define("grow_(Tensor(a!) x) -> ()")
OUR_OWN.impl("scaled", lambda x, by: torch.empty_like(x), "Meta")
OUR_OWN.impl("grow_", lambda x: None, "Meta")


class Attention(nn.Module):
    """Uses both results of an attention module, the weights as well."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out, weights = self.inner(x, x, x)
        return out + weights.sum()


class Shared(nn.Module):
    """A module under two names, tied weights, a frozen one, buffers, a module that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.act = nn.Sequential(nn.ReLU())
        self.again = self.act
        self.norm = nn.LayerNorm(6)
        self.norm.bias.requires_grad_(False)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight
        self.unused = nn.Conv2d(1, 1, 3)
        self.register_buffer("scale", torch.ones(6))
        self.register_buffer("absent", None)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.again(self.norm(self.act(self.embed(ids)) * self.scale)))


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.utils.checkpoint.checkpoint(
            lambda v: torch.tanh(self.second(v)), self.first(x), use_reentrant=False
        )


def quantized() -> nn.Module:
    with torch.no_grad():
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(8, 8), nn.ReLU()))


def mixtral() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = transformers.MixtralConfig(num_hidden_layers=1, vocab_size=100, **sizes)
    return transformers.MixtralForCausalLM(config)


def resnet() -> nn.Module:
    return pytest.importorskip("torchvision").models.resnet18()


def odd_arguments(x: torch.Tensor) -> torch.Tensor:
    """Operators with infinities, dtypes, devices, complex scalars, slices and None among their arguments."""
    y = x.clamp(min=-float("inf")).masked_fill(x > 0, float("nan")).to(torch.complex64) * complex(1, -2)
    z = torch.full((2, 3), float("inf"), dtype=torch.bfloat16, device=x.device)
    return y[..., ::2].abs().sum() + z[:, None, 1:].float().sum() + torch.ops.fxcost_reading.scaled(x, 0.5).sum()


IDS = fxcost.spec(2, 5, dtype=torch.int64)
CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "attention, traced": (Attention, (1, 4, 8), {"capture": "symbolic"}),
    "attention, run": (Attention, (1, 4, 8), {"capture": "concrete"}),
    "tied": (Shared, IDS, {"training": True}),
    "tied, run": (Shared, IDS, {"capture": "concrete"}),
    "checkpointed": (Checkpointed, (2, 4), {"training": True, "optimizer": 6.0}),
    "transformer": (lambda: nn.TransformerEncoderLayer(8, 2, batch_first=True), (2, 4, 8), {"dtype": torch.bfloat16}),
    "lstm": (lambda: nn.LSTM(6, 8, 2, bidirectional=True), (5, 3, 6), {"training": True}),
    "cell": (lambda: nn.GRUCell(6, 8), (3, 6), {}),
    "quantized": (quantized, (2, 8), {}),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)), (2, 8), {}),
    "spectral norm": (lambda: nn.utils.spectral_norm(nn.Conv2d(3, 8, 3)), (2, 3, 8, 8), {}),
    "odd arguments": (lambda: odd_arguments, (3, 4), {}),
    "custom rule": (
        lambda: lambda x: torch.ops.fxcost_reading.scaled(x, 2.0),
        (3, 4),
        {"rules": {torch.ops.fxcost_reading.scaled: lambda op: fxcost.Cost(macs=10**30, bytes_read=7)}},
    ),
    "graph": (lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())), (1, 3, 8, 8), {}),
    "mixtral": (mixtral, {"input_ids": IDS}, {"training": True}),
    "resnet": (resnet, (2, 3, 32, 32), {"training": True}),
}


def analysed(name: str) -> Report:
    """The report of a case."""
    make, inputs, options = CASES[name]
    return fxcost.analyze(make(), inputs, **options)


def assert_alike(report: Report, read: Report) -> None:
    """Every view and reader of two reports says the same, to the byte."""
    theirs = dict(answers(read))
    for question, answer in answers(report):
        assert theirs[question] == answer, question


# Nothing is lost -----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_everything_reads_back(name: str) -> None:
    """Views, memory, training, other tools' numbers and the records themselves are those of the fresh report."""
    report = analysed(name)
    read = Report.from_json(report.to_json())
    assert_alike(report, read)
    assert type(read) is type(report)
    assert read.training == report.training
    for field in fields(report.recording):
        opaque = name in ("mixtral", "odd arguments") and field.name in ("nodes", "calls")  # objects, and a NaN
        if field.name not in ("graph", "root") and not opaque:
            assert (
                getattr(read.recording, field.name) == getattr(report.recording, field.name) or name == "odd arguments"
            )


@pytest.mark.parametrize(
    "report", [residual_net(True, ("Routing is uniform.",)), transformer(3)], ids=["net", "encoder"]
)
def test_hand_made_reports_read_back(report: Report) -> None:
    """Also where recording and model do not belong together."""
    assert_alike(report, Report.from_dict(report.to_dict()))


def test_records_are_shared_as_they_were() -> None:
    """Equal layers stand in the file once, and are one object again."""
    report = fxcost.analyze(nn.Sequential(*[nn.Linear(4, 4) for _ in range(50)]), (1, 4))
    data = report.to_dict()["recording"]["tables"]
    assert len(data["OpRecord"]["rows"]) == 2  # the transposed view, and the product
    read = Report.from_json(report.to_json())
    assert len({id(op.record) for node in read.nodes for op in node.operations}) == 2


def test_files_and_text(tmp_path: Path) -> None:
    """A path as text or as an object, the text itself, or the dict."""
    report = residual_net()
    report.to_json(path := tmp_path / "report.json")
    for read in (Report.from_json(path), Report.from_json(str(path)), Report.from_json(path.read_text("utf-8"))):
        assert read.to_json() == report.to_json()


def test_prices_are_kept_and_no_rule_runs() -> None:
    """What a rule of the user's said survives, although the rule would now say something else."""
    calls = []

    def priced(op: Any) -> fxcost.Cost:
        calls.append(op)
        return fxcost.Cost(macs=41 + len(calls))

    x = fxcost.spec(3, 4)
    report = fxcost.analyze(lambda x: torch.relu(x), x, rules={torch.ops.aten.relu: priced})
    assert Report.from_json(report.to_json()).macs == report.macs == 42
    assert len(calls) == 1


def test_there_is_no_graph() -> None:
    """The one thing that is not in a file, and what to do about it."""
    read = Report.from_json(fxcost.analyze(nn.Linear(3, 4), (2, 3)).to_json())
    assert read.recording.graph is None
    with pytest.raises(ReportFileError, match="analyse the model again"):
        _ = read.graph


# The model's modules -------------------------------------------------------------------------------------------------


class Tagged(nn.Linear):
    """A class of the user's."""

    def __init__(self) -> None:
        super().__init__(3, 4)
        self.levels, self.mood = (1, 2), "calm"


def test_modules_come_back_as_a_skeleton() -> None:
    """Class, plain attributes, parameters on meta; so that a convention of the user's own still counts."""
    report = fxcost.analyze(nn.Sequential(Tagged(), nn.ReLU()), (2, 3))
    table = {Tagged: rule("mine", "levels", lambda call: sum(call.module.levels) * call.y.numel)}
    mine = fxcost.Convention(name="mine", summary="", unit="MACs", tallies={"macs": by_module(table)})
    read = Report.from_json(report.to_json())
    assert read.count(mine) == report.count(mine) == 3 * 8
    module = read.recording.root.get_submodule("0")
    assert type(module) is Tagged
    assert (module.in_features, module.mood, module.weight.shape) == (3, "calm", (4, 3))
    assert module.weight.is_meta


SCRIPT = """
    import sys, torch
    from fxcost.report import Report
    from fxcost.conventions import conventions
    sys.path.insert(0, {tests!r})
    from reports_alike import answers
    report = Report.from_json({path!r})
    assert not hasattr(torch.ops.fxcost_reading, "scaled")
    root = report.recording.root
    print(type(root).__name__, type(root.inner).__mro__[1].__name__)
    sys.stdout.write("".join(answer for _, answer in answers(report)))
"""


class Foreign(nn.Module):
    """Uses operators that only this process knows, one of which writes in place."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Tagged()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.ops.fxcost_reading.scaled(self.inner(x), 0.5)
        torch.ops.fxcost_reading.grow_(y)
        return F.relu(y)


def test_another_process_reads_the_same(tmp_path: Path) -> None:
    """Without the model's classes and operators every answer is the same, printed under the same names."""
    report = fxcost.analyze(Foreign(), (2, 3), capture="concrete")
    assert "fxcost_reading.grow_.default" in report.uncosted
    path = tmp_path / "report.json"
    report.to_json(path)
    script = textwrap.dedent(SCRIPT).format(path=str(path), tests=str(Path(__file__).parents[1]))
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    first, _, rest = ran.stdout.partition("\n")
    assert first == "Foreign Linear"
    assert rest == "".join(answer for _, answer in answers(report))


def test_an_operator_that_is_not_there_stands_in_by_name() -> None:
    """It prints the same, and its schema still says what it writes."""
    table = {"columns": ["name", "schema"], "rows": [["lost.grow_.default", "lost::grow_(Tensor(a!) x) -> ()"]]}
    operator = Unpacker({"NamedOperator": table}).read({"NamedOperator": 0}, Any, "here")
    assert str(operator) == "lost.grow_.default"
    assert operator._schema.is_mutable
    assert NamedOperator("lost.op.default", "no schema at all")._schema is None
    assert NamedOperator("aten.mm.default", None).found() is torch.ops.aten.mm.default
    assert isinstance(NamedOperator("import_module.x.y", None).found(), NamedOperator)


# Values --------------------------------------------------------------------------------------------------------------

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text()
    | st.binary()
    | st.sampled_from([torch.float32, torch.int4 if hasattr(torch, "int4") else torch.int8, torch.strided, ...])
    | st.sampled_from([torch.sparse_coo, torch.channels_last, torch.device("cuda", 1), torch.ops.aten.mm.default])
    | st.slices(5)
    | st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 9))
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.booleans(), inner)
        | st.frozensets(st.integers(), max_size=1)
        | st.sets(st.integers(), max_size=1)
    ),
    max_leaves=10,
)


@settings(deadline=None)
@given(VALUES)
def test_values_survive(value: Any) -> None:
    """Any nest of plain values comes back with its types, through JSON text: 1, 1.0 and True stay apart."""
    packer = Packer()
    packed = json.loads(json.dumps([packer.pack(value), packer.tables], allow_nan=False))
    read = Unpacker(packed[1]).read(packed[0], Any, "here")
    assert repr(read) == repr(value)
    assert type(read) is type(value)


@dataclass
class OfTheUser:
    """A dataclass that is no record of ours."""

    number: int


def test_what_is_no_data_becomes_its_repr() -> None:
    """Objects are told by their repr, without the address that changes from run to run."""

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    given = (object(), Broken(), torch.nn.ReLU(), OfTheUser(3))
    packed = Packer().pack(given)
    read = Unpacker({}).read(packed, Any, "here")
    assert list(map(repr, read)) == ["<object object>", "<Broken>", "ReLU()", "OfTheUser(number=3)"]
    assert all(isinstance(value, Opaque) for value in read)
    assert Packer().pack(read) == packed  # also when a report that was read is written again


WIDTHS = st.lists(st.integers(1, 6), min_size=1, max_size=4)


@settings(deadline=None, max_examples=8)
@given(WIDTHS, st.booleans(), st.sampled_from(["symbolic", "concrete"]), st.booleans())
def test_random_networks_read_back(widths: list[int], bias: bool, capture: str, training: bool) -> None:
    """Networks of random widths, with a weight that is used twice, captured in both ways."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            pairs = zip([3, *widths], widths, strict=False)
            self.layers = nn.ModuleList([nn.Linear(a, b, bias=bias) for a, b in pairs])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = F.relu(layer(x)).add_(1)
            return x @ self.layers[-1].weight

    report = fxcost.analyze(Net(), (2, 3), capture=capture, training=training)
    assert_alike(report, Report.from_json(report.to_json()))


# What can't be read --------------------------------------------------------------------------------------------------


def broken(data: dict[str, Any], path: str, value: Any) -> str:
    """JSON text in which one entry, named by a path with slashes, has another value."""
    *way, last = path.split("/")
    place: Any = data
    for key in way:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[int(last) if isinstance(place, list) else last] = value
    return json.dumps(data)


def nested(depth: int) -> Any:
    """Lists inside each other."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("schema", "fxcost.report/2", "read it with a newer fxcost"),
        ("schema", "fxcost.report/0", "analyse the model again"),
        ("schema", "fxcost.report/one", "analyse the model again"),
        ("schema", "somebody.else/1", "no report of fxcost"),
        ("schema", 1, "no report of fxcost"),
        ("recording", None, 'no "recording"'),
        ("recording/run", {"Recording": 7}, "no row 7"),
        ("recording/run", {"Recording": -1}, "no row -1"),
        ("recording/run", {"Recording": "0"}, "a reference to a Recording"),
        ("recording/run", {"Ding": 0}, "recording.run: {'Ding': 0} stands where"),
        ("recording/run", {"a": 1, "b": 2}, "a reference to a Recording"),
        ("recording/run", "text", "'text' stands where a reference"),
        ("recording/nodes", 5, "recording.nodes: 5 stands where a list is expected"),
        ("recording/modules", [], "no modules"),
        ("recording/tables/Cost/columns", ["macs"], "not a value for each of 1 columns"),
        ("recording/tables/NodeRecord/columns/0", "title", "no column name"),
        ("recording/tables/NodeRecord/rows/0/0", 5, "row 0 of the table 'NodeRecord', column 'name': 5 stands where"),
        ("recording/tables/NodeRecord/rows/0/1", "call", "one of placeholder"),
        ("recording/tables/NodeRecord/rows/0/4", {"NodeRecord": 0}, "a list"),
        ("recording/tables/ParameterRecord/rows/0/0", [1], "column 'names': 1 stands where a text"),
        ("recording/tables/ParameterRecord/rows/0/0", [], "at least one"),
        ("recording/tables/TensorSpec/rows/0/0", [2, -3], "at least 0"),
        ("recording/tables/TensorSpec/rows/0/2", [1], "1 strides for 2 dimensions"),
        (
            "recording/tables/TensorSpec/rows/0/1",
            {"dtype": "float31"},
            "'float31' stands where a dtype that this PyTorch has",
        ),
        ("recording/tables/OpRecord/rows/0/1", [{"set": {"range": [0, 10**18, 1]}}], "a value of a kind"),
        ("recording/tables/OpRecord/rows/0/1", nested(500), "nothing deeper"),
        ("recording/tables/OpRecord/rows/0/1", [{"OpRecord": 0}], "a value of a kind"),
        ("recording/tables/Cost/rows/1/0", 5, "changed by hand"),
        ("recording/tables", {}, "no row 0 in the table 'Recording'"),
        ("recording/tables", None, "None stands where an object"),
        ("totals/macs", 5, "changed by hand"),
    ],
)
def test_a_broken_file_is_told(path: str, value: Any, complaint: str, tmp_path: Path) -> None:
    """What is wrong, with the file's name; never a traceback of Python's own errors."""
    file = tmp_path / "report.json"
    file.write_text(broken(fxcost.analyze(nn.Linear(3, 4), (2, 3)).to_dict(), path, value))
    with pytest.raises(ReportFileError, match=complaint) as raised:
        Report.from_json(file)
    assert "report.json" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("{", "is no JSON"), ('{"a": 1}', "no report of fxcost"), ("{" * 100_000, "is no JSON")],
)
def test_text_that_is_no_report(text: str, complaint: str) -> None:
    """Text that breaks off, other JSON, and brackets without end."""
    with pytest.raises(ReportFileError, match=complaint):
        Report.from_json(text)


def test_files_that_are_no_report(tmp_path: Path) -> None:
    """A file that is not there, a folder, bytes, and a list."""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "list").write_text("[1]")
    for name, complaint in (("none", "No such file"), (".", "directory"), ("bytes", "no JSON"), ("list", "no report")):
        with pytest.raises(ReportFileError, match=complaint):
            Report.from_json(tmp_path / name)


def test_columns_may_come_and_go() -> None:
    """A later version's column is passed over, and a missing one takes its default."""
    data = fxcost.analyze(nn.Linear(3, 4), (2, 3)).to_dict()
    tables = data["recording"]["tables"]
    tables["ModuleRecord"]["columns"].append("colour")
    for row in tables["ModuleRecord"]["rows"]:
        row.append("blue")
    place = tables["NodeRecord"]["columns"].index("freed")
    for row in (tables["NodeRecord"]["columns"], *tables["NodeRecord"]["rows"]):
        del row[place]
    assert Report.from_dict(data).macs == 24
