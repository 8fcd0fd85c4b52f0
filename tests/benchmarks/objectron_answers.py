# SPDX-License-Identifier: Apache-2.0
"""Answers of MediaPipe Objectron "Cup" on a turntable folder, as ``dinemo eval turntable --rival`` reads them.

    python3 -m venv V && V/bin/pip install mediapipe==0.10.9 'numpy<2' pillow && npm pack @mediapipe/objectron
    V/bin/python objectron_answers.py DIR --models package --json FILE

``package`` is the unpacked npm package (Apache-2.0), which has the models that the wheel downloads otherwise.
Objectron looks for cups by itself in the whole picture; of those that it finds the one that overlaps the annotated
box most is its answer. Its object's y axis is up. Which of its horizontal axes should point along the handle it does
not say, so that is an option: of the four the best on development objects.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

OPTICAL = np.diag([1.0, -1.0, -1.0])  # its camera looks along -z, y up
AXES = {"+x": (0, 1.0), "-x": (0, -1.0), "+z": (2, 1.0), "-z": (2, -1.0)}
SIDE = 512  # pixels of the picture that it is shown
LABELS_END, MODEL_END = 184, 9987912  # of the detector in the package's data file


def install(package: Path) -> None:
    """Put the models of the npm package where the Python package looks for them."""
    import mediapipe

    folder = Path(mediapipe.__file__).parent / "modules" / "objectron"
    data = (package / "objectron_solution_packed_assets.data").read_bytes()
    (folder / "object_detection_oidv4_labelmap.txt").write_bytes(data[:LABELS_END])
    (folder / "object_detection_ssd_mobilenetv2_oidv4_fp16.tflite").write_bytes(data[LABELS_END:MODEL_END])
    for file in package.glob("object_detection_3d_*.tflite"):
        (folder / file.name).write_bytes(file.read_bytes())


def detector(hfov_deg: float):
    """Objectron for single pictures."""
    from mediapipe.python.solutions import download_utils, objectron

    download_utils.download_oss_model = lambda *_, **__: None
    focal = 1 / np.tan(np.radians(hfov_deg / 2))
    return objectron.Objectron(static_image_mode=True, max_num_objects=3, min_detection_confidence=0.2,
                               model_name="Cup", focal_length=(focal, focal))


def answer(found, forward: str, width: int, height: int) -> dict:
    """Angles along the ray and box in pixels of one detection."""
    R = OPTICAL @ np.array(found.rotation)
    ray = OPTICAL @ np.array(found.translation)
    ray /= np.linalg.norm(ray)
    axis, sign = AXES[forward]
    up, x = R[:, 1], sign * R[:, axis]
    y = np.cross(up, x)
    camera = np.array([x, y, up]) @ -ray  # direction to the camera, in the object's frame
    corners = np.array([[p.x * width, p.y * height] for p in found.landmarks_2d.landmark])
    return {"azimuth_deg": round(float(np.degrees(np.arctan2(camera[1], camera[0]))) % 360, 1),
            "elevation_deg": round(float(np.degrees(np.arcsin(np.clip(camera[2], -1, 1)))), 1),
            "theta_deg": round(float(np.degrees(np.arctan2(-up[0], -up[1]))), 1),  # of an object near the middle
            "box": [round(float(v), 1) for v in (*corners.min(axis=0), *corners.max(axis=0))]}


def overlap(a, b) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    return common / (np.prod(np.subtract(a[2:], a[:2])) + np.prod(np.subtract(b[2:], b[:2])) - common)


def main() -> None:
    """Answers of every frame that ``DIR/azimuth.json`` gives a box of."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--models", type=Path, required=True, help="the unpacked npm package")
    parser.add_argument("--forward", choices=AXES, default="+x", help="its axis along the handle (%(default)s)")
    parser.add_argument("--hfov", type=float, default=25.0)
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    install(args.models)
    model, rows = detector(args.hfov), {}
    for name, entry in json.loads((args.dir / "azimuth.json").read_text()).items():
        rows[name] = {}
        for file, box in entry.get("box", {}).items():
            image = Image.open(args.dir / name / file).convert("RGB")
            shown = np.array(image.resize((SIDE, SIDE), Image.BICUBIC))
            found = [answer(f, args.forward, *image.size) for f in model.process(shown).detected_objects or []]
            rows[name][file] = max(found, key=lambda one: overlap(one["box"], box), default=None)
    args.json.write_text(json.dumps(rows) + "\n")
    print({name: f"{sum(v is not None for v in files.values())} of {len(files)}" for name, files in rows.items()})


if __name__ == "__main__":
    main()
