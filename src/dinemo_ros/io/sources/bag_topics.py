# SPDX-License-Identifier: Apache-2.0
"""Which image topic of a bag is taken, and which CameraInfo belongs to it: by what their messages hold, not by names.

An image topic that holds depth or labels is never taken, whatever it is called. Of the others those go first that can
be decoded, then those with a CameraInfo, then those in colour, then by name. A CameraInfo belongs to the images beside
it (same namespace) if it is of their size, or else to those of its frame and size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import DatasetError
from ..content import HEAD_BYTES, Kind, content_of
from ..image_codec import peek_size
from ..image_encodings import LAYOUTS, encoding_of_format, is_depth, is_grey, standard_name
from ..quoting import quoted, shown

#: Of a class that rosbags makes at run time, from the definition that the type store has.
Message = Any

_LISTED = 10  # topics that a sentence names
#: Types that hold pictures and are not read, and what they are.
OTHER_PICTURES = {
    "foxglove_msgs/msg/CompressedVideo": "a video stream", "foxglove_msgs/msg/CompressedImage": "pictures of Foxglove",
    "foxglove_msgs/msg/RawImage": "pictures of Foxglove", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket":
    "a video stream", "theora_image_transport/msg/Packet": "a video stream",
    "stereo_msgs/msg/DisparityImage": "disparity", "sensor_msgs/msg/PointCloud2": "points"}


@dataclass(frozen=True)
class ImageTopic:
    """What the first message of an image topic says.

    Attributes:
        topic: its name.
        encoding: of ``sensor_msgs/image_encodings.hpp`` in the standard's spelling; "" where only a codec is named.
        size: (width, height) in pixels, None where unknown.
        frame_id: TF frame.
        readable: False if such messages are not decoded.
    """

    topic: str
    encoding: str = ""
    size: tuple[int, int] | None = None
    frame_id: str = ""
    readable: bool = False

    @property
    def is_depth(self) -> bool:
        return is_depth(self.encoding)


@dataclass(frozen=True)
class InfoTopic:
    """The first message of a CameraInfo topic; ``size`` (width, height) of the images that it describes."""

    topic: str
    size: tuple[int, int] | None = None
    frame_id: str = ""


def image_topic(topic: str, message: Message) -> ImageTopic:
    """Of a ``sensor_msgs/Image`` or ``CompressedImage``."""
    frame = message.header.frame_id
    if hasattr(message, "encoding"):
        encoding = standard_name(message.encoding)
        return ImageTopic(topic, encoding, (message.width, message.height), frame, encoding in LAYOUTS)
    found = content_of(bytes(message.data[:HEAD_BYTES]))
    return ImageTopic(topic, encoding_of_format(message.format), peek_size(message.format, message.data), frame,
                      readable=found is None or found.kind is Kind.PICTURE)


def info_topic(topic: str, message: Message) -> InfoTopic:
    """Of a ``sensor_msgs/CameraInfo``, with binning and region of interest as in
    :mod:`dinemo_ros.camera.camera_info`."""
    width, height = message.roi.width or message.width, message.roi.height or message.height
    size = (width // max(message.binning_x, 1), height // max(message.binning_y, 1))
    return InfoTopic(topic, size if min(size) > 0 else None, message.header.frame_id)


def matching_info(image: ImageTopic, infos: Sequence[InfoTopic]) -> str | None:
    """Topic of the CameraInfo that belongs to ``image``; one beside it of another size if there is no better one."""
    beside = [info for name in _beside(image.topic) for info in infos if info.topic == name]
    others = [info for info in infos if info.frame_id and info.frame_id == image.frame_id and info not in beside
              and info.size is not None and info.size == image.size]
    others.sort(key=lambda info: (-_common_parts(info.topic, image.topic), info.topic))
    fitting = [info for info in beside if _fits(info, image)]
    return next((info.topic for info in (*fitting, *others, *beside)), None)


def is_rectified(topic: str) -> bool:
    """By its name, as image_proc gives it: ``image_rect``, ``image_rect_color``, perhaps with a transport behind."""
    return any(part.startswith("image_rect") for part in topic.split("/")[-2:])


def choose(where: str, images: Sequence[ImageTopic], infos: Sequence[InfoTopic], others: dict[str, str],
           wanted: str | None) -> ImageTopic:
    """The topic to read.

    Args:
        where: the bag's name, for sentences.
        images, infos: all that it has.
        others: topic and type of what might be taken for pictures.
        wanted: the name that the user gave.

    Raises:
        DatasetError: there is none, or the wanted one is none or holds depth.
    """
    usable = sorted((image for image in images if not image.is_depth), key=lambda image: _rank(image, infos))
    if wanted is not None:
        return _wanted(where, images, usable, others, wanted)
    if usable:
        return usable[0]
    what = [f"{shown(t)} is {kind} ({OTHER_PICTURES[kind]}), which is not read: republish it as sensor_msgs/Image"
            for t, kind in sorted(others.items())]
    if images:
        what.insert(0, f"of depth it has {_listed(images)}")
    raise DatasetError(f"{where}: no topic of colour images (sensor_msgs/Image or CompressedImage)"
                       + "".join(f"; {sentence}" for sentence in what[:_LISTED]))


def _wanted(where: str, images: Sequence[ImageTopic], usable: Sequence[ImageTopic], others: dict[str, str],
            wanted: str) -> ImageTopic:
    names = (wanted, f"/{wanted}")
    found = next((image for image in images if image.topic in names), None)
    offer = f"; it has {_listed(usable) or 'none'}"
    if found is None:
        kind = next((others[name] for name in names if name in others), None)
        why = f", it is {kind} ({OTHER_PICTURES[kind]})" if kind else ""
        raise DatasetError(f"{where}: no image topic {quoted(wanted)}{why}{offer}")
    if found.is_depth:
        raise DatasetError(f"{where}: topic {shown(found.topic)} holds depth images ({shown(found.encoding)}), not "
                           f"pictures; choose a topic of colour images{offer}")
    return found


def _rank(image: ImageTopic, infos: Sequence[InfoTopic]) -> tuple:
    return not image.readable, matching_info(image, infos) is None, is_grey(image.encoding), image.topic


def _fits(info: InfoTopic, image: ImageTopic) -> bool:
    return info.size is None or image.size is None or info.size == image.size


def _beside(topic: str) -> tuple[str, ...]:
    """Where the CameraInfo of an image topic may be: beside it, one level up (``NS/image_raw/compressed``), below."""
    parts = topic.split("/")
    return (*("/".join([*parts[:-up], "camera_info"]) for up in (1, 2) if len(parts) > up), f"{topic}/camera_info")


def _common_parts(one: str, other: str) -> int:
    pairs = zip(one.split("/"), other.split("/"), strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), 0)


def listed(names: Sequence[str]) -> str:
    """The first few of many names, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _listed(images: Sequence[ImageTopic]) -> str:
    return listed([shown(image.topic) for image in images])
