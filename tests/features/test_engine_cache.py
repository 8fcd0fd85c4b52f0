# SPDX-License-Identifier: Apache-2.0
"""The cache of engines: what is believed, what is built again, and disks that will not have it."""

import hashlib
import logging
import multiprocessing
import os
import resource
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dinemo_ros.features.engine_cache import EngineCache, EngineKey, default_folder

KEY = EngineKey("car", hashlib.sha256(b"onnx").hexdigest(), "tensorrt 10.3.0", "sm87", "fp16", "1x224x224")
CONTENT = bytes(range(256)) * 400


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "engines")


def unexpected():
    raise AssertionError("built although it was there")


def test_what_is_built_is_found_again(cache):
    assert cache.load(KEY) is None
    assert cache.load_or_build(KEY, lambda: CONTENT) == CONTENT
    assert EngineCache(cache.folder).load_or_build(KEY, unexpected) == CONTENT
    assert [path.name for path, _ in cache.entries()] == [KEY.file]


@pytest.mark.parametrize("field, value", [
    ("onnx", hashlib.sha256(b"retrained").hexdigest()), ("builder", "tensorrt 10.4.0"), ("builder", "tensorrt_rtx 1.7"),
    ("arch", "sm89"), ("precision", "fp32"), ("shapes", "1x256x256"), ("name", "cup")])
def test_another_key_is_another_engine(cache, field, value):
    cache.store(KEY, CONTENT)
    assert cache.load(replace(KEY, **{field: value})) is None


def test_stale_engine_under_the_right_name(cache, caplog):
    """Somebody copied the engine of another TensorRT over ours: the header knows."""
    old = replace(KEY, builder="tensorrt 10.2.0")
    cache.store(old, CONTENT).rename(cache.path(KEY))
    assert cache.load_or_build(KEY, lambda: b"new") == b"new"
    assert "an engine for something else (builder tensorrt 10.2.0 instead of tensorrt 10.3.0)" in caplog.text
    assert cache.load(KEY) == b"new"


@pytest.mark.parametrize("damage, says", [
    (lambda data: data[:-1000], "truncated (101400 of 102400 bytes)"),
    (lambda data: data + b"more", "truncated (102404 of 102400 bytes)"),
    (lambda data: data[:-1000] + bytes(1000), "damaged (its content has another sha256)"),
    (lambda data: data[:40], "its header is damaged"),
    (lambda data: data[:16] + b'{"key": 3}\n' + data[100:], "its header is damaged"),
    (lambda data: data[:16] + b'{"key": 3, "bytes": 1, "sha256": ""}\n', "an engine for something else"),
    (lambda data: b"ftrt" + data, "not an engine of this package"),
    (lambda data: b"", "not an engine of this package"),
    (lambda data: data[:16] + bytes(100_000), "its header is damaged")],
    ids=["truncated", "longer", "altered", "header cut", "header of another kind", "key of another kind",
         "plan of trtexec", "empty", "zeros"])
def test_damaged_engines_are_built_again(cache, caplog, damage, says):
    path = cache.store(KEY, CONTENT)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.load_or_build(KEY, lambda: b"new") == b"new"
    assert caplog.text.count(says) == 1
    assert cache.load(KEY) == b"new"


def test_a_folder_in_the_engines_place(cache, caplog):
    cache.path(KEY).mkdir(parents=True)
    assert cache.load_or_build(KEY, lambda: CONTENT) == CONTENT
    assert "cannot be read" in caplog.text and "cannot be kept" in caplog.text


def test_no_folder_can_be_made(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    cache = EngineCache(tmp_path / "file" / "engines")
    assert cache.load_or_build(KEY, lambda: CONTENT) == CONTENT
    assert "cannot be kept (Not a directory), so every start builds it again; make room, or name" in caplog.text
    assert cache.entries() == []


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/proc/self/fd").is_dir(), reason="root ignores permissions, and "
                    "needs a file system that nobody can write")
def test_read_only_folder_as_root(caplog):
    assert EngineCache("/proc/self/engines").load_or_build(KEY, lambda: CONTENT) == CONTENT
    assert "cannot be kept" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(cache, caplog):
    cache.folder.mkdir()
    cache.folder.chmod(0o500)
    assert cache.load_or_build(KEY, lambda: CONTENT) == CONTENT
    assert "cannot be kept (Permission denied)" in caplog.text


def _build_with_little_room(folder, result):
    logging.disable()
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    cache = EngineCache(folder)
    result.put((cache.load_or_build(KEY, lambda: CONTENT) == CONTENT, sorted(os.listdir(folder))))


def test_full_disk(cache):
    """The engine is used all the same, and no half of it is left behind."""
    context = multiprocessing.get_context("fork")
    result = context.Queue()
    process = context.Process(target=_build_with_little_room, args=(cache.folder, result))
    process.start()
    used, left = result.get(timeout=20)
    process.join()
    assert used and left == [f".{KEY.file}.lock"]


def _build_slowly(folder, log, begin):
    begin.wait()

    def build():
        with open(log, "a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.3)
        return CONTENT

    assert EngineCache(folder).load_or_build(KEY, build) == CONTENT


def test_two_processes_build_once(cache, tmp_path):
    context = multiprocessing.get_context("fork")
    begin, log = context.Event(), tmp_path / "builds"
    processes = [context.Process(target=_build_slowly, args=(cache.folder, log, begin)) for _ in range(4)]
    for process in processes:
        process.start()
    begin.set()
    for process in processes:
        process.join(20)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(log.read_text().splitlines()) == 1


def _die_while_building(folder):
    EngineCache(folder).load_or_build(KEY, lambda: os._exit(9))


def test_a_builder_that_dies_leaves_no_lock(cache):
    process = multiprocessing.get_context("fork").Process(target=_die_while_building, args=(cache.folder,))
    process.start()
    process.join(20)
    assert process.exitcode == 9
    assert cache.load_or_build(KEY, lambda: CONTENT) == CONTENT


def test_a_failed_build_leaves_nothing(cache):
    with pytest.raises(RuntimeError, match="no"):
        cache.load_or_build(KEY, lambda: (_ for _ in ()).throw(RuntimeError("no")))
    assert cache.entries() == [] and cache.load_or_build(KEY, lambda: CONTENT) == CONTENT


def test_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert EngineCache().folder == tmp_path / "dinemo_ros"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/not/allowed")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_folder() == tmp_path / "home" / ".cache" / "dinemo_ros"


def test_home_is_found_in_a_parameter(monkeypatch, tmp_path):
    """A shell would have replaced it, YAML does not."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert EngineCache("~/engines").folder == tmp_path / "engines"


def _die_while_writing(folder):
    os.fsync = lambda file: os._exit(9)
    EngineCache(folder).store(KEY, CONTENT)


def test_what_killed_writers_leave_is_swept(cache):
    """An hour later: until then somebody may still be writing it."""
    process = multiprocessing.get_context("fork").Process(target=_die_while_writing, args=(cache.folder,))
    process.start()
    process.join(20)
    left, = cache.folder.glob(".*.part")
    cache.load_or_build(replace(KEY, arch="sm89"), lambda: CONTENT)
    assert left.exists()
    os.utime(left, (time.time() - 7200,) * 2)
    cache.load_or_build(replace(KEY, arch="sm90"), lambda: CONTENT)
    assert not left.exists() and len(cache.entries()) == 2
