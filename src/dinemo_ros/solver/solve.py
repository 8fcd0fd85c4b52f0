# SPDX-License-Identifier: Apache-2.0
"""Many crops at once: which thread solves what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import numpy as np

from .category import Category
from .coarse import Target
from .crop_solver import CropSolver, SolvedPose, Start


class PoseSolver:
    """Pose hypotheses of one category from feature maps.

    A single crop is cut into pieces for all threads; of several crops each thread solves whole ones, which needs no
    waiting for each other.

    Args:
        category: from :func:`dinemo_ros.solver.prepare_category`.
        threads: Python threads that share the work (the kernels release the GIL).
    """

    def __init__(self, category: Category, threads: int = 2) -> None:
        self._threads = max(1, threads)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="dinemo_solver")
        self._shared = CropSolver(category, self._each if self._threads > 1 else in_turn, self._threads)
        self._whole: SimpleQueue[CropSolver] = SimpleQueue()  # borrowed by a thread for one crop
        for _ in range(self._threads if self._threads > 1 else 0):
            self._whole.put(CropSolver(category, in_turn, 1))
        self.timings: dict[str, float] = {}

    def solve(self, features: np.ndarray, target: Target) -> list[SolvedPose]:
        """Hypotheses, likeliest first, of a feature map [D, h, h] float32 seen through ``target``'s crop camera."""
        return self.solve_batch([features], [target])[0]

    def solve_batch(self, features: Sequence[np.ndarray], targets: Sequence[Target]) -> list[list[SolvedPose]]:
        """:meth:`solve` for every feature map [D, h, h] with its target."""
        return self._run(lambda solver, k: solver.solve(features[k], targets[k]), len(targets))

    def follow_batch(self, features: Sequence[np.ndarray], targets: Sequence[Target],
                     starts: Sequence[Start]) -> list[list[SolvedPose]]:
        """Per crop the pose near its start, then its flip; see :meth:`CropSolver.follow`."""
        return self._run(lambda solver, k: solver.follow(features[k], targets[k], starts[k]), len(targets))

    def _run(self, job: Callable[[CropSolver, int], list[SolvedPose]], count: int) -> list[list[SolvedPose]]:
        """job(solver, k) for every k; ``timings`` become milliseconds of wall-clock time per stage."""
        if count == 1 or self._threads == 1:
            self._shared.timings = dict.fromkeys(self._shared.timings, 0.0)
            solved = [job(self._shared, k) for k in range(count)]
            self.timings = self._shared.timings
            return solved
        results: list[list[SolvedPose]] = [[] for _ in range(count)]
        spent: list[dict[str, float]] = []

        def borrow(k: int) -> None:
            solver = self._whole.get()
            solver.timings = dict.fromkeys(solver.timings, 0.0)
            try:
                results[k] = job(solver, k)
            finally:
                spent.append(solver.timings)
                self._whole.put(solver)

        self._each(borrow, count)
        workers = min(count, self._threads)
        self.timings = {stage: sum(times[stage] for times in spent) / workers for stage in self._shared.timings}
        return results

    def _each(self, function: Callable[[int], None], count: int) -> None:
        """function(0) ... function(count - 1) on the pool; an exception of any call is raised here."""
        for _ in self._pool.map(function, range(count)):
            pass


def in_turn(function: Callable, count: int) -> list:
    """[function(0), ..., function(count - 1)], where threads would be in the way."""
    return [function(k) for k in range(count)]
