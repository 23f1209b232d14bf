"""What changed between two reports: which module is which, and that the numbers add up."""

from __future__ import annotations

import json
from collections import OrderedDict

import pytest
from hand_made import deep_chain, residual_net, transformer
from hypothesis import strategies as st
from models import Repeated, Residual
from strategies import drawn
from torch import nn

import fxcost
from fxcost.compare.comparison import NOTHING
from fxcost.compare.diff import Diff
from fxcost.errors import UnknownNameError
from fxcost.totals.alignment import align

WIDTH = 4


def report(model: nn.Module, width: int = WIDTH) -> fxcost.Report:
    """A report on rows of `width` numbers."""
    return fxcost.analyze(model, (2, width))


def named(**children: nn.Module) -> nn.Sequential:
    """A Sequential whose children have names."""
    return nn.Sequential(OrderedDict(children))


def block(hidden: int = 8) -> nn.Sequential:
    """Rows of four to rows of four."""
    return named(up=nn.Linear(WIDTH, hidden), act=nn.ReLU(), down=nn.Linear(hidden, WIDTH))


def kinds(found: Diff) -> dict[str, str]:
    """What happened to each module, without those to which nothing did."""
    return {row.name: row.kind for row in found.rows if row.kind}


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> nn.Module:
    """A random model from rows of four to rows of four, with repeated blocks, shared modules and residuals."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        leaf = draw(st.sampled_from(["linear", "relu", "tanh", "norm", "wide", "nothing"]))
        return {
            "linear": lambda: nn.Linear(WIDTH, WIDTH),
            "relu": nn.ReLU,
            "tanh": nn.Tanh,
            "norm": lambda: nn.LayerNorm(WIDTH),
            "wide": block,
            "nothing": nn.Identity,
        }[leaf]()
    children = draw(st.lists(trees(depth - 1), min_size=1, max_size=3))
    if draw(st.booleans()):
        children.append(children[0])  # shared
    shape = draw(st.sampled_from(["list", "named", "residual", "repeated"]))
    if shape == "residual":
        return Residual(nn.Sequential(*children), in_place=False)
    if shape == "repeated":
        return Repeated(nn.Sequential(*children), 2)
    return nn.Sequential(*children) if shape == "list" else named(**{f"part{i}": c for i, c in enumerate(children)})


def rename(model: nn.Module, path: str, name: str) -> None:
    """Give a module of `model` another name, where it stands."""
    parent = model.get_submodule(path.rpartition(".")[0])
    old = path.rpartition(".")[2]
    children = list(parent._modules.items())
    parent._modules.clear()
    parent._modules.update((name if key == old else key, child) for key, child in children)
    if old in ("body",):  # the forward of some models knows it by name
        parent.__dict__[old] = parent._modules[name]


def test_nothing_changed():
    """A report and itself: no row has a kind, no total a change, and the diff is false."""
    for one in (residual_net(), transformer(3), report(named(a=block(), b=block()))):
        found = fxcost.diff(one, one)
        assert not found
        assert kinds(found) == {}
        assert {row.change for row in found.rows} == {NOTHING}
        assert "no difference" in str(found)


def test_a_module_is_added_and_another_removed():
    """Their whole cost is the change; the parents' rows include it."""
    found = fxcost.diff(report(named(a=nn.Linear(4, 4), b=nn.ReLU())), report(named(a=nn.Linear(4, 4), c=nn.Tanh())))
    assert kinds(found) == {"b": "removed", "c": "added"}
    wide = fxcost.diff(report(named(a=nn.Linear(4, 4))), report(named(a=nn.Linear(4, 4), fc=nn.Linear(4, 9))))
    (row,) = wide.kinds("added")
    assert (row.after, row.before, row.type_after) == ("fc", None, "Linear")
    assert (row.change.params, row.change.macs) == (4 * 9 + 9, 2 * 4 * 9)
    assert wide.rows[0].change.macs == 2 * 4 * 9
    assert wide.rows[0].own_change == NOTHING


def test_a_rename_is_a_rename():
    """One row for the module that has another name; what is below it is the same."""
    found = fxcost.diff(report(named(body=block(), head=nn.ReLU())), report(named(encoder=block(), head=nn.ReLU())))
    assert kinds(found) == {"encoder": "renamed"}
    assert found.kinds("renamed")[0].before == "body"
    assert {(row.before, row.after) for row in found.rows} >= {("body.up", "encoder.up"), ("body.down", "encoder.down")}
    assert not any(total.change for total in found.totals)
    assert "was body" in str(found)


def test_renamed_and_changed_inside():
    """A renamed container whose last layer changed: two rows, no removal."""
    found = fxcost.diff(report(named(body=block(8))), report(named(encoder=block(9))))
    assert kinds(found) == {
        "encoder": "renamed",
        "encoder.up": "changed",
        "encoder.act": "changed",
        "encoder.down": "changed",
    }


def test_a_wrapped_model_moves_as_a_whole():
    """What went into a new module with its siblings is moved, also the one that changed on the way."""
    before = named(a=block(8), b=block(9), fc=nn.Linear(4, 5))
    after = named(backbone=named(a=block(8), b=block(9), fc=nn.Linear(4, 6)))
    found = fxcost.diff(report(before), report(after))
    assert kinds(found) == {
        "backbone": "added",
        "backbone.a": "renamed",
        "backbone.b": "renamed",
        "backbone.fc": "renamed",
    }
    assert found.rows[0].change.params == 4 + 1


def test_inserted_in_the_middle():
    """An index that now names another class is found again further down; only the new layer is added."""
    before = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4))
    after = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 4))
    found = fxcost.diff(report(before), report(after))
    assert kinds(found) == {"1": "added", "2": "renamed", "3": "renamed"}


def test_another_class_under_the_same_name():
    """It is the same place in the model: one row that says which class was there."""
    before, after = (named(a=nn.Linear(4, 4), norm=norm(4)) for norm in (nn.LayerNorm, nn.RMSNorm))
    found = fxcost.diff(report(before), report(after))
    assert kinds(found) == {"norm": "retyped"}
    assert "was LayerNorm" in str(found)


def test_equal_modules_are_paired_in_order():
    """Three of four equal layers under new names: the first three are renamed, the last is gone."""
    before = nn.Sequential(*(nn.Linear(4, 4) for _ in range(4)))
    after = named(**{f"l{i}": nn.Linear(4, 4) for i in range(3)})
    assert align(report(before), report(after)) == {"": "", "0": "l0", "1": "l1", "2": "l2"}


def test_alike_neighbours_are_one_row():
    """Twelve layers that all grew alike are one row with their sum."""
    before, after = (nn.Sequential(*(block(hidden) for _ in range(12))) for hidden in (8, 9))
    found = fxcost.diff(report(before), report(after))
    assert "0–11 (Sequential) ×12" in str(found)
    assert f"+{12 * 9}" in str(found)  # a hidden unit is 4 + 1 + 4 parameters


def test_deep_trees():
    """Two thousand modules inside each other, and one more: no recursion, one row added."""
    found = fxcost.diff(deep_chain(2000), deep_chain(2001))
    assert [row.depth for row in found.kinds("added")] == [2001]
    assert json.loads(found.to_json())["modules"][-1]["depth"] == 2001
    assert str(found)


@drawn(trees(), examples=15)
def test_diff_with_itself_is_empty(model):
    """diff(a, a) is false for any model, analysed twice."""
    assert not fxcost.diff(report(model), report(model))


@drawn(trees(), trees(), examples=25)
def test_the_other_way_round(first, second):
    """diff(b, a) = −diff(a, b), module by module; own changes add up to the totals'; rows are whole."""
    a, b = report(first), report(second)
    forth, back = fxcost.diff(a, b), fxcost.diff(b, a)
    assert [t.change for t in forth.totals] == [-t.change for t in back.totals]
    assert {(r.before, r.after, NOTHING - r.own_change) for r in forth.rows} == {
        (r.after, r.before, r.own_change) for r in back.rows
    }
    for found in (forth, back):
        summed = sum((row.own_change for row in found.rows), NOTHING)
        changes = {total.name: total.change for total in found.totals}
        assert (summed.params, summed.macs, summed.flops, summed.bytes) == tuple(
            changes[name] for name in ("params", "macs", "flops", "bytes")
        )
        assert changes["macs"] == found.after.macs - found.before.macs
        assert sorted(r.before for r in found.rows if r.before is not None) == sorted(found.before.modules)
        assert sorted(r.after for r in found.rows if r.after is not None) == sorted(found.after.modules)


@drawn(trees(), st.data(), examples=40)
def test_renaming_any_module_adds_and_removes_nothing(model, data):
    """Any module but the root gets a new name: nothing is added or removed, no number changes."""
    before = report(model)
    names = [name for name in dict(model.named_modules()) if name and not name.endswith("body")]
    if not names:
        return
    rename(model, data.draw(st.sampled_from(names)), "another_name")
    found = fxcost.diff(before, report(model))
    assert set(kinds(found).values()) <= {"renamed"}
    assert not any(total.change for total in found.totals)


def test_as_plain_data():
    """The layout has a version; modules name their parents; numbers are [before, after]."""
    found = fxcost.diff(report(named(a=block(8))), report(named(a=block(9), b=nn.ReLU())))
    data = json.loads(found.to_json())
    assert data == found.to_dict()
    assert data["schema"] == "fxcost.diff/1"
    assert [m["name"] for m in data["modules"]] == ["", "a", "a.up", "a.act", "a.down", "b"]
    assert [m["parent"] for m in data["modules"]] == [-1, 0, 1, 1, 1, 0]
    up = data["modules"][2]
    assert up["figures"]["params"] == [40, 45]
    assert up["figures"] == up["own"]
    assert data["modules"][5]["before"] is None
    assert {t["name"]: t["change"] for t in data["totals"]}["params"] == 9


def test_markdown_for_a_pull_request():
    """A heading, a table of totals, a fold; what a name holds can't become markup."""
    found = fxcost.diff(report(named(a=block(8))), report(named(a=block(9), **{"<b>|x": nn.Tanh()})))
    text = found.to_markdown()
    assert text.startswith("### Model cost: parameters +9")
    assert "| parameters" in text.replace("\N{NO-BREAK SPACE}", " ")
    assert "<details>" in text
    assert "\\<b>\\|x" in text
    assert "<b>|" not in text


def test_unlike_models_have_nothing_in_common():
    """Modules of other names are renamed ones only if class, parameters and MACs are alike."""
    models = pytest.importorskip("torchvision.models")
    large, small = (fxcost.analyze(make().eval(), (1, 3, 224, 224)) for make in (models.resnet50, models.mobilenet_v2))
    for before, after in ((large, small), (small, large)):
        found = fxcost.diff(before, after)
        assert {row.kind for row in found.rows[1:]} == {"added", "removed"}
        assert "was" not in str(found)
    wide = fxcost.diff(report(named(a=nn.Linear(4, 4))), report(named(b=nn.Linear(4, 8))))
    assert [row.kind for row in wide.rows[1:]] == ["renamed"]
    wider = fxcost.diff(report(named(a=nn.Linear(4, 4))), report(named(b=nn.Linear(4, 9))))
    assert sorted(row.kind for row in wider.rows[1:]) == ["added", "removed"]


def test_sides_have_the_names_that_users_typed(tmp_path):
    """In text, Markdown, JSON and the page; a path names a report that was read from it."""
    before, after = report(named(a=nn.ReLU())), report(named(a=nn.ReLU(), b=nn.Linear(4, 4)))
    before.to_json(tmp_path / "old.json")
    found = fxcost.diff(before, after, names=("small", "net.py:Net"))
    for text in (str(found), found.to_markdown(), found.to_html()):
        assert "small: " in text
        assert "net.py:Net: " in text
    assert found.to_dict()["before"]["name"] == "small"
    assert "<title>small → net.py:Net · fxcost</title>" in found.to_html()
    assert str(fxcost.diff(tmp_path / "old.json", after)).startswith(f"from  {tmp_path / 'old.json'}: ")


def test_lines_fold_what_changed_alike():
    """What the page shows is what the text shows: one line for neighbours that changed alike."""
    before = report(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    after = report(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), *(nn.Sequential(nn.Linear(4, 4)) for _ in range(4))))
    data = fxcost.diff(before, after).to_dict()
    assert [(line["name"], line["times"]) for line in data["lines"]] == [("2–5", 4)]
    assert data["modules"][data["lines"][0]["module"]]["after"] == "2"


def test_formats():
    """Any of tabulate's; a wrong one is answered with the choices."""
    found = fxcost.diff(residual_net(), transformer(2))
    assert "\\begin{tabular}" in found.text("latex")
    with pytest.raises(UnknownNameError, match="markdown"):
        found.text("markdwon")


def test_what_was_not_costed_is_said():
    """A diff whose sides are incomplete warns of it."""
    found = fxcost.diff(residual_net(), residual_net(uncosted=True))
    assert "not costed after: aten.grid_sampler_3d.default (1×)" in str(found)


def test_peak_memory_is_compared():
    """The peak of the whole model, in graph order."""
    found = fxcost.diff(report(block(8)), report(block(80)))
    peak = found.totals[-1]
    assert peak.name == "peak_memory"
    assert peak.change == found.after.memory.peak_bytes - found.before.memory.peak_bytes > 0


def test_reports_that_were_read_back(tmp_path):
    """A report and its JSON file are the same to a diff."""
    fresh = report(named(a=block(), b=nn.Linear(4, 4)))
    path = tmp_path / "report.json"
    fresh.to_json(path)
    assert not fxcost.diff(fxcost.Report.from_json(path), fresh)


def test_on_the_command_line(tmp_path, capsys):
    """Models or JSON reports; files and the standard output; a format for pull requests."""
    from fxcost import cli

    (tmp_path / "net.py").write_text(
        "import torch\n"
        "def net(hidden=8):\n"
        "    return torch.nn.Sequential(torch.nn.Linear(4, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 4))\n"
    )
    model, saved = f"{tmp_path}/net.py:net", tmp_path / "a.json"
    assert cli.main([model, "--input", "2,4", "--json", str(saved)]) == 0
    capsys.readouterr()
    run = ["diff", str(saved), model, "--input", "2,4", "--arg", "hidden=10"]
    assert cli.main(run) == 0
    out = capsys.readouterr().out
    assert "+18" in out
    assert "hidden" not in out
    assert cli.main([*run, "--format", "markdown", "--json", str(tmp_path / "diff.json")]) == 0
    assert capsys.readouterr().out.startswith("### Model cost")
    assert json.loads((tmp_path / "diff.json").read_text())["totals"][0]["change"] == 18
    assert cli.main([*run, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "fxcost.diff/1"
    assert cli.main(["diff", "no_such.json", model, "--input", "2,4"]) == 2
    assert "no_such.json" in capsys.readouterr().err


def test_side_by_side_in_the_page(tmp_path):
    """The page of the later model carries the diff as data; hostile names stay data."""
    found = fxcost.diff(report(named(a=block(8))), report(named(a=block(9), **{"</script><b>": nn.Tanh()})))
    path = tmp_path / "diff.html"
    text = found.to_html(path)
    assert path.read_text(encoding="utf-8") == text
    assert 'id="diff"' in text
    assert "fxcost.diff/1" in text
    assert "</script><b>" not in text


@pytest.mark.parametrize("call", [lambda r: fxcost.diff(r, nn.Linear(2, 3)), lambda r: fxcost.check(3, max_macs=1)])
def test_what_is_no_report_is_named(call):
    """A model in the place of its report, or a number."""
    with pytest.raises(fxcost.InputError, match=r"give a report of fxcost.analyze.*not (Linear|int)$"):
        call(fxcost.analyze(nn.Linear(2, 3), (1, 2)))


def test_paths_serve_as_reports(tmp_path):
    """As they do on the command line."""
    report = fxcost.analyze(nn.Linear(2, 3), (1, 2))
    report.to_json(tmp_path / "report.json")
    assert not any(total.change for total in fxcost.diff(tmp_path / "report.json", report).totals)
    assert fxcost.check(str(tmp_path / "report.json"), max_macs=6).ok


def test_what_ranks_send_is_compared():
    """Of a training step if both have one, else of the forward pass; of models that are whole there is nothing."""
    model, both = nn.Sequential(nn.Linear(8, 8, bias=False)), {"mesh": {"dp": 2}}
    ways = [fxcost.parallel.fully_shard(), fxcost.parallel.ddp()]
    step = [fxcost.analyze(model, (2, 8), training=True, parallelize=way, **both) for way in ways]
    forward = fxcost.analyze(model, (2, 8), parallelize=ways[0], **both)
    weight = 8 * 8 * 4
    for before, after, sent in (
        (*step, (weight, weight)),  # gathered and reduced, half of it each time; reduced to all in two rounds
        (forward, step[1], (weight // 2, 0)),
        (forward, fxcost.analyze(model, (2, 8)), (weight // 2, 0)),
    ):
        total = fxcost.diff(before, after).totals[-1]
        assert (total.name, total.before, total.after) == ("sent", *sent)
    assert "sent bytes" in str(fxcost.diff(*step))
    assert not any(total.name == "sent" for total in fxcost.diff(*2 * [fxcost.analyze(model, (2, 8))]).totals)
