# SPDX-License-Identifier: Apache-2.0
"""Where frames of a bag that never move lie to one another, by its ``/tf_static``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import ImageError
from ...geometry import se3
from .bag_reader import deserialize, messages
from .bag_topics import Message

if TYPE_CHECKING:
    from rosbags.rosbag2 import Reader

_TOPIC, _TYPE = "/tf_static", "tf2_msgs/msg/TFMessage"
_MOST_FRAMES = 2000  # a humanoid has about a hundred
_MOST_MESSAGES = 10_000
_UNIT = 0.01  # by how much a quaternion's length may differ from one, as in tf2

#: By the name of a frame its parent and T_parent_frame [4, 4], metres.
Tree = dict[str, tuple[str, np.ndarray]]


def static_transforms(path: Path, reader: Reader) -> Tree:
    """All transforms of ``/tf_static``; of several for one frame the last. What is none is passed over."""
    tree: Tree = {}
    chosen = [c for c in reader.connections if c.topic == _TOPIC and c.msgtype == _TYPE]
    if not chosen:
        return tree
    for (_, _, raw), _ in zip(messages(path, reader, chosen), range(_MOST_MESSAGES), strict=False):
        try:
            transforms = deserialize(raw, _TYPE).transforms
        except ImageError:
            continue
        for message in transforms:
            T, child = _matrix(message.transform), bare(message.child_frame_id)
            if T is not None and (child in tree or len(tree) < _MOST_FRAMES):
                tree[child] = bare(message.header.frame_id), T
    return tree


def between(tree: Tree, target: str, source: str) -> np.ndarray | None:
    """T_target_source [4, 4], metres; None where nothing connects the two frames."""
    of_target, of_source = _ancestors(tree, bare(target)), _ancestors(tree, bare(source))
    for frame, T_frame_source in of_source.items():
        if frame in of_target:
            return np.linalg.inv(of_target[frame]) @ T_frame_source
    return None


def bare(frame: str) -> str:
    """A frame's name without the slash that ROS 1 put before it."""
    return frame.lstrip("/")


def _ancestors(tree: Tree, frame: str) -> dict[str, np.ndarray]:
    """T_ancestor_frame [4, 4] of a frame and of all above it, the nearest first; a circle ends where it closes."""
    T, found = np.eye(4), {frame: np.eye(4)}
    while frame in tree:
        frame, T_parent = tree[frame]
        if frame in found:
            break
        T = T_parent @ T
        found[frame] = T
    return found


def _matrix(transform: Message) -> np.ndarray | None:
    """[4, 4] of a ``geometry_msgs/Transform``, None where it is none."""
    q = np.array([getattr(transform.rotation, name) for name in "xyzw"], np.float64)
    t = np.array([getattr(transform.translation, name) for name in "xyz"], np.float64)
    length = np.linalg.norm(q)
    if not np.isfinite(t).all() or not abs(length - 1.0) <= _UNIT:
        return None
    x, y, z, w = q / length
    return se3(np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                         [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                         [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]]), t)
