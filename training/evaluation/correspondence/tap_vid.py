# SPDX-License-Identifier: Apache-2.0
"""TAP-Vid (Doersch et al., arXiv 2211.03726): points followed through a video, and whether they are seen.

The data set itself was never at hand here, the measures were tried on tracks that tests make. It is published as one
pickle, which this package does not open: a pickle may run anything. Once, where you trust it, make an npz of each
video, with the arrays of its dictionary under their names (docs/evaluation.md has the lines):

    DIR/NAME.npz    video [T, H, W, 3] uint8 RGB; points [N, T, 2] x, y as shares of width and height; occluded [N, T]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dinemo_ros.errors import DatasetError, DocumentError
from dinemo_ros.io.array_file import read_arrays
from dinemo_ros.io.quoting import shown_path

THRESHOLDS = (1, 2, 4, 8, 16)  # pixels of a picture of SIDE x SIDE
SIDE = 256
MODES = ("first", "strided")
STRIDE = 5  # frames between two queries of a point in the mode "strided"


@dataclass(frozen=True)
class Video:
    """A video and what is known of its points.

    Attributes:
        name: of the file. frames: [T, H, W, 3] uint8 RGB.
        points: [N, T, 2] shares of width and height, 0 the left and upper edge. occluded: [N, T].
    """

    name: str
    frames: np.ndarray
    points: np.ndarray
    occluded: np.ndarray


def read_videos(folder: Path, limit: int | None = None) -> Iterator[Video]:
    """The videos of a folder by name, one at a time.

    Raises:
        DatasetError: there are none, or one is not what the layout says.
    """
    files = sorted(folder.glob("*.npz"))[:limit]
    if not files:
        raise DatasetError(f"{shown_path(folder)}: holds no video NAME.npz; make them of the published file as "
                           "docs/evaluation.md says")
    return map(_read, files)


def _read(path: Path) -> Video:
    try:
        found = read_arrays(path, ("video", "points", "occluded"), largest=4 << 30)
    except DocumentError as error:
        raise DatasetError(f"{shown_path(path)}: {error}") from error
    frames, points, occluded = found["video"], found["points"], found["occluded"].astype(bool)
    right = (frames.ndim == 4 and frames.shape[3] == 3 and frames.dtype == np.uint8 and points.ndim == 3
             and points.shape[1:] == (len(frames), 2) and occluded.shape == points.shape[:2] and points.size)
    if not right or not np.isfinite(points[~occluded]).all():
        raise DatasetError(f"{shown_path(path)}: must hold video [T, H, W, 3] uint8, points [N, T, 2] and occluded "
                           "[N, T] of the same T")
    return Video(path.stem, frames, points.astype(float), occluded)


def queries(occluded: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Which points are asked for and in which frame: indices [Q] of points, [Q] of frames.

    "first": each point where it is seen first. "strided": each point in every fifth frame where it is seen.
    """
    if mode == "first":
        seen = np.flatnonzero(~occluded.all(axis=1))
        return seen, (~occluded[seen]).argmax(axis=1)
    frames = np.arange(0, occluded.shape[1], STRIDE)
    points, places = np.nonzero(~occluded[:, frames])
    return points, frames[places]


def tap_vid_measures(query_frames: np.ndarray, tracks: np.ndarray, occluded: np.ndarray, found: np.ndarray,
                     said_occluded: np.ndarray, mode: str) -> dict[str, float]:
    """The measures of one video, as fractions.

    ``average_jaccard``: mean over the thresholds of true positives over true positives, false negatives and false
    positives, a point being positive where it is said to be seen, and true where it is and is near enough.
    ``position_accuracy``: mean over the thresholds of the share of seen points that are near enough, whatever was said.
    ``occlusion_accuracy``: share of right answers to whether a point is seen. The frame of the query does not count; in
    the mode "first" nor do those before it.

    Args:
        query_frames: [Q]. tracks, found: [Q, T, 2] truth and answer in pixels of SIDE x SIDE.
        occluded, said_occluded: [Q, T].
    """
    frames = np.arange(tracks.shape[1])[None]
    counts = frames > query_frames[:, None] if mode == "first" else frames != query_frames[:, None]
    seen, said = ~occluded & counts, ~said_occluded & counts
    distance = np.linalg.norm(tracks - found, axis=2)
    jaccard, position = [], []
    for threshold in THRESHOLDS:
        near = distance < threshold
        true = (seen & said & near).sum()
        false = (said & ~(seen & near)).sum()
        jaccard.append(true / max(seen.sum() + false, 1))
        position.append((seen & near).sum() / max(seen.sum(), 1))
    right = (occluded == said_occluded) & counts
    return {"average_jaccard": float(np.mean(jaccard)), "position_accuracy": float(np.mean(position)),
            "occlusion_accuracy": float(right.sum() / max(counts.sum(), 1))}
