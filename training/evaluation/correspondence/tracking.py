# SPDX-License-Identifier: Apache-2.0
"""Points followed by their features alone: the nearest neighbour in every frame, by itself.

A point counts as hidden where its best cosine is below a threshold. This is the plainest tracker there is, so that the
figure is the features': 3DCorrEnhance measures with the inference of DINO-Tracker, whose figures are higher.
"""

from __future__ import annotations

import numpy as np

from dinemo_ros.evaluation.bootstrap import by_frames
from dinemo_training.models.teachers.protocol import Teacher

from .matching import feature_map
from .tap_vid import SIDE, Video, queries, tap_vid_measures

VISIBLE = 0.6  # cosine from which on a point counts as seen


def follow(teacher: Teacher, video: Video, side: int, mode: str, visible: float = VISIBLE) -> dict:
    """Measures of one video, and its name.

    Args:
        side: of the squares that the teacher sees, pixels. visible: least cosine of a point that counts as seen.
    """
    maps = [feature_map(teacher, frame, side) for frame in video.frames]
    points, frames = queries(video.occluded, mode)
    size = np.array(video.frames.shape[2:0:-1], dtype=float)
    found = np.zeros((len(points), len(maps), 2))
    cosines = np.zeros((len(points), len(maps)))
    for asked in np.unique(frames):
        rows = np.flatnonzero(frames == asked)
        features = maps[asked].at(video.points[points[rows], asked] * size - 0.5)
        for t, target in enumerate(maps):
            found[rows, t], cosines[rows, t] = target.nearest(features)
    return {"video": video.name, "points": len(points),
            **tap_vid_measures(frames, video.points[points] * SIDE, video.occluded[points],
                               (found + 0.5) / size * SIDE, cosines < visible, mode)}


def tap_vid_rows(videos: list[dict]) -> list[dict]:
    """A row for each video, then their mean with its interval over videos."""
    names = ("average_jaccard", "position_accuracy", "occlusion_accuracy")
    total: dict = {"video": "mean of videos", "points": sum(row["points"] for row in videos)}
    for name in names:
        values = np.array([row[name] for row in videos])
        total |= {name: float(values.mean()), f"{name}_interval": by_frames(values)}
    return [*videos, total] if len(videos) > 1 else videos
