# SPDX-License-Identifier: Apache-2.0
"""Refinement of a pose with what is known beside the picture: the support plane, the depth, and by them the shape."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..pose import Observation
from .category import Category
from .coarse import Target
from .observing import NO_TERMS, Terms, choose
from .outline_term import outline_term
from .problem import FeatureNoise, Priors
from .refine import CORRELATED, Refined, gauss_newton_refinement, noise_variance
from .shape_step import shape_step, shaped
from .similarity import SimilarityVolume
from .surface import Surface
from .workspace import Scratch

_FIRST_STEPS = 2  # of the pose alone, from where the observations put it
_SHAPE_STEPS = 3  # of pose and shape
_LAST_STEPS = 1
_PLAIN_STEPS = 5  # of a category without modes of shape


@dataclass(frozen=True)
class Outcome:
    """What became of the observations, see :class:`~dinemo_ros.pose.ObjectPose`, and the shape [K]."""

    source: str
    observations: tuple[Observation, ...]
    shape: np.ndarray


class ObservedRefinement:
    """Moves poses of one crop.

    Args:
        volume, target, category, scratch: as for the refinement. priors: of the target.
    """

    def __init__(self, volume: SimilarityVolume, target: Target, category: Category, priors: Priors,
                 scratch: Scratch) -> None:
        self._volume, self._target, self._category, self._scratch = volume, target, category, scratch
        self._priors, self._outline = priors, outline_term(volume.foreground)

    def __call__(self, pose: Refined) -> Outcome:
        """Refine ``pose``, found in the picture alone, in place."""
        none = np.zeros(len(self._category.modes))
        self._step(pose, self._category.surface, NO_TERMS, 0)  # so that the work space holds this pose's rendering
        choice = choose(self._target, pose, self._category, self._scratch)
        shape = none
        if choice.terms is not NO_TERMS:
            pose.t *= math.exp(choice.log_scale)
            pose.log_size += choice.log_scale
            shape = self._refine(pose, choice.terms)
        return Outcome(choice.terms.source, choice.observations, shape)

    def _refine(self, pose: Refined, terms: Terms) -> np.ndarray:
        """The shape [K]; ``pose`` is moved."""
        modes, mean = self._category.modes, self._category.surface
        shape = np.zeros(len(modes))
        if not len(modes) or not self._outline[3].any():
            self._step(pose, mean, terms, _PLAIN_STEPS)
            return shape
        self._step(pose, mean, terms, _FIRST_STEPS)
        surface = mean
        for _ in range(_SHAPE_STEPS):
            data = 1.0 / (noise_variance(pose.cosine, self._category.dimension) * CORRELATED)
            shape = shape_step(pose, shape, surface.vertices, modes, self._outline, self._target, data,
                               self._category.prior)
            surface = mean._replace(vertices=shaped(mean.vertices, modes, shape))
            self._step(pose, surface, terms, 0)
        self._step(pose, surface, terms, _LAST_STEPS)
        return shape

    def _step(self, pose: Refined, surface: Surface, terms: Terms, steps: int) -> None:
        """Evaluate ``pose`` anew and take ``steps``."""
        pose.evaluated = False
        priors = self._priors
        if terms is not NO_TERMS:
            priors = priors._replace(support=terms.support, depth=terms.depth, depth_noise=terms.depth_noise,
                                     outline=self._outline)
        noise = FeatureNoise(self._category.temperature, self._category.dimension)
        gauss_newton_refinement(self._volume, surface, noise, priors, self._target.camera, pose, steps, self._scratch)
