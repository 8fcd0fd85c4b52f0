# SPDX-License-Identifier: Apache-2.0
"""Everything about a category that the solver prepares once when a bundle is loaded; shared by all threads."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..model.azimuth import NOT_FITTED, AzimuthSpec
from ..model.bundle import Card
from ..model.mirror import counterparts, side_by_side
from ..model.neural_mesh import NeuralMesh
from ..model.symmetry import Symmetry
from .nearest_view import NearestViews, nearest_views
from .surface import Surface, edge_products, prepare_surface, surface_modes
from .upright_prior import upright_prior
from .views import ViewTable, view_table

_SEARCH_VERTICES = 400  # evenly spread vertices whose similarity is computed for every cell
_TILT = math.radians(9.0)  # standard deviation of the axis where nobody has measured it
COARSE_SAMPLES = 80  # visible ones per viewpoint


class Spread(NamedTuple):
    """Standard deviations of poses found in the picture alone.

    Attributes:
        log_scale: of the logarithm of the object's scale, and so of its distance.
        tilt: of its axis, radians.
    """

    log_scale: float
    tilt: float


@dataclass(frozen=True)
class Category:
    """A neural mesh ready to be searched for.

    Attributes:
        surface, views, nearest: see their modules.
        search_features: [V', D] float32 of the surface's first vertices, V' a multiple of 4.
        clutter: [K, D] float32.
        temperature: softmax temperature of the training.
        evidence: "clutter" or "posterior", see ``similarity.py``.
        mean_size: [3] metres; prior: [3] 1/sigma^2 of the log-sizes; upright: [2], see ``upright_prior.py``.
        dimension: in how many directions the features vary, 1 to D.
        covariance_scale, depth_scale: of the bundle's card.
        scales: [S] distances of the coarse search, relative to the ROI's.
        symmetry: of the category.
        modes: [K, V, 3] metres, see ``shape_step.py``; the vertices in the surface's order.
        spread: how far poses from the picture alone are off, see :func:`spread_of`.
        azimuth: how far the evidence of all turns is believed.
    """

    surface: Surface
    views: ViewTable
    nearest: NearestViews
    search_features: np.ndarray
    clutter: np.ndarray
    temperature: float
    evidence: str
    mean_size: np.ndarray
    prior: np.ndarray
    upright: np.ndarray
    dimension: float
    covariance_scale: float
    depth_scale: float
    scales: np.ndarray
    symmetry: Symmetry
    modes: np.ndarray
    spread: Spread
    azimuth: AzimuthSpec = NOT_FITTED

    @property
    def turn_scale(self) -> float:
        """What the variance of a cell's cosine is multiplied by where turns are compared."""
        return self.azimuth.scale or self.covariance_scale


def prepare_category(mesh: NeuralMesh, card: Card, evidence: str = "clutter") -> Category:
    """The category of a bundle's mesh and card.

    evidence: "clutter" (NeMo's choice) or "posterior" (softmax over vertices and clutter), see ``similarity.py``.
    """
    surface = prepare_surface(mesh)
    search = min(_SEARCH_VERTICES, len(surface.vertices)) // 4 * 4
    views = view_table(surface, card.search, search, COARSE_SAMPLES, card.symmetry)
    nearest = nearest_views(surface, card.search, search, card.symmetry)
    return Category(
        surface, views, nearest, np.ascontiguousarray(surface.features[:search]), np.ascontiguousarray(mesh.clutter),
        card.features.temperature, evidence, np.array(card.size_prior.mean_m),
        1.0 / np.array(card.size_prior.log_sigma) ** 2, upright_prior(card.search, card.score.covariance_scale),
        effective_dimension(surface.features), card.score.covariance_scale, card.calibration.depth_scale,
        np.array(card.search.scale), card.symmetry, surface_modes(mesh), spread_of(card),
        card.azimuth)


def spread_of(card: Card) -> Spread:
    """What the bundle's ``uncertainty`` has measured; without it what the size prior leaves open, and nine degrees."""
    prior = float(np.sum(np.array(card.size_prior.log_sigma) ** -2.0) ** -0.5)
    known = card.uncertainty
    if not known:
        return Spread(prior, _TILT)
    _, tilt_floor, _, along_floor, _ = known.floor
    return Spread(math.hypot(prior, along_floor) * known.along[0], max(tilt_floor * known.tilt[0], _TILT))


def for_flip_tta(category: Category) -> Category:
    """The same for the features of crops and their mirror images side by side, see ``model/mirror.py``."""
    surface, search = category.surface, len(category.search_features)
    features = side_by_side(surface.features, surface.features[counterparts(surface.vertices, surface.normals)])
    surface = surface._replace(features=features, gram=edge_products(features, surface.faces))
    return replace(category, surface=surface, search_features=np.ascontiguousarray(features[:search]),
                   clutter=side_by_side(category.clutter, category.clutter), dimension=effective_dimension(features))


def effective_dimension(features: np.ndarray) -> float:
    """Participation ratio of features [V, D]: in how many directions they really vary, 1 to D."""
    spread = np.linalg.eigvalsh(np.cov(features.T.astype(np.float64)))
    return float(spread.sum() ** 2 / np.sum(spread**2))
