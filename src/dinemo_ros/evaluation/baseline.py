# SPDX-License-Identifier: Apache-2.0
"""Baselines that every table can carry: the nearest of a few hundred views of the bundle's mesh, without any search.

``outline``: histograms of oriented gradients (Dalal, Triggs, CVPR 2005) of the picture against those of the shaded mesh
    seen from each view. Nothing is learnt; what remains is what the mere shape of the category says.
``features``: the bundle's own network against the rendered vertex features of each view, cell by cell, the mean cosine
    decides. It has the trained features but no matching over shifts and scales, no clutter and no refinement.

Both put the view where the region of interest is and take the distance from its size. They cannot find an object, so
they are given the box of the whole object, the covered part included: more than any other row of the table knows.
A baseline of untrained network features against aligned sequences is
``dinemo_training.evaluation.nearest_view_baseline`` (needs torch).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..camera.crop import CropCamera, check_roi, crop_camera, warp_crop
from ..camera.pinhole import Camera
from ..drawing.painters_rasterizer import painted_faces
from ..features import FeatureExtractor
from ..geometry import rotation_from_viewpoint, se3
from ..model.bundle import Bundle
from ..model.neural_mesh import NeuralMesh
from ..pose import ObjectPose
from .sample import Roi

KINDS = ("outline", "features")
_AZIMUTHS, _ELEVATIONS_DEG = 72, (-5.0, 5.0, 15.0, 25.0, 40.0)
_HIGHER_STEP_DEG = 15.0
_MARGIN = 1.15  # of the box within a view's picture, as in the crops
_SIDE = 64  # pixels of the shaded views
_ORIENTATIONS = 9
_LIGHT = np.array([0.3, 0.5, 0.8]) / math.sqrt(0.98)


@dataclass(frozen=True)
class View:
    """The mesh from one side: R [3, 3], extent [2] metres of its picture in x and y, and the face seen per pixel."""

    R: np.ndarray
    extent: np.ndarray
    faces: np.ndarray  # [S, S] int, -1 where no face is seen


def elevations_of(search_deg: Sequence[float]) -> tuple[float, ...]:
    """Elevations of the views in degrees: those of all categories, and higher ones every 15 degrees as far up as the
    bundle itself searches (``search_deg``), so that a cup from above is as near to a view as a car."""
    elevations = list(_ELEVATIONS_DEG)
    while elevations[-1] < max(search_deg):
        elevations.append(min(elevations[-1] + _HIGHER_STEP_DEG, 90.0))
    return tuple(elevations)


def views_of(mesh: NeuralMesh, side: int, elevations_deg: Sequence[float] = _ELEVATIONS_DEG) -> list[View]:
    """Orthographic views of the mesh, its larger side filling 1 / 1.15 of ``side`` pixels."""
    result = []
    for elevation in elevations_deg:
        for azimuth in 2 * np.pi * np.arange(_AZIMUTHS) / _AZIMUTHS:
            R = rotation_from_viewpoint(float(azimuth), math.radians(elevation), 0.0)
            points = mesh.vertices @ R.T
            low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
            scale = side / (_MARGIN * (high - low).max())
            pixels = (points[:, :2] - 0.5 * (low + high)) * scale + 0.5 * (side - 1)
            result.append(View(R, high - low, painted_faces(pixels, points[:, 2], mesh.faces, side)))
    return result


class NearestView:
    """Estimator of one kind; its poses have the category's mean size.

    Args:
        kind: one of :data:`KINDS`.
        extractor: the bundle's network, for ``"features"``.
    """

    def __init__(self, bundle: Bundle, kind: str, extractor: FeatureExtractor | None = None) -> None:
        spec = bundle.card.image
        self._category, self._size = bundle.card.category, np.array(bundle.card.size_prior.mean_m)
        self._describe = {"outline": self._gradients, "features": self._features}[kind]
        self._crop_side, self._extractor = spec.size, extractor
        elevations = elevations_of(bundle.card.search.elevation_deg)
        if kind == "features":
            self._views = views_of(bundle.mesh, spec.size // spec.stride, elevations)
            templates = [rendered_features(view, bundle.mesh) for view in self._views]
        else:
            self._views = views_of(bundle.mesh, _SIDE, elevations)
            templates = [oriented_gradients(shaded(view, bundle.mesh)) for view in self._views]
        self._templates = np.stack(templates)

    def estimate(self, image: np.ndarray, camera: Camera, rois: Sequence[Roi] | None = None) -> list[ObjectPose]:
        """One pose per ROI (pixels) in a picture uint8 [H, W, 3]; without ROIs the whole picture is one.

        Raises:
            RoiError: a ROI is none, or lies outside of the picture.
        """
        rois = [(0.0, 0.0, float(camera.width), float(camera.height))] if rois is None else rois
        return sorted((self._nearest(image, camera, roi) for roi in rois), key=lambda pose: -pose.score)

    def _nearest(self, image: np.ndarray, camera: Camera, roi: Roi) -> ObjectPose:
        crop = crop_camera(camera, check_roi(roi, camera.width, camera.height), self._crop_side, _MARGIN)
        picture = np.empty((1, self._crop_side, self._crop_side, 3), np.uint8)
        warp_crop(image, camera, crop, picture[0])
        scores = self._templates @ self._describe(picture)
        best = int(np.argmax(scores))
        return ObjectPose(self._placed(self._views[best], crop), float(np.clip(scores[best], 0.0, 1.0)), self._size,
                          category=self._category, covariance=np.full((6, 6), np.nan), roi=roi)

    def _gradients(self, picture: np.ndarray) -> np.ndarray:
        grey = cv2.cvtColor(picture[0], cv2.COLOR_RGB2GRAY)
        return oriented_gradients(cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA))

    def _features(self, picture: np.ndarray) -> np.ndarray:
        return self._extractor(picture)[0].ravel()

    @staticmethod
    def _placed(view: View, crop: CropCamera) -> np.ndarray:
        """T_cam_obj with the view in the middle of the crop, as far away as the larger side of its box says."""
        box = crop.box
        pixels = max(box[2] - box[0], box[3] - box[1])
        distance = crop.focal * view.extent.max() / pixels
        return se3(crop.R_cam_crop, np.zeros(3)) @ se3(view.R, np.array([0.0, 0.0, distance]))


def rendered_features(view: View, mesh: NeuralMesh) -> np.ndarray:
    """[D * S * S] vertex features where the mesh is seen, scaled so that a product is the mean cosine over it."""
    seen = view.faces >= 0
    maps = np.zeros((*view.faces.shape, mesh.features.shape[1]), np.float32)
    mean = mesh.features[mesh.faces[view.faces[seen]]].mean(axis=1)
    maps[seen] = mean / np.linalg.norm(mean, axis=1, keepdims=True) / max(seen.sum(), 1)
    return maps.transpose(2, 0, 1).ravel()


def shaded(view: View, mesh: NeuralMesh) -> np.ndarray:
    """uint8 [S, S]: grey object, lit from above, on lighter grey."""
    normals = mesh.normals[mesh.faces].mean(axis=1)
    light = np.clip(normals @ _LIGHT, 0, 1)
    return np.where(view.faces >= 0, 60 + 150 * light[np.maximum(view.faces, 0)], 200).astype(np.uint8)


def oriented_gradients(grey: np.ndarray) -> np.ndarray:
    """[N] unit descriptor of a picture uint8 [S, S], S a multiple of 8: cells of 8 pixels, 9 orientations without sign,
    overlapping blocks of 2 x 2 cells each brought to length one."""
    x, y = (cv2.Sobel(grey, cv2.CV_32F, i, 1 - i, ksize=1) for i in (1, 0))
    strength, bins = np.hypot(x, y), np.arctan2(y, x) % np.pi / np.pi * _ORIENTATIONS
    low = np.floor(bins).astype(int)
    layers = np.zeros((_ORIENTATIONS, *grey.shape), np.float32)
    rows, columns = np.indices(grey.shape)
    for step, share in ((0, 1 - (bins - low)), (1, bins - low)):  # shared between the two nearest orientations
        layers[(low + step) % _ORIENTATIONS, rows, columns] += strength * share
    cells = layers.reshape(_ORIENTATIONS, grey.shape[0] // 8, 8, grey.shape[1] // 8, 8).sum(axis=(2, 4))
    blocks = np.stack([cells[:, i:cells.shape[1] - 1 + i, j:cells.shape[2] - 1 + j] for i in (0, 1) for j in (0, 1)])
    blocks /= np.linalg.norm(blocks, axis=(0, 1)) + 1.0
    return (blocks / max(float(np.linalg.norm(blocks)), 1e-9)).ravel()
