# SPDX-License-Identifier: Apache-2.0
"""What an aligned collection leaves on disk: posed crops (templates of a bank) and a sheet of pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dinemo_training.data.posed_crops import save_labels, save_picture
from dinemo_training.models.category_shape import CategoryShape
from dinemo_training.sequences.silhouette import fit_sequence, frame_pose

from ...data.picture_file import write_picture
from .object_sequence import Frames

_TILE = 150


def write_posed_crops(sequences: list[Frames], azimuths: list[np.ndarray], shape: CategoryShape, out: Path,
                      min_iou: float = 0.72) -> dict[str, dict]:
    """Store the frames as posed crops; height, distance and box of each sequence are fitted to the category's shape.

    ``dinemo_training.pseudo_labels.template_bank.build_bank`` makes a template bank of the folder.

    Args:
        azimuths: [N] radians of the frames of each sequence.
        min_iou: frames whose silhouette overlaps less than this share (intersection over union) are left out.

    Returns:
        Figures per sequence, by its name.
    """
    names, Ks, Ts, sizes, report = [], [], [], [], {}
    for sequence, azimuth in zip(sequences, azimuths, strict=True):
        fit = fit_sequence(shape.vertices, shape.faces, shape.size, sequence.masks, azimuth, fit_offset=False)
        points, kept = shape.at_size(fit.size), 0
        for i, mask in enumerate(sequence.masks):
            K, T, iou = frame_pose(points, shape.faces, azimuth[i], fit.elevation, fit.distance * fit.size[0], mask)
            if iou < min_iou:
                continue
            stem = f"{sequence.name}_{Path(sequence.files[i]).stem}"
            save_picture(out, stem, sequence.images[i], mask)
            names.append(stem), Ks.append(K), Ts.append(T), sizes.append(fit.size)
            kept += 1
        report[sequence.name] = {
            "frames": len(azimuth), "kept": kept, "elevation_deg": round(float(np.rad2deg(fit.elevation)), 1),
            "distance_lengths": round(fit.distance, 1), "size_m": fit.size.round(2).tolist(),
            "mean_iou": round(float(fit.iou.mean()), 3)}
    save_labels(out, names, np.array(Ks), np.array(Ts), np.array(sizes))
    return report


def write_sheet(path: Path, sequences: list[Frames], azimuths: list[np.ndarray], rows: int = 8) -> None:
    """One column per instance, one row per azimuth (0 on top, then 45 degrees and so on), the nearest frame each.

    Args:
        azimuths: [N] radians of the frames of each sequence.
    """
    columns = []
    for sequence, azimuth in zip(sequences, azimuths, strict=True):
        tiles = [_label(np.full((24, _TILE, 3), 255, np.uint8), sequence.name, 16)]
        for wanted in np.arange(rows) * 2 * np.pi / rows:
            nearest = int(np.abs(np.angle(np.exp(1j * (azimuth - wanted)))).argmin())
            tile = cv2.resize(sequence.images[nearest], (_TILE, _TILE), interpolation=cv2.INTER_AREA)[20:-20]
            tiles.append(_label(tile, f"{np.rad2deg(wanted):.0f}: {np.rad2deg(azimuth[nearest]) % 360:.0f}", 12))
        columns.append(np.vstack(tiles))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, np.ascontiguousarray(np.hstack(columns)[..., ::-1]))


def _label(tile: np.ndarray, text: str, baseline: int) -> np.ndarray:
    return cv2.putText(np.ascontiguousarray(tile), text, (3, baseline), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1,
                       cv2.LINE_AA)
