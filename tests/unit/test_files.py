# SPDX-License-Identifier: Apache-2.0
"""Files are written whole, and what is no plain file is written through or refused, never replaced.

Every device here is a private node in a temporary folder; none of /dev is ever named, whatever breaks.
"""

import os
import socket
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest
from strangers import ROOT_ONLY, given_away

from dinemo_ros.cli.output import output_folder
from dinemo_ros.errors import OutputError
from dinemo_ros.io.files import (
    AtomicFile,
    check_output_file,
    completed,
    open_log,
    readable,
    replace_files,
    require_plain,
    write_arrays,
    write_file,
)

NULL, FULL = (1, 3), (1, 7)  # of Linux: what is written vanishes; no space left


def by_lines(path, text):
    with AtomicFile(path) as file:
        file.write(text)


def by_library(path, text):
    with completed(path) as part:
        part.write_text(text)


WRITERS = pytest.mark.parametrize("write", [by_lines, write_file, by_library])


def device(folder, numbers):
    path = folder / "device"
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(*numbers))
        path.open("w").close()
    except PermissionError:
        pytest.skip("device nodes need root, and a file system that has them")
    return path


@WRITERS
def test_a_plain_file_is_replaced_whole(tmp_path, write):
    path = tmp_path / "a.json"
    path.write_text("a longer old content")
    write(path, "new")
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["a.json"]


@WRITERS
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_target_gets_the_content(tmp_path, write, exists):
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "target", tmp_path / "link"
    if exists:
        target.write_text("old")
    (tmp_path / "first").symlink_to("far/target")
    link.symlink_to("first")  # a link to a link, relative ones
    write(link, "new")
    assert link.is_symlink() and (tmp_path / "first").is_symlink() and target.read_text() == "new"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["far", "first", "link", "target"]


@WRITERS
def test_a_pipe_delivers_and_stays_a_pipe(tmp_path, write):
    path, got = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: got.append(path.read_text()), daemon=True)
    reader.start()
    check_output_file(path)  # must not be what the reader reads
    write(path, "new")
    reader.join(10)
    assert got == ["new"] and stat.S_ISFIFO(path.stat().st_mode) and os.listdir(tmp_path) == ["pipe"]


@WRITERS
def test_a_device_stays_a_device(tmp_path, write):
    path = device(tmp_path, NULL)
    before = path.stat()
    check_output_file(path)
    write(path, "new")
    after = path.stat()
    assert (after.st_mode, after.st_rdev, after.st_ino) == (before.st_mode, before.st_rdev, before.st_ino)
    assert os.listdir(tmp_path) == ["device"]


@WRITERS
def test_a_full_device_is_one_sentence(tmp_path, write):
    with pytest.raises(OutputError, match="device: cannot be written .No space left on device.$"):
        write(device(tmp_path, FULL), "new")


@WRITERS
def test_sockets_folders_and_circles_are_refused(tmp_path, write):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    for name, says in {"s": "is a socket; give", "folder": "is a folder; give", "circle": "levels of symbolic"}.items():
        with pytest.raises(OutputError, match=says):
            check_output_file(tmp_path / name)
        with pytest.raises(OutputError, match=says):
            write(tmp_path / name, "new")
    assert stat.S_ISSOCK((tmp_path / "s").stat().st_mode) and (tmp_path / "circle").is_symlink()


@WRITERS
def test_a_disk_is_refused(tmp_path, write):
    path = tmp_path / "disk"
    try:
        os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(240, 0))  # a number for experiments: no driver, no harm
    except PermissionError:
        pytest.skip("device nodes need root")
    with pytest.raises(OutputError, match="is a disk"):
        write(path, "new")


WRITE = ("import sys; from dinemo_ros.io.files import AtomicFile as F; "
         "f = F(sys.argv[1]); f.write('new'); f.__exit__(None)")


@pytest.mark.parametrize("name", ["/dev/fd/1", "/proc/self/fd/1", "{tmp}/link"])
def test_standard_output_by_name(tmp_path, name):
    """Into what it is, at the place where it is: neither replaced nor begun anew. (/dev/stdout is such a link.)"""
    (tmp_path / "link").symlink_to("/proc/self/fd/1")
    command = [sys.executable, "-c", WRITE, name.format(tmp=tmp_path)]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout == b"new"
    with open(tmp_path / "file", "w") as file:
        file.write("before ")
        file.flush()
        subprocess.run(command, stdout=file, check=True, timeout=60)
        file.write(" after")
    assert (tmp_path / "file").read_text() == "before new after"
    assert (tmp_path / "link").is_symlink()


def test_the_substitution_of_a_shell(tmp_path):
    script = f'"{sys.executable}" -c "{WRITE}" >(cat > {tmp_path}/got; mv {tmp_path}/got {tmp_path}/done)'
    wait = f"for i in $(seq 100); do [ -e {tmp_path}/done ] && break; sleep 0.1; done"
    subprocess.run(["bash", "-c", f"{script}; {wait}"], check=True, timeout=60)
    assert (tmp_path / "done").read_text() == "new"


def test_what_is_open_for_reading_alone_is_refused(tmp_path):
    with open(os.devnull) as file, pytest.raises(OutputError, match="is not open for writing"):
        AtomicFile(f"/dev/fd/{file.fileno()}")


def test_rights_and_owner_stay(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o640)
    by_lines(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and path.read_text() == "new"


@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe", "hard link"])
def test_the_part_is_no_way_to_another_file(tmp_path, kind):
    """NAME.part may lie there and be anything."""
    other, part = tmp_path / "other", tmp_path / "a.part"
    other.write_text("precious")
    {"link": lambda: part.symlink_to(other), "link to nothing": lambda: part.symlink_to(tmp_path / "none"),
     "pipe": lambda: os.mkfifo(part),
     "hard link": lambda: os.link(other, part)}[kind]()
    with pytest.raises(OutputError, match="a: cannot be written"):
        by_lines(tmp_path / "a", "new")
    assert other.read_text() == "precious" and not (tmp_path / "a").exists() and not (tmp_path / "none").exists()


def test_two_cannot_write_the_same_file(tmp_path):
    with AtomicFile(tmp_path / "a") as first:
        first.write("first")
        with pytest.raises(OutputError, match="another process is writing it"):
            AtomicFile(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "first"
    by_lines(tmp_path / "a", "second")
    assert (tmp_path / "a").read_text() == "second"


def test_every_line_is_there_when_it_is_written(tmp_path):
    with AtomicFile(tmp_path / "a") as file:
        file.write("one line\n")
        assert (tmp_path / "a.part").read_text() == "one line\n"


def test_what_remains_of_interrupted_work_is_told(tmp_path, caplog):
    with pytest.raises(KeyboardInterrupt), AtomicFile(tmp_path / "a") as file:
        file.write("line\n")
        raise KeyboardInterrupt
    assert f"{tmp_path}/a is not complete; what was finished is in {tmp_path}/a.part" in caplog.text
    with pytest.raises(KeyboardInterrupt), AtomicFile(tmp_path / "b"):
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["a.part"]  # of nothing nothing remains


def test_a_look_before_the_work_keeps_the_part_of_an_earlier_one(tmp_path):
    (tmp_path / "a.part").write_text("hours of poses")
    check_output_file(tmp_path / "a")
    assert (tmp_path / "a.part").read_text() == "hours of poses" and os.listdir(tmp_path) == ["a.part"]


def test_a_bundle_of_links_keeps_its_links(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "blob").write_bytes(b"old")
    (tmp_path / "model.yaml").symlink_to("store/blob")
    replace_files(tmp_path, {"model.yaml": b"new"})
    assert (tmp_path / "model.yaml").is_symlink() and (tmp_path / "store" / "blob").read_bytes() == b"new"
    os.mkfifo(tmp_path / "mesh.npz")
    with pytest.raises(OSError, match="is a pipe or a device"):
        replace_files(tmp_path, {"model.yaml": b"newer", "mesh.npz": b"new"})
    assert (tmp_path / "store" / "blob").read_bytes() == b"new"
    assert stat.S_ISFIFO((tmp_path / "mesh.npz").stat().st_mode)


def test_a_library_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), completed(tmp_path / "a.npz") as part:
        part.write_text("half")
        assert part.suffix == ".npz"
        raise ValueError
    assert os.listdir(tmp_path) == []


def test_arrays(tmp_path):
    write_arrays(tmp_path / "a.npz", x=np.arange(3))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert arrays["x"].tolist() == [0, 1, 2]


def test_bytes_that_are_no_unicode_can_be_read():
    assert readable("Grün") == "Grün"
    assert readable(os.fsdecode(b"Gr\xf6\xdfe ") + "ü") == "Gr\\xf6\\xdfe ü"
    assert readable("\ud800") == "\\ud800"


def test_rights_stay_whichever_way_a_file_is_written(tmp_path):
    def through_a_library(path):
        with completed(path) as part:
            part.write_text("new")

    for write in (lambda path: write_file(path, "new"), through_a_library,
                  lambda path: replace_files(path.parent, {path.name: b"new"})):
        path = tmp_path / "secret.txt"
        path.write_text("old")
        path.chmod(0o600)
        write(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.read_text() == "new"
        path.unlink()
        write(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o644, "the user that the robot runs as has to read it"


@ROOT_ONLY
@pytest.mark.parametrize("where", ["the name", "a link behind it", "a folder above", "a name that is new"])
@WRITERS
def test_links_of_others_are_not_followed(tmp_path, write, where):
    """In a folder like /tmp anybody may lay one under a name that is going to be written."""
    (tmp_path / "home").mkdir()
    precious = tmp_path / "home" / "precious"
    precious.write_text("precious")
    link, path = tmp_path / "link", tmp_path / "link"
    if where == "a folder above":
        link.symlink_to("home")
        path = link / "precious"
    elif where == "a link behind it":
        link.symlink_to(precious)
        path = tmp_path / "own"
        path.symlink_to("link")
    else:
        link.symlink_to(precious if where == "the name" else tmp_path / "home" / "new")
    given_away(link)
    for attempt in (lambda: write(path, "new"), lambda: check_output_file(path)):
        with pytest.raises(OutputError, match=f"is reached by {link}, a link that another user"):
            attempt()
    assert precious.read_text() == "precious" and os.listdir(tmp_path / "home") == ["precious"]


@ROOT_ONLY
def test_a_link_of_another_user_to_an_open_file_is_none_to_it(tmp_path):
    precious = tmp_path / "precious"
    with open(precious, "w+") as file:
        (tmp_path / "link").symlink_to(f"/proc/self/fd/{file.fileno()}")
        given_away(tmp_path / "link")
        with pytest.raises(OutputError, match="a link that another user"):
            write_file(tmp_path / "link", "new")
    assert precious.read_text() == ""


@ROOT_ONLY
def test_folders_for_outputs_are_not_made_behind_links_of_others(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to("home")
    assert output_folder(tmp_path / "link" / "a").is_dir()
    given_away(tmp_path / "link")
    for name in ("link", "link/b"):
        with pytest.raises(OutputError, match="a link that another user"):
            output_folder(tmp_path / name)
    assert os.listdir(tmp_path / "home") == ["a"]


@ROOT_ONLY
def test_nothing_is_written_into_what_another_user_has_laid_there(tmp_path):
    """A part that is open to its maker would be changed when it has the name; a pipe is read by its maker."""
    part, pipe = tmp_path / "a.part", tmp_path / "pipe"
    part.write_text("")
    given_away(part).chmod(0o666)
    with pytest.raises(OutputError, match="a.part in .* is no file of ours; remove it"):
        by_lines(tmp_path / "a", "new")
    os.mkfifo(pipe)
    given_away(pipe).chmod(0o666)
    for attempt in (check_output_file, lambda path: write_file(path, "new")):  # the first does not wait for a reader
        with pytest.raises(OutputError, match="is a pipe of another user"):
            attempt(pipe)
    assert part.read_text() == "" and not (tmp_path / "a").exists()


@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe", "hard link", "folder",
                                  pytest.param("foreign", marks=ROOT_ONLY)])
@pytest.mark.parametrize("opened", [open_log, require_plain])
def test_logs_and_arrays_in_place_are_plain_files_of_this_user(tmp_path, opened, kind):
    other, path = tmp_path / "other", tmp_path / "log"
    other.write_text("precious")
    {"link": lambda: path.symlink_to(other), "link to nothing": lambda: path.symlink_to(tmp_path / "none"),
     "pipe": lambda: os.mkfifo(path), "hard link": lambda: os.link(other, path), "folder": path.mkdir,
     "foreign": lambda: (path.touch(), given_away(path))}[kind]()
    with pytest.raises(OutputError, match="log: cannot be written"):
        opened(path)
    assert other.read_text() == "precious" and not (tmp_path / "none").exists()


@ROOT_ONLY
def test_files_of_whom_the_folder_is_are_no_strangers(tmp_path):
    """A disk that knows no owners shows everything as one user's, also what root has just written."""
    (tmp_path / "log").write_text("one\n")
    for path in (tmp_path / "log", tmp_path):
        given_away(path)
    with open_log(tmp_path / "log") as file:
        file.write("two\n")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_lines_are_added_to_a_log(tmp_path):
    for line in ("one\n", "two\n"):
        with open_log(tmp_path / "log") as file:
            file.write(line)
    require_plain(tmp_path / "log")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"
