# SPDX-License-Identifier: Apache-2.0
"""The frames with the largest errors, as pictures: what was seen, and where the model thought the object was."""

from __future__ import annotations

import heapq
import re
from pathlib import Path

import cv2
import numpy as np

from ..camera.pinhole import Camera
from ..drawing.overlay import draw_poses
from ..io.overlay_file import write_overlay
from ..model.neural_mesh import NeuralMesh
from ..pose import ObjectPose

_LINE = 22  # pixels of a caption
_SMALLEST = 320  # pixels; smaller pictures are enlarged, so that captions can be read


class WorstFrames:
    """Keeps the ``limit`` frames with the largest errors of one model and writes them as PNG.

    Args:
        model: name of the competitor whose frames are wanted.
        mesh: drawn at the estimated pose.
    """

    def __init__(self, model: str, mesh: NeuralMesh, limit: int) -> None:
        self._model, self._mesh, self._limit = model, mesh, limit
        self._heap: list[tuple[float, int, tuple]] = []
        self._count = 0

    def offer(self, record: dict, image: np.ndarray, camera: Camera, pose: ObjectPose | None) -> None:
        """Consider one frame and its picture uint8 [H, W, 3]; a frame without a pose is the worst there is."""
        if record["model"] != self._model:
            return
        self._count += 1
        error = 181.0 if record["error_deg"] is None else record["error_deg"]
        item = error, -self._count, (record, image, camera, pose)
        if len(self._heap) < self._limit:
            heapq.heappush(self._heap, item)
        elif item > self._heap[0]:
            heapq.heapreplace(self._heap, item)

    def save(self, folder: Path) -> list[Path]:
        """Write ``RANK_LEVEL_GROUP_FILE.png`` into an existing folder: the picture beside its overlay, worst first."""
        files = []
        for rank, (_, _, (record, image, camera, pose)) in enumerate(sorted(self._heap, reverse=True)):
            stem = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{record['occlusion']}_{record['group']}_{record['file']}")
            files.append(folder / f"{rank:02d}_{stem.rsplit('.', 1)[0]}.png")
            write_overlay(files[-1], self._picture(record, image, camera, pose))
        return files

    def _picture(self, record: dict, image: np.ndarray, camera: Camera, pose: ObjectPose | None) -> np.ndarray:
        overlay = draw_poses(image, camera, [pose] if pose else [], self._mesh)
        pair = np.concatenate([image, overlay], axis=1)
        zoom = max(1.0, _SMALLEST / image.shape[0])
        pair = cv2.resize(pair, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
        bar = np.full((_LINE, pair.shape[1], 3), 24, np.uint8)
        cv2.putText(bar, caption(record), (6, _LINE - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1,
                    cv2.LINE_AA)
        return np.concatenate([bar, pair])


def caption(record: dict) -> str:
    """One line about a record."""
    parts = [f"{record['group']}/{record['file']} {record['occlusion']}"]
    if record.get("coverage") is not None:
        parts.append(f"{100 * record['coverage']:.0f} % covered")
    if record["error_deg"] is None:
        return ", ".join([*parts, "no pose"])
    parts.append(f"error {record['error_deg']:.0f} deg")
    if "azimuth" in record:
        parts.append(f"azimuth {record['azimuth']:.0f} instead of {record['azimuth_true']:.0f}")
    return ", ".join([*parts, f"score {record['score']:.2f}"])
