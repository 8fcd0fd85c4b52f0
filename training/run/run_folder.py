# SPDX-License-Identifier: Apache-2.0
"""The folder of one training run: what was asked for, what was done, how long it took, and what came out.

    config.yaml      the resolved recipe           versions.json   of everything that took part
    start.json       the command and --out         stages.jsonl    every start and end, with times
    stages/NAME.json the stamp of a stage          metrics.jsonl   figures, one line per stage
    report/          the HTML report

A stage is skipped when its stamp records that it ended with the same key. The key is a hash of the stage's settings, of
the files that it reads from outside the run, and of the keys of the stages that it builds on. A stage that was killed
goes on where it was; one whose key changed starts over.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from dinemo_ros import __version__
from dinemo_ros.errors import DinemoError
from dinemo_ros.io.files import open_log, write_file
from dinemo_ros.io.quoting import shown_path
from dinemo_ros.process.file_lock import open_lock

_PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "numba", "torch", "torchvision", "timm", "onnx",
             "trimesh", "scikit-image", "scipy")


class RunError(DinemoError):
    """A run folder that cannot be used, or a stage that failed; the message names what to do."""


@dataclass(frozen=True)
class Stage:
    """One step from photographs to bundle.

    Attributes:
        name: unique; about: one line for people.
        run: does the work and returns figures for metrics.jsonl; must continue from its own half-made results.
        settings: what decides the result, in plain JSON types.
        needs: names of the stages whose results it reads.
        inputs: files and folders from outside the run folder that it reads.
        outputs: files and folders in the run folder that it makes; they are removed when it starts over.
        formerly: what an earlier release called it; its key is made of that, so that finished runs stay finished.
    """

    name: str
    about: str
    run: Callable[[], dict]
    settings: object
    needs: tuple[str, ...] = ()
    inputs: tuple[Path, ...] = ()
    outputs: tuple[Path, ...] = ()
    formerly: str = ""


class RunFolder:
    """Stamps, logs and keys below ``path``, which is made when something is to be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: dict[str, str] = {}
        self._fingerprints: dict[Path, str] = {}

    def _make(self) -> None:
        try:
            (self.path / "stages").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.path}: cannot be a run folder ({error.strerror}); give another one with "
                           "--run") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out; a process that dies, however it does, leaves the folder free.

        Raises:
            RunError: another run is at work there, or the folder cannot be locked.
        """
        self._make()
        try:
            handle = open_lock(self.path / "lock")
        except OSError as error:
            raise RunError(f"{self.path / 'lock'}: cannot be locked ({error.strerror}); remove it, or name another "
                           "folder with --run") from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(f"{self.path}: another run is at work there; wait for it, or name another folder with "
                               "--run") from None
            yield
        finally:
            os.close(handle)

    def require_closed(self) -> None:
        """Nothing in this folder, which may come from somebody else, leads out of it: what a stage writes stays in it.

        Raises:
            RunError: names a link to elsewhere, or something that is neither a file nor a folder.
        """
        top = os.path.realpath(self.path)
        for folder, _, _ in os.walk(top):
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._require_inside(entry, top)

    def _require_inside(self, entry: os.DirEntry, top: str) -> None:
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            if not target.startswith(top + os.sep):
                raise RunError(f"{shown_path(entry.path)} leads out of the run folder, to {shown_path(target)}; a run "
                               "writes into its own folder alone: remove the link, or name another folder with --run")
        elif not (entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)):
            raise RunError(f"{shown_path(entry.path)} is neither a file nor a folder, which no run makes; remove it, "
                           "or name another folder with --run")

    def in_use(self) -> bool:
        """Whether any stage was ever started here."""
        return any((self.path / "stages").glob("*.json"))

    def key(self, stage: Stage) -> str:
        """The hash that decides whether a finished stage may be kept; stages are asked for in order."""
        content = {"name": stage.formerly or stage.name, "settings": stage.settings,
            "needs": [self._keys[n] for n in stage.needs],
                   "inputs": [self._fingerprint(path) for path in stage.inputs]}
        self._keys[stage.name] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]
        return self._keys[stage.name]

    def _fingerprint(self, path: Path) -> str:
        if path not in self._fingerprints:
            self._fingerprints[path] = fingerprint(path)
        return self._fingerprints[path]

    def state(self, stage: Stage) -> str:
        """"new", "changed" (made with other settings or inputs), "half" (was interrupted) or "done"."""
        stamp = self.stamp(stage.name) or (self.stamp(stage.formerly) if stage.formerly else {})
        if not stamp:
            return "new"
        if stamp.get("key") != self.key(stage):
            return "changed"
        complete = stamp.get("state") == "done" and all(path.exists() for path in stage.outputs)
        return "done" if complete else "half"

    def stamp(self, name: str) -> dict:
        """What is known of a stage, {} if nothing."""
        try:
            return json.loads((self.path / "stages" / f"{name}.json").read_text())
        except (OSError, ValueError):
            return {}

    def execute(self, stage: Stage, force: bool = False) -> bool:
        """Do a stage unless it is done; returns whether there was work.

        Raises:
            RunError: the stage failed; the message is its reason, the trace is in ``stages/NAME.error.txt``.
        """
        self._make()
        self._require_own(stage)
        state, key = self.state(stage), self.key(stage)
        if state == "done" and not force:
            return False
        if state == "changed" or force:
            self._remove(stage)
        self._write_stamp(stage.name, {"key": key, "state": "running", "settings": stage.settings})
        self.log(stage.name, "start", before=state)
        began = time.monotonic()
        try:
            metrics = stage.run() or {}
        except (Exception, SystemExit) as error:
            write_text(self.path / "stages" / f"{stage.name}.error.txt", traceback.format_exc())
            self.log(stage.name, "failed", seconds=round(time.monotonic() - began, 2), error=str(error))
            raise RunError(self._reason(stage, error)) from error
        except KeyboardInterrupt:
            self.log(stage.name, "interrupted", seconds=round(time.monotonic() - began, 2))
            raise
        seconds = round(time.monotonic() - began, 2)
        _append(self.path / "metrics.jsonl", {"stage": stage.name, "time": now(), **metrics})
        self._write_stamp(stage.name, {"key": key, "state": "done", "seconds": seconds, "metrics": metrics,
                                       "settings": stage.settings})
        self.log(stage.name, "done", seconds=seconds)
        return True

    def _reason(self, stage: Stage, error: BaseException) -> str:
        """One sentence for a failure that was foreseen; for a bug, where its trace is."""
        foreseen = isinstance(error, (DinemoError, ValueError, FileNotFoundError, SystemExit))
        text = " ".join(str(error).split())
        if foreseen and text:
            return f"stage {stage.name}: {text}"
        return (f"stage {stage.name} failed ({type(error).__name__}: {text[:200]}); the trace is in "
                f"{self.path / 'stages' / (stage.name + '.error.txt')}")

    def _require_own(self, stage: Stage) -> None:
        """RunError if a result of the stage that is called like one in this folder lies elsewhere."""
        top = self.path.resolve()
        for path in (self.path / "stages", *stage.outputs):
            if path.is_relative_to(self.path) and not path.resolve().is_relative_to(top):
                raise RunError(f"stage {stage.name}: {shown_path(path)} leads out of the run folder, to "
                               f"{shown_path(path.resolve())}; remove the link, or name another folder with --run")

    def _remove(self, stage: Stage) -> None:
        for path in stage.outputs:
            if self.path.resolve() not in path.resolve().parents:
                continue  # only what lies in the run folder is ours to remove
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def log(self, name: str, event: str, **details: object) -> None:
        """One line in stages.jsonl."""
        _append(self.path / "stages.jsonl", {"time": now(), "stage": name, "event": event, **details})

    def _write_stamp(self, name: str, content: dict) -> None:
        write_text(self.path / "stages" / f"{name}.json", json.dumps(content, indent=1))

    def metrics(self) -> dict[str, dict]:
        """The figures of every finished stage, by its name."""
        stamps = {path.stem: self.stamp(path.stem) for path in sorted((self.path / "stages").glob("*.json"))}
        return {name: stamp["metrics"] for name, stamp in stamps.items() if stamp.get("state") == "done"}

    def seconds(self, name: str) -> float:
        """Seconds that a stage took, all its attempts together."""
        return sum(entry.get("seconds", 0.0) for entry in self.events() if entry["stage"] == name)

    def events(self) -> list[dict]:
        """stages.jsonl."""
        path = self.path / "stages.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def fingerprint(path: Path) -> str:
    """Hash of the names, sizes and times of the files below ``path`` (or of the one file)."""
    digest = hashlib.sha256()
    for file in sorted(_files(path)):
        stat = file.stat()
        digest.update(f"{file.relative_to(path.parent)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def _files(path: Path) -> Iterable[Path]:
    return (p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def versions() -> dict:
    """What a run was made with."""
    found = {"dinemo_ros": __version__, "commit": _commit(), "python": platform.python_version(),
             "machine": f"{platform.machine()}, {os.cpu_count()} CPUs", "system": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    try:
        import torch

        devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    except ImportError:
        devices = []
    return found | {"gpus": devices}


def _commit() -> str | None:
    """Commit of the source tree, with a + where files differ from it; None outside of one."""
    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(Path(__file__).parent), *arguments], check=True, text=True,
                              capture_output=True, timeout=20).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def now() -> str:
    """The time in UTC, ISO 8601 to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step."""
    write_file(path, text)


def _append(path: Path, entry: dict) -> None:
    with open_log(path) as file:
        file.write(json.dumps(entry) + "\n")
