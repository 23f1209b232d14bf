"""The command line: what it prints, where, and how it exits."""

import csv
import io
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest

import fxcost
from fxcost import cli
from fxcost.cli import model as options_of

NET = """
    import torch
    from torch import nn

    print("a chatty model file")

    class Net(nn.Module):
        def __init__(self, width=4):
            super().__init__()
            self.first = nn.Linear(3, width, bias=False)
            self.second = nn.Linear(width, 2, bias=False)

        def forward(self, x, *, scale=None):
            return self.second(self.first(x))

    class Raises(nn.Module):
        def forward(self, x):
            raise KeyError("lost")

    class Dropped(nn.Module):
        def forward(self, x):
            return x + 1 if self.training else x

    @torch.library.custom_op("fxcost_test_cli::mystery", mutates_args=())
    def mystery(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @mystery.register_fake
    def _(x):
        return torch.empty_like(x)

    class Mystery(nn.Module):
        def forward(self, x):
            return mystery(x) + mystery(x)
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """A file with small models."""
    path = tmp_path_factory.mktemp("models") / "net.py"
    path.write_text(textwrap.dedent(NET))
    # An operator can be defined once in a process, so the file is imported once.
    module = sys.modules["cli_test_net"] = type(sys)("cli_test_net")
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    yield "cli_test_net"
    del sys.modules["cli_test_net"]


def one_line(err):
    """The error stream's only line."""
    (line,) = err.splitlines()
    assert line.startswith("fxcost: error: ")
    return line


# What is printed -----------------------------------------------------------------------------------------------------


def test_the_report_is_printed(run, net):
    """Without options on the layout, what `print(report)` shows: one line for each module, and the totals."""
    code, out, err = run(f"{net}:Net", "--input", "5,3")
    assert (code, err) == (0, "")
    assert out == str(fxcost.analyze(sys.modules[net].Net().eval(), (5, 3))) + "\n"
    assert "first" in out
    assert "second" in out


def test_json_on_the_standard_output(run, net):
    """`--json -` prints the report instead of the table; its MACs are those of two matrix products."""
    code, out, err = run(f"{net}:Net", "--input", "5,3", "--arg", "width=7", "--json", "-")
    assert (code, err) == (0, "")
    assert json.loads(out)["totals"]["macs"] == 5 * 3 * 7 + 5 * 7 * 2


def test_views_are_written_to_files(run, net, tmp_path):
    """`--json`, `--csv` and `--dot` write what the report's methods return, beside the table."""
    names = {view: tmp_path / f"net.{view}" for view in ("json", "csv", "dot")}
    code, out, _ = run(f"{net}:Net", "-i", "5,3", *(x for view, path in names.items() for x in (f"--{view}", path)))
    assert code == 0
    assert "second" in out
    assert json.loads(names["json"].read_text())
    assert len(list(csv.reader(io.StringIO(names["csv"].read_text())))) > 2
    assert names["dot"].read_text().startswith("digraph")


def test_layout_options_reach_the_table(run, net):
    """`--by --columns --format --sort --top` are those of `Report.table`."""
    options = ("--by", "node", "--columns", "name,macs", "--format", "plain", "--sort", "macs", "--top", "1")
    _, out, _ = run(f"{net}:Net", "--input", "5,3", "--arg", "width=7", *options)
    report = fxcost.analyze(sys.modules[net].Net(7).eval(), (5, 3))
    assert out == report.table("node", columns=["name", "macs"], format="plain", sort="macs", top=1) + "\n"
    assert "first" in out
    assert "second" not in out


def test_dtype_and_keyword_inputs(run, net):
    """`--dtype` casts weights; inputs may be named; bf16 halves the traffic of float32."""

    def moved(*options):
        _, out, _ = run(f"{net}:Net", "--input", "x=5,3", "--input", "scale=None", "--json", "-", *options)
        totals = json.loads(out)["totals"]
        return totals["bytes_read"] + totals["bytes_written"]

    assert moved() == 2 * moved("--dtype", "bf16")


def test_train_keeps_training_mode(run, net):
    """In eval mode the model adds nothing; in training mode 6 elements."""
    for options, flops in (((), 0), (("--train",), 6)):
        _, out, _ = run(f"{net}:Dropped", "--input", "2,3", "--json", "-", *options)
        assert json.loads(out)["totals"]["flops"] == flops


def test_real_weights_and_data_let_a_model_decide(run, tmp_path):
    """Uniform noise adds up to something above zero: the branch of that run is costed."""
    file = tmp_path / "decides.py"
    file.write_text(
        "import torch\n"
        "class Decides(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x @ x.T if float(x.sum()) > 0 else x\n"
    )
    code, out, _ = run(f"{file}:Decides", "--input", "2,3", "--real", "--json", "-")
    found = json.loads(out)
    assert (code, found["model"]["capture"], found["totals"]["macs"]) == (0, "real", 2 * 3 * 2)


def test_capture_is_said(run, net):
    """`--capture concrete` runs the model instead of tracing it."""
    for capture in ("symbolic", "concrete"):
        _, out, _ = run(f"{net}:Net", "--input", "2,3", "--capture", capture, "--json", "-")
        assert json.loads(out)["model"]["capture"] == capture


@pytest.mark.parametrize(
    ("spec", "library"),
    [
        ("torchvision:resnet18", "torchvision"),
        ("timm:test_resnet", "timm"),
        ("hf:bert", "transformers"),
    ],
)
def test_library_models_need_no_input(run, spec, library):
    """The libraries' own default inputs are used, and `--batch` is their batch size: MACs are linear in it."""
    pytest.importorskip(library)
    macs = []
    for options in ((), ("--batch", "3")):
        code, out, err = run(spec, "--json", "-", *options)
        assert (code, err) == (0, "")
        macs.append(json.loads(out)["totals"]["macs"])
    assert macs[1] == 3 * macs[0] > 0


def test_what_the_model_prints_is_not_on_the_standard_output(run, tmp_path):
    """A model file that prints does not spoil `--json -`."""
    path = tmp_path / "chatty.py"
    path.write_text("import torch\nprint('hello')\nNet = lambda: torch.nn.Linear(3, 2)\n")
    code, out, err = run(f"{path}:Net", "--input", "1,3", "--json", "-")
    assert (code, err) == (0, "hello\n")
    assert json.loads(out)


# Exit codes and errors -----------------------------------------------------------------------------------------------


def test_strict_fails_where_an_operator_has_no_rule(run, net):
    """Without `--strict` the table says it and the exit code is 0; with it the code is 1 and a line names them."""
    code, out, err = run(f"{net}:Mystery", "--input", "2,3")
    assert (code, err) == (0, "")
    assert "mystery" in out
    code, out, err = run(f"{net}:Mystery", "--input", "2,3", "--strict")
    assert code == 1
    assert "mystery" in out
    assert "fxcost_test_cli.mystery.default (2×)" in one_line(err)
    assert run(f"{net}:Net", "--input", "2,3", "--strict")[0] == 0


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["--inptu", "1,3"], "--input"),
        (["NET:Net", "--inptu", "1,3"], "--input"),
        (["NET:Net", "--input", "1;3"], "'1;3' is no dimension"),
        (["NET:Net", "--input", "1,3:flot32"], "flot32"),
        (["NET:Net", "--input", "1,4"], "1,4|1×4|1x4|3"),
        (["NET:Net", "--input", "1,3", "--input", "1,3"], "inputs do not fit"),
        (["NET:Net", "--input", "y=1,3"], "inputs do not fit"),
        (["NET:Net"], "needs x"),
        (["NET:Net", "--input", "1,3", "--batch", "2"], "--batch is for the default inputs"),
        (["NET:Net", "--input", "1,3", "--arg", "width"], "NAME=VALUE"),
        (["NET:Net", "--input", "1,3", "--arg", "widht=3"], "widht"),
        (["NET:Net", "--input", "1,3", "--dtype", "float31"], "float31"),
        (["NET:Net", "--input", "1,3", "--by", "colour"], "module"),
        (["NET:Net", "--input", "1,3", "--sort", "colour"], "colour"),
        (["NET:Net", "--input", "1,3", "--columns", "name,colour"], "colour"),
        (["NET:Net", "--input", "1,3", "--format", "colour"], "colour"),
        (["NET:Net", "--input", "1,3", "--depth", "deep"], "deep"),
        (["NET:Net", "--input", "1,3", "--capture", "magic"], "symbolic"),
        (["NET:Net", "--input", "1,3", "--json", "no/such/folder/x.json"], "cannot write no/such/folder/x.json"),
        (["NET:Raises", "--input", "1,3"], "lost"),
        (["NET:Nett", "--input", "1,3"], "did you mean Net"),
        (["no_such_module:Net", "--input", "1,3"], "there is no module"),
        (["NET:Net", "--input", "1,3", "--dtype", "int64"], "torch.int64 is no dtype of weights"),
        (["NET:Net", "--input", "1" * 5000], "a dimension of 5000 digits"),
        (["NET:Net", "--input", "1,3", "--training", "--optimizer", "nan"], "can't keep nan bytes per parameter"),
        (["NET:Net", "--input", "1,3", "--training", "--optimizer", "inf"], "can't keep inf bytes per parameter"),
        (["NET:Net", "--input", "1,3", "--arg", f"width={10**20}"], "Overflow when unpacking long"),
        (["n" * 5000 + ".py:Net"], "no such file"),
        (["n" * 5000], "names no model"),
        (["hf:" + "n" * 5000], "hf has no model|not installed"),
        (["measure", "NET:Net", "--input", "1,3", "--threads", "9" * 11], "--threads"),
        (["check", "NET:Net", "--input", "1,3", "--max-macs", "9" * 5000], "a number of 5000 digits is too long"),
        (["check", "NET:Net", "--input", "1,3", "--max-macs", "many"], "'many' is no count"),
        (["check", "NET:Net", "--input", "1,3", "--max-bytes", "9" * 5000], "a number of 5000 digits is too long"),
        (["check", "NET:Net", "--input", "1,3", "--baseline", "x", "--tolerance", "1e-999999"], "is no share"),
        (["check", "NET:Net", "--input", "1,3", "--baseline", "x", "--tolerance", "9" * 5000], "is no share"),
        (["fit", "NET:Net", "--input", "1,3", "--memory", "9" * 5000], "a number of 5000 digits is too long"),
        (["fit", "NET:Net", "--input", "1,3", "--memory", "1GB", "--training", "nan"], "can't keep nan bytes"),
        (["sweep", "NET:Net", "--input", "1,3", "--jsonl", "/"], "cannot write /: Is a directory"),
        (["sweep", "NET:Net", "--input", "1,3", "--dtype", "bool"], "torch.bool is no dtype of weights"),
        (["cots"], "did you mean 'cost'"),
        (["cost"], "MODEL"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(run, net, args, complaint):
    """What is wrong, on one line of the error stream; nothing on the standard output, no traceback."""
    code, out, err = run(*(arg.replace("NET", net) for arg in args))
    assert (code, out) == (2, "")
    line = one_line(err)
    assert any(word in line for word in complaint.split("|"))
    assert "error: unexpected" not in line
    assert "frame #" not in line
    assert len(line) < 2100


def test_nested_inputs_and_values(run, tmp_path):
    """A dict of inputs, a list in it, lengths by their values, and a text: what a batch of a data loader is."""
    path = tmp_path / "net.py"
    path.write_text(
        textwrap.dedent("""
            import torch
            from torch import nn

            class Net(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.cell = nn.LSTM(3, 4)
                    self.layer = nn.Linear(3, 2, bias=False)

                def forward(self, batch, factor, *, mode):
                    assert mode == "sum" and factor == 2
                    packed = nn.utils.rnn.pack_padded_sequence(batch["x"], batch["lengths"], enforce_sorted=False)
                    return self.cell(packed)[0].data, [self.layer(x) for x in batch["more"]]
        """)
    )
    batch = "{x=5,2,3; lengths=tensor([5, 3]); more=[7,3; 9,3]}"
    options = ("--input", batch, "--input", "value(2)", "--input", "mode=value('sum')")
    code, out, err = run(f"{path}:Net", *options, "--json", "-")
    assert (code, err) == (0, "")
    cells = (5 + 3) * (3 + 4) * 4 * 4
    assert json.loads(out)["totals"]["macs"] == cells + (7 + 9) * 3 * 2
    varied = ("--input", batch.replace("5,2,3", "N,2,3").replace("[5,", "[N,"), *options[2:], "--vary", "N=5,6")
    code, out, err = run("sweep", f"{path}:Net", *varied, "--csv", "-", "--processes", "1")
    assert (code, err) == (0, "")
    macs = [int(row["macs"]) for row in csv.DictReader(io.StringIO(out))]
    assert macs == [cells + 96, cells + 7 * 4 * 4 + 96]


def test_debug_shows_the_traceback(run, net):
    """`--debug` puts the whole chain of errors above the line."""
    code, _, err = run(f"{net}:Raises", "--input", "1,3", "--debug")
    assert code == 2
    assert "Traceback" in err
    assert 'raise KeyError("lost")' in err or "KeyError: 'lost'" in err
    assert err.splitlines()[-1].startswith("fxcost: error: ")


def test_interrupt(run, net, monkeypatch):
    """Ctrl-C ends without a traceback."""

    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.cost, "analyse", interrupted)
    code, _, err = run(f"{net}:Net")
    assert (code, one_line(err.strip())) == (130, "fxcost: error: interrupted")


def test_an_unexpected_error_is_one_line_too(run, net, monkeypatch):
    """A bug in fxcost is called unexpected, with the way to see more."""

    def broken(options):
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr(cli.cost, "analyse", broken)
    code, _, err = run(f"{net}:Net")
    assert code == 2
    assert one_line(err) == "fxcost: error: unexpected ZeroDivisionError: a b; --debug shows where"


# The parser ----------------------------------------------------------------------------------------------------------


def test_help(run):
    """`fxcost`, `fxcost --help` and `fxcost -h` show the short form, the options and the commands."""
    texts = {run(*args)[1] for args in ((), ("--help",), ("-h",))}
    (text,) = texts
    assert text.startswith("Usage: fxcost MODEL [OPTIONS]")
    for word in ("torchvision:resnet50", "--input", "--strict", "cost "):
        assert word in text


def test_every_option_is_in_the_documentation():
    """docs/cli.md says what each option of each command does."""
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    for name, command in cli.fxcost.commands.items():
        assert f"fxcost {name}" in page
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert f"`{max(parameter.opts, key=len)}" in page, parameter.opts


def test_model_is_the_default_command(run, net):
    """`fxcost MODEL` is `fxcost cost MODEL`, also with options first."""
    expected = run("cost", f"{net}:Net", "--input", "5,3")
    assert run(f"{net}:Net", "--input", "5,3") == expected
    assert run("--input", "5,3", f"{net}:Net") == expected


def test_commands_can_be_added(run, net, monkeypatch):
    """A further command with the shared options stands beside the default one."""

    @click.command()
    @options_of.model_options
    def twice(**model):
        click.echo(2 * options_of.analyse(options_of.ModelOptions(**model)).macs)
        return 0

    monkeypatch.setitem(cli.fxcost.commands, "twice", twice)
    assert run("twice", f"{net}:Net", "--input", "5,3", "--arg", "width=7") == (0, "350\n", "")
    assert run(f"{net}:Net", "--input", "5,3")[0] == 0
    assert "did you mean 'twice'" in run("twise")[2]


def test_version(run):
    """The version is the package's."""
    assert run("--version") == (0, f"fxcost {fxcost.__version__}\n", "")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-1.5", -1.5),
        ("None", None),
        ("[1, 2]", [1, 2]),
        ("{'a': 1}", {"a": 1}),
        ("'3'", "3"),
        ("gelu", "gelu"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_arguments_are_literals_or_text(text, value):
    """`--arg` takes Python literals; anything else is text."""
    assert options_of.parse_arguments([f"key={text}"]) == {"key": value}


# The process ---------------------------------------------------------------------------------------------------------


def python(code):
    """Run Python code in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *code], capture_output=True, text=True, env=environment, timeout=120)


def test_help_does_not_import_torch():
    """`fxcost --help` answers at once: torch takes seconds to import."""
    code = "import sys; from fxcost.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    done = python(["-c", code])
    assert (done.returncode, done.stderr) == (0, "")


def test_python_m_fxcost():
    """`python -m fxcost` is the same command, and its exit code is the process's."""
    done = python(["-m", "fxcost", "torch.nn:Linear", "--arg", "in_features=3"])
    assert done.returncode == 2
    assert "out_features" in one_line(done.stderr)


def test_a_closed_pipe_is_no_error():
    """`fxcost … | head -0` ends quietly."""
    code = """
        import sys, fxcost, fxcost.cli, fxcost.cli.cost
        report = type("Long", (), {"uncosted": {}, "training": None, "__str__": lambda self: "x" * 10**6,
                                  **dict.fromkeys(("to_dot", "to_json", "to_csv"))})()
        fxcost.cli.cost.analyse = lambda options: report
        sys.exit(fxcost.cli.main(["torch.nn:ReLU"]))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.close()
    assert child.stderr.read() == b""
    assert child.wait(60) == 0
