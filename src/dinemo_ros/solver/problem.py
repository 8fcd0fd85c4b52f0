# SPDX-License-Identifier: Apache-2.0
"""What kernels are given together: tuples, because numba reads their fields by name.

The mesh comes as :class:`~dinemo_ros.solver.surface.Surface`, work space as in ``workspace.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# What is not known beside the picture: kernels read the sizes or the first number of these.
NO_SUPPORT, NO_DEPTH, NO_DEPTH_NOISE, NO_OUTLINE = np.zeros(9), np.zeros((0, 0)), np.zeros(3), np.zeros((4, 0))


class Pinhole(NamedTuple):
    """The crop camera: square cells, the same principal point in x and y.

    Attributes:
        focal: focal length in cells.
        centre: principal point in cells, cell centres at integers.
    """

    focal: float
    centre: float


class State(NamedTuple):
    """The nine unknowns of a pose in the crop camera frame, X = R diag(exp(log_size)) V + t; written in place.

    Attributes:
        R: [3, 3] rotation, object to camera.
        t: [3] metres.
        log_size: [3] log of size over the category's mean.
    """

    R: np.ndarray
    t: np.ndarray
    log_size: np.ndarray


class FeatureNoise(NamedTuple):
    """How features scatter.

    Attributes:
        temperature: softmax temperature of the training.
        dimension: in how many directions they vary, see :func:`~dinemo_ros.solver.refine.noise_variance`.
    """

    temperature: float
    dimension: float


class FeatureMap(NamedTuple):
    """What render-and-compare reads of a crop.

    Flat, because numba takes most of a microsecond to unpack each tuple that a kernel is given.

    Attributes:
        cells: [h, w, D] float32 unit features.
        background_score: [h, w] float32 cosine of the best competing explanation, see ``similarity.py``.
        focal, centre: of the crop's :class:`Pinhole`.
        temperature, dimension: see :class:`FeatureNoise`.
    """

    cells: np.ndarray
    background_score: np.ndarray
    focal: float
    centre: float
    temperature: float
    dimension: float


class Priors(NamedTuple):
    """What is known of a pose beside the features.

    Attributes:
        size: [3] 1/sigma^2 of the log-sizes.
        sides: [2, 4] what the ROI says, see ``roi_prior.py``.
        upright: [2] see ``upright_prior.py``.
        support: [9] see ``support_term.py``.
        depth: [h, w], depth_noise: [3], see ``depth_term.py``.
        outline: [4, D] see ``outline_term.py``.
    """

    size: np.ndarray
    sides: np.ndarray
    upright: np.ndarray
    support: np.ndarray = NO_SUPPORT
    depth: np.ndarray = NO_DEPTH
    depth_noise: np.ndarray = NO_DEPTH_NOISE
    outline: np.ndarray = NO_OUTLINE


class NormalEquations(NamedTuple):
    """Of a least-squares step in the nine unknowns, order as in ``likelihood.py``; written in place.

    Attributes:
        gradient: [9] of what is to be made large.
        normal: [9, 9] its Gauss-Newton matrix.
    """

    gradient: np.ndarray
    normal: np.ndarray


class Rendering(NamedTuple):
    """A rasterised mesh; written in place by :func:`~dinemo_ros.solver.compare.rasterise`.

    Attributes:
        screen: [V, 3] where the vertices are seen: x and y in cells, 1/depth (0 too near or behind).
        face_of: [h, w] int32 face that a cell centre sees, -1 none.
        barycentric: [h, w, 3] weights of its corners.
        depth: [h, w] metres.
        seen: [h, w] probability that a cell with a face shows the object, by
            :func:`~dinemo_ros.solver.compare.compare`.
    """

    screen: np.ndarray
    face_of: np.ndarray
    barycentric: np.ndarray
    depth: np.ndarray
    seen: np.ndarray
