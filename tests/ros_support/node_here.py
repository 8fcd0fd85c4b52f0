# SPDX-License-Identifier: Apache-2.0
"""A pose node in this process that always sees the same, and what its estimator was asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from ros_support.pose_node_here import ScriptedModel, pose_node_here

from dinemo_ros.geometry import se3, so3_exp
from dinemo_ros.pose import Hypothesis, ObjectPose

_ROOT = np.random.default_rng(7).normal(size=(6, 6))
#: What the estimator sees unless it is told otherwise; no axis of its covariance is like another.
SEEN = ObjectPose(se3(so3_exp(np.array([0.3, -0.2, 0.9])), np.array([0.1, 0.05, 0.6])), 0.5, np.array([0.1, 0.2, 0.3]),
                  category="car", covariance=_ROOT @ _ROOT.T,
                  runners_up=(Hypothesis(se3(so3_exp(np.array([0.3, 2.0, 0.9])), np.array([0.1, 0.05, 0.7])), 0.3,
                                         np.ones(3)),))


class Eyes:
    """``answer``: what the estimator finds in every image from now on."""

    def __init__(self) -> None:
        self.answer: list[ObjectPose] = [SEEN]

    @property
    def asked(self) -> list[dict]:
        """The keywords of each call."""
        return ScriptedModel.asked


@contextmanager
def node_here(monkeypatch, namespace: str, **parameters) -> Iterator[Eyes]:
    """An active pose node in ``namespace``; what it sees."""
    eyes = Eyes()
    with pose_node_here(monkeypatch, namespace, lambda number: eyes.answer, warn_period_s=0.0, **parameters):
        yield eyes
