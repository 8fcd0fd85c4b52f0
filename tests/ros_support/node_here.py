# SPDX-License-Identifier: Apache-2.0
"""A pose node in this process, on the real graph, with an estimator that answers what a test says and remembers what it
was asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
from rclpy.executors import MultiThreadedExecutor
from rclpy.parameter import Parameter

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.geometry import se3, so3_exp
from dinemo_ros.node import pose_node
from dinemo_ros.pose import Hypothesis, ObjectPose

_ROOT = np.random.default_rng(7).normal(size=(6, 6))
#: A small picture and its camera.
IMAGE, CAMERA = np.zeros((48, 64, 3), np.uint8), Camera.from_hfov(64, 48, 60.0)
#: What the estimator sees unless it is told otherwise; no axis of its covariance is like another.
SEEN = ObjectPose(se3(so3_exp(np.array([0.3, -0.2, 0.9])), np.array([0.1, 0.05, 0.6])), 0.5, np.array([0.1, 0.2, 0.3]),
                  category="car", covariance=_ROOT @ _ROOT.T,
                  runners_up=(Hypothesis(se3(so3_exp(np.array([0.3, 2.0, 0.9])), np.array([0.1, 0.05, 0.7])), 0.3,
                                         np.ones(3)),))


class ScriptedEstimator:
    """In the place of the estimator: ``answer`` is what it finds, ``asked`` the keywords of each call."""

    timings: dict[str, float] = {}
    extractor = SimpleNamespace(name="none", precision="fp32", device="cpu", reason="")
    pipeline = SimpleNamespace(device="cpu")

    def __init__(self) -> None:
        self.answer: list[ObjectPose] = [SEEN]
        self.asked: list[dict] = []

    def estimate(self, image, camera, rois=None, **known) -> list[ObjectPose]:
        self.asked.append({"rois": rois, "camera": camera, **known})
        return self.answer


@contextmanager
def node_here(monkeypatch, namespace: str, **parameters) -> Iterator[ScriptedEstimator]:
    """An active pose node in ``namespace``; its estimator."""
    estimator = ScriptedEstimator()
    monkeypatch.setattr(pose_node, "PoseEstimator", lambda bundle, **_: estimator)
    given = {"diagnostics_period_s": 0.1, "warn_period_s": 0.0, **parameters}
    node = pose_node.PoseNode(namespace=namespace,
                              parameter_overrides=[Parameter(name, value=value) for name, value in given.items()])
    executor = MultiThreadedExecutor(4)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        node.start_up()
        assert node.state == "active"
        yield estimator
    finally:
        executor.shutdown()
        thread.join(10.0)
        if node.state == "active":
            node.trigger_deactivate()
        node.destroy_node()
