# SPDX-License-Identifier: Apache-2.0
"""Temporal consistency: frames taken in order around one object turn by about the same step, in the same direction.

The votes of all frames together decide on one path of azimuths (:mod:`dinemo_training.sequences.posed_templates`: a
full turn in equal steps, or a smooth path); each frame then takes its own candidate nearest to that path, or gets no
label.
"""

from __future__ import annotations

import numpy as np

from dinemo_ros.geometry import viewpoint_from_rotation, wrapped

from ..sequences.posed_templates import BINS, agreement, settled_path
from .mirror_check import Candidate
from .view_vote import Vote

_OFF_DEG = 30.0  # a candidate farther from the path than this is not the frame's pose


def azimuth_histogram(vote: Vote, mirrored: Vote | None = None) -> np.ndarray:
    """[BINS] share of a vote per azimuth, all elevations together; agreed with the mirror image's where given."""
    plain = _histogram(vote)
    return plain / plain.sum() if mirrored is None else agreement(plain, _histogram(mirrored))


def _histogram(vote: Vote) -> np.ndarray:
    bins = np.round(vote.grid.azimuths / (2 * np.pi) * BINS).astype(int) % BINS
    return np.bincount(bins, weights=vote.share, minlength=BINS)


def temporally_consistent_labels(candidates: list[list[Candidate]], votes: np.ndarray) -> list[Candidate | None]:
    """One candidate per frame, or None.

    Args:
        candidates: of every frame, in order. votes: [N, BINS] shares of every frame (:func:`azimuth_histogram`).
    """
    _, path, _ = settled_path(votes)
    return [_nearest(found, azimuth) for found, azimuth in zip(candidates, path, strict=True)]


def _nearest(candidates: list[Candidate], azimuth: float) -> Candidate | None:
    """The best-scored of the candidates that look from about this azimuth (radians)."""
    near = [c for c in candidates
            if abs(wrapped(viewpoint_from_rotation(c.rotation)[0] - azimuth)) < np.deg2rad(_OFF_DEG)]
    return max(near, key=lambda c: c.score, default=None)
