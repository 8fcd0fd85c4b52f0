# SPDX-License-Identifier: Apache-2.0
"""From which side an object on a turntable is seen: azimuth, perhaps elevation, and whether its front can be seen.

A category whose handle tells the azimuth cannot be judged by pictures in which the handle is hidden: there the honest
answer is a wide covariance, and the azimuth of the estimate is chance. A category that looks the same from all around
has no azimuth; what must hold is its elevation, and that it stands upright in every picture of a turn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..geometry import rotation_from_viewpoint
from ..model.azimuth import HANDLE_SEEN_DEG
from ..model.symmetry import Symmetry, axis_variance
from ..pose import Hypothesis, ObjectPose
from .coverage import azimuth_content, chi_square_content
from .metrics import azimuth_error_deg
from .truth import ReferenceObject, announces

FROM_ABOVE_DEG = 85.0  # from here on up azimuth and theta are one angle
_ALONG_AXIS = 1e-6


def azimuth_is_seen(azimuth_deg: float, elevation_deg: float | None, symmetry: Symmetry) -> bool:
    """Whether a picture taken from there shows what the azimuth is known by.

    Of a category whose azimuth may be hidden, object x (the handle) is within 125 degrees of the camera. Of any
    category the elevation is below 85 degrees; where nobody knows it, it is taken to be. A category without azimuth
    never shows it.
    """
    if symmetry.continuous or elevation_deg is not None and elevation_deg >= FROM_ABOVE_DEG:
        return False
    return not symmetry.uncertain_azimuth or azimuth_error_deg(azimuth_deg, 0.0) <= HANDLE_SEEN_DEG


@dataclass(frozen=True)
class ViewTruth:
    """Azimuth along the ray and, where known, the elevation; degrees. The object stands upright (theta 0)."""

    azimuth_deg: float
    elevation_deg: float | None = None

    def errors(self, pose: Hypothesis, reference: ReferenceObject) -> dict:
        """``error_deg`` of the azimuth; where there is none, the angle between the axes, and between the axis and
        upright where the elevation is unknown. Estimated and true angles in degrees; ``seen``, see
        :func:`azimuth_is_seen`; ``announced_turn_deg``, the announced deviation about the axis; and ``contents``.
        """
        symmetry = reference.symmetry
        azimuth, elevation, theta = (float(angle) for angle in np.degrees(pose.viewpoint()))
        found = {"elevation": elevation, "theta": theta}
        contents = {}
        if self.elevation_deg is not None:
            found |= {"elevation_true": self.elevation_deg}
        if announces(pose) and self.elevation_deg is not None:
            contents["elevation"] = elevation_content(pose, elevation - self.elevation_deg)
        if symmetry.continuous:
            return {"error_deg": self._axis_error(pose, symmetry), **found, **_known(contents)}
        turn = symmetry.distance(rotation_from_viewpoint(math.radians(azimuth), 0.0, 0.0),
                                 rotation_from_viewpoint(math.radians(self.azimuth_deg), 0.0, 0.0))
        seen = azimuth_is_seen(self.azimuth_deg, self.elevation_deg, symmetry)
        if announces(pose):
            content = azimuth_content(pose, turn)
            contents["azimuth"] = content
            if symmetry.uncertain_azimuth:
                contents["azimuth, seen" if seen else "azimuth, hidden"] = content
            variance = axis_variance(pose.covariance, pose.T_cam_obj[:3, :3])
            found["announced_turn_deg"] = math.degrees(math.sqrt(max(variance, 0.0)))
        return {"error_deg": math.degrees(turn), "azimuth": azimuth, "azimuth_true": self.azimuth_deg, "seen": seen,
                **found, **_known(contents)}

    def _axis_error(self, pose: Hypothesis, symmetry: Symmetry) -> float:
        """Angle in degrees between the axis of ``pose`` and the true one, as far as that is known."""
        _, elevation, theta = pose.viewpoint()
        true = elevation if self.elevation_deg is None else math.radians(self.elevation_deg)
        return math.degrees(symmetry.distance(rotation_from_viewpoint(0.0, elevation, theta),
                                              rotation_from_viewpoint(0.0, true, 0.0)))


def elevation_content(pose: ObjectPose, error_deg: float) -> float:
    """Content (:mod:`.coverage`) of an error of the elevation along the ray to the object.

    With the object's axis a in camera axes and the ray r, sin(elevation) = -a r, so a turn w changes the elevation by
    w n with the unit vector n = r x a / |r x a|. Where the ray runs along the axis every tilt lowers the elevation: the
    larger of the two variances across the axis stands in.
    """
    R, t = pose.T_cam_obj[:3, :3], pose.T_cam_obj[:3, 3]
    turn = pose.covariance[3:, 3:]
    normal = np.cross(t / np.linalg.norm(t), R[:, 2])
    length = float(np.linalg.norm(normal))
    if length > _ALONG_AXIS:
        variance = float(normal @ turn @ normal) / length**2
    else:
        variance = float(np.linalg.eigvalsh(R[:, :2].T @ turn @ R[:, :2])[-1])
    return chi_square_content(math.radians(error_deg)**2 / variance, 1) if variance > 0.0 else 1.0


def _known(contents: dict[str, float]) -> dict:
    return {"contents": contents} if contents else {}
