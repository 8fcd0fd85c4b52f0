# SPDX-License-Identifier: Apache-2.0
"""Unlabelled photographs, prepared once: square padded crops, cached and resumable.

    python -m training.photos --images DIR --out runs/car/photos [--find-object]

By default the object is taken to fill its photograph, as in detector crops and fine-grained collections; with
``--find-object`` a saliency mask finds it, and a photograph without one dominant object is left out and counted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from .foreground import SaliencyMask, mask_box
from .posed_crops import CROP_SIDE, save_picture, square_around

PHOTO_MARGIN = 1.25  # the object fills 1 / margin of the prepared crop
_MIN_AREA = 0.15   # of the picture: anything smaller is not what the photograph is about
_EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


def prepare(images: Path, out: Path, find_object: bool = False, limit: int | None = None) -> list[str]:
    """Write ``out/images``, perhaps ``out/masks``, and ``out/prepared.json`` (name -> kept); returns the kept names."""
    files = sorted(p for p in images.iterdir() if p.suffix.lower() in _EXTENSIONS)[:limit]
    if not files:
        raise FileNotFoundError(f"{images}: no photographs ({', '.join(sorted(_EXTENSIONS))})")
    out.mkdir(parents=True, exist_ok=True)
    record = out / "prepared.json"
    done: dict[str, bool] = json.loads(record.read_text()) if record.is_file() else {}
    saliency = SaliencyMask() if find_object else None
    for count, path in enumerate(tqdm(files, desc="photographs", mininterval=5)):
        if path.stem in done:
            continue
        done[path.stem] = _prepare_one(path, out, saliency)
        if count % 100 == 99:
            _write(record, done)
    _write(record, done)
    kept = [p.stem for p in files if done[p.stem]]
    print(f"{images}: {len(kept)} of {len(files)} photographs kept")
    return kept


def _prepare_one(path: Path, out: Path, saliency: SaliencyMask | None) -> bool:
    image = cv2.imread(str(path))
    if image is None:
        print(f"{path}: cannot be read as a picture, left out")
        return False
    image = np.ascontiguousarray(image[..., ::-1])
    mask, box = None, (0, 0, image.shape[1], image.shape[0])
    if saliency is not None:
        mask = saliency(image)
        if (mask > 0).mean() < _MIN_AREA:
            return False
        box = mask_box(mask)
    A = square_around(box, CROP_SIDE, PHOTO_MARGIN)
    crop = cv2.warpAffine(image, A, (CROP_SIDE, CROP_SIDE), flags=cv2.INTER_AREA, borderValue=(114, 114, 114))
    if mask is not None:
        mask = cv2.warpAffine(mask, A, (CROP_SIDE, CROP_SIDE), flags=cv2.INTER_AREA)
    save_picture(out, path.stem, crop, mask)
    return True


def _write(path: Path, data: dict) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(data))
    temporary.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--find-object", action="store_true", help="the object does not fill the photograph: find it")
    parser.add_argument("--limit", type=int)
    args = parser.parse_args()
    prepare(args.images, args.out, args.find_object, args.limit)


if __name__ == "__main__":
    main()
