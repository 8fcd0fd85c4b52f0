# SPDX-License-Identifier: Apache-2.0
"""A pose node in this process, on the real graph, whose model finds what a test says: all but the numbers is real."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
from rclpy.executors import MultiThreadedExecutor
from rclpy.parameter import Parameter

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.detection.finder import Found
from dinemo_ros.detection.regions import projected_box
from dinemo_ros.node import pose_node
from dinemo_ros.pose import ObjectPose

#: A small picture and its camera.
IMAGE, CAMERA = np.full((48, 64, 3), 90, np.uint8), Camera.from_hfov(64, 48, 60.0)


class ScriptedModel:
    """Stands for the estimator: finds what is of its category in ``script(number of the call)``, counted over all
    models of a test.

    ``asked``: the keywords of each call.
    """

    script: Callable[[int], list[ObjectPose]] = staticmethod(lambda number: [])
    asked: list[dict] = []
    loaded = 0
    finds_with = "script"

    def __init__(self, bundle, **settings) -> None:
        ScriptedModel.loaded += 1
        self.bundle, self.timings, self.looked = bundle, {}, []
        self.extractor = SimpleNamespace(name="scripted", precision="fp32", device="none", reason="a test wants it")
        self.pipeline = SimpleNamespace(device="none")

    def estimate(self, image, camera, rois=None, **known) -> list[ObjectPose]:
        ScriptedModel.asked.append({"category": self.bundle.card.category, "rois": rois, "camera": camera, **known})
        self.looked = [(tuple(roi), "") for roi in rois or ()]
        found = ScriptedModel.script(len(ScriptedModel.asked) - 1)
        return [pose for pose in found if pose.category == self.bundle.card.category]

    def find(self, image) -> Found:
        return Found([np.array((0.0, 0.0, image.shape[1], image.shape[0]))], [None], True)

    def estimate_found(self, image, camera, found, **known) -> list[ObjectPose]:
        poses = self.estimate(image, camera, **known)
        self.looked = [(tuple(box.tolist()), "") for box in found.boxes]
        return poses

    def distinct(self, poses, camera) -> list[ObjectPose]:
        return poses

    def covered(self, pose, camera) -> np.ndarray:
        return projected_box(pose, camera, self.bundle.mesh.vertices / self.bundle.mesh.extent)


def model_of(node: pose_node.PoseNode) -> ScriptedModel | None:
    """The model of the first category; None while the node rests or is not configured."""
    return next(iter(node._categories._of.values())).estimator if node._categories else None


@contextmanager
def pose_node_here(monkeypatch, namespace: str, script=lambda number: [], **parameters) -> Iterator[pose_node.PoseNode]:
    """A configured and active node in ``namespace``, its executor in a thread."""
    monkeypatch.setattr(pose_node, "PoseEstimator", ScriptedModel)
    monkeypatch.setattr(ScriptedModel, "script", staticmethod(script))
    ScriptedModel.asked, ScriptedModel.loaded = [], 0
    package = logging.getLogger("dinemo_ros")
    before = package.handlers[:], package.level, package.propagate
    given = {"diagnostics_period_s": 0.1, **parameters}
    node = pose_node.PoseNode(namespace=namespace, parameter_overrides=[
        Parameter(name, value=value) for name, value in given.items()])
    executor = MultiThreadedExecutor(pose_node._THREADS)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        node.start_up()
        assert node.state == "active"
        yield node
    finally:
        executor.shutdown()
        thread.join(10.0)
        if node.state == "active":
            node.trigger_deactivate()
        node.destroy_node()
        package.handlers[:], package.level, package.propagate = before
