# SPDX-License-Identifier: Apache-2.0
"""What a bag may make of itself: rosbags unpacks and reads whatever a file states, and a few kilobytes can state
gigabytes.

It offers no limits of its own, so its readers get them here, for the whole process: the functions by which they unpack
and read are wrapped. Of a version of rosbags that has other functions, only the sizes that its index states are looked
at.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, BinaryIO, Protocol

from ...errors import DatasetError
from ..quoting import shown_path

if TYPE_CHECKING:
    from rosbags.rosbag2 import Reader

#: Bytes of a chunk or message after unpacking; a raw picture of 20 megapixels has 60 million.
UNPACKED_BYTES = 64 << 20
#: Bytes of a message, or of another record, that is stored as it is.
RECORD_BYTES = 128 << 20
#: Bytes of metadata.yaml, of which rosbags reads 200,000 a second: a bag in a thousand files has as many.
METADATA_BYTES = 192 << 10
#: Topics, and other rows, that a SQLite database may have to be read before its first message.
MOST_ROWS = 50_000
# Of a file that is unpacked into the temporary folder before it is read.
_FILE_BYTES, _FILE_RATIO = 256 << 20, 50


class _TooLargeError(DatasetError):
    """Something states a size that nothing of its kind has."""


def require_small_metadata(folder: Path) -> None:
    """:class:`DatasetError` for a ``metadata.yaml`` that is not worth reading."""
    file = folder / "metadata.yaml"
    with contextlib.suppress(OSError):
        if file.stat().st_size > METADATA_BYTES:
            raise DatasetError(f"{shown_path(file)}: is larger than {METADATA_BYTES >> 10} KiB and is not read: make "
                               "it anew with 'ros2 bag reindex', or give one of the storage files")


@contextlib.contextmanager
def small_values() -> Iterator[None]:
    """SQLite databases that are opened meanwhile hold no value above the limit, computed ones included, and have few
    topics: rosbags makes an object of each."""
    try:
        import apsw
    except ImportError:  # an older rosbags, with the database of the standard library
        yield
        return

    opened: list[apsw.Connection] = []
    rows = itertools.count(1)

    def count(_cursor: object, row: tuple) -> tuple:
        if next(rows) > MOST_ROWS:
            raise _TooLargeError(f"it has more than {MOST_ROWS} topics and other rows that are read before its "
                                 "messages: write those that matter to a bag of their own")
        return row

    def limit(connection: apsw.Connection) -> None:
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, RECORD_BYTES)
        connection.row_trace = count
        opened.append(connection)

    apsw.connection_hooks.append(limit)
    try:
        yield
    finally:
        apsw.connection_hooks.remove(limit)
        for connection in opened:
            with contextlib.suppress(apsw.ConnectionClosedError):
                connection.row_trace = None


@functools.cache
def limit_rosbags() -> None:
    """Once for the process, before a bag is opened."""
    from rosbags.rosbag2 import reader, storage_mcap

    table = getattr(storage_mcap, "DECOMPRESSORS", {})
    if "lz4" in table:
        table["lz4"] = lambda data, size: _unpacked(_lz4(), data, size)
    if "zstd" in table and hasattr(storage_mcap, "zstd"):
        table["zstd"] = lambda data, size: _unpacked(storage_mcap.zstd.ZstdDecompressor(), data, size)
    if hasattr(storage_mcap, "read_exact"):
        # Another function in place of a module's own, which mypy does not know as a thing to do:
        storage_mcap.read_exact = _of_limited_size(storage_mcap.read_exact)  # type: ignore[assignment]
    if hasattr(reader, "zstd"):
        zstd = reader.zstd
        reader.zstd = SimpleNamespace(  # type: ignore[assignment]  # in place of the module
            decompress=lambda data: _unpacked(zstd.ZstdDecompressor(), data, UNPACKED_BYTES, whole=False),
            open=lambda file, mode: _LimitedFile(zstd.open(file, mode), os.fstat(file.fileno()).st_size))


def require_small_chunks(reader: Reader, where: str) -> None:
    """:class:`DatasetError` where chunks of an opened mcap are too large, or too many are of one time: those are held
    together."""
    storage = getattr(reader, "storage", None)
    for part in getattr(storage, "storages", None) or [storage]:
        ends: list[tuple[int, int]] = []
        for chunk in getattr(part, "chunks", ()):
            if chunk.uncompressed_size > (UNPACKED_BYTES if chunk.compression else RECORD_BYTES):
                raise _TooLargeError(f"{where}: " + _sentence("a chunk", chunk.uncompressed_size, UNPACKED_BYTES))
            ends += [(chunk.message_start_time, chunk.uncompressed_size),
                     (chunk.message_end_time + 1, -chunk.uncompressed_size)]
        held = most = 0
        for _, size in sorted(ends):
            held += size
            most = max(most, held)
        if most > RECORD_BYTES:
            raise _TooLargeError(f"{where}: " + _sentence("what is of one time in its chunks", most, RECORD_BYTES))


def _sentence(what: str, size: int, most: int) -> str:
    return (f"{what} has {size >> 20} MiB, at most {most >> 20} are read: write the bag anew with smaller chunks or "
            "pictures")


def _of_limited_size(read: Callable[[BinaryIO, int], bytes]) -> Callable[[BinaryIO, int], bytes]:
    def limited(file: BinaryIO, size: int) -> bytes:
        if size > RECORD_BYTES:
            raise _TooLargeError(_sentence("a record", size, RECORD_BYTES))
        return read(file, size)

    return limited


def _lz4() -> Decompressor:
    from lz4.frame import LZ4FrameDecompressor

    return LZ4FrameDecompressor()


class Decompressor(Protocol):
    """Of lz4 or zstd, for one frame; ``eof`` once that is complete."""

    eof: bool

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """At most ``max_length`` bytes of what ``data`` unpacks to."""
        ...


def _unpacked(decompressor: Decompressor, data: bytes, size: int, whole: bool = True) -> bytes:
    """``data`` unpacked, of ``size`` bytes where ``whole``, else of that at most; not a byte more is unpacked."""
    if size > UNPACKED_BYTES:
        raise _TooLargeError(_sentence("a chunk", size, UNPACKED_BYTES))
    unpacked = decompressor.decompress(data, max_length=size + 1)
    if len(unpacked) > size:
        raise _TooLargeError(_sentence("a chunk" if whole else "a message", len(unpacked), size))
    if not decompressor.eof:
        raise DatasetError("its packed data break off")
    return unpacked


class _Readable(Protocol):
    """An open file, packed or not."""

    def read(self, size: int = -1, /) -> bytes: ...

    def close(self) -> None: ...


class _LimitedFile:
    """A packed file that is read as long as it stays within what such files hold."""

    def __init__(self, file: _Readable, packed_bytes: int) -> None:
        self._file, self._left = file, max(_FILE_BYTES, _FILE_RATIO * packed_bytes)

    def __enter__(self) -> _LimitedFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise _TooLargeError(f"a storage file unpacks to more than {_FILE_RATIO} times its size: unpack it "
                                 "yourself (zstd -d) if you trust it")
        return data
