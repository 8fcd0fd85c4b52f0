# SPDX-License-Identifier: Apache-2.0
"""Features to poses: similarity volume, coarse search, refinement on SE(3), score and covariance.

Every distance inside is measured in feature *cells*, camera coordinates are those of the crop camera. The kernels are
compiled by numba, release the GIL and are spread over Python threads: numba's own thread pool may not be entered from
two callers at once, and a ROS executor is two callers. Each kernel has a readable twin in ``reference.py``.
"""

from .category import prepare_category
from .crop_solver import SolvedPose, Start
from .solve import PoseSolver

__all__ = ["PoseSolver", "SolvedPose", "Start", "prepare_category"]
