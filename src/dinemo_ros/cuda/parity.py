# SPDX-License-Identifier: Apache-2.0
"""Whether another solver finds the CPU's poses: asked at every start, so that a broken driver costs time, no pose."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..camera.crop import CropCamera, crop_camera, warp_crop
from ..camera.pinhole import Camera
from ..errors import BackendError
from ..features import FeatureExtractor
from ..inference import CpuPipeline, Pipeline, Solved
from ..model.bundle import Bundle
from ..model.mirror import with_counterparts
from ..model.symmetry import Symmetry
from ..solver import Start
from ..solver.coarse import Target
from ..solver.nearest_view import _CELLS, nearest_views
from ..solver.surface import prepare_surface

if TYPE_CHECKING:
    from .inference import TorchPipeline

_VIEWS = 3
# float32 and float64 end hundredths of a degree apart; only where two hypotheses are nearly equal do they choose apart,
# and in these pictures without noise they are not.
_ANGLE, _DISTANCE = math.radians(2), 0.02
# OpenCV rounds what it samples to 1/32 pixel and the device does not: in this smooth picture a grey level, after which
# no cell of the shipped networks has a cosine below 0.9999. Crops in another order, shifted by three pixels or in other
# colours have means of 0.88 to 0.99 and worse cells; 16 bits stay above.
_COSINE = 0.99


def check(bundle: Bundle, reference: CpuPipeline, pipeline: Pipeline, flip_tta: bool = False) -> None:
    """BackendError unless both find, and then follow to, the same poses in pictures of the bundle's own features.

    flip_tta: as flip test-time augmentation.
    """
    features, targets = own_views(bundle, flip_tta)
    known = bundle.card.symmetry
    # Where a handle may be hidden, or is left out as here where cells are coarse, the turn about the axis may differ.
    symmetry = Symmetry("z", 0) if known.uncertain_azimuth else known
    solved = reference.solve_features(features, targets, None, flip_tta)
    _require_same(solved, pipeline.solve_features(features, targets, None, flip_tta), symmetry)
    starts = [Start(poses[0].T_crop_obj, poses[0].size) for poses in solved]
    _require_same(reference.solve_features(features, targets, starts, flip_tta),
                  pipeline.solve_features(features, targets, starts, flip_tta), symmetry)


def check_features(bundle: Bundle, extractor: FeatureExtractor, pipeline: TorchPipeline) -> None:
    """BackendError unless crops that the device makes have the features of crops that OpenCV makes."""
    for camera, crops, image in own_crops(bundle):
        pixels = np.empty((len(crops), crops[0].size, crops[0].size, 3), np.uint8)
        for crop, out in zip(crops, pixels, strict=True):
            warp_crop(image, camera, crop, out)
        expected, found = extractor(pixels), pipeline.features(image, camera, crops)
        found = found if isinstance(found, np.ndarray) else found.cpu().numpy()
        cosine = (expected * found).sum(1).min() if expected.shape == found.shape else 0.0
        if not cosine > _COSINE:
            lens = "with" if camera.distortion else "without"
            raise BackendError(f"the GPU's crops of a camera {lens} distortion have other features than the CPU's: "
                               f"smallest cosine {cosine:.3f}, needed is {_COSINE}")


def own_crops(bundle: Bundle) -> list[tuple[Camera, list[CropCamera], np.ndarray]]:
    """A pinhole camera and one with a lens, each with crops that show its image as it is and at half the size.

    The image is uint8 [H, W, 3] RGB, three by four crops large, and the same at every call.
    """
    spec = bundle.card.image
    height, width = 3 * spec.size, 4 * spec.size
    pinhole = Camera.from_hfov(width, height, 60.0)
    lens = Camera(width, height, pinhole.K, "plumb_bob", (-0.3, 0.1, 0.001, -0.002, 0.0))
    image, side = _picture(height, width), spec.size / spec.margin
    boxes = [np.array([x, y, x + k * side, y + k * side]) for x, y, k in ((0.3 * side, side, 1.2), (side, 10.0, 2.4))]
    return [(camera, [crop_camera(camera, box, spec.size, spec.margin) for box in boxes], image)
            for camera in (pinhole, lens)]


def _picture(height: int, width: int) -> np.ndarray:
    """uint8 [height, width, 3] smooth colours at two scales, other ones in each channel."""
    rng, image = np.random.default_rng(0), np.full((height, width, 3), 120, np.float32)
    for cells, strength in ((4, 70), (24, 40)):
        coarse = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        image += strength * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(image, 0, 255).astype(np.uint8)


def _require_same(expected: Solved, found: Solved, symmetry: Symmetry) -> None:
    """BackendError unless the first pose of each crop is the same."""
    for a, b in zip(expected, found, strict=True):
        if not a or not b:
            raise BackendError("the GPU's solver finds nothing in a picture of the object")
        angle = symmetry.distance(a[0].T_crop_obj[:3, :3], b[0].T_crop_obj[:3, :3])
        apart = np.linalg.norm(a[0].T_crop_obj[:3, 3] - b[0].T_crop_obj[:3, 3]) / a[0].T_crop_obj[2, 3]
        if not (angle <= _ANGLE and apart <= _DISTANCE):
            raise BackendError(f"the GPU's solver finds other poses than the CPU's: {math.degrees(angle):.1f} degrees "
                               f"and {100 * apart:.1f} % of the distance apart")


def own_views(bundle: Bundle, flip_tta: bool = False) -> tuple[np.ndarray, list[Target]]:
    """Feature maps of the mesh seen from around it before clutter, and their targets.

    They are [_VIEWS, D, h, h] float32, of unit length per cell; ``flip_tta``: [_VIEWS, 2 D, h, h] with those of the
    mirror image beside them.
    """
    mesh = with_counterparts(bundle.mesh) if flip_tta else bundle.mesh
    card, surface = bundle.card, prepare_surface(mesh)
    count = len(surface.vertices) // 4 * 4
    views = nearest_views(surface, card.search, count, card.symmetry)
    h = card.image.size // card.image.stride
    centre = 0.5 * (h - 1)
    maps = np.tile(mesh.clutter[0][:, None, None], (_VIEWS, 1, h, h)).astype(np.float32)
    targets = []
    for k in range(_VIEWS):
        g = k * len(views.rotations) // _VIEWS
        part = slice(views.first[g], views.first[g + 1])
        j, i = np.round(centre + _CELLS * views.place[:, part]).astype(int).clip(0, h - 1)
        maps[k, :, i, j] = surface.features[views.vertex[part]]
        box = np.array([j.min(), i.min(), j.max(), i.max()]) + [-0.5, -0.5, 0.5, 0.5]
        targets.append(Target(box, np.zeros(4, np.uint8), 3.0 * h, centre))
    return maps, targets
