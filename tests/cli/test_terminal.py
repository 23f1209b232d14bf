"""The command line as a person uses it: at a terminal, with colour, progress, completion and mistakes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fxcost import cli
from fxcost.cli import colour, complete
from fxcost.cli.commands import SUMMARIES
from fxcost.cli.group import fxcost as group

pexpect = pytest.importorskip("pexpect", reason="pexpect is not installed")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")

HERE = Path(__file__).parents[1]
ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
PATIENCE_S = 120
NET = """
import time, torch

class Net(torch.nn.Sequential):
    def __init__(self, hidden=8):
        super().__init__(torch.nn.Linear(4, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 4))

class Slow(Net):
    def forward(self, x):
        time.sleep(2)
        return super().forward(x)

class Endless(Net):
    def forward(self, x):
        print("asleep", flush=True)
        time.sleep(600)
"""


@pytest.fixture
def terminal(tmp_path):
    """Starts a command at a pseudo-terminal in a folder with net.py."""
    (tmp_path / "net.py").write_text(NET)
    started = []

    def start(command, *args, **env):
        plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "CI")}
        env = {**plain, "PYTHONPATH": str(HERE.parent), "TERM": "xterm-256color", "OMP_NUM_THREADS": "1", **env}
        child = pexpect.spawn(
            command,
            list(args),
            cwd=str(tmp_path),
            env=env,
            encoding="utf-8",
            timeout=PATIENCE_S,
            dimensions=(50, 160),
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which a shell's background ignores
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.close(force=True)


ONE_AFTER_THE_OTHER = """
import json, os, sys
from fxcost.cli import main
for args, env in json.loads(sys.argv[1]):
    os.environ.update(env)
    print(f"<<{main(args)}>>", end="", flush=True)
    for name in env:
        del os.environ[name]
"""


def run(terminal, *commands):
    """What each `fxcost ARGS` prints at a terminal, and its exit code, one after the other in one process.

    A command is its arguments, the last of which may be a dict: variables of the environment.
    """
    asked = [(args[:-1], args[-1]) if isinstance(args[-1], dict) else (args, {}) for args in commands]
    child = terminal(sys.executable, "-c", ONE_AFTER_THE_OTHER, json.dumps(asked))
    answers = []
    for _ in asked:
        child.expect(r"<<(\d+)>>")
        answers.append((child.before.replace("\r\n", "\n"), int(child.match[1])))
    return answers


def plain(capsys, *args):
    """What the same prints where there is no terminal."""
    code = cli.main(list(args))
    return capsys.readouterr().out, code


def test_colour_at_a_terminal_and_nowhere_else(terminal, tmp_path, capsys, monkeypatch):
    """At a terminal there are escape codes; without them it is what a pipe gets, which has none."""
    args = ("net.py:Net", "--input", "2,4", "--quiet")
    (out, code), (uncoloured, _) = run(terminal, args, (*args, {"NO_COLOR": "1"}))
    assert code == 0
    assert "\x1b[" in out
    monkeypatch.chdir(tmp_path)
    expected, _ = plain(capsys, *args)
    assert "\x1b" not in expected
    assert ESCAPE.sub("", out) == expected
    assert uncoloured == expected


def test_colour_can_be_forced(monkeypatch, capsys, tmp_path):
    """`FORCE_COLOR` colours a pipe; `NO_COLOR` goes before it."""
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in plain(capsys, "net.py:Net", "--input", "2,4")[0]
    for view in ("json", "csv", "dot"):  # for programs, never coloured
        assert "\x1b[" not in plain(capsys, "net.py:Net", "--input", "2,4", f"--{view}", "-")[0]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in plain(capsys, "net.py:Net", "--input", "2,4")[0]


def test_colours_change_no_text():
    """Painting adds escape codes and nothing else; a diff's more is red, its less green."""
    text = (
        "Net on float32[2] (symbolic capture)\n│ a │ +3.00 K │ -2.00 MiB │\nMACs  3\nOVER  x\nok    y\nwithin budget\n"
    )
    painted = colour.painted(text, changes=True)
    assert ESCAPE.sub("", painted) == text
    assert "\x1b[31m+3.00 K" in painted
    assert "\x1b[32m-2.00 MiB" in painted
    assert "\x1b[31m" not in colour.painted("│ +3.00 K │")


def test_progress_while_it_takes_long(terminal):
    """After a second a line says what is being done; it is erased at the end. `--quiet` shows none."""
    args = ("net.py:Slow", "--input", "2,4", "--capture", "concrete")
    (out, code), (quiet, quiet_code) = run(terminal, (*args, {"NO_COLOR": "1"}), (*args, "--quiet"))
    assert (code, quiet_code) == (0, 0)
    shown, erased, rest = out.partition("\x1b[2K")
    assert re.search(r"analysing net\.py:Slow … 0:00:0[1-9]", shown)
    assert erased
    assert "Slow on float32" in rest
    assert "analysing" not in quiet
    assert "Slow on float32" in quiet


def test_interrupt(terminal):
    """Ctrl-C while it works: one line, no traceback, exit code 130."""
    child = terminal(sys.executable, "-m", "fxcost", "net.py:Endless", "--input", "2,4", "--capture", "concrete")
    child.expect("asleep")
    child.sendintr()
    child.expect("fxcost: error:")
    child.expect(pexpect.EOF)
    child.close()
    assert "interrupted" in child.before
    assert "Traceback" not in child.before
    assert child.exitstatus == 130


def test_terminated(terminal):
    """SIGTERM while it works ends it at once; the terminal has its cursor, which was never hidden."""
    child = terminal(sys.executable, "-m", "fxcost", "net.py:Endless", "--input", "2,4", "--capture", "concrete")
    child.expect("analysing")
    assert "\x1b[?25l" not in child.before
    child.kill(signal.SIGTERM)
    child.expect(pexpect.EOF)
    child.close()
    assert child.signalstatus == signal.SIGTERM


def test_a_session(terminal):
    """A person explores a model: mistypes its class, lists it, explains a layer, sets a budget, breaks it."""
    unknown, mistyped, explained, checked = run(
        terminal,
        ("net.py:Nett", "--input", "2,4"),
        ("explian", "net.py:Net"),
        ("explain", "net.py:Net", "0", "--input", "2,4", {"NO_COLOR": "1"}),
        ("check", "net.py:Net", "--input", "2,4", "--max-macs", "100"),
    )
    assert (unknown[1], "did you mean Net" in unknown[0]) == (2, True)
    assert (mistyped[1], "did you mean 'explain'" in mistyped[0]) == (2, True)
    assert (explained[1], "= m · k · n" in explained[0]) == (0, True)
    assert checked[1] == 1
    assert "\x1b[31m\x1b[1mOVER" in checked[0]
    assert "0 (Linear)" in checked[0]


@pytest.fixture
def path(tmp_path):
    """A search path on which `fxcost` is a command."""
    tools = tmp_path / "bin"
    tools.mkdir()
    script = tools / "fxcost"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fxcost "$@"\n')
    script.chmod(0o755)
    return f"{tools}:{os.environ['PATH']}"


@pytest.fixture
def bash(terminal, path):
    """A Bash with completion."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    child = terminal("bash", "--norc", "--noprofile", "-i", PATH=path, PS1="$ ", INPUTRC="/dev/null")
    child.expect_exact("$ ")
    child.sendline(
        'bind "set enable-bracketed-paste off"; bind "set bell-style none"; '
        'eval "$(fxcost completion bash)"; echo rea""dy'
    )
    child.expect_exact("ready")
    child.expect_exact("$ ")
    return child


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("fxcost expl", "fxcost explain "),
        ("fxcost net.p", "fxcost net.py "),
        ("fxcost net.py:S", "fxcost net.py:Slow "),
        ("fxcost net.py:Net --inp", "fxcost net.py:Net --input "),
        ("fxcost net.py:Net --by op", "fxcost net.py:Net --by operator "),
        ("fxcost net.py:Net --as fvc", "fxcost net.py:Net --as fvcore "),
        ("fxcost net.py:Net --columns name,intens", "fxcost net.py:Net --columns name,intensity "),
        ("fxcost net.py:Net --optimizer=adaf", "fxcost net.py:Net --optimizer=adafactor "),
        ("fxcost net.py:Net --format github_never_", "fxcost net.py:Net --format github_never_"),
    ],
)
def test_tab_completes(bash, typed, completed):
    """What Bash makes of a word and Tab: commands, files, classes in them, options and their values."""
    bash.send(f"{typed}\t")
    bash.send("#END")
    bash.expect_exact("#END")
    assert ESCAPE.sub("", bash.before).strip("\r\n\a ") == completed.strip()


def test_tab_completes_models(bash):
    """Names of a library's models, after a colon at which Bash splits words; all that fit on the second Tab."""
    pytest.importorskip("torchvision")
    bash.send("fxcost torchvision:resnet15\t")
    bash.expect_exact("torchvision:resnet152")
    bash.send("\x15fxcost torchvision:vit_b\t")
    bash.expect_exact("torchvision:vit_b_")
    bash.send("\t\t")
    bash.expect_exact("vit_b_16")
    bash.expect_exact("vit_b_32")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_zsh_completes(terminal, path):
    """Commands, and columns after a comma."""
    child = terminal("zsh", "-f", "-i", PATH=path)
    start = 'autoload -U compinit; compinit -u -D; eval "$(fxcost completion zsh)"; echo rea""dy'
    child.sendline(f"PROMPT='here> '; {start}")
    child.expect_exact("\nready")
    child.expect_exact("here> ")
    child.send("fxcost expl\t")
    child.expect_exact("explain")
    child.send("\x15fxcost net.py:Net --columns name,intens\t")
    child.expect_exact("intensity")


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_fish_completes(terminal, path):
    """Commands with what they do, and columns after a comma."""
    code = 'fxcost completion fish | source; complete -C "fxcost expl"; complete -C "fxcost x --columns name,intens"'
    child = terminal("fish", "-c", code, PATH=path)
    child.expect(r"explain\s+Explain")
    child.expect_exact("name,intensity")


@pytest.mark.parametrize(
    ("prefix", "library"), [("torchvision", "torchvision.models"), ("timm", "timm"), ("hf", "transformers")]
)
def test_offered_models_exist(prefix, library):
    """Names that are read from source files are those that the library has: all of them, and few others."""
    module = pytest.importorskip(library)
    known = set(module.CONFIG_MAPPING if prefix == "hf" else module.list_models())
    offered = {name for name in complete.names(prefix) if prefix != "hf" or not name[0].isupper()}
    classes = complete.names(prefix) - offered
    assert all(hasattr(module, name) for name in sorted(classes)[::40])
    assert len(offered) > 80
    assert len(offered & known) >= 0.95 * len(known)
    assert len(offered - known) <= 0.15 * len(offered)


def test_offered_values_are_taken():
    """What complete.py reads from source files, and the few lists in it, are what the library has."""
    from fxcost.conventions import CONVENTIONS
    from fxcost.memory.optimizers import NAMES
    from fxcost.model.inputs import as_dtype
    from fxcost.speed.devices import Device
    from fxcost.views.as_table import COLUMNS

    assert sorted(complete.values_of("--as")) == sorted(CONVENTIONS)
    assert complete.values_of("--columns") == complete.values_of("--sort") == list(COLUMNS)
    assert set(complete.values_of("--optimizer")) == set(NAMES)
    assert all(as_dtype(name) for name in complete.values_of("--dtype"))
    keys = [key for device in Device.known() for key in device.keys]
    assert [i.value for i in complete.complete_value(["--device"], "")] == ["here", *keys]


def test_completion_imports_no_torch(terminal):
    """Tab must be quick: neither PyTorch nor a model library is imported."""
    code = "import sys; from fxcost import cli; cli.main([]); print('torch' in sys.modules, 'timm' in sys.modules)"
    child = terminal(sys.executable, "-c", code, _FXCOST_COMPLETE="bash_complete", COMP_LINE="fxcost timm:resnet1")
    child.expect_exact("False False")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_for_shells(shell, capsys):
    """`fxcost completion SHELL` prints a script that asks by our variable."""
    assert cli.main(["completion", shell]) == 0
    assert "_FXCOST_COMPLETE" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_right(shell, terminal, tmp_path):
    """The shell itself finds no error in the script."""
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    script = tmp_path / "script"
    script.write_text(CliRunner().invoke(group, ["completion", shell]).output)
    child = terminal(shell, "-n", str(script))
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before


@pytest.mark.parametrize("name", sorted(group.commands))
def test_every_command_has_an_example(name):
    """Its help shows at least one command line that begins with fxcost, and parses."""
    lines = [line.strip() for line in (group.commands[name].help or "").splitlines()]
    examples = [line for line in lines if re.match(r'(eval "\$\()?fxcost ', line)]
    assert examples, f"fxcost {name} --help shows no example"
    result = CliRunner().invoke(group, [name, "--help"])
    assert result.exit_code == 0
    assert examples[0] in result.output


def test_every_command_has_a_line_in_the_help():
    """The lines of `fxcost --help` are of the commands that there are, one for each file with one, and whole."""
    files = (Path(cli.__file__).parent).glob("*.py")
    made = {path.stem for path in files if "\n@fxcost.command()\n" in path.read_text(encoding="utf-8")}
    assert sorted(made) == sorted(SUMMARIES) == sorted(group.commands)
    for name, command in group.commands.items():
        assert command.name == name
        assert command.short_help == SUMMARIES[name]
    out = CliRunner().invoke(group, ["--help"], terminal_width=80).output
    assert all(f"  {name} " in out and summary in out for name, summary in SUMMARIES.items())


def test_the_help_waits_for_no_other_command():
    """`fxcost --help` imports the default command, and the devices that it has options for."""
    code = (
        "import sys; from fxcost.cli import main; main(['--help']); print(*(m for m in sys.modules if 'fxcost' in m))"
    )
    env = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True).stdout
    loaded = set(out.splitlines()[-1].split())
    assert {f"fxcost.cli.{name}" for name in SUMMARIES} & loaded <= {"fxcost.cli.cost", "fxcost.cli.devices"}
