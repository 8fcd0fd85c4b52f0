# SPDX-License-Identifier: Apache-2.0
"""``dinemo estimate BAG --out-bag OUT.mcap``: what the pose node would have said, beside the images it is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from ..camera.pinhole import Camera
from ..detection.labelled_box import LabelledBox
from ..errors import DatasetError
from ..io.bag_types import typestore
from ..io.bag_writer import bag_file, require_bag_name
from ..io.quoting import shown
from ..io.sources import Frame, Source
from ..io.sources.bag import BagSource
from ..io.sources.bag_reader import messages, opened
from ..model.bundle import Bundle
from ..node.for_bag import TOPICS, ImageMessages
from ..pose import ObjectPose

_TRANSFORMS = ("/tf", "/tf_static")


def require_bag(path: str | None, source: Source) -> None:
    """Before the work: a bag in, a bag out.

    Raises:
        DatasetError: the images are of no bag. OutputError: the name is none of a bag.
    """
    if path is None:
        return
    if not isinstance(source, BagSource):
        raise DatasetError(f"--out-bag writes the poses beside the messages of a bag, and {source.description} is "
                           "none; --json, --out and --rerun take every source")
    require_bag_name("--out-bag", path)


class BagOutput:
    """The bag that is written, image by image: first what the input has up to that image, then its answer."""

    def __init__(self, path: str, source: BagSource, bundle: Bundle, stack: ExitStack) -> None:
        """Both bags are open until ``stack`` ends."""
        self._messages = ImageMessages(bundle)
        self._file = stack.enter_context(bag_file(path))
        self._input = _input_messages(source, stack)
        self._next = next(self._input, None)
        for topic, msgtype in TOPICS.items():  # in the file also where nothing is found
            self._file.announce(topic, msgtype)

    def write(self, frame: Frame, camera: Camera, poses: list[ObjectPose] | None,
              looked: Sequence[LabelledBox]) -> None:
        """The answer to an image, best first, and the boxes that were looked at.

        None of an image that was not answered: as online, nothing is said of it.
        """
        self._copy(frame.received_ns)
        if poses is not None:
            for topic, message in self._messages.of(frame.stamp, frame.frame_id, poses, looked):
                self._file.write(topic, TOPICS[topic], frame.received_ns, message)

    def finish(self) -> None:
        """After the last image: what the input has after it."""
        self._copy(None)

    def _copy(self, until_ns: int | None) -> None:
        while self._next is not None and (until_ns is None or self._next[2] <= until_ns):
            self._file.copy(*self._next)
            self._next = next(self._input, None)


def _input_messages(source: BagSource, stack: ExitStack) -> Iterator[tuple[str, str, int, bytes]]:
    """(topic, type, time of receipt, CDR) of the images, their CameraInfo and TF."""
    path = Path(source.path)
    reader = stack.enter_context(opened(path))
    wanted = {*source.topics, *_TRANSFORMS}
    chosen = [c for c in reader.connections if c.topic in wanted and c.msgtype in typestore().types]
    taken = next((c.topic for c in chosen if TOPICS.get(c.topic, c.msgtype) != c.msgtype), None)
    if taken is not None:
        raise DatasetError(f"{source.description}: {shown(taken)} is a topic that --out-bag writes poses to; have the "
                           "images recorded under another name")
    return ((c.topic, c.msgtype, received_ns, raw) for c, received_ns, raw in messages(path, reader, chosen))
