"""Files are written whole or not at all, and stay what they are."""

import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from fxcost.text import files

posix = pytest.mark.skipif(sys.platform == "win32", reason="what POSIX has")


@pytest.fixture
def full(monkeypatch):
    """A disk that takes 10 bytes of a file and then no more."""
    real = open

    class Full:
        def __init__(self, *args, **kwargs):
            self.file = real(*args, **kwargs)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, data):
            self.file.write(data[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "open", Full, raising=False)


def test_what_is_written_is_there(tmp_path):
    """Text as UTF-8 with its own line ends, bytes as they are; what was there is gone, and nothing is left beside."""
    path = tmp_path / "out"
    files.write(path, "ä\r\n\n")
    assert path.read_bytes() == "ä\r\n\n".encode()
    files.write(str(path), b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert os.listdir(tmp_path) == ["out"]


def test_half_a_character(tmp_path):
    """What UTF-8 can't say is written as JSON says it, so that such a file is read back as it was."""
    files.write(tmp_path / "out", '"\ud800"')
    assert (tmp_path / "out").read_bytes() == b'"\\ud800"'


def test_a_full_disk_spoils_no_file(tmp_path, full):
    """The old content stays to the byte, a new file does not come about, and the error names the path given."""
    path = tmp_path / "out"
    path.write_bytes(b"good")
    for one in (path, tmp_path / "new"):
        with pytest.raises(OSError, match="No space left") as caught:
            files.write(one, "x" * 100)
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(one))
    assert path.read_bytes() == b"good"
    assert os.listdir(tmp_path) == ["out"]


def test_an_interrupt_spoils_no_file(tmp_path, monkeypatch):
    """Also what is no error leaves the old content."""
    path = tmp_path / "out"
    path.write_bytes(b"good")

    def interrupted(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write(path, "better")
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"good", ["out"])


@posix
def test_permissions_and_links_stay(tmp_path):
    """A new file has the permissions that the user's files have, an old one keeps its own; a link stays a link."""
    (tmp_path / "usual").touch()
    usual = stat.S_IMODE(os.stat(tmp_path / "usual").st_mode)
    path, link = tmp_path / "out", tmp_path / "link"
    files.write(path, "1")
    assert stat.S_IMODE(path.stat().st_mode) == usual
    path.chmod(0o640)
    link.symlink_to("out")
    files.write(link, "2")
    assert link.is_symlink()
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("2", 0o640)
    dangling = tmp_path / "dangling"
    dangling.symlink_to("target")
    files.write(dangling, "3")
    assert (tmp_path / "target").read_text() == "3"


@posix
def test_what_is_no_file_is_written_to(tmp_path):
    """A pipe gets the text, and stays a pipe; /dev/null and /dev/full are devices, with /dev/full's error."""
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    files.write(fifo, "through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    files.write(os.devnull, "gone")
    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="No space left"):
            files.write("/dev/full", "x")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EBUSY])
def test_a_file_that_cannot_be_replaced_is_written_in_place(tmp_path, monkeypatch, code):
    """As in a folder where one may not make files, and a file that is mounted by itself."""
    path = tmp_path / "out"
    path.write_text("old")

    def refused(*paths):
        raise OSError(code, "refused")

    monkeypatch.setattr(os, "replace", refused)
    files.write(path, "new")
    assert path.read_text() == "new"
    with pytest.raises(OSError, match="refused"):
        files.write(tmp_path / "other", "new")
    assert os.listdir(tmp_path) == ["out"]


def test_what_can_be_written_is_known_before(tmp_path):
    """The check changes nothing, and refuses what writing would refuse."""
    (tmp_path / "file").write_text("x")
    for good in ("file", "new"):
        files.check_writable(tmp_path / good)
    assert os.listdir(tmp_path) == ["file"]
    for bad in (".", "file/below", "no/folder", "a\0b", "n" * 300):
        for act in (files.check_writable, lambda path: files.write(path, "")):
            with pytest.raises(OSError) as caught:  # noqa: PT011 - each system has its own words
                act(tmp_path / bad)
            assert caught.value.filename == str(tmp_path / bad)
    assert os.listdir(tmp_path) == ["file"]
