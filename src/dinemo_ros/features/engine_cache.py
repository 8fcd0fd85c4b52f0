# SPDX-License-Identifier: Apache-2.0
"""A folder of what was built from a bundle: TensorRT plans and networks in other precisions.

An entry is one file: a line that says whose it is, a line of JSON with its key and the length and hash of the content,
the content. It is believed only if all of it is right, so a truncated, altered, renamed or foreign file is as good as
none. Entries appear under their names when complete; a lock keeps two processes from building the same thing at once.
Whoever writes an entry decides what a robot sees, so nothing is read from a folder, or from a file in it, that somebody
else may have written (``own_folder.py``). Nothing here fails for want of a folder: what cannot be kept is used from
memory, and the log says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import BackendError
from ..io.quoting import shown_path
from ..process.cache_home import default_folder, given_folder
from ..process.file_lock import SILENCE_S, locked, open_lock
from ..process.own_folder import UntrustedError, open_file, open_folder, read_file, sweep, write_file

_log = logging.getLogger(__name__)
_MAGIC = b"dinemo-engine/1\n"
_MAX_HEADER = 4096
_LARGEST = 1 << 30  # bytes; an engine of the largest network that bundles may have takes a third of it
SUFFIX = ".engine"
_OURS = re.compile(r"[^.].*-[0-9a-f]{12}\.engine")
_PART = re.compile(rf"\.{_OURS.pattern}\.\w{{1,32}}\.part")
_REMEDY = "name another folder (parameter engine_cache, option --cache)"


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
        gpu: the very GPU that it was tuned on, see :attr:`dinemo_ros.gpu.cuda_driver.Gpu.model`; empty: every one
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
        self.folder = given_folder(folder) if folder else default_folder()
        self._said: set[str] = set()

    def path(self, key: EngineKey) -> Path:
        """Where the entry of ``key`` is or would be."""
        return self.folder / key.file

    def unsafe(self) -> str:
        """Empty, or why nothing is read from this folder or kept in it; a folder that is not there is no reason."""
        return self._unsafe(make=False)

    def require(self) -> None:
        """BackendError, now and not after minutes of building, where the folder would not be believed."""
        if why := self._unsafe(make=True):
            raise BackendError(why)

    def _unsafe(self, make: bool) -> str:
        try:
            with self._opened(make):
                return ""
        except UntrustedError as error:
            return self._sentence(error)
        except OSError:
            return ""

    def load(self, key: EngineKey, instead: str = "it is built again") -> bytes | None:
        """The entry's content; None if there is none, or none that can be believed.

        Args:
            instead: what the caller does in the second case, for the warning.
        """
        content, problem = self._read(key)
        if problem:
            _log.warning("%s: %s, %s", shown_path(self.path(key)), problem, instead)
        return content

    def _read(self, key: EngineKey) -> tuple[bytes | None, str]:
        """Content, and what is wrong with it."""
        try:
            with self._opened() as folder:
                try:
                    data = read_file(folder, key.file, _LARGEST)
                except UntrustedError as error:
                    return None, f"cannot be read, because it {error}; remove it;"
        except FileNotFoundError:
            return None, ""
        except UntrustedError as error:
            self._say(self._sentence(error))
            return None, ""
        except OSError as error:
            return None, f"cannot be read ({error.strerror})"
        return _unpack(data, key)

    def _sentence(self, error: UntrustedError) -> str:
        return (f"{shown_path(self.folder)}: this folder of engines {error}, so nothing is read from it and nothing "
                f"kept in it; make it this user's own and of nobody else to write (chown, chmod go-w), or {_REMEDY}")

    def _say(self, sentence: str) -> None:
        """Warn, once: an entry is asked for again and again."""
        if sentence not in self._said:
            self._said.add(sentence)
            _log.warning("%s", sentence)

    @contextlib.contextmanager
    def _opened(self, make: bool = False) -> Iterator[int]:
        """A handle of the folder; UntrustedError if it may be somebody else's, OSError if there is none."""
        handle = open_folder(self.folder, make)
        try:
            yield handle
        finally:
            os.close(handle)

    def load_or_build(self, key: EngineKey, build: Callable[[], bytes]) -> bytes:
        """The entry's content, from disk or from ``build``, which runs in one process at a time."""
        content = self.load(key)
        return self.built(key, build) if content is None else content

    def built(self, key: EngineKey, build: Callable[[], bytes]) -> bytes:
        """The content from ``build``, or of the entry where another process was quicker."""
        with self._locked(key):
            content, _ = self._read(key)  # another process may have built it while this one waited
            if content is None:
                content = build()
                self.store(key, content)
        return content

    def store(self, key: EngineKey, content: bytes, warn: bool = True) -> Path | None:
        """Write an entry; None (and a warning) if the disk will not have it."""
        path = self.path(key)
        try:
            with self._opened(make=True) as folder:
                sweep(folder, _PART)
                write_file(folder, path.name, _pack(key, content), durable=True)
        except UntrustedError as error:
            self._say(self._sentence(error))
            return None
        except OSError as error:
            _log.log(logging.WARNING if warn else logging.DEBUG, "%s: the engine of %.1f MB cannot be kept (%s), so "
                     "every start builds it again; make room, or %s", shown_path(path), len(content) / 1e6,
                     error.strerror, _REMEDY)
            return None
        return path

    def remove(self, key: EngineKey) -> None:
        """Forget an entry that turned out to be of no use."""
        with contextlib.suppress(OSError, UntrustedError), self._opened() as folder:
            os.unlink(key.file, dir_fd=folder)

    def sweep_keys(self, outdated: Callable[[dict], bool]) -> list[Path]:
        """Remove entries by their keys, as they are written; those that cannot be read stay.

        Args:
            outdated: whether nothing will ask for an entry with this key any more.
        """
        removed = []
        with contextlib.suppress(OSError, UntrustedError), self._opened() as folder:
            for name in sorted(filter(_OURS.fullmatch, os.listdir(folder))):
                with contextlib.suppress(OSError, UntrustedError, *_NO_HEADER):
                    with os.fdopen(open_file(folder, name), "rb") as file:
                        start = file.read(_MAX_HEADER)
                    if start.startswith(_MAGIC) and outdated(_header(start)[0]["key"]):
                        os.unlink(name, dir_fd=folder)
                        removed.append(self.folder / name)
        return removed

    def entries(self) -> list[tuple[Path, int]]:
        """Files of this cache and their sizes in bytes; none where they would not be believed."""
        found = []
        with contextlib.suppress(OSError, UntrustedError), self._opened() as folder:
            for name in sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX)):
                about = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISREG(about.st_mode):
                    found.append((self.folder / name, about.st_size))
        return found

    @contextlib.contextmanager
    def _locked(self, key: EngineKey) -> Iterator[None]:
        """Hold the entry's lock; without one where the folder takes no files, or nobody works under it."""
        try:
            with self._opened(make=True) as folder:
                handle = open_lock(f".{key.file}.lock", folder)
        except (OSError, UntrustedError) as error:
            _log.debug("%s: no lock (%s)", self.path(key), error)
            yield
            return
        name = shown_path(self.path(key))
        with locked(handle, lambda: _log.info("%s: another process is building it, waiting", name),
                    lambda: _log.warning("%s: another process has locked it and has not been at work on it for %.0f s; "
                                         "it is built here as well", name, SILENCE_S)):
            yield


_NO_HEADER = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


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
    except _NO_HEADER:
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
    if end < 0:
        raise ValueError("there is no end to it")
    return json.loads(data[len(_MAGIC):end]), data[end + 1:]
