# SPDX-License-Identifier: Apache-2.0
"""``npz`` files of strangers: every member's size, type and shape is known and allowed before memory is taken for it.

``numpy.load`` believes what a header says and takes memory for it, unpacks whatever is in there, and raises a dozen
unrelated errors. Here a file is refused with one sentence, and nothing but plain arrays of numbers and short texts is
read: no pickles, no structured types, no encryption.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import IO

import numpy as np

from ..errors import DocumentError
from .bounded_file import read_bounded, size_in_words
from .quoting import shown

_MOST_MEMBERS = 64
_LARGEST_DIRECTORY = 64 << 10  # bytes; zipfile reads all of it, however many members it lists
_DIRECTORY_END = b"PK\x05\x06"
_MOST_DIMENSIONS = 8
_LONGEST_ITEM = 4096  # bytes; of a text
_LONGEST_HEADER = 4096
_KINDS = "fiubSU"


def read_arrays(path: str | os.PathLike, names: Sequence[str] | None = None, optional: Sequence[str] = (),
                largest: int = 256 << 20, rows: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
    """The arrays ``names`` of an npz file, and those of ``optional`` that it has; without ``names`` all.

    Args:
        largest: bytes of the file, and of all these arrays together.
        rows: how many rows N an array [N, ...] may have, by its name.

    Raises:
        DocumentError: a name is missing, something is too large, damaged, encrypted or no plain array; without the
            path.
    """
    data = read_bounded(path, largest)
    try:
        _check_directory(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            there = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            names = list(there) if names is None else names
            missing = [name for name in names if name not in there]
            if missing:
                raise DocumentError(f"lacks {', '.join(missing)}")
            arrays, left = {}, largest
            for name in (*names, *(name for name in optional if name in there)):
                arrays[name] = _read(archive, there[name], name, left, (rows or {}).get(name, largest))
                left -= arrays[name].nbytes
            return arrays
    except DocumentError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise a dozen unrelated types for one cause: a damaged file
        reason = shown(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise DocumentError(f"cannot be read as npz ({reason})") from error


def _check_directory(data: bytes) -> None:
    at = data.rfind(_DIRECTORY_END, max(0, len(data) - (64 << 10) - 22))
    if at < 0 or len(data) < at + 22:
        raise DocumentError("cannot be read as npz (File is not a zip file: empty, cut off, or something else)")
    members = int.from_bytes(data[at + 10:at + 12], "little")
    size = int.from_bytes(data[at + 12:at + 16], "little")
    if members > _MOST_MEMBERS or size > _LARGEST_DIRECTORY:
        raise DocumentError(f"has more than {_MOST_MEMBERS} members, which is the most that is read")


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, largest: int, rows: int) -> np.ndarray:
    if info.flag_bits & 1:
        raise DocumentError(f"{name} is encrypted, and is read only as it is")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DocumentError(f"{name} is packed in a way that numpy does not write")
    try:
        with archive.open(info) as stream:
            shape, fortran, dtype = _header(stream, name)
            count = math.prod(shape)
            if shape and shape[0] > rows:
                raise DocumentError(f"{name} has {shape[0]} rows, which is more than the {rows} that are read")
            if count * dtype.itemsize > largest:
                raise DocumentError(f"{name} has the shape {_told(shape)}, which is more than the "
                                    f"{size_in_words(largest)} that are read")
            array = np.empty(count, dtype)
            _fill(stream, array, name)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DocumentError(f"{name} is damaged or cut off ({shown(error) or 'the file ends in it'})") from error
    return array.reshape(shape, order="F" if fortran else "C")


def _header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type; all of them checked, the shape's size is not."""
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):  # later ones are for headers of more than 64 KiB, and take memory for what these say
        raise DocumentError(f"{name} has a header of version {version[0]}.{version[1]}, plain arrays have 1.0")
    length = stream.read(2)
    size = int.from_bytes(length, "little")
    if size > _LONGEST_HEADER:  # numpy's own limit came with 1.24 only
        raise DocumentError(f"{name} has a header of {size} bytes, more than the {_LONGEST_HEADER} that are read")
    try:
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(io.BytesIO(length + stream.read(size)))
    except (RecursionError, MemoryError) as error:
        raise DocumentError(f"{name} has a header that cannot be read") from error
    if dtype.hasobject:
        raise DocumentError(f"{name} holds Python objects (a pickle), which are never read")
    if dtype.kind not in _KINDS or dtype.names or dtype.subdtype or dtype.itemsize > _LONGEST_ITEM:
        raise DocumentError(f"{name} has the type {shown(dtype, 40)}; numbers and short texts are read")
    if len(shape) > _MOST_DIMENSIONS or min(shape, default=0) < 0 or not all(type(n) is int for n in shape):
        raise DocumentError(f"{name} has the impossible shape {_told(shape)}")
    # numpy counts in 64 bits, also along other sides of an empty array.
    if math.prod(max(n, 1) for n in shape) * max(dtype.itemsize, 1) > np.iinfo(np.int64).max:
        raise DocumentError(f"{name} has the impossible shape {_told(shape)}")
    return shape, fortran, dtype


def _fill(stream: IO[bytes], array: np.ndarray, name: str) -> None:
    """All of ``array``, and not a byte more; the end of the stream is where zipfile compares the checksum."""
    into, done = array.view(np.uint8).data if array.size and array.itemsize else memoryview(b""), 0
    while done < len(into):
        count = stream.readinto(into[done:])  # type: ignore[attr-defined]  # zipfile's has it
        if not count:
            raise DocumentError(f"{name} is cut off: {done} of {len(into)} bytes are there")
        done += count
    if stream.read(1):
        raise DocumentError(f"{name} has more bytes than its header says")


def _told(shape: tuple[int, ...]) -> str:
    return shown([n if n < 1 << 63 else float(n) if n < 1 << 1000 else "enormous" for n in shape[:_MOST_DIMENSIONS]])
