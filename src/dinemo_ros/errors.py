# SPDX-License-Identifier: Apache-2.0
"""Errors a user can act on: each message says what, where, what is allowed and what to do."""

from .io.quoting import one_line, shown

_HEAD, _TAIL = 6000, 1000  # of a sentence there is room for a path as long as a system takes it


class DinemoError(Exception):
    """Base of every error that this package raises on purpose: one line that any terminal or log can show.

    Whatever text of strangers a sentence holds, and whichever library put it there, is cut and escaped here.
    """

    def __init__(self, *words: object) -> None:
        super().__init__(*(one_line(str(word), _HEAD, _TAIL) for word in words))


class CameraError(DinemoError):
    """Intrinsics that cannot be a camera: missing, not finite, not positive, or of another image size."""


class BundleError(DinemoError):
    """A model bundle that is missing, truncated, changed or not ours."""


class ImageError(DinemoError):
    """Pixels that cannot be used: unreadable file, unknown encoding, wrong size, short data."""


class RoiError(DinemoError):
    """A region of interest that is not finite, empty, or entirely outside the image."""


class SceneError(DinemoError):
    """A support plane or a depth image that cannot be used: no unit normal, another size, another unit."""


class DatasetError(DinemoError):
    """A folder, video, bag or annotation file that does not have the layout it should have."""


class DocumentError(DinemoError):
    """A file of names and values, or of arrays, that is not read; the caller puts its path in front."""


class OutputError(DinemoError):
    """A file, or standard output, that cannot be written, or that must not be: it is read as well."""


# What one picture's pixels, calibration or region can be guilty of: the pictures after it may be fine.
FRAME_ERRORS = (CameraError, ImageError, RoiError, SceneError)


class BackendError(DinemoError):
    """A network that this machine cannot run as asked: something is not installed, too old, too small or broken."""


class NotInstalledError(BackendError):
    """A package that a backend needs is not there; the message names it."""


class RefusedEngineError(BackendError):
    """An engine that TensorRT does not load: of another machine, another driver, or damaged before it was hashed."""


class WrongFeaturesError(BackendError):
    """A network that runs and computes something else than ONNX Runtime in fp32."""


class PictureSizeError(BackendError):
    """Pictures larger than a network was built for; it takes others as before."""


def told(error: BaseException) -> str:
    """Kind and first line of an error of somebody else's library."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {shown(lines[0], 300) if lines else 'no text'}"
