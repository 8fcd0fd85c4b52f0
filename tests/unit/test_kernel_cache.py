# SPDX-License-Identifier: Apache-2.0
"""The cache of compiled kernels: whatever is wrong with its folder, the answer is right and one line says so."""

from __future__ import annotations

import fcntl
import logging
import os
import resource
import shutil
import subprocess
import time
from pathlib import Path

import numba
import numpy as np
import pytest

from dinemo_ros.solver import kernel_cache, kernel_store
from dinemo_ros.solver.kernel_cache import KernelCache, KernelFolder
from dinemo_ros.solver.kernel_store import KernelStore

KEY = "0123456789abcdef"
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user, or mount")


def total(values):
    s = 0.0
    for v in values:
        s += v
    return s


class Start:
    """A start of a program that has the kernel ``total`` and its cache in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.compiled = 0
        self.kernel_folder = KernelFolder()
        self.kernel_folder.folder = folder
        kernel = numba.njit(total)
        kernel._cache = KernelCache(total, self._count, self.kernel_folder)
        self.answer = kernel(np.arange(5.0))

    def _count(self) -> None:
        self.compiled += 1


@pytest.fixture(autouse=True)
def _kernels_of_tests_count(monkeypatch):
    monkeypatch.setattr(kernel_cache, "covers", lambda function: True)
    monkeypatch.setattr(kernel_cache, "_CALLED", {})


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kernels" / KEY


@pytest.fixture
def filled(folder):
    assert Start(folder).compiled == 1
    return folder


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def test_a_second_start_compiles_nothing(filled, caplog):
    second = Start(filled)
    assert (second.compiled, second.answer) == (0, 10.0)
    assert not warnings(caplog)
    assert [path.stat().st_mode & 0o777 for path in sorted(filled.iterdir())] == [0o644] * 3


def emptied(path):
    path.write_bytes(b"")


def cut(path):
    path.write_bytes(path.read_bytes()[:-100 if path.suffix == ".nbc" else -20])


def overwritten(path):
    path.write_bytes(b"\x80\x04garbage" * 50)


def one_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def other_json(path):
    path.write_bytes(b"[1, 2]")


def made_a_folder(path):
    path.unlink()
    path.mkdir()


def linked_elsewhere(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def made_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def writable_for_all(path):
    path.chmod(0o666)


def given_away(path):
    os.chown(path, 12345, 12345)


def removed(path):
    path.unlink()


DAMAGES = [*((damage, suffix) for damage in (emptied, cut, overwritten, linked_elsewhere, made_a_folder, made_a_pipe,
                                            writable_for_all)
             for suffix in (".nbi", ".nbc")), (one_bit, ".nbc"), (other_json, ".nbi"), (removed, ".nbc"),
           pytest.param(given_away, ".nbc", marks=ROOT_ONLY), pytest.param(given_away, ".nbi", marks=ROOT_ONLY)]


@pytest.mark.parametrize(("damage", "suffix"), DAMAGES)
def test_what_is_damaged_is_compiled_again_with_one_sentence(filled, caplog, damage, suffix):
    damage(only(filled, f"*{suffix}"))
    start = Start(filled)
    assert (start.compiled, start.answer) == (1, 10.0)
    (sentence,) = warnings(caplog)
    assert str(filled) in sentence and "compiled again" in sentence
    caplog.clear()
    mended = Start(filled)
    assert (mended.compiled, mended.answer) == (0, 10.0), "the entry was not replaced"
    assert not warnings(caplog)


def test_it_says_what_is_wrong(filled, caplog):
    data = only(filled, "*.nbc")
    size = data.stat().st_size
    cut(data)
    Start(filled)
    assert f"{data.name} has {size - 100} of {size} bytes" in caplog.text


def test_a_removed_index_is_an_entry_that_is_not_there(filled, caplog):
    only(filled, "*.nbi").unlink()
    assert Start(filled).compiled == 1
    assert not warnings(caplog)


def test_a_whole_entry_of_no_use_is_compiled_again(filled, caplog):
    """Its sum is right and numba cannot load it: what an interrupted upgrade leaves under the same version."""
    name = only(filled, "*.nbi").stem
    only(filled, "*.nbi").unlink()
    import pickle

    KernelStore(filled).write(name, pickle.dumps(("no", "code")))
    start = Start(filled)
    assert (start.compiled, start.answer) == (1, 10.0)
    (sentence,) = warnings(caplog)
    assert "cannot be used" in sentence


def test_every_damaged_kernel_together_are_one_sentence(folder, caplog):
    kernel_folder = KernelFolder()
    kernel_folder.folder = folder
    assert kernel_folder.load("a") is None
    for name in "abc":
        kernel_folder.keep(name, b"content")
        (folder / f"{name}.nbc").write_bytes(b"")
    assert [kernel_folder.load(name) for name in "abc"] == [None] * 3
    assert len(warnings(caplog)) == 1


def test_a_relative_folder_is_not_used(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert Start(Path("kernels") / KEY).answer == 10.0
    (sentence,) = warnings(caplog)
    assert "no absolute path" in sentence
    assert not list(tmp_path.iterdir())


def group_may_write(folder):
    folder.chmod(0o775)


def all_may_write(folder):
    folder.chmod(0o777)


def of_another_user(folder):
    os.chown(folder, 12345, 12345)


def a_link(folder):
    folder.rename(folder.with_name("real"))
    folder.symlink_to("real")


@pytest.mark.parametrize(("foreign", "why"), [
    (group_may_write, "can be written by others"), (all_may_write, "can be written by others"), (a_link, "is a link"),
    pytest.param(of_another_user, "belongs to another user (12345)", marks=ROOT_ONLY)])
def test_nothing_is_read_from_a_folder_that_others_may_have_written(filled, caplog, foreign, why):
    foreign(filled)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in filled.iterdir())
    start = Start(filled)
    assert (start.compiled, start.answer) == (1, 10.0)
    (sentence,) = warnings(caplog)
    assert str(filled) in sentence and why in sentence and "NUMBA_CACHE_DIR" in sentence
    assert sorted((path.name, path.stat().st_mtime_ns) for path in filled.iterdir()) == before


def test_folders_are_made_without_write_permission_for_others(folder):
    before = os.umask(0)
    try:
        Start(folder)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o022 == 0
    assert Start(folder).compiled == 0


def assert_told_once_and_done_without(folder: Path, caplog) -> None:
    start = Start(folder)
    assert (start.compiled, start.answer) == (1, 10.0)
    (sentence,) = warnings(caplog)
    assert sentence.startswith(f"{folder}: ") and "cannot be kept" in sentence and "NUMBA_CACHE_DIR" in sentence


@pytest.mark.parametrize("level", [0, 1])
def test_a_file_in_the_place_of_the_folder(folder, caplog, level):
    place = (folder, *folder.parents)[level]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("in the way")
    assert_told_once_and_done_without(folder, caplog)
    assert place.read_text() == "in the way"


def test_a_disk_that_takes_no_more(folder, caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        assert_told_once_and_done_without(folder, caplog)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [path for path in folder.iterdir() if path.suffix in (".part", ".nbi")], "half an entry is left"
    assert Start(folder).compiled == 1 and Start(folder).compiled == 0


@pytest.fixture
def mounted(tmp_path):
    """A function that mounts a small file system in memory with these options at a folder."""
    places: list[Path] = []

    def mount(place: Path, options: str) -> None:
        place.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if os.geteuid() or shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no file system can be mounted here")
        places.append(place)

    yield mount
    for place in places:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_file_system(folder, mounted, caplog):
    mounted(folder.parent, "size=16k,mode=755")
    (folder.parent / "ballast").write_bytes(bytes(8192))
    assert_told_once_and_done_without(folder, caplog)


def test_a_file_system_that_is_read_only(folder, mounted, caplog):
    mounted(folder.parent, "size=1m,mode=755")
    subprocess.run(["mount", "-o", "remount,ro", str(folder.parent)], check=True)
    assert_told_once_and_done_without(folder, caplog)


def test_what_is_kept_on_a_read_only_file_system_is_read(folder, mounted, caplog):
    mounted(folder.parent, "size=1m,mode=755")
    assert Start(folder).compiled == 1
    subprocess.run(["mount", "-o", "remount,ro", str(folder.parent)], check=True)
    assert Start(folder).compiled == 0
    assert not warnings(caplog)


def test_the_entry_of_another_process_is_left_alone(folder):
    """Both have compiled the same kernel: the first to finish is kept, or its two files would not belong together."""
    first, second = KernelStore(folder), KernelStore(folder)
    first.write("kernel", b"of the first")
    second.write("kernel", b"of the second")
    assert second.read("kernel") == b"of the first"


def test_a_writer_that_was_stopped_keeps_nobody_waiting(folder):
    import fcntl

    store = KernelStore(folder)
    with open(folder / ".lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        begin = time.monotonic()
        store.write("kernel", b"content")
        assert time.monotonic() - begin < 30.0
    assert store.read("kernel") == b"content"


def test_what_calls_a_damaged_kernel_is_compiled_again_with_it(folder, monkeypatch, caplog):
    """Only the outermost kernels are ever asked for: a damaged inner one would stay damaged, and doctor complain."""
    called = {"outer": {"middle", "inner"}, "middle": {"inner"}, "inner": set(), "apart": set()}
    store = KernelStore(folder)
    for name in called:
        store.write(f"{name}-0", b"content")
    (folder / "inner-0.nbi").write_bytes(b"")
    monkeypatch.setattr(kernel_cache, "_CALLED", {name: lambda name=name: called[name] for name in called})
    kernel_folder = KernelFolder()
    kernel_folder.folder = folder
    assert kernel_folder.load("apart-0") == b"content"
    assert [kernel_folder.load(f"{name}-0") for name in ("outer", "middle", "inner")] == [None] * 3
    assert len(warnings(caplog)) == 1


class TestSweep:
    @pytest.fixture
    def crowded(self, folder):
        """Twenty folders of other keys, the last of them unused longest."""
        others = [folder.with_name(f"{k:016x}") for k in range(20)]
        for age, other in enumerate(others):
            KernelStore(other).write("kernel", b"content")
            os.utime(other, (time.time() - 100.0 * age - 100.0,) * 2)
        return others

    def test_the_longest_unused_folders_go(self, folder, crowded):
        assert Start(folder).compiled == 1
        assert [other.exists() for other in crowded] == [True] * 16 + [False] * 4
        assert Start(folder).compiled == 0

    def test_what_is_in_use_stays(self, folder, crowded):
        in_use = KernelStore(crowded[18])
        Start(folder)
        assert crowded[18].exists() and not crowded[19].exists()
        assert in_use.read("kernel") == b"content"

    def test_what_is_not_ours_stays(self, folder, crowded):
        (crowded[17] / "thesis.txt").write_text("mine")
        other = folder.with_name("not-a-key")
        other.mkdir()
        crowded[18].rename(folder.with_name("elsewhere"))
        crowded[18].symlink_to("elsewhere")
        Start(folder)
        assert (crowded[17] / "thesis.txt").read_text() == "mine" and (crowded[17] / "kernel.nbc").exists()
        assert other.exists() and (crowded[18] / "kernel.nbc").exists()

    def test_files_of_dead_writers_go(self, folder):
        folder.mkdir(parents=True)
        old, new = folder / "a.nbc.0.part", folder / "b.nbc.0.part"
        for part in (old, new):
            part.write_bytes(b"half")
        os.utime(old, (0, 0))
        Start(folder)
        assert not old.exists() and new.exists()

    def test_a_folder_that_is_used_every_day_looks_young(self, folder):
        KernelStore(folder)
        os.utime(folder, (0, 0))
        KernelStore(folder)
        assert time.time() - folder.stat().st_mtime < 1000.0


def test_of_a_stranger_in_the_common_folder_nothing_is_taken(monkeypatch, tmp_path, caplog):
    """Without a home it is the machine's folder for temporary files, where anybody may have been first."""
    place = tmp_path / "kernels" / KEY
    place.mkdir(parents=True)
    monkeypatch.setattr(kernel_store.os, "geteuid", lambda: 4711)
    if os.getuid() == 0:
        os.chown(place, 12345, 12345)
    assert Start(place).answer == 10.0
    (sentence,) = warnings(caplog)
    assert "belongs to another user" in sentence


def test_a_lock_that_somebody_holds_for_ever_stops_no_start(tmp_path):
    Start(tmp_path / KEY)
    handle = os.open(tmp_path / KEY, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        began = time.monotonic()
        start = Start(tmp_path / KEY)
        assert start.answer == 10.0 and start.compiled == 0
        assert time.monotonic() - began < 10.0
    finally:
        os.close(handle)
