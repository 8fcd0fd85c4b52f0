# SPDX-License-Identifier: Apache-2.0
"""What a file or a message holds, by its first bytes: names and suffixes are often wrong, and what cannot be read is to
be called what it is, with the way out."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from .tiff import raw_camera_file

#: Bytes from the start of a file that :func:`content_of` wants to see.
HEAD_BYTES = 4096

#: The first bytes of a JPEG and of a PNG picture.
JPEG_START, PNG_START = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"

_TO_JPEG = "convert it to JPEG or PNG first"
_MAGICK = "convert it: magick FILE picture.jpg"


class Kind(enum.Enum):
    """Which reader takes it; NONE takes a thing we know and do not read."""

    PICTURE = "picture"
    VIDEO = "video"
    BAG = "bag"
    NONE = "none"


@dataclass(frozen=True)
class Content:
    """What something is.

    Attributes:
        kind: see :class:`Kind`.
        name: with its article, as it stands in a sentence.
        way_out: what to do with it where it is not read; "" where there is nothing to say.
    """

    kind: Kind
    name: str
    way_out: str = ""

    def __str__(self) -> str:
        return f"{self.name}{': ' if self.way_out else ''}{self.way_out}"


def _picture(name: str) -> Content:
    return Content(Kind.PICTURE, name, _TO_JPEG)


def _video(name: str) -> Content:
    return Content(Kind.VIDEO, name, "give it as a video, by itself")


def _none(name: str, way_out: str = "") -> Content:
    return Content(Kind.NONE, name, way_out)


JPEG, PNG, TIFF = _picture("a JPEG picture"), _picture("a PNG picture"), _picture("a TIFF picture")
GIF = Content(Kind.VIDEO, "a GIF animation", "give it by itself, it is read as a video, or take its pictures out: "
              "ffmpeg -i FILE frame_%03d.png")
EMPTY = _none("an empty file", "it holds nothing; copy or download it again")
_HEIC = _none("a HEIC/HEIF picture", "OpenCV does not read it; convert it: heif-convert FILE picture.jpg")
_RAW = _none("a camera's raw picture", "develop it to JPEG or PNG first, for instance with dcraw -w or darktable-cli")
_JXL = _none("a JPEG XL picture", "OpenCV does not read it; convert it: djxl FILE picture.png")
_ARCHIVE = "unpack it first"
_AUDIO = _none("sound without a picture")

_MAGIC: tuple[tuple[int, bytes, Content], ...] = (
    (0, JPEG_START + b"\xff", JPEG),
    (0, PNG_START, PNG),
    (0, b"GIF87a", GIF),
    (0, b"GIF89a", GIF),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", _picture("a JPEG 2000 picture")),
    (0, b"\xff\x4f\xff\x51", _picture("a JPEG 2000 codestream")),
    (0, b"#?RADIANCE", _picture("a Radiance HDR picture")),
    (0, b"#?RGBE", _picture("a Radiance HDR picture")),
    (0, b"\x59\xa6\x6a\x95", _picture("a Sun raster picture")),
    (0, b"\xff\x0a", _JXL),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", _JXL),
    (0, b"8BPS", _none("a Photoshop document", "save it as PNG")),
    (0, b"%PDF", _none("a PDF document", "convert its pages: pdftoppm -png FILE page")),
    (0, b"\x76\x2f\x31\x01", _none("an OpenEXR picture", _MAGICK)),
    (0, b"\0\0\1\0", _none("a Windows icon", _MAGICK)),
    (0, b"DDS ", _none("a DirectDraw surface", _MAGICK)),
    (0, b"FUJIFILMCCD-RAW", _RAW),
    (0, b"IIU\0", _RAW),
    (0, b"IIRO", _RAW),
    (0, b"FOVb", _RAW),
    (128, b"DICM", _none("a DICOM file", _TO_JPEG)),
    (0, b"\x93NUMPY", _none("a NumPy array", "save it as a picture: cv2.imwrite")),
    (0, b"\x89HDF\r\n", _none("an HDF5 file", "save its pictures as PNG")),
    (0, b"ply\n", _none("a point cloud or mesh (PLY)")),
    (0, b"# .PCD", _none("a point cloud (PCD)")),
    (0, b"\x1a\x45\xdf\xa3", _video("a Matroska or WebM video")),
    (0, b"FLV\x01", _video("a Flash video")),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _video("a Windows Media video (ASF)")),
    (0, b"OggS", _video("an Ogg video")),
    (0, b".RMF", _video("a RealMedia video")),
    (0, b"DKIF", _video("an IVF video")),
    (0, b"\0\0\1\xba", _video("an MPEG program stream")),
    (0, b"\0\0\1\xb3", _video("an MPEG video stream")),
    (0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01", _video("an MXF video")),
    (0, b"nut/multimedia container\0", _video("a NUT video")),
    (0, b"YUV4MPEG2 ", _video("a YUV4MPEG2 video")),
    (0, b"ID3", _AUDIO),
    (0, b"fLaC", _AUDIO),
    (0, b"\x89MCAP0\r\n", Content(Kind.BAG, "an mcap bag")),
    (0, b"SQLite format 3\0", Content(Kind.BAG, "an SQLite database", "a bag of ROS 2 is one with the suffix .db3")),
    (0, b"#ROSBAG V", _none("a bag of ROS 1", "convert it with rosbags-convert --src FILE --dst FOLDER (pip install "
                            "rosbags) and give the folder")),
    (0, b"\x28\xb5\x2f\xfd", _none("a file compressed with Zstandard", "give the bag's folder with its metadata.yaml, "
                                   "or unpack it first: zstd -d FILE")),
    (0, b"PK\x03\x04", _none("a ZIP archive", "unpack it first: unzip FILE")),
    (0, b"\x1f\x8b", _none("a file compressed with gzip", _ARCHIVE)),
    (0, b"BZh", _none("a file compressed with bzip2", _ARCHIVE)),
    (0, b"\xfd7zXZ\0", _none("a file compressed with xz", _ARCHIVE)),
    (0, b"\x04\x22\x4d\x18", _none("a file compressed with LZ4", _ARCHIVE)),
    (0, b"7z\xbc\xaf\x27\x1c", _none("a 7z archive", _ARCHIVE)),
    (0, b"Rar!\x1a\x07", _none("a RAR archive", _ARCHIVE)),
    (257, b"ustar", _none("a tar archive", _ARCHIVE)),
    (0, b"\x7fELF", _none("a program")),
)

_RIFF = {b"WEBP": _picture("a WebP picture"), b"AVI ": _video("an AVI video"), b"WAVE": _AUDIO}
_BRANDS = {b"avif": _picture("an AVIF picture"), b"avis": _picture("an AVIF sequence"), b"crx ": _RAW,
           b"M4A ": _AUDIO, b"jxl ": _JXL} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2"), _HEIC)
_MP4, _QUICKTIME = _video("an MP4 video"), _video("a QuickTime video")
_H26X = re.compile(rb"\x00\x00\x00?\x01(?:[\x67\x27\x47\x09\x06\x68]|[\x40\x42\x44\x46]\x01)")
_TEXTS: tuple[tuple[re.Pattern, Content], ...] = (
    (re.compile(rb"version https://git-lfs"),
     _none("a Git LFS pointer", "the file itself was not fetched: git lfs pull")),
    (re.compile(rb"(?s)(<\?xml.{0,1000})?(<!--.{0,1000}-->\s*)?(<!DOCTYPE svg.{0,500}>\s*)?<svg[\s>]", re.I),
     _none("an SVG drawing", "draw it as PNG: rsvg-convert FILE -o picture.png")),
    (re.compile(rb"(?s)(<\?xml.{0,300})?(<!--.{0,1000}-->\s*)?<(!doctype html|html|head|body)\b", re.I),
     _none("a web page (HTML)", "the download brought an error page instead of the file; download it again")),
    (re.compile(rb"#EXTM3U|ffconcat version"), _none("a playlist, not a video", "give the video that it names")),
)


def content_of(head: bytes) -> Content | None:
    """What begins with ``head`` (the first :data:`HEAD_BYTES` bytes, or all there are); None: unknown."""
    if not head:
        return EMPTY
    found = next((c for at, magic, c in _MAGIC if head.startswith(magic, at)), None)
    if found is not None:
        return found
    if head[:4] in (b"RIFF", b"RIFX"):
        return _RIFF.get(head[8:12])
    return (_tiff(head) or _iso_media(head) or _netpbm(head) or _stream(head) or _text(head)
            or (_none("a file of zeros", "it was never written whole; copy or download it again")
                if not head.strip(b"\0") else None))


def _tiff(head: bytes) -> Content | None:
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    return _RAW if raw_camera_file(head) else TIFF


def _iso_media(head: bytes) -> Content | None:
    """MP4, QuickTime and their pictures: boxes of a length and a name of four letters."""
    name, length = head[4:8], int.from_bytes(head[:4], "big")
    if name == b"ftyp":
        brands = [head[8:12], *(head[at:at + 4] for at in range(16, min(length, len(head)) - 3, 4))]
        if brands[0] == b"qt  ":
            return _QUICKTIME
        if brands[0] in (b"mif1", b"msf1") and b"avif" in brands:  # the general brand before the special one
            return _BRANDS[b"avif"]
        return _BRANDS.get(brands[0], _MP4)
    first = (b"moov", b"mdat", b"wide", b"pnot", b"skip", b"free", b"styp", b"moof")
    return _QUICKTIME if name in first and (length >= 8 or length < 2) else None


def _netpbm(head: bytes) -> Content | None:
    if re.match(rb"P[1-7][\s#]", head):
        return _picture("a portable bitmap (PBM, PGM, PPM, PAM)")
    if re.match(rb"P[Ff]\s", head):
        return _none("a PFM file of floating-point values", "depth or disparity is no picture; save a picture as PNG")
    # "BM" alone begins many a text: the size of the second header tells.
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124):
        return _picture("a BMP picture")
    return None


def _stream(head: bytes) -> Content | None:
    """Streams without a header of their own."""
    for packet, offset in ((188, 0), (192, 4), (204, 0)):
        places = range(offset, min(len(head), offset + 5 * packet), packet)
        if len(places) >= 3 and all(head[at] == 0x47 for at in places):
            return _video("an MPEG transport stream")
    if _H26X.match(head):
        return _video("an H.264 or H.265 stream")
    return None


def _text(head: bytes) -> Content | None:
    bare = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    found = next((c for pattern, c in _TEXTS if pattern.match(bare)), None)
    if found is not None:
        return found
    if b"\0" in head:
        return None
    try:
        head[: -4 if len(head) == HEAD_BYTES else None].decode("utf-8")
    except UnicodeDecodeError:
        return None
    return _none("a text file") if not re.search(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]", head) else None
