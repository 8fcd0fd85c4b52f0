# SPDX-License-Identifier: Apache-2.0
"""A folder of what was built from a bundle: TensorRT plans and networks in other precisions.

An entry is one file: a line that says whose it is, a line of JSON with its key and the length and hash of the content,
the content. It is believed only if all of it is right, so a truncated, altered, renamed or foreign file is as good as
none. Entries appear under their names when complete; a lock keeps two processes from building the same thing at once.
Nothing here fails for want of a writable disk: what cannot be kept is used from memory, and the log says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ..cache_home import default_folder
from ..files import replace_files, sweep

_log = logging.getLogger(__name__)
_MAGIC = b"dinemo-engine/1\n"
_MAX_HEADER = 4096
SUFFIX = ".engine"


@dataclass(frozen=True)
class EngineKey:
    """Everything that an entry depends on.

    Attributes:
        name: category, only for a person's eyes.
        onnx: sha256 of the network that the entry is made from.
        builder: "tensorrt 10.3.0", "tensorrt_rtx 1.7.1", "onnxruntime 1.31.1", ...
        arch: GPU architecture like "sm87", or "any".
        precision: see :data:`dinemo_ros.features.PRECISIONS`.
        shapes: shape profiles as text, or "any".
        gpu: the very GPU that it was tuned on, see :attr:`dinemo_ros.features.cuda_driver.Gpu.model`; empty: every one
            of the architecture is as good.
    """

    name: str
    onnx: str
    builder: str
    arch: str
    precision: str
    shapes: str
    gpu: str = ""

    @property
    def fields(self) -> dict[str, str]:
        """As it is written; what holds on every GPU keeps the key that it had before there was ``gpu``."""
        return {name: value for name, value in asdict(self).items() if value or name != "gpu"}

    @property
    def file(self) -> str:
        digest = hashlib.sha256(json.dumps(self.fields, sort_keys=True).encode()).hexdigest()[:12]
        return f"{self.name}-{self.builder.replace(' ', '_')}-{self.arch}-{self.precision}-{digest}{SUFFIX}"


class EngineCache:
    """Entries in one folder, which need not exist, be writable or have room."""

    def __init__(self, folder: str | Path = "") -> None:
        self.folder = Path(folder).expanduser() if folder else default_folder()

    def path(self, key: EngineKey) -> Path:
        return self.folder / key.file

    def load(self, key: EngineKey, instead: str = "it is built again") -> bytes | None:
        """The entry's content; None if there is none, or none that can be believed.

        Args:
            instead: what the caller does in the second case, for the warning.
        """
        content, problem = self._read(key)
        if problem:
            _log.warning("%s: %s, %s", self.path(key), problem, instead)
        return content

    def _read(self, key: EngineKey) -> tuple[bytes | None, str]:
        """Content, and what is wrong with it."""
        try:
            data = self.path(key).read_bytes()
        except FileNotFoundError:
            return None, ""
        except OSError as error:
            return None, f"cannot be read ({error.strerror})"
        return _unpack(data, key)

    def load_or_build(self, key: EngineKey, build: Callable[[], bytes]) -> bytes:
        """The entry's content, from disk or from ``build``, which runs in one process at a time."""
        content = self.load(key)
        return self.built(key, build) if content is None else content

    def built(self, key: EngineKey, build: Callable[[], bytes]) -> bytes:
        """The content from ``build``, or of the entry where another process was quicker."""
        with self._locked(key):
            sweep(self.folder)
            content, _ = self._read(key)  # another process may have built it while this one waited
            if content is None:
                content = build()
                self.store(key, content)
        return content

    def store(self, key: EngineKey, content: bytes, warn: bool = True) -> Path | None:
        """Write an entry; None (and a warning) if the disk will not have it."""
        path = self.path(key)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_files(self.folder, {path.name: _pack(key, content)})
        except OSError as error:
            _log.log(logging.WARNING if warn else logging.DEBUG, "%s: the engine of %.1f MB cannot be kept (%s), so "
                     "every start builds it again; make room, or name another folder (parameter engine_cache, option "
                     "--cache)", path, len(content) / 1e6, error.strerror)
            return None
        return path

    def remove(self, key: EngineKey) -> None:
        """Forget an entry that turned out to be of no use."""
        with contextlib.suppress(OSError):
            self.path(key).unlink()

    def sweep_keys(self, outdated: Callable[[dict], bool]) -> list[Path]:
        """Remove entries by their keys, as they are written; those that cannot be read stay.

        Args:
            outdated: whether nothing will ask for an entry with this key any more.
        """
        removed = []
        for path, _ in self.entries():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                with path.open("rb") as file:
                    start = file.read(_MAX_HEADER)
                if start.startswith(_MAGIC) and outdated(_header(start)[0]["key"]):
                    path.unlink()
                    removed.append(path)
        return removed

    def entries(self) -> list[tuple[Path, int]]:
        """Files of this cache and their sizes in bytes."""
        try:
            return sorted((path, path.stat().st_size) for path in self.folder.glob(f"*{SUFFIX}"))
        except OSError:
            return []

    @contextlib.contextmanager
    def _locked(self, key: EngineKey) -> Iterator[None]:
        """Hold the entry's lock; without one where the folder takes no files."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = open(self.folder / f".{key.file}.lock", "a")  # which empties nothing that has this name by chance
        except OSError:
            yield
            return
        with file:  # closing releases the lock, and so does the death of the process
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.info("%s: another process is building it, waiting", self.path(key))
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:  # some network file systems have no locks
                _log.debug("%s: no lock (%s)", self.folder, error)
            yield


def _pack(key: EngineKey, content: bytes) -> bytes:
    header = {"key": key.fields, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return _MAGIC + json.dumps(header, sort_keys=True).encode() + b"\n" + content


def _unpack(data: bytes, key: EngineKey) -> tuple[bytes | None, str]:
    """Content and an empty string, or None and what is wrong."""
    if not data.startswith(_MAGIC):
        return None, "not an engine of this package"
    try:
        header, content = _header(data)
        found, size, digest = header["key"], header["bytes"], header["sha256"]
    except (ValueError, KeyError, TypeError):
        return None, "its header is damaged"
    if found != key.fields:
        wrong = [f"{name} {found.get(name)} instead of {key.fields.get(name)}" for name in {**key.fields, **found}
                 if found.get(name) != key.fields.get(name)] if isinstance(found, dict) else ["no key"]
        return None, f"an engine for something else ({', '.join(wrong)})"
    if len(content) != size:
        return None, f"truncated ({len(content)} of {size} bytes)"
    if hashlib.sha256(content).hexdigest() != digest:
        return None, "damaged (its content has another sha256)"
    return content, ""


def _header(data: bytes) -> tuple[dict, bytes]:
    """What an entry says of itself, and what comes behind that; ValueError if it says nothing."""
    end = data.find(b"\n", len(_MAGIC), _MAX_HEADER)
    return json.loads(data[len(_MAGIC):end]), data[end + 1:]
