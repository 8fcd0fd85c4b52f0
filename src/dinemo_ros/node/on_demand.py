# SPDX-License-Identifier: Apache-2.0
"""``~/estimate``: the poses of now, from the next few images, when somebody asks.

The images are worked on as those of the stream are, also while the stream is switched off: the node wakes for the
request. What they show is fused (:mod:`dinemo_ros.fusion`), published once and latched, and answered. The request waits
in a thread of its own and holds no lock while it does; a second one is refused meanwhile.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from ..fusion import Fused, Fusion, fuse_categories
from ..io.quoting import quoted
from ..model.symmetry import Symmetry
from ..pose import ObjectPose
from .answer import FoundObject, PoseAnswer
from .collection import Collection
from .conversions import nanoseconds
from .diagnostics import Monitor
from .hooks import Hooks

_BUSY = ("another request is being answered: wait for its answer, which comes on estimate/detections as well, and ask "
         "again")


class OnDemand:
    """The service of a pose ``node``; ``monitor`` is its."""

    def __init__(self, node: Node, hooks: Hooks, monitor: Monitor) -> None:
        self._node, self._hooks, self._monitor, self._asking = node, hooks, monitor, threading.Lock()
        self._collection: Collection | None = None  # changed while hooks.work is held
        # Of a group of its own: an answer takes seconds, and whoever asks meanwhile is told so at once.
        node.create_service(Trigger, "~/estimate", self._on_request, callback_group=ReentrantCallbackGroup())

    @property
    def asked(self) -> bool:
        """Whether a request waits for images."""
        return self._collection is not None

    def take(self, header: Header, poses: list[ObjectPose]) -> None:
        """What was found in an image."""
        if self._collection is not None:
            self._collection.add(header, poses)

    def end(self, reason: str) -> None:
        """A request that waits is answered with ``reason``."""
        if self._collection is not None:
            self._collection.end(reason)

    def _on_request(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._asking.acquire(blocking=False):
            try:
                answer = self._answer()
            except Exception as error:  # a robot's node must outlive a bug
                answer = PoseAnswer(False, f"cannot estimate: {self._hooks.sentence(error)}")
            finally:
                self._asking.release()
        else:
            answer = PoseAnswer(False, _BUSY)
        response.success, response.message = answer.success, answer.text()
        return response

    def _answer(self) -> PoseAnswer:
        hooks, settings = self._hooks, self._hooks.settings()
        collection = Collection(settings.estimate_frames)
        try:
            with hooks.work:
                if hooks.state() != "active":
                    return PoseAnswer(False, f"the node is {hooks.state()}, not active, so it takes no images: "
                                      "configure and activate it, then ask again")
                symmetries, self._collection = hooks.symmetries(), collection
                hooks.adapt()
                before, since_s = self._monitor.received, time.monotonic()
            frames, ended = collection.wait(settings.estimate_timeout_s)
            topic, received = hooks.image_topic(), self._monitor.received - before
        finally:
            with hooks.work:
                self._collection = None
                hooks.adapt()
        if ended:
            return PoseAnswer(False, ended)
        least = min(settings.estimate_min_frames, settings.estimate_frames)
        if len(frames) >= least:
            return self._conclude(frames, symmetries, least, settings)
        came = (f"{len(frames)} of {settings.estimate_frames} images were answered, {least} are needed (parameters "
                "estimate_min_frames, estimate_timeout_s); ") if frames else ""
        return PoseAnswer(False, came + why_no_images(topic, self._node.count_publishers(topic), received,
                                                      time.monotonic() - since_s, self._monitor.error_since(since_s)))

    def _conclude(self, frames: Sequence[tuple[Header, list[ObjectPose]]], symmetries: Mapping[str, Symmetry],
                  least: int, settings: SimpleNamespace) -> PoseAnswer:
        header = frames[-1][0]
        others = sorted({other.frame_id for other, _ in frames} - {header.frame_id})
        if others:
            return PoseAnswer(False, f"the images are of two frames, {quoted(header.frame_id)} and {quoted(others[0])}"
                              ": their poses cannot be one; have one camera publish on the topic")
        fusion = fuse_categories([poses for _, poses in frames], symmetries, least)
        ids = self._hooks.publish(header, [one.pose for one in fusion.objects], settings)
        if not fusion.objects:
            return PoseAnswer(False, why_nothing(fusion, frames, least))
        found = tuple(found_object(one, identity, header) for one, identity in zip(fusion.objects, ids, strict=True))
        return PoseAnswer(True, what_was_found(found, len(frames)), found)


def found_object(fused: Fused, identity: str, header: Header) -> FoundObject:
    """What is answered of one object."""
    pose = fused.pose
    return FoundObject(identity, pose.category, header.frame_id, nanoseconds(header.stamp), pose.T_cam_obj,
                       pose.covariance, pose.size, pose.score, pose.probability, pose.source, fused.used, fused.dropped,
                       pose.presence)


def what_was_found(found: Sequence[FoundObject], frames: int) -> str:
    """One sentence; the best object in numbers."""
    best = found[0]
    x, y, z = best.T[:3, 3]
    return (f"{len(found)} object{'s' * (len(found) != 1)} in {frames} image{'s' * (frames != 1)}: {best.id} at x "
            f"{x:+.3f} y {y:+.3f} z {z:+.3f} m in {quoted(best.frame)}, score {best.score:.2f}, from {best.used} images"
            + f", {best.dropped} dropped" * (best.dropped > 0))


def why_nothing(fusion: Fusion, frames: Sequence[tuple[Header, list[ObjectPose]]], least: int) -> str:
    """One sentence."""
    if fusion.unclear:
        most = max(fusion.unclear, key=lambda one: one.seen)
        return (f"the poses of {len(frames)} images disagree: an object was seen in {most.seen}, at most {most.agree} "
                f"agree, {least} and a majority are needed; they spread over {most.spread_m:.3f} m and "
                f"{math.degrees(most.spread_rad):.0f} deg: hold camera and object still, show more of the object")
    empty = sum(not poses for _, poses in frames)
    if empty == len(frames):
        return f"nothing found in {empty} of {empty} images: is the object in view, is it of the category?"
    return (f"nothing found in {empty} of {len(frames)} images, and no object in more than {fusion.rare[0]} of them; "
            f"{least} are needed (parameter estimate_min_frames)")


def why_no_images(topic: str, publishers: int, received: int, waited_s: float, error: str) -> str:
    """One sentence on the ``received`` images that gave no answer in ``waited_s`` seconds; ``error``: the last one
    told, or an empty string."""
    if not received:
        return (f"no image came on {topic} in {waited_s:.1f} s ({publishers} publisher{'s' * (publishers != 1)}): "
                + (error or "is the camera running, is the topic remapped?"))
    return (f"{received} image{'s' * (received != 1)} came on {topic} in {waited_s:.1f} s: "
            + (error or "they take longer, or wait for the boxes of a detector on detections_2d"))
