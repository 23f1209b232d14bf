"""Tables: golden text, columns that add up, choices and escaping."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from hand_made import ADD, ADD_COST, Builder, module, operation, parameter, residual_net, spec
from tabulate import tabulate_formats

from fxcost.errors import UnknownNameError
from fxcost.report import Report
from fxcost.views.as_table import COLUMNS, DEFAULT_COLUMNS, TEXT_COLUMNS
from fxcost.views.rows import module_rows

Golden = Callable[[str, str], None]
HOSTILE = 'a"b\\c|d<script>&amp;*_x_\n`end`'


def test_printed_report(golden: Golden) -> None:
    """What a user sees first, with everything there is to warn of."""
    golden("printed.txt", str(residual_net(True, ("Routing is uniform.",))) + "\n")


@pytest.mark.parametrize("by", DEFAULT_COLUMNS)
def test_tables(golden: Golden, by: str) -> None:
    """Each kind of table with its own columns."""
    golden(f"table_{by}.txt", residual_net().table(by, fold=False, summary=False) + "\n")


@pytest.mark.parametrize("style", ["github", "html", "tsv", "latex"])
def test_formats_with_summary(golden: Golden, style: str) -> None:
    """The totals around a table are in its own kind of markup."""
    golden(f"table.{style}", residual_net(True).table("family", format=style) + "\n")


def test_every_column(golden: Golden) -> None:
    """All columns at once, the names that text columns have for nodes among them."""
    golden("table_columns.txt", residual_net().table("node", columns=list(COLUMNS), top=3, summary=False) + "\n")


def test_repr_is_one_line() -> None:
    """What a prompt shows."""
    report = residual_net()
    assert repr(report).startswith("<Report: Net: 74.24 K MACs,")
    assert "\n" not in repr(report)


@pytest.mark.parametrize("column", [name for name in COLUMNS if name not in {*TEXT_COLUMNS, "calls", "intensity"}])
@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("depth", [0, 1, 2, 3, 9])
def test_rows_of_the_tree_add_up(column: str, fold: bool, depth: int) -> None:
    """On each level what stands below a row adds up to the row, at any depth, folded or not."""
    report, value = residual_net(), COLUMNS[column].value
    rows = module_rows(report, depth=depth, fold=fold)
    levels = [len(row.indent) // 2 for row in rows]
    for i, row in enumerate(rows):
        end = next((j for j in range(i + 1, len(rows)) if levels[j] <= levels[i]), len(rows))
        below = [value(rows[j]) for j in range(i + 1, end) if levels[j] == levels[i] + 1]
        assert not below or sum(below) == value(row)
    totals = {"share": report.flops, "bytes": report.bytes_read + report.bytes_written}
    assert value(rows[0]) == totals.get(column, getattr(report, column, None) or getattr(report.cost, column, 0))


@pytest.mark.parametrize("by", ["node", "operator", "family"])
def test_flat_tables_add_up(by: str) -> None:
    """Exact numbers of a column, read from the table's text, add up to the total."""
    text = residual_net().table(by, columns=["name", "calls", "flops"], format="tsv", summary=False)
    flops = [line.split("\t")[2].strip() for line in text.splitlines()[1:]]
    exact = {"110.59 K": 110_592, "138.24 K": 138_240, "36.86 K": 36_864, "27.65 K": 27_648, "10.26 K": 10_260}
    exact |= {"1.54 K": 1_536, "141.31 K": 141_312}
    assert sum(exact[f] if f in exact else int(f) for f in flops) == residual_net().flops


def test_top_and_sort() -> None:
    """The largest rows first; how many are left out is said below."""
    text = residual_net().table("node", top=2, sort="bytes_read", columns=["name", "bytes_read"])
    lines = text.splitlines()
    assert [line.split()[1] for line in lines[4:6]] == ["head", "add_0"]
    assert "2 of 14 shown" in text
    assert residual_net().table("node", top=0, columns=["name"], summary=False)


def test_sorted_modules_are_listed_by_name() -> None:
    """A tree in the order of its costs would be none."""
    lines = residual_net().table(sort="params", summary=False, columns=["name", "params"]).splitlines()
    assert [line.split()[1] for line in lines[3:6]] == ["Net", "head", "blocks"]
    lines = residual_net().table(sort="name", summary=False, columns=["name"]).splitlines()
    assert lines[4].split()[1] == "blocks"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "layer"}, "no table by 'layer'; choose one of module, node, operator, family"),
        ({"columns": ["macs", "watts"]}, "no column 'watts'; choose one of name, type, "),
        ({"sort": "size"}, "no column to sort by 'size'; choose one of "),
        ({"format": "docx"}, "no table format 'docx'; choose one of .*github"),
    ],
)
def test_a_wrong_choice_is_answered_with_the_choices(arguments: dict[str, object], message: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(UnknownNameError, match=message):
        residual_net().table(**arguments)


@pytest.mark.parametrize("style", sorted(tabulate_formats))
@pytest.mark.parametrize("by", DEFAULT_COLUMNS)
def test_every_format_says_what_is_missing_and_assumed(style: str, by: str) -> None:
    """Uncosted operators, assumptions and what a MAC is worth stand in every table."""
    text = residual_net(True, ("Routing is uniform.",)).table(by, format=style).replace("\N{NO-BREAK SPACE}", " ")
    for words in ("grid_sampler_3d", "1 run", "Routing is uniform.", "1 MAC = 2 FLOPs", "13 of 14 nodes costed"):
        assert words.replace("_", "") in text.replace("\\", "").replace("_", "")


def hostile_report() -> Report:
    """Names as bad as they get: quotes, backslashes, markup, newlines."""
    build = Builder()
    op = operation(ADD, ADD_COST, (spec(2),), (spec(2),))
    build.node("x", "call_module", HOSTILE, HOSTILE, (spec(2),), (op,))
    return build.report(
        (module("", "<b>Net</b>"), module(HOSTILE, "T<i>")), assumptions=("<u>&\n",), model_type="<b>Net</b>"
    )


class _Text(HTMLParser):
    """Collects the text and the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_shows_hostile_names_as_they_are() -> None:
    """No name becomes a tag."""
    page = _Text()
    page.feed(hostile_report().table(format="html"))
    assert page.tags <= {"p", "table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd"}
    assert HOSTILE.replace("\n", "\N{REPLACEMENT CHARACTER}") in page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "<b>Net</b>" in page.text


def test_markdown_keeps_hostile_names_in_their_cells() -> None:
    """Each row has as many unescaped bars as the head, and stays on its line."""
    lines = [line for line in hostile_report().table(format="github").splitlines() if line.startswith("|")]
    assert len({line.replace("\\\\", "").replace("\\|", "").count("|") for line in lines}) == 1
    assert not any("<script" in line.replace("\\<", "") for line in lines)


def test_a_terminal_row_is_one_line() -> None:
    """Control characters cannot leave their cell."""
    assert len({len(line) for line in hostile_report().table(summary=False).splitlines()}) == 1


def test_long_names_are_shortened_in_the_middle() -> None:
    """A table stays as wide as a terminal."""
    build = Builder()
    build.node("x", "call_function", "f", "m" * 300, operations=(operation(ADD, ADD_COST),))
    report = build.report((module("", "Net"), module("m" * 300, "Long")))
    assert max(map(len, report.table(summary=False).splitlines())) < 120


def test_a_printed_report_has_few_rows() -> None:
    """A thousand layers that are not alike: the first rows, and how many there are."""
    report = Builder().report((module("", "Net"), *(module(f"layer{i}", f"Layer{i}") for i in range(1_000))))
    assert len(str(report).splitlines()) < 80
    assert "60 of 1,001 shown" in str(report)


def test_tied_weights_are_named() -> None:
    """Which parameter stands under several names, unless its module does as a whole; at most three of them."""
    assert "head.weight is also tied.weight" in str(residual_net())
    shared = tuple(parameter(f"a.{i}", *(f"b.{i}.{j}" for j in range(5)), shape=(2,), storage=i) for i in range(5))
    text = str(Builder().report((module("", "Net"), module("a", "A")), shared))
    assert "a.0 is also b.0.0, b.0.1, b.0.2 and 2 more names; it counts once" in text
    assert "2 more parameters and buffers stand under several names" in text
    alias = (parameter("a.weight", "b.weight", shape=(2,), storage=0),)
    assert "Shared" not in str(Builder().report((module("", "Net"), module("a", "A", "b")), alias))
