# SPDX-License-Identifier: Apache-2.0
"""Frames of one object, cut out and posed up to a similarity: the input of UOP3D."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from dinemo_ros.camera.crop import BORDER_GREY
from dinemo_ros.io.picture_read import imread
from dinemo_training.data.foreground import SaliencyMask, mask_box
from dinemo_training.data.posed_crops import CROP_SIDE, square_around

_MARGIN = 1.3  # as in the posed crops that come out in the end


@dataclass(frozen=True)
class Frames:
    """Square crops around one object in capture order, without poses.

    Attributes:
        files: names of the pictures; images: RGB uint8 [S, S, 3]; masks: uint8 [S, S], 255 on the object.
        crop_from_picture: [N, 3, 3] pixels of the picture to pixels of the crop.
    """

    name: str
    files: list[str]
    images: list[np.ndarray]
    masks: list[np.ndarray]
    crop_from_picture: np.ndarray

    def subset(self, chosen: np.ndarray) -> Frames:
        """The frames with indices ``chosen``."""
        return Frames(self.name, [self.files[i] for i in chosen], [self.images[i] for i in chosen],
                      [self.masks[i] for i in chosen], self.crop_from_picture[chosen])


@dataclass(frozen=True)
class ObjectSequence(Frames):
    """Frames with cameras in the sequence's own frame: z up, origin, heading and unit are arbitrary.

    Attributes:
        K: [N, 3, 3] pixels of the crop; T_cam_own: [N, 4, 4], own frame and unit to camera (optical frame).
    """

    K: np.ndarray
    T_cam_own: np.ndarray


def crop_frames(name: str, files: list[str], images: list[np.ndarray], masks: list[np.ndarray],
                side: int = CROP_SIDE) -> Frames:
    """Square crops of ``side`` pixels in which the mask's larger side takes 1/1.3.

    Args:
        images: [H, W, 3] uint8 RGB each. masks: [H, W] uint8 each, above 127 on the object.
    """
    crops, cuts, matrices = [], [], []
    for image, mask in zip(images, masks, strict=True):
        A = square_around(mask_box(mask), side, _MARGIN)
        crops.append(cv2.warpAffine(image, A, (side, side), flags=cv2.INTER_AREA, borderValue=BORDER_GREY))
        cut = cv2.warpAffine(mask, A, (side, side), flags=cv2.INTER_AREA)
        cuts.append(np.where(cut > 127, 255, 0).astype(np.uint8))
        matrices.append(np.vstack([A, [0, 0, 1]]))
    return Frames(name, files, crops, cuts, np.array(matrices))


def read_frames(folder: Path, saliency: SaliencyMask) -> Frames:
    """Pictures of a folder in name order; those without a salient object are left out and named.

    Raises:
        SystemExit: fewer than eight pictures show an object.
    """
    files, images, masks = [], [], []
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    for path in tqdm(paths, desc=folder.name, leave=False):
        image = imread(path)
        mask = None if image is None else saliency(image[..., ::-1])
        if mask is None or mask_box(mask) is None:
            print(f"{path}: no picture or no salient object, left out")
            continue
        files.append(path.name), images.append(image[..., ::-1]), masks.append(mask)
    if len(files) < 8:
        raise SystemExit(f"{folder}: {len(files)} of {len(paths)} files (jpg, png) show an object; a sequence needs 8")
    return crop_frames(folder.name, files, images, masks)
