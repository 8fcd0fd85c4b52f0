# SPDX-License-Identifier: Apache-2.0
"""What is known about an object, from the azimuth alone to the full pose, and the errors of an estimate against it.

``error_deg`` is every data set's main error, an angle in degrees; the rotation of a symmetric category is compared with
the nearest of its equivalent poses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, TypeGuard

import numpy as np

from ..camera.pinhole import Camera
from ..geometry import allocentric, rotation_from_viewpoint
from ..model.bundle import Bundle
from ..model.symmetry import Symmetry
from ..pose import Hypothesis, ObjectPose
from ..solver.surface import farthest_point_order
from .coverage import azimuth_content, contents

KEYPOINTS = 24
ADD_THRESHOLD = 0.1  # of the object's diameter
PCK_THRESHOLD = 0.1  # of the longer side of the object's box


@dataclass(frozen=True)
class ReferenceObject:
    """The category as the metrics see it, taken from one bundle and used for all that are compared.

    Attributes:
        unit: [V, 3] vertices of the mean mesh over its extent: times a size in metres they are an object's points.
        normals: [V, 3] unit, outwards.
        faces: [F, 3].
        keypoints: [N] indices of vertices spread as evenly over the surface as can be (farthest points first).
        symmetry: of the category.
    """

    unit: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    keypoints: np.ndarray
    symmetry: Symmetry

    @classmethod
    def of(cls, bundle: Bundle, keypoints: int = KEYPOINTS) -> ReferenceObject:
        """The mean mesh and the symmetry that ``bundle`` declares."""
        mesh = bundle.mesh
        order = farthest_point_order(mesh.vertices.astype(np.float64))
        return cls(mesh.vertices / mesh.extent, mesh.normals, mesh.faces, order[:keypoints], bundle.card.symmetry)


class Truth(Protocol):
    """Something an estimate can be compared with."""

    def errors(self, pose: Hypothesis, reference: ReferenceObject) -> dict:
        """Errors of ``pose`` by name; ``error_deg`` is among them, and ``contents`` (:mod:`.coverage`) of a pose that
        comes with a covariance."""


def announces(pose: Hypothesis) -> TypeGuard[ObjectPose]:
    """Whether ``pose`` says how uncertain it is; that of a baseline does not."""
    return isinstance(pose, ObjectPose) and bool(np.isfinite(pose.covariance).all())


@dataclass(frozen=True)
class AzimuthTruth:
    """The azimuth along the ray, degrees, and nothing else."""

    azimuth_deg: float

    def errors(self, pose: Hypothesis, reference: ReferenceObject) -> dict:
        """``error_deg``, both azimuths in degrees, and the content of the error where the pose has a covariance."""
        azimuth = pose.viewpoint()[0]
        error = reference.symmetry.distance(rotation_from_viewpoint(azimuth, 0.0, 0.0),
                                            rotation_from_viewpoint(math.radians(self.azimuth_deg), 0.0, 0.0))
        known = {"contents": {"azimuth": azimuth_content(pose, error)}} if announces(pose) else {}
        return {"error_deg": math.degrees(error), "azimuth": math.degrees(azimuth), "azimuth_true": self.azimuth_deg,
                **known}


@dataclass(frozen=True)
class ViewpointTruth:
    """Orientation along the ray to the object (PASCAL3D+): azimuth, elevation, theta in degrees."""

    azimuth_deg: float
    elevation_deg: float
    theta_deg: float

    def errors(self, pose: Hypothesis, reference: ReferenceObject) -> dict[str, float]:
        """``error_deg`` of the rotation along the ray, and estimated and true angles in degrees."""
        R_true = rotation_from_viewpoint(*np.radians([self.azimuth_deg, self.elevation_deg, self.theta_deg]))
        R = allocentric(pose.T_cam_obj)
        azimuth, elevation, theta = np.degrees(pose.viewpoint())
        return {"error_deg": math.degrees(reference.symmetry.distance(R, R_true)), "azimuth": azimuth,
                "elevation": elevation, "theta": theta, "azimuth_true": self.azimuth_deg,
                "elevation_true": self.elevation_deg, "theta_true": self.theta_deg}


@dataclass(frozen=True)
class PoseTruth:
    """The full pose: T_cam_obj [4, 4] metres, size [3] metres, and the camera that took the picture."""

    T_cam_obj: np.ndarray
    size: np.ndarray
    camera: Camera

    def errors(self, pose: Hypothesis, reference: ReferenceObject) -> dict:
        """Rotation (``error_deg``), azimuth where the category has one, elevation, translation, distance, ADD and PCK.

        Two carry a sign: ``elevation_offset_deg`` is positive where the object is taken to be seen from higher than it
        is, ``distance_offset_pct`` where it is taken to be farther away.

        ADD (Hinterstoisser et al., ACCV 2012): mean distance between the object's vertices under both poses, at the
        true size, so that it judges the pose alone. PCK: share of the key points facing the camera whose projections
        differ by less than 0.1 of the longer side of the object's true box; the estimate's own size counts here.
        """
        T, T_true = pose.T_cam_obj.copy(), self.T_cam_obj
        T[:3, :3] = reference.symmetry.nearest(T[:3, :3], T_true[:3, :3])
        t, t_true = T[:3, 3], T_true[:3, 3]
        points = reference.unit * self.size
        add = float(np.linalg.norm(transform(T, points) - transform(T_true, points), axis=1).mean())
        distance, distance_true = np.linalg.norm(t), np.linalg.norm(t_true)
        azimuth_true, elevation_true, _ = Hypothesis(T_true, 1.0, self.size).viewpoint()
        azimuth_error = AzimuthTruth(math.degrees(azimuth_true)).errors(pose, reference)["error_deg"]
        return {
            "error_deg": math.degrees(reference.symmetry.distance(T[:3, :3], T_true[:3, :3])),
            # Any azimuth is right where there is none: 100 % of that would say nothing.
            **({} if reference.symmetry.continuous else {"azimuth_error_deg": azimuth_error}),
            "elevation_offset_deg": math.degrees(pose.viewpoint()[1] - elevation_true),
            "translation_error_m": float(np.linalg.norm(t - t_true)),
            "distance_error_pct": float(100.0 * abs(distance - distance_true) / distance_true),
            "distance_offset_pct": float(100.0 * (distance - distance_true) / distance_true),
            "distance_true_m": float(distance_true),
            "add_m": add,
            "add_within": float(add < ADD_THRESHOLD * diameter(points)),
            "pck": self._pck(T, pose.size, reference),
            **({"contents": contents(pose, T_true, self.size, reference.symmetry)} if announces(pose) else {}),
        }

    def _pck(self, T: np.ndarray, size: np.ndarray, reference: ReferenceObject) -> float:
        chosen = reference.keypoints
        true = transform(self.T_cam_obj, reference.unit * self.size)
        normals = (reference.normals[chosen] / self.size) @ self.T_cam_obj[:3, :3].T  # normals scale inversely
        facing = np.sum(normals * true[chosen], axis=1) < 0.0
        found = transform(T, reference.unit[chosen[facing]] * size)
        if not facing.any() or found[:, 2].min() <= 0.0:
            return 0.0
        outline = self.camera.project(true)
        error = np.linalg.norm(self.camera.project(found) - outline[chosen[facing]], axis=1)
        return float(np.mean(error < PCK_THRESHOLD * np.ptp(outline, axis=0).max()))


def transform(T: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [N, 3], metres, moved by T [4, 4]."""
    return points @ T[:3, :3].T + T[:3, 3]


def diameter(points: np.ndarray) -> float:
    """Largest distance between two of the points [N, 3], in their unit."""
    squares = np.sum(points**2, axis=1)
    return float(np.sqrt(max(np.max(squares[:, None] + squares - 2.0 * points @ points.T), 0.0)))
