# SPDX-License-Identifier: Apache-2.0
"""Pictures of one object from where none was taken: its hull, drawn with the colours of the nearest pictures.

Eight pictures of a turn are 45 degrees apart, and a network that has seen these alone knows what a vertex looks like
from eight sides. The hull says where each pixel of a view in between lies on the object, the posed pictures what colour
it has there. Where two pictures are nearly as near they are mixed, so hulls that are too fat show doubled prints: such
views teach, and nothing is measured on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dinemo_ros.camera.crop import BORDER_GREY
from dinemo_ros.geometry import allocentric, pinhole_matrix, rotation_from_viewpoint, se3, viewpoint_from_rotation

from ..data.batches import camera_centre, project
from ..data.posed_crops import CROP_SIDE, PosedCrop, save_labels, save_picture
from ..models.category_shape import CategoryShape
from ..synthetic.render.rasterizer import rasterize

_SHARP_DEG = 12.0      # a picture this much farther away in angle than the nearest hardly counts
_GRAZING = 0.08        # cosine between surface and view below which a picture does not show a point
_HIGHER_DEG = 12.0     # elevations, uniform around the turn's own
_TILT_DEG = 4.0        # in the picture, uniform
_NEARER = 0.35         # distance, uniform up to this share nearer or farther
_MARGIN = 1.3          # of the picture around the object


@dataclass(frozen=True)
class _Source:
    """A posed picture as colours of the hull: image float32 [S, S, 3], mask bool, depth [S, S] metres of the hull."""

    image: np.ndarray
    mask: np.ndarray
    depth: np.ndarray
    K: np.ndarray
    T: np.ndarray
    direction: np.ndarray  # [3] from the object to the camera, unit


class HullPainter:
    """Draws the object of posed crops from any side.

    Args:
        crops: pictures with masks. shape: the hull, at the crops' size.
    """

    def __init__(self, crops: list[PosedCrop], shape: CategoryShape) -> None:
        self.shape = shape
        self.sources = [self._source(crop) for crop in crops]
        self._thick = 0.03 * float(shape.size.max())

    def _source(self, crop: PosedCrop) -> _Source:
        image, mask = crop.image(), crop.foreground()
        depth = rasterize(self.shape.vertices, self.shape.faces, crop.K, crop.T_cam_obj, image.shape[1::-1]).depth
        centre = camera_centre(crop.T_cam_obj)
        # One pixel of rim is a mixture with the background.
        inside = cv2.erode(mask, np.ones((3, 3), np.uint8)) > 127
        return _Source(image.astype(np.float32), inside, depth, crop.K, crop.T_cam_obj,
                       centre / np.linalg.norm(centre))

    def draw(self, K: np.ndarray, T_cam_obj: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
        """RGB uint8 [side, side, 3] on grey and mask uint8 [side, side], 255 on the object."""
        seen = rasterize(self.shape.vertices, self.shape.faces, K, T_cam_obj, (side, side))
        corners = self.shape.faces[seen.face[seen.mask]]
        weights = seen.weights[seen.mask][..., None]
        points = (self.shape.vertices[corners] * weights).sum(1)
        normals = (self.shape.normals[corners] * weights).sum(1)
        colour, known = self._colours(points, normals, camera_centre(T_cam_obj))
        image = np.full((side, side, 3), BORDER_GREY, np.uint8)
        image[seen.mask] = np.clip(colour, 0, 255).astype(np.uint8)
        holes = np.zeros((side, side), np.uint8)
        holes[seen.mask] = ~known
        mask = np.where(seen.mask, 255, 0).astype(np.uint8)
        return (cv2.inpaint(image, holes, 3, cv2.INPAINT_TELEA) if holes.any() else image), mask

    def _colours(self, points: np.ndarray, normals: np.ndarray, eye: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Colours [P, 3] of points [P, 3] of the surface as the nearest pictures show them, and where one does [P]."""
        eye = eye / np.linalg.norm(eye)
        angles = np.rad2deg(np.arccos(np.clip([source.direction @ eye for source in self.sources], -1, 1)))
        total, colour = np.zeros(len(points)), np.zeros((len(points), 3))
        for source, angle in zip(self.sources, angles, strict=True):
            factor = np.exp(-((angle - angles.min()) / _SHARP_DEG))
            toward = camera_centre(source.T) - points
            facing = (toward * normals).sum(1) / (np.linalg.norm(toward, axis=1) * np.linalg.norm(normals, axis=1))
            u, v = project(points, source.K, source.T).T.astype(np.float32)
            depth = points @ source.T[2, :3] + source.T[2, 3]
            column, row = np.clip(np.round([u, v]).astype(int), 0, np.array(source.mask.shape[::-1])[:, None] - 1)
            front = np.where(np.isfinite(source.depth[row, column]), source.depth[row, column], np.inf)
            shown = (facing > _GRAZING) & source.mask[row, column] & (depth < front + self._thick)
            weight = shown * max(factor, 1e-6) * np.clip(facing, 0, 1)
            total += weight
            colour += weight[:, None] * _sampled(source.image, u, v)
        return colour / np.maximum(total, 1e-12)[:, None], total > 0


def _sampled(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """[P, 3] of ``image`` at pixels u, v [P], bilinear."""
    rows = -(-len(u) // CROP_SIDE)  # OpenCV takes no more than 32767 in a line
    maps = [np.resize(part, (rows, CROP_SIDE)) for part in (u, v)]
    return cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).reshape(-1, 3)[:len(u)]


def write_views(crops: list[PosedCrop], shape: CategoryShape, count: int, seed: int, out: Path) -> None:
    """The posed crops of a turn, and ``count`` pictures drawn between them, as one folder of posed crops."""
    painter, rng = HullPainter(crops, shape), np.random.default_rng(seed)
    names, Ks, Ts = [crop.name for crop in crops], [crop.K for crop in crops], [crop.T_cam_obj for crop in crops]
    for crop in crops:
        save_picture(out, crop.name, crop.image(), crop.foreground())
    angles = np.array([viewpoint_from_rotation(allocentric(T)) for T in Ts])
    elevation = float(np.median(angles[:, 1]))
    distance = float(np.median(np.linalg.norm(np.array(Ts)[:, :3, 3], axis=1)))
    for k in range(count):
        T = se3(rotation_from_viewpoint(rng.uniform(0, 2 * np.pi),
                                        np.clip(elevation + np.deg2rad(rng.uniform(-1, 1) * _HIGHER_DEG), 0, 1.5),
                                        np.deg2rad(rng.uniform(-1, 1) * _TILT_DEG)),
                [0, 0, distance * (1 + rng.uniform(-1, 1) * _NEARER)])
        K = _framed(shape, T)
        name = f"between_{k:04d}"
        save_picture(out, name, *painter.draw(K, T, CROP_SIDE))
        names.append(name), Ks.append(K), Ts.append(T)
    save_labels(out, names, np.array(Ks), np.array(Ts), np.tile(shape.size, (len(names), 1)))


def _framed(shape: CategoryShape, T_cam_obj: np.ndarray) -> np.ndarray:
    """Intrinsics [3, 3] of a square picture in whose middle the object is seen."""
    flat = project(shape.vertices, np.eye(3), T_cam_obj)
    low, high = flat.min(0), flat.max(0)
    focal = CROP_SIDE / (_MARGIN * (high - low).max())
    return pinhole_matrix(focal, *(0.5 * (CROP_SIDE - 1) - focal * 0.5 * (low + high)))
