# SPDX-License-Identifier: Apache-2.0
"""Archives of strangers (.tar.gz, .zip): the files that are wanted, by their names, into a new folder of ours.

Nothing is unpacked to where the archive says: what is wanted is written under its bare name. Links, devices, ways up,
names that come twice and members without end are refused.
"""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from ..errors import DocumentError
from .bounded_file import size_in_words
from .quoting import quoted, shown

_CHUNK = 1 << 16  # bytes
_MOST_MEMBERS = 200
_LARGEST_DIRECTORY = 64 << 10  # bytes of a zip's list of members, which zipfile reads as a whole
_LARGEST_HEADER = 1 << 20  # bytes that tarfile may want at once: of one member's further headers
_GZIP, _ZIP, _ZIP_END = b"\x1f\x8b", b"PK\x03\x04", b"PK\x05\x06"


@dataclass(frozen=True)
class _Member:
    """A member of an archive: its whole name, whether it is a folder, its bytes, and how it is opened."""

    name: str
    is_folder: bool
    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]]


def unpack(archive: Path, wanted: Sequence[str], folder: Path, largest: int) -> list[str]:
    """Write the ``wanted`` files of ``archive`` into ``folder``, which is empty; returns the names of the others.

    Args:
        wanted: names of files; those that lie beside the first of them are meant, in whichever folder that is.
        largest: bytes of all that the archive holds, unpacked.

    Raises:
        DocumentError: it is no such archive, is damaged, or has something in it that is refused; without the path.
        OSError: the disk will not have it.
    """
    with archive.open("rb") as file, _members(file, largest) as members:
        files = _files(members, largest)
        first = [place for place in files if place.name == wanted[0]]
        if len(first) != 1:
            raise DocumentError(f"has {len(first) or 'no'} files {wanted[0]}; one is needed, beside the others")
        taken = {place for place in files if place.parent == first[0].parent and place.name in wanted}
        for place in files:  # in their order: of a packed file the way back is a long one
            if place in taken:
                with files[place].open() as source:
                    _write(source, folder / place.name, files[place])
        return sorted(str(place) for place in files if place not in taken)


def _files(members: Iterator[_Member], largest: int) -> dict[PurePosixPath, _Member]:
    """The members that are files, by their places; DocumentError unless all are allowed and not too large together."""
    files: dict[PurePosixPath, _Member] = {}
    room = largest
    for count, member in enumerate(members, 1):
        if count > _MOST_MEMBERS:
            raise DocumentError(f"has more than {_MOST_MEMBERS} members, which is the most that is read")
        place = _checked(member.name)
        room -= member.size
        if room < 0:
            raise _too_large(largest)
        if place in files:
            raise DocumentError(f"has {quoted(member.name)} twice")
        if not member.is_folder:
            files[place] = member
    return files


def _checked(name: str) -> PurePosixPath:
    parts = name.rstrip("/").split("/")
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in parts or ":" in parts[0] or len(name) > 1000:
        raise DocumentError(f"has a member {quoted(name)}, which leads out of the archive's own folder; it is refused")
    return PurePosixPath(name)


def _write(source: IO[bytes], path: Path, member: _Member) -> None:
    left = member.size
    with path.open("xb") as file:
        while chunk := source.read(min(_CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise DocumentError(f"has a member {quoted(member.name)} that is larger than it says")
            file.write(chunk)
    if left:
        raise DocumentError(f"is cut off in {quoted(member.name)}")


@contextmanager
def _members(file: BinaryIO, largest: int) -> Iterator[Iterator[_Member]]:
    """Of an archive of either kind; whatever the libraries say of a damaged one is one sentence."""
    start = file.read(4)
    file.seek(0)
    try:
        if start.startswith(_GZIP):
            with gzip.GzipFile(fileobj=file) as unpacked, tarfile.open(  # type: ignore[call-overload]
                    fileobj=_Bounded(unpacked, largest), mode="r:") as tar:
                yield _of_tar(tar)
        elif start == _ZIP:
            _check_directory(file)
            with zipfile.ZipFile(file) as archive:
                yield _of_zip(archive)
        else:
            raise DocumentError("is no archive that is read; give a .tar.gz or a .zip")
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, ValueError, RecursionError,
            OverflowError, NotImplementedError, RuntimeError) as error:
        reason = shown(error) or type(error).__name__
        raise DocumentError(f"is damaged, cut off, or no such archive ({reason})") from None


def _of_tar(tar: tarfile.TarFile) -> Iterator[_Member]:
    for info in tar:
        if not (info.isdir() or info.type in (tarfile.REGTYPE, tarfile.AREGTYPE)) or info.issparse():
            kind = "a link" if info.issym() or info.islnk() else "no plain file"
            raise DocumentError(f"has a member {quoted(info.name)} that is {kind}; it is refused")
        yield _Member(info.name, info.isdir(), info.size, partial(_opened, tar, info))


def _opened(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(info)
    assert file is not None  # of a plain file
    return file


def _of_zip(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DocumentError(f"has a member {quoted(info.filename)} that is "
                                f"{'a link' if kind == stat.S_IFLNK else 'no plain file'}; it is refused")
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DocumentError(f"has a member {quoted(info.filename)} that is encrypted, or packed in a way that is "
                                "not read; pack it with deflate")
        yield _Member(info.filename, info.is_dir(), info.file_size, partial(archive.open, info))


def _check_directory(file: BinaryIO) -> None:
    """Before zipfile takes memory for it."""
    end = file.seek(0, 2)
    file.seek(max(0, end - (64 << 10) - 22))
    data = file.read()
    file.seek(0)
    at = data.rfind(_ZIP_END)
    if at < 0 or len(data) < at + 22:
        raise DocumentError("is cut off, its list of members is missing")
    if (int.from_bytes(data[at + 10:at + 12], "little") > _MOST_MEMBERS
            or int.from_bytes(data[at + 12:at + 16], "little") > _LARGEST_DIRECTORY):
        raise DocumentError(f"has more than {_MOST_MEMBERS} members, which is the most that is read")


class _Bounded:
    """What a tar file is read through: neither further than ``largest`` bytes nor much of it at once."""

    def __init__(self, file: gzip.GzipFile, largest: int) -> None:
        self._file, self._largest = file, largest + _MOST_MEMBERS * (_LARGEST_HEADER >> 4)  # headers and padding

    def read(self, count: int = -1) -> bytes:
        """At most ``count`` bytes, never more than a header may have."""
        if not 0 <= count <= _LARGEST_HEADER:
            raise DocumentError(f"has a header of more than {size_in_words(_LARGEST_HEADER)}, which is refused")
        return self._file.read(count)

    def seek(self, place: int, whence: int = 0) -> int:
        """To a ``place`` counted from the beginning, which is all that tarfile asks for."""
        if whence or place > self._largest:
            raise _too_large(self._largest)
        return self._file.seek(place)

    def tell(self) -> int:
        """Bytes from the beginning, unpacked."""
        return self._file.tell()


def _too_large(largest: int) -> DocumentError:
    return DocumentError(f"holds more than {size_in_words(largest)} unpacked, which is the most that is read")
