"""Outputs: whole or not at all on regular files, through links, devices and pipes, and nothing left behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from oaq.errors import FormatError
from oaq.program import atomic
from oaq.program.atomic import remove_leftovers, write_atomically

WRITE = "import sys; from oaq.program.atomic import write_atomically as w; w(sys.argv[1], [b'new'])"


def python(code: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=False, stderr=subprocess.PIPE, timeout=60, **options)  # type: ignore[call-overload]


def test_a_link_stays_and_the_file_behind_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target"
    target.write_bytes(b"old")
    for link, to in (("absolute", target), ("relative", Path("folder/target")), ("chain", Path("relative"))):
        (tmp_path / link).symlink_to(to)
        write_atomically(tmp_path / link, [link.encode()])
        assert (tmp_path / link).is_symlink()
        assert target.read_bytes() == link.encode()
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_a_link_to_nothing_makes_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    write_atomically(tmp_path / "link", [b"new"])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_links_in_a_circle_are_one_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(FormatError, match="cannot be written"):
        write_atomically(tmp_path / "a", [b""])


def test_a_pipe_gets_the_bytes_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, [b"one", memoryview(b"two")])
    reader.join(30)
    assert received == [b"onetwo"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device nodes")
def test_a_device_node_stays_one(tmp_path: Path) -> None:
    for name, minor in (("null", 3), ("full", 7)):
        try:
            os.mknod(tmp_path / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
            (tmp_path / name).open("wb").close()
        except PermissionError:
            pytest.skip("this container may not make device nodes")
    write_atomically(tmp_path / "null", [b"new"])
    with pytest.raises(FormatError, match="full: cannot be written: No space left"):
        write_atomically(tmp_path / "full", [b"new"])
    assert all(stat.S_ISCHR(path.stat().st_mode) for path in tmp_path.iterdir())


def test_a_descriptor_is_written_where_its_next_byte_belongs(tmp_path: Path) -> None:
    """A link in the test's own folder stands for /dev/stdout: no device of this machine is touched."""
    link = tmp_path / "stdout"
    link.symlink_to("/proc/self/fd/1")
    code = "import sys; print('before'); sys.argv[1:] = [sys.argv[1]]; " + WRITE + "; print('after')"
    with (tmp_path / "output").open("wb") as output:
        done = python(code, str(link), stdout=output)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "output").read_bytes() == b"before\nnewafter\n"
    assert python(code, str(link), stdout=subprocess.PIPE).stdout == b"before\nnewafter\n"
    assert link.is_symlink()


def test_what_a_killed_process_left_is_removed_by_the_next_write(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from oaq.program.atomic import write_atomically as w\n"
        "def chunks():\n    yield b'half'\n    os.kill(os.getpid(), int(sys.argv[2]))\n    yield b'rest'\n"
        "w(sys.argv[1], chunks())"
    )
    target = tmp_path / "net.oaq"
    target.write_bytes(b"old")
    for number in (signal.SIGKILL, signal.SIGTERM):
        assert python(code, str(target), str(int(number))).returncode == -number
        assert target.read_bytes() == b"old"
        assert len(list(tmp_path.iterdir())) == 2
        write_atomically(tmp_path / "other", [b"x"])
        assert sorted(path.name for path in tmp_path.iterdir()) == ["net.oaq", "other"]
        (tmp_path / "other").unlink()


def test_only_files_of_our_own_naming_and_dead_processes_are_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = atomic._host()
    stays = [
        f".net.oaq.{host}-{os.getpid()}-0123456789ab.oaq-tmp",  # this process is alive
        f".net.oaq.{'0' * 8}-{dead.pid}-0123456789ab.oaq-tmp",  # of another machine
        f".net.oaq.{host}-{dead.pid}-0123456789ab.tmp",
        f"net.oaq.{host}-{dead.pid}-0123456789ab.oaq-tmp",
        ".net.oaq.0123456789ab.tmp",
    ]
    goes = f".net.oaq.{host}-{dead.pid}-0123456789ab.oaq-tmp"
    for name in (*stays, goes):
        (tmp_path / name).write_bytes(b"")
    folder = tmp_path / f".folder.{host}-{dead.pid}-0123456789ab.oaq-tmp"
    folder.mkdir()
    link = tmp_path / f".link.{host}-{dead.pid}-0123456789ab.oaq-tmp"
    link.symlink_to(stays[0])
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*stays, folder.name, link.name}


def test_a_name_as_long_as_names_can_be_is_written(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 251 + ".oaq")
    write_atomically(target, [b"x"])
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_two_writers_leave_one_whole_file(tmp_path: Path) -> None:
    code = (
        "import sys; from oaq.program.atomic import write_atomically as w\n"
        "for _ in range(20): w(sys.argv[1], [sys.argv[2].encode() * 5000])"
    )
    target = tmp_path / "net.oaq"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(target), letter]) for letter in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert target.read_bytes() in (b"a" * 5000, b"b" * 5000)
    assert list(tmp_path.iterdir()) == [target]
