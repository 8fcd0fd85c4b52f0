# SPDX-License-Identifier: Apache-2.0
"""Many crops at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import SimpleQueue

import numpy as np

from ..process.thread_pool import ThreadPool
from .category import Category
from .coarse import Target
from .crop_solver import CropSolver, SolvedPose, Start


class PoseSolver:
    """Pose hypotheses of one category from feature maps; each crop is solved by one thread.

    Args:
        category: from :func:`dinemo_ros.solver.prepare_category`.
        threads: that share the crops.
    """

    def __init__(self, category: Category, threads: int = 2) -> None:
        self._pool = ThreadPool(threads, "dinemo_solver")
        self._solvers: SimpleQueue[CropSolver] = SimpleQueue()  # borrowed by a thread for one crop
        for _ in range(self._pool.threads):
            self._solvers.put(CropSolver(category))
        self.timings: dict[str, float] = {}

    def solve(self, features: np.ndarray, target: Target) -> list[SolvedPose]:
        """Hypotheses, likeliest first, of a feature map [D, h, h] float32 seen through ``target``'s crop camera."""
        return self.solve_batch([features], [target])[0]

    def solve_batch(self, features: Sequence[np.ndarray], targets: Sequence[Target]) -> list[list[SolvedPose]]:
        """:meth:`solve` for every feature map [D, h, h] with its target."""
        return self._run(lambda solver, k: solver.solve(features[k], targets[k]), len(targets))

    def follow_batch(self, features: Sequence[np.ndarray], targets: Sequence[Target],
                     starts: Sequence[Start]) -> list[list[SolvedPose]]:
        """Per crop the pose near its start, then its flip.

        features: [D, h, h] float32 each; see :meth:`CropSolver.follow`.
        """
        return self._run(lambda solver, k: solver.follow(features[k], targets[k], starts[k]), len(targets))

    def _run(self, job: Callable[[CropSolver, int], list[SolvedPose]], count: int) -> list[list[SolvedPose]]:
        """job(solver, k) for every k; ``timings`` become milliseconds of wall-clock time per stage."""
        spent: list[dict[str, float]] = []

        def borrow(k: int) -> list[SolvedPose]:
            solver = self._solvers.get()
            solver.timings = dict.fromkeys(solver.timings, 0.0)
            try:
                return job(solver, k)
            finally:
                spent.append(solver.timings)
                self._solvers.put(solver)

        solved = self._pool.map(borrow, count)
        workers = min(count, self._pool.threads)
        self.timings = {stage: sum(times[stage] for times in spent) / workers for stage in spent[0]}
        return solved
