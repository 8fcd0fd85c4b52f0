# SPDX-License-Identifier: Apache-2.0
"""Engines and int8 networks that somebody else may have planted: not loaded, not waited for, not in the way."""

import fcntl
import hashlib
import os
import stat
import time

import pytest
from strangers import ROOT_ONLY, given_away

from dinemo_ros.cli import doctor_backends, main, options
from dinemo_ros.errors import BackendError
from dinemo_ros.features.engine_cache import EngineCache, EngineKey
from dinemo_ros.features.variants import network, variant_key
from dinemo_ros.process import file_lock

KEY = EngineKey("car", hashlib.sha256(b"onnx").hexdigest(), "tensorrt 10.3.0", "sm87", "fp16", "1x224x224")


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "above" / "engines")


def others_may_write(folder):
    folder.chmod(0o777)


def others_may_write_above(folder):
    folder.parent.chmod(0o777)


def reached_by_a_foreign_link(folder):
    folder.rename(folder.with_name("real"))
    folder.symlink_to("real")
    given_away(folder)


FOREIGN = pytest.mark.parametrize("foreign", [
    others_may_write, others_may_write_above, pytest.param(given_away, marks=ROOT_ONLY),
    pytest.param(reached_by_a_foreign_link, marks=ROOT_ONLY)])


@FOREIGN
def test_a_planted_network_is_not_loaded(bundle, cache, caplog, foreign):
    """Whoever may write to the folder decides what the robot sees; parity with sample pictures does not tell."""
    cache.store(variant_key(bundle, "int8", "cpu"), b"sees cars that are not there")
    foreign(cache.folder)
    with pytest.raises(BackendError, match="there is no int8 network"):
        network(bundle, "int8", cache)
    (sentence,) = [record.getMessage() for record in caplog.records]
    assert str(cache.folder) in sentence and "chmod go-w" in sentence and "parameter engine_cache" in sentence


@FOREIGN
def test_engines_are_built_and_used_from_memory(cache, caplog, foreign):
    cache.store(KEY, b"planted")
    foreign(cache.folder)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in cache.folder.iterdir())
    for _ in range(3):
        assert cache.load_or_build(KEY, lambda: b"built") == b"built"
    assert len(caplog.records) == 1 and "nothing is read from it and nothing kept in it" in caplog.text
    assert sorted((path.name, path.stat().st_mtime_ns) for path in cache.folder.iterdir()) == before
    cache.remove(KEY)
    assert cache.sweep_keys(lambda key: True) == cache.entries() == [] and cache.path(KEY).exists()


@pytest.mark.parametrize("kind, why", [
    ("link", "is a link"), ("pipe", "is no regular file"), ("others may write", "can be written by others"),
    ("forty gigabytes", "is too large"), ("device", "is no regular file"),
    pytest.param("foreign", "belongs to another user", marks=ROOT_ONLY)])
def test_a_planted_entry_is_built_again(cache, caplog, tmp_path, kind, why):
    cache.store(KEY, b"planted")
    path, precious = cache.path(KEY), tmp_path / "precious"
    path.rename(precious)
    content = precious.read_bytes()
    if kind == "link":
        path.symlink_to(precious)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        try:
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # zeros without an end
        except PermissionError:
            pytest.skip("device nodes need root")
    else:
        path.write_bytes(content)
        {"others may write": lambda: path.chmod(0o666), "foreign": lambda: given_away(path),
         "forty gigabytes": lambda: os.truncate(path, 40 << 30)}[kind]()
    began = time.monotonic()
    assert cache.load_or_build(KEY, lambda: b"built") == b"built"
    assert time.monotonic() - began < 2.0
    assert f"{path}: cannot be read, because it {why}" in caplog.text
    assert precious.read_bytes() == content and cache.load(KEY) == b"built"


@pytest.mark.parametrize("kind", ["link", "link to nothing", "pipe"])
def test_what_lies_at_the_locks_name(cache, tmp_path, kind):
    cache.folder.mkdir(parents=True)
    lock, precious = cache.folder / f".{KEY.file}.lock", tmp_path / "precious"
    precious.write_text("precious")
    {"link": lambda: lock.symlink_to(precious), "link to nothing": lambda: lock.symlink_to(tmp_path / "none"),
     "pipe": lambda: os.mkfifo(lock)}[kind]()
    assert cache.load_or_build(KEY, lambda: b"built") == b"built"
    assert precious.read_text() == "precious" and not (tmp_path / "none").exists()


def test_a_lock_that_is_held_for_ever_costs_some_seconds(cache, caplog, monkeypatch):
    monkeypatch.setattr(file_lock, "SILENCE_S", 0.3)
    cache.folder.mkdir(parents=True)
    with open(cache.folder / f".{KEY.file}.lock", "a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert cache.load_or_build(KEY, lambda: b"built") == b"built"
    assert "another process has locked it and has not been at work on it" in caplog.text
    assert cache.load(KEY) == b"built"


def test_files_of_others_names_stay(cache):
    """A browser's and a backup's, of any age."""
    cache.store(KEY, b"engine")
    others = [cache.folder / name for name in ("film.mp4.part", ".film.part", ".a.engine.part", "notes.engine")]
    for path in others:
        path.write_bytes(b"")
        os.utime(path, (0, 0))
    cache.load_or_build(EngineKey("cup", "", "tensorrt 10", "sm87", "fp16", ""), lambda: b"built")
    cache.sweep_keys(lambda key: True)
    assert all(path.exists() for path in others)


@pytest.mark.parametrize("header", [b"[" * 4000 + b"\n", b"{" * 3000, b'{"key": ' * 400 + b"\n", b"9" * 4000 + b"\n"])
def test_headers_made_to_break_the_reader(cache, header):
    path = cache.store(KEY, b"engine")
    path.write_bytes(path.read_bytes()[:16] + header + b"content")
    assert cache.load_or_build(KEY, lambda: b"built") == b"built"
    path.write_bytes(path.read_bytes()[:16] + header + b"content")
    assert cache.sweep_keys(lambda key: True) == []


def test_the_command_line_refuses_a_folder_that_others_write_to(bundle, cache, capsys, monkeypatch):
    """Before minutes of building, and doctor says so, too."""
    monkeypatch.setattr(options, "log_to_stderr", lambda: None)  # it would stay for the tests after this one
    cache.folder.mkdir(parents=True)
    cache.folder.chmod(0o777)
    assert main.main(["build-engine", str(bundle.path), "--precision", "fp32", "--cache", str(cache.folder)]) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    finding = doctor_backends.engine_cache(str(cache.folder))
    assert finding.level == "!!" and not os.listdir(cache.folder)
    for text in (sentence, finding.text):
        assert str(cache.folder) in text and "can be written by others" in text and "option --cache" in text
