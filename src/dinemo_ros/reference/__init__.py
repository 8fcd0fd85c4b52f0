# SPDX-License-Identifier: Apache-2.0
"""The published ways to a pose, as yardsticks for the solver of this package. No part of a running robot.

``analysis_by_synthesis`` is the inference of NeMo and NOVUM, ``pnp`` the classic matches-and-RANSAC. Both take what
:class:`dinemo_ros.solver.PoseSolver` takes, a feature map and a target: all three can be compared on the same input.
Only the former needs torch, and pytorch3d is optional.
"""
