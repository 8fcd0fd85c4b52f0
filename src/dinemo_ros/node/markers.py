# SPDX-License-Identifier: Apache-2.0
"""visualization_msgs/MarkerArray of the estimated objects: mesh or box, axes, label."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..drawing.palette import AXES, WHITE, Colour, pose_colour
from ..model.neural_mesh import NeuralMesh
from ..model.symmetry import axis_variance
from ..pose import ObjectPose
from .conversions import pose_message
from .message_classes import ColorRGBA, Duration, Header, Marker, MarkerArray, Point, Vector3

_NAMESPACES = ("body", "axes", "label")
_UNCERTAIN_DEG = 30.0
_BODY_OPACITY = 0.55


def _rgba(colour: Colour, opacity: float = 1.0) -> ColorRGBA:
    """RGB 0 to 255 and opacity 0 to 1 as ROS has them."""
    red, green, blue = (c / 255 for c in colour)
    return ColorRGBA(r=red, g=green, b=blue, a=opacity)


_WHITE, _AXES = _rgba(WHITE), [_rgba(colour) for colour in AXES]


def _point(xyz: np.ndarray) -> Point:
    return Point(x=float(xyz[0]), y=float(xyz[1]), z=float(xyz[2]))


class MarkerMaker:
    """Makes the markers; remembers how many objects it showed, to remove those that are gone."""

    def __init__(self, shapes: Mapping[str, tuple[NeuralMesh, Sequence[float]]]) -> None:
        """By category the mesh, and the size [3] in metres that its vertices are scaled to."""
        self._mean_size = {name: np.asarray(size, dtype=np.float64) for name, (_, size) in shapes.items()}
        self._triangles = {name: [_point(mesh.vertices[index]) for index in mesh.faces.ravel()]
                           for name, (mesh, _) in shapes.items()}
        self._shown = 0

    def make(self, header: Header, poses: list[ObjectPose], distances: Sequence[float], style: str,
             lifetime_s: float) -> MarkerArray:
        """Markers of ``poses``, metres, frame of ``header``, and the removal of those that are gone.

        Args:
            distances: of each from the camera, metres; the label tells it.
            style: 'mesh' or 'box'.
            lifetime_s: after which a viewer drops them; 0 keeps them.
        """
        lifetime = Duration(sec=int(lifetime_s), nanosec=int(lifetime_s % 1 * 1e9))
        markers = []
        for index, pose in enumerate(poses):
            body = self._mesh(pose) if style == "mesh" else self._box(pose)
            body.color = _rgba(pose_colour(pose, index), _BODY_OPACITY)
            three = body, self._axes(pose), self._label(pose, distances[index])
            for namespace, marker in zip(_NAMESPACES, three, strict=True):
                marker.header, marker.ns, marker.id, marker.lifetime = header, namespace, index, lifetime
                markers.append(marker)
        for index in range(len(poses), self._shown):
            markers += [Marker(header=header, ns=namespace, id=index, action=Marker.DELETE)
                        for namespace in _NAMESPACES]
        self._shown = len(poses)
        return MarkerArray(markers=markers)

    def _mesh(self, pose: ObjectPose) -> Marker:
        scale = np.asarray(pose.size) / self._mean_size[pose.category]
        return Marker(type=Marker.TRIANGLE_LIST, pose=pose_message(pose.T_cam_obj), scale=_vector(scale),
                      points=self._triangles[pose.category])

    def _box(self, pose: ObjectPose) -> Marker:
        return Marker(type=Marker.CUBE, pose=pose_message(pose.T_cam_obj), scale=_vector(pose.size))

    def _axes(self, pose: ObjectPose) -> Marker:
        length = 0.75 * float(np.max(pose.size))
        tips = [_point(length * axis) for axis in np.eye(3)]
        return Marker(type=Marker.LINE_LIST, pose=pose_message(pose.T_cam_obj), scale=Vector3(x=0.015 * length),
                      points=[p for tip in tips for p in (Point(), tip)], colors=[c for c in _AXES for _ in (0, 1)],
                      color=_WHITE)

    def _label(self, pose: ObjectPose, distance: float) -> Marker:
        above = np.array(pose.T_cam_obj)
        above[:3, 3] += above[:3, :3] @ [0.0, 0.0, 0.8 * float(pose.size[2])]
        return Marker(type=Marker.TEXT_VIEW_FACING, pose=pose_message(above), color=_WHITE,
                      scale=Vector3(z=0.2 * float(pose.size[2])),
                      text=f"{pose.category} {pose.score:.2f}, {distance:.{1 if distance > 3 else 2}f} m"
                           + _azimuth_uncertainty(pose))


def _azimuth_uncertainty(pose: ObjectPose) -> str:
    """Standard deviation of the turn about the object's z axis, where it is so large that x and y say little."""
    deviation = math.degrees(math.sqrt(axis_variance(pose.covariance, pose.T_cam_obj[:3, :3])))
    return f", turn +-{deviation:.0f} deg" if deviation > _UNCERTAIN_DEG else ""


def _vector(xyz: Sequence[float] | np.ndarray) -> Vector3:
    return Vector3(x=float(xyz[0]), y=float(xyz[1]), z=float(xyz[2]))
