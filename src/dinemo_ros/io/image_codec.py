# SPDX-License-Identifier: Apache-2.0
"""From the bytes of a ROS image, or of a picture file, to RGB pixels.

Free of ROS: takes the fields of ``sensor_msgs/Image`` and ``sensor_msgs/CompressedImage``, so that the node, the bag
reader and the folder reader decode alike. Pixels of a message come out as they are stored, for its CameraInfo describes
those; a file's are turned upright by :func:`decode_file`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..errors import ImageError
from .content import HEAD_BYTES, JPEG_START, Content, Kind, content_of
from .image_encodings import LAYOUTS, encoding_of_format, is_depth, standard_name
from .jpeg_end import lacks_end, require_all_rows, with_end
from .jpeg_warnings import is_padding, of_known_version, with_warnings
from .opencv_log import silent
from .orientation import as_stored, is_tiff, orientation_of, upright
from .picture_guard import guarded
from .picture_header import decodable_header, read_header, require_size
from .quoting import quoted
from .sample_range import SampleRange

if TYPE_CHECKING:
    from array import array

    Buffer = bytes | bytearray | memoryview | array | np.ndarray  # of samples, or of a file

# IGNORE_ORIENTATION: the standard says nothing of EXIF data within a message, and versions of OpenCV differ in which
# kinds of file they turn.
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def decode_image(encoding: str, height: int, width: int, step: int, data: Buffer,
                 is_bigendian: bool = False, samples: SampleRange | None = None) -> np.ndarray:
    """RGB uint8 [height, width, 3] of a ``sensor_msgs/Image``.

    Args:
        encoding: one of :data:`dinemo_ros.io.image_encodings.LAYOUTS`, in any case.
        height, width: pixels.
        step: bytes from one row to the next; may exceed the row (padding).
        data: anything with the buffer protocol (``bytes``, ``array.array``, numpy array).
        is_bigendian: byte order of 16-bit samples.
        samples: of the stream that the image is of; None takes the image by itself.

    Returns:
        A new array that shares no memory with ``data``.

    Raises:
        ImageError: a depth image, unknown encoding, size that is not positive, too large (120 megapixels) or not even
            where chroma is subsampled, ``step`` smaller than a row, or fewer bytes than ``step`` x rows.
    """
    name, layout = quoted(encoding), LAYOUTS.get(encoding) or LAYOUTS.get(standard_name(encoding))
    if layout is None:
        _refuse_depth(encoding, f"image encoding {name}")
        raise ImageError(f"image encoding {name} is not supported; supported are {', '.join(LAYOUTS)}: set "
                         "the camera driver to one of them, or convert with image_proc")
    height, width, step = int(height), int(width), int(step)
    require_size(width, height)
    if height % layout.even[0] or width % layout.even[1] or min(height, width) < layout.least:
        raise ImageError(f"encoding {name} needs a width divisible by {layout.even[1]}, a height divisible by "
                         f"{layout.even[0]} and at least {layout.least} pixels of each, the image is {width}x{height}")
    row = width * layout.row_bytes
    if step < row:
        raise ImageError(f"step is {step} bytes, a row of {width} pixels in {name} takes {row}: encoding, width "
                         "and step of the image do not fit together")
    rows = height * layout.rows[0] // layout.rows[1]
    flat = _as_bytes(data)
    if flat.size < rows * step:
        raise ImageError(f"image data has {flat.size} bytes, {width}x{height} in {name} with step {step} takes "
                         f"{rows * step}: the message was cut short")
    stored = flat[: rows * step].reshape(rows, step)
    return layout.rgb(layout.pixels(stored, height, width, is_bigendian), samples or SampleRange())


def decode_compressed(image_format: str, data: Buffer, samples: SampleRange | None = None) -> np.ndarray:
    """RGB uint8 [H, W, 3] of a ``sensor_msgs/CompressedImage``, as stored: EXIF data in it turn nothing.

    Args:
        image_format: the message's ``format``, e.g. ``"jpeg"`` or ``"rgb8; jpeg compressed bgr8"``. Only depth is told
            apart by it, the codec is recognised by the data.
        data: anything with the buffer protocol.
        samples: see :func:`decode_image`.

    Raises:
        ImageError: empty, larger than 120 megapixels, cut short (a JPEG that lacks rows, a PNG without its end),
            damaged (as far as JPEG and PNG show it), a depth image, or no image at all.
    """
    name, encoding = f"format {quoted(image_format)}", encoding_of_format(image_format)
    _refuse_depth(encoding, name)
    flat = _as_bytes(data)
    if flat.size == 0:
        raise ImageError(f"compressed image ({name if image_format else 'no format given'}) is empty")
    picture = flat.tobytes()
    rgb = _decode(picture, samples or SampleRange())
    if is_tiff(picture):
        return as_stored(rgb, orientation_of(picture))
    return _demosaiced(rgb, encoding, picture) if encoding.startswith("bayer_") else rgb


def decode_file(data: bytes, samples: SampleRange | None = None) -> np.ndarray:
    """RGB uint8 [H, W, 3] of the bytes of a picture file, turned upright as the file says; ImageError as above."""
    rgb = _decode(data, samples or SampleRange())
    return rgb if is_tiff(data) else upright(rgb, orientation_of(data))


def file_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels of what :func:`decode_file` makes of ``data``, from the header alone; None if it does
    not tell. ImageError for a picture that is too large to decode."""
    header = decodable_header(data)
    if header is None:
        return None
    turned = orientation_of(data) >= 5
    return (header.height, header.width) if turned else (header.width, header.height)


def peek_size(image_format: str, data: Buffer) -> tuple[int, int] | None:
    """(width, height) in pixels of a ``sensor_msgs/CompressedImage`` from its header alone; None if it does not tell.

    Takes microseconds: whoever knows the camera's size can refuse an image of another before it is decoded.
    """
    del image_format  # the data tell
    flat = _as_bytes(data)
    header = read_header(flat[:1 << 20].tobytes())
    if header is None and flat.size > 1 << 20:  # a large colour profile or preview before it
        header = read_header(flat.tobytes())
    return None if header is None else (header.width, header.height)


def _demosaiced(grey: np.ndarray, encoding: str, picture: bytes) -> np.ndarray:
    """RGB of a colour filter's pattern that was compressed as a grey picture, as compressed_image_transport does; a
    picture that is in colour already comes back as it is."""
    header, layout = read_header(picture), LAYOUTS[f"{encoding.rstrip('0123456789')}8"]
    height, width = grey.shape[:2]
    if header is None or header.channels != 1 or height % 2 or width % 2 or min(height, width) < layout.least:
        return grey
    return layout.to_rgb(np.ascontiguousarray(grey[..., 0]))


def _refuse_depth(encoding: str, what: str) -> None:
    if is_depth(encoding):
        raise ImageError(f"{what} is not supported: it is a depth image (or labels), not a picture; choose the colour "
                         "topic, or publish a grey picture as mono16")


def _decode(data: bytes, samples: SampleRange) -> np.ndarray:
    """RGB uint8 [H, W, 3] of a compressed picture as stored (a TIFF: upright)."""
    whole, header = guarded(data)
    if header is None:  # a decoder that finds one all the same may find any size
        raise _undecodable(data)
    if data[:2] == JPEG_START:
        return cv2.cvtColor(_decode_jpeg(data), cv2.COLOR_BGR2RGB)
    deep = 8 < header.bits <= 16
    bgr = _imdecode(whole, _FLAGS | (cv2.IMREAD_ANYDEPTH if deep else 0))
    if bgr is None or bgr.dtype not in (np.uint8, np.uint16):
        raise _undecodable(data)
    if bgr.dtype == np.uint16:
        samples.grey |= header.channels == 1
        bgr = samples.to_8_bits(bgr)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _decode_jpeg(data: bytes) -> np.ndarray:
    """BGR uint8 [H, W, 3] of a JPEG; :class:`ImageError` where libjpeg found it damaged."""
    cut = lacks_end(data)
    whole = of_known_version(with_end(data) if cut else data)
    bgr, warning = with_warnings(lambda: _imdecode(whole, _FLAGS))
    if bgr is None:
        raise _undecodable(data)
    if cut:
        require_all_rows(bgr, len(data))
    if warning and not is_padding(warning, data):
        said = warning.decode("ascii", "replace").removeprefix("Corrupt JPEG data: ")
        raise ImageError(f"JPEG of {len(data)} bytes is damaged, the decoder says {quoted(said)}: a part of the "
                         "picture is not what it was; look at the camera's cable and the network, or copy the file "
                         "again")
    return bgr


def _imdecode(data: bytes, flags: int) -> np.ndarray | None:
    try:
        with silent():
            return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # a header that leads it astray
        return None


def _undecodable(data: bytes) -> ImageError:
    found = content_of(data[:HEAD_BYTES])
    return ImageError(f"{len(data)} bytes are {undecodable(found)}")


def undecodable(found: Content | None) -> str:
    """The end of a sentence about a picture that does not come out: what it is, and what to do."""
    if found is None:
        return "not an image that can be decoded; jpeg and png can"
    if found.kind is Kind.PICTURE:
        return f"{found.name} that is damaged, or of a kind that this OpenCV does not read; jpeg and png can be decoded"
    return f"not an image that can be decoded but {found}"


def _as_bytes(data: Buffer) -> np.ndarray:
    """The bytes of ``data`` as uint8 [N], without a copy."""
    if isinstance(data, np.ndarray):
        return np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    try:
        return np.frombuffer(data, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        if hasattr(data, "__len__") and len(data) == 0:
            return np.empty(0, np.uint8)
        raise ImageError(f"image data of type {type(data).__name__} has no buffer of bytes") from error
