# SPDX-License-Identifier: Apache-2.0
"""Category-level 6D object pose from neural meshes learnt without 3-D labels.

    from dinemo_ros import Camera, PoseEstimator, find_bundle, load_bundle

The names in ``__all__`` are the public interface. What they are called, which arguments they take and what these mean
changes only after one release in which the old way still works and warns (``DeprecationWarning``); anything else may
change at any time. They are imported when they are first asked for, so that importing this package costs nothing.

The runtime half. Nothing outside :mod:`dinemo_ros.node` imports ROS, nothing here imports torch.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .moved import OldNames
from .process.privacy import keep_private

if TYPE_CHECKING:
    from .camera.pinhole import Camera
    from .detection.labelled_box import LabelledBox
    from .detection.onnx_detector import load_detector
    from .errors import (
        BackendError,
        BundleError,
        CameraError,
        DatasetError,
        DinemoError,
        DocumentError,
        ImageError,
        OutputError,
        RoiError,
    )
    from .estimator import PoseEstimator
    from .model.bundle import Bundle, find_bundle, load_bundle
    from .multi_estimator import MultiPoseEstimator
    from .multi_tracker import MultiPoseTracker
    from .pose import Hypothesis, ObjectPose
    from .tracker import PoseTracker

sys.meta_path.append(OldNames(__name__))
keep_private()  # here, because whatever of this package comes next may import ONNX Runtime

__version__ = "0.2.0"

_HOMES = {
    "errors": ("BackendError", "BundleError", "CameraError", "DatasetError", "DinemoError", "DocumentError",
               "ImageError", "OutputError", "RoiError"),
    "camera.pinhole": ("Camera",),
    "detection.labelled_box": ("LabelledBox",),
    "detection.onnx_detector": ("load_detector",),
    "estimator": ("PoseEstimator",),
    "model.bundle": ("Bundle", "find_bundle", "load_bundle"),
    "multi_estimator": ("MultiPoseEstimator",),
    "multi_tracker": ("MultiPoseTracker",),
    "pose": ("Hypothesis", "ObjectPose"),
    "tracker": ("PoseTracker",),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BackendError",
    "Bundle",
    "BundleError",
    "Camera",
    "CameraError",
    "DatasetError",
    "DinemoError",
    "DocumentError",
    "Hypothesis",
    "ImageError",
    "LabelledBox",
    "MultiPoseEstimator",
    "MultiPoseTracker",
    "ObjectPose",
    "OutputError",
    "PoseEstimator",
    "PoseTracker",
    "RoiError",
    "find_bundle",
    "load_bundle",
    "load_detector",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
