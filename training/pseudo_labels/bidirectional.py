# SPDX-License-Identifier: Apache-2.0
"""From a photograph to candidate poses by bidirectional correspondence: match, fit, score."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dinemo_ros.geometry import rotation_angle, rotation_from_viewpoint, se3

from ..data.photographs import Photo, photo_camera
from ..models.category_shape import CategoryShape
from ..models.teachers import Teacher, prepare_picture
from .correspondence import Comparison, MatchConfig, Matches, compare, match
from .mirror_check import Candidate
from .pose_from_matches import MatchedPose, fit_pose
from .template_bank import SIDE, TemplateBank
from .view_vote import Vote, view_evidence, vote

_MIN_MATCHES = 6     # a pose and three lengths of the box from fewer points would only repeat the priors
_STARTS = 8          # azimuths from which a pose is fitted where there is no vote
_SEPARATE_DEG = 40.0


class BidirectionalLabeller:
    """Candidates of a photograph, best first; see :class:`~dinemo_training.pseudo_labels.correspondence.MatchConfig`
    for what can be off.

    Args:
        teacher: what the bank was built with. bank: template views. shape: the category's mean shape.
        side: pixels that the photograph is brought to, as for the bank.
    """

    def __init__(self, teacher: Teacher, bank: TemplateBank, shape: CategoryShape, config: MatchConfig | None = None,
                 side: int = SIDE) -> None:
        self.teacher, self.bank, self.shape, self.side = teacher, bank, shape, side
        self.config = config or MatchConfig()
        self.K = photo_camera(side).K

    def __call__(self, photo: Photo) -> list[Candidate]:
        return [candidate for candidate, _ in self.explain(self.compare(photo))]

    def compare(self, photo: Photo) -> Comparison | None:
        """The photograph against the bank, before any option is applied; None without an object."""
        features = self.teacher(prepare_picture(photo.image, self.side))[0].float().cpu()
        with torch.inference_mode():
            return compare(features, self._foreground(photo, features), self.bank)

    def votes(self, photo: Photo) -> Vote | None:
        """The vote of all template views for a photograph's orientation."""
        comparison = self.compare(photo)
        return None if comparison is None else self.vote_of(comparison)

    def vote_of(self, comparison: Comparison) -> Vote:
        """The same of a photograph that was compared already."""
        scores = comparison.similarity - self.config.layout * comparison.displacement
        return vote(view_evidence(scores, self.bank.visible), self.bank, self.config.sharpness)

    def explain(self, comparison: Comparison | None) -> list[tuple[Candidate, Matches]]:
        """Candidates, best first, with the matches behind them."""
        if comparison is None:
            return []
        with torch.inference_mode():
            found = match(comparison, self.bank, self.config)
        explained = [pair for matches in found for pair in self._candidates(matches, comparison.grid)]
        return sorted(explained, key=lambda pair: -pair[0].score)

    def _foreground(self, photo: Photo, features: Tensor) -> Tensor:
        """[h, w] 0..1: the photograph's mask, what the teacher itself calls object, or else the photograph's box."""
        h, w = features.shape[-2:]
        if photo.mask is None and hasattr(self.teacher, "foreground"):
            return self.teacher.foreground(features)
        mask = photo.mask if photo.mask is not None else photo.box_mask()
        return torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(mask)[None].float() / 255, (h, w))[0]

    def _candidates(self, matches: Matches, grid: tuple[int, int]) -> list[tuple[Candidate, Matches]]:
        if np.count_nonzero(matches.weights) < _MIN_MATCHES:
            return []
        pixels = self.pixels(matches, grid)
        points = self.bank.points[matches.vertices]
        starts = [matches.rotation] if matches.rotation is not None else self._anywhere()
        if not self.config.fit and matches.rotation is not None:
            T = se3(matches.rotation, [0, 0, self.K[0, 0] * self.shape.size[0] / self.side])
            return [(Candidate(T, self.shape.size, matches.confidence), matches)]
        poses = [fit_pose(points, pixels, matches.weights, self.K, R, self.shape.size, self.side) for R in starts]
        return [(Candidate(p.T_cam_obj, p.size, p.inliers * matches.confidence), matches) for p in _separate(poses)]

    def pixels(self, matches: Matches, grid: tuple[int, int]) -> np.ndarray:
        """Matched places [N, 2] in pixels of a picture of ``side``, for a map of ``grid`` (h, w) cells."""
        return (matches.cells + 0.5) * (self.side / np.array([grid[1], grid[0]])) - 0.5

    def _anywhere(self) -> list[np.ndarray]:
        elevation = float(np.median(self.bank.elevations))
        return [rotation_from_viewpoint(a, elevation, 0.0) for a in np.arange(_STARTS) * 2 * np.pi / _STARTS]


def _separate(poses: list[MatchedPose]) -> list[MatchedPose]:
    """Poses that differ, the one with the most inliers first."""
    kept: list[MatchedPose] = []
    for pose in sorted(poses, key=lambda p: -p.inliers):
        if all(rotation_angle(pose.T_cam_obj[:3, :3], other.T_cam_obj[:3, :3]) > np.deg2rad(_SEPARATE_DEG)
               for other in kept):
            kept.append(pose)
    return kept
