"""Streams that are closed, full, gone or of another encoding; and files that are written whole or not at all."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fxcost import cli
from fxcost.cli import output

ROOT = Path(__file__).parents[2]
posix = pytest.mark.skipif(not Path("/dev/full").exists(), reason="what Linux has")
NET = "import torch\n\nclass Net(torch.nn.Linear):\n    def __init__(self):\n        super().__init__(4, 2)\n"


def shell(line):
    """Exit code and what a line of Bash prints, on both streams; `fxcost` is the command line, whose code counts."""
    command = f'fxcost() {{ "{sys.executable}" -m fxcost "$@"; }}; set -o pipefail; {line}'
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": ""}
    ran = subprocess.run(["bash", "-c", command], capture_output=True, env=environment, check=False)
    return ran.returncode, ran.stdout.decode(), ran.stderr.decode()


@posix
@pytest.mark.parametrize(
    ("line", "code", "error"),
    [
        ("fxcost devices >&-", 0, ""),
        ("fxcost --help >&-", 0, ""),
        ("fxcost devices | true", 0, ""),
        ("fxcost --help | true", 0, ""),
        ("fxcost devices > /dev/full", 2, "cannot write to the standard output: No space left on device"),
        ("fxcost completion bash > /dev/full", 2, "cannot write to the standard output: No space left on device"),
        ("fxcost --help > /dev/full", 2, "No space left on device"),
        ("fxcost devices --nosuch 2>&-", 2, ""),
        ("fxcost devices --nosuch 2> /dev/full", 2, ""),
        ("fxcost devices --nosuch >&- 2>&- <&-", 2, ""),
        ("fxcost show - <&-", 2, "the standard input is no report"),
        ("echo net.json | fxcost show -", 2, "the standard input is no report"),
    ],
)
def test_streams_that_are_closed_full_or_gone(line, code, error):
    """A closed stream is nobody who wants to read, as for Python itself; a full one is an error, in one line."""
    found, _, err = shell(line)
    assert found == code
    assert err.count("\n") == bool(error)
    assert error in err
    assert "unexpected" not in err


@posix
def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    """What is printed where the standard output is closed does not end in the first file that is opened."""
    (tmp_path / "net.py").write_text(NET)
    path = tmp_path / "net.json"
    code, _, err = shell(f"cd {tmp_path}; fxcost net.py:Net -i 1,4 --quiet --json {path} >&-")
    assert (code, err) == (0, "")
    assert json.loads(path.read_text())["totals"]["macs"] == 8


class Stream(io.TextIOWrapper):
    """A standard stream in memory."""

    def __init__(self, encoding):
        super().__init__(io.BytesIO(), encoding=encoding, newline="\n")

    def text(self):
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture(params=["latin-1", "cp1252", "ascii"])
def narrow(request, tmp_path, monkeypatch):
    """Puts streams in place whose encoding lacks most of our signs, as on Windows in a pipe, and returns them."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET.replace("Net", "Größe"), encoding="utf-8")

    def put():
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, Stream(request.param))
        return sys.stdout, sys.stderr

    return put


def test_an_encoding_without_our_signs(narrow):
    """Frames and signs are replaced one for one by letters that every encoding has, in tables, help and errors."""
    out, err = narrow()
    assert cli.main(["net.py:Größe", "-i", "1,4"]) == 0
    frame = [line for line in out.text().splitlines() if line.startswith(("+", "|"))]
    assert (len(frame), len({len(line) for line in frame})) == (5, 1)
    assert cli.main(["--help"]) == 0
    assert cli.main(["net.py:Ω", "-i", "1,4"]) == 2
    assert "has no '?'" in err.text()


def test_what_is_for_a_program_is_utf8(narrow):
    """A view on the standard output has the bytes that a file has, whatever the stream's encoding is."""
    assert cli.main(["net.py:Größe", "-i", "1,4", "--json", "x.json"]) == 0
    for option in ("--json", "--dot", "--csv"):
        assert cli.main(["show", "x.json", option, "view"]) == 0
        out, _ = narrow()
        assert cli.main(["show", "x.json", option, "-"]) == 0
        assert out.buffer.getvalue() == Path("view").read_bytes()
    assert "Größe" in Path("x.json").read_text(encoding="utf-8")


def test_a_report_is_piped_in_as_utf8(monkeypatch, narrow):
    """What one command pipes out another reads, whatever the encoding of the streams is."""
    assert cli.main(["net.py:Größe", "-i", "1,4", "--json", "x.json"]) == 0
    out, _ = narrow()
    stdin = Stream(out.encoding)
    stdin.buffer.write(Path("x.json").read_bytes())
    stdin.buffer.seek(0)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert cli.main(["show", "-", "--json", "-"]) == 0
    assert "Größe" in out.buffer.getvalue().decode()


def test_signs_are_replaced_one_for_one():
    """So that columns stay where they are."""
    assert all(len(sign) == len(plain) == 1 for sign, plain in output.PLAIN.items())
    assert all(plain.isascii() for plain in output.PLAIN.values())


def test_errors_are_one_line_without_control_characters(capsys):
    """Whatever a name or an exception of the user's holds, the terminal is not told to do anything."""
    assert output.fail("bad\n  name \x1b[31mred\x1b]8;;http://evil\x07link \u202eoff", 2) == 2
    error = capsys.readouterr().err
    assert error == "fxcost: error: bad name �[31mred�]8;;http://evil�link �off\n"
    output.fail("x" * 10**6, 2)
    assert len(capsys.readouterr().err) < 3000


def test_an_old_baseline_survives_a_failed_write(tmp_path, monkeypatch, capsys):
    """`--update` onto a full disk says so, and the baseline of before is there."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    arguments = ["check", "net.py:Net", "-i", "1,4", "--baseline", "cost.json"]
    assert cli.main([*arguments, "--update"]) == 0
    before = Path("cost.json").read_bytes()

    def full(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert cli.main([*arguments, "--update"]) == 2
    assert "cannot write cost.json: No space left on device" in capsys.readouterr().err
    assert Path("cost.json").read_bytes() == before
    assert cli.main(arguments) == 0
    assert sorted(os.listdir()) == sorted({"__pycache__", "cost.json", "net.py"} & set(os.listdir()))
