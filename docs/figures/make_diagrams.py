# SPDX-License-Identifier: Apache-2.0
"""The three diagrams of the architecture page as SVG: boxes on a grid and arrows between them.

    python docs/figures/make_diagrams.py
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
CELL_W, CELL_H, BOX_W, BOX_H, LINE = 190, 96, 164, 62, 14
STYLE = ("text{font:12px sans-serif;fill:#222} .s{font-size:10.5px;fill:#555} rect{fill:#f4f7fb;stroke:#4a6fa5;rx:6}"
         " .o rect{fill:#fff4e6;stroke:#d98324} .d rect{fill:#f2f2f2;stroke:#888} path{fill:none;stroke:#444;"
         "stroke-width:1.4;marker-end:url(#tip)} .b{stroke-dasharray:4 3}")


class Box(NamedTuple):
    """A box in column x, row y of the grid. Kind: "" ours, "o" what goes in or out, "d" data on disk."""

    x: float
    y: float
    title: str
    text: str = ""
    kind: str = ""


def svg(boxes: dict[str, Box], arrows: list[tuple[str, str, str]]) -> str:
    """The drawing; an arrow is (from, to, kind): "b" dashes it, two of LRTB name its sides."""
    width = int((max(box.x for box in boxes.values()) + 1) * CELL_W)
    height = int((max(box.y for box in boxes.values()) + 1) * CELL_H)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
             f'height="{height}"><style>{STYLE}</style><defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" '
             'markerWidth="7" markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" style="fill:#444;stroke:none;'
             'marker-end:none"/></marker></defs><rect width="100%" height="100%" style="fill:#fff;stroke:none"/>']
    parts += [_arrow(boxes[start], boxes[end], kind) for start, end, kind in arrows]
    parts += [_box(box) for box in boxes.values()]
    return "\n".join([*parts, "</svg>\n"])


def _corner(box: Box) -> tuple[float, float]:
    return box.x * CELL_W + (CELL_W - BOX_W) / 2, box.y * CELL_H + (CELL_H - BOX_H) / 2


def _box(box: Box) -> str:
    left, top = _corner(box)
    lines = [line for line in box.text.split("\n") if line]
    first = top + BOX_H / 2 + 4 - LINE * len(lines) / 2
    words = [f'<text x="{left + BOX_W / 2}" y="{first}" text-anchor="middle">{escape(box.title)}</text>']
    words += [f'<text class="s" x="{left + BOX_W / 2}" y="{first + LINE * (k + 1)}" text-anchor="middle">{escape(line)}'
              "</text>" for k, line in enumerate(lines)]
    return (f'<g class="{box.kind}"><rect x="{left}" y="{top}" width="{BOX_W}" height="{BOX_H}"/>{"".join(words)}</g>')


def _arrow(start: Box, end: Box, kind: str) -> str:
    """From the side of ``start`` that is nearer to ``end``, or from and to the sides that ``kind`` names (LRTB)."""
    sides = "".join(letter for letter in kind if letter in "LRTB") or _sides(start, end)
    (x0, y0, dx0, dy0), (x1, y1, dx1, dy1) = _at(start, sides[0]), _at(end, sides[1])
    reach = 0.5 * max(abs(x1 - x0) * abs(dx0 or dx1), abs(y1 - y0) * abs(dy0 or dy1), 20)
    return (f'<path class="{"b" if "b" in kind else ""}" d="M{x0:g},{y0:g} C{x0 + reach * dx0:g},{y0 + reach * dy0:g} '
            f'{x1 + reach * dx1:g},{y1 + reach * dy1:g} {x1:g},{y1:g}"/>')


def _sides(start: Box, end: Box) -> str:
    if start.x != end.x and abs(start.x - end.x) >= abs(start.y - end.y):
        return "RL" if end.x > start.x else "LR"
    return "BT" if end.y > start.y else "TB"


def _at(box: Box, side: str) -> tuple[float, float, int, int]:
    """The middle of a side, and the direction away from the box there."""
    left, top = _corner(box)
    dx, dy = {"L": (-1, 0), "R": (1, 0), "T": (0, -1), "B": (0, 1)}[side]
    return left + BOX_W * (1 + dx) / 2, top + BOX_H * (1 + dy) / 2, dx, dy


PACKAGES = ({
    "node": Box(0, 0, "node", "the only part\nthat imports ROS"),
    "cli": Box(1, 0, "cli", "the command dinemo"),
    "io": Box(2, 0, "io", "files, pictures, videos,\nbags, within limits"),
    "benchmark": Box(3, 0, "benchmark", "times and memory"),
    "tracker": Box(0, 1, "tracker", "the same object\nfrom image to image"),
    "evaluation": Box(2, 1, "evaluation", "data sets, errors,\ncoverage, occlusion"),
    "training": Box(4, 1, "dinemo_training", "photographs and shapes\nto a bundle; needs torch"),
    "estimator": Box(1, 2, "estimator", "image in, poses out"),
    "bundle": Box(4, 2, "a bundle", "card, network, mesh:\nall that is handed over", "d"),
    "model": Box(3, 2, "model", "reads bundles; mesh,\nsymmetry, mirror image"),
    "detection": Box(0, 3, "detection", "where objects may be"),
    "inference": Box(1, 3, "inference", "crop, network, solver"),
    "camera": Box(2, 3, "camera, geometry", "lenses, crops, frames"),
    "features": Box(0, 4, "features", "one file per backend"),
    "solver": Box(1, 4, "solver", "numba kernels, CPU"),
    "cuda": Box(2, 4, "cuda", "the same in Triton;\nneeds torch"),
    "gpu": Box(3, 4, "gpu", "driver, graphs,\nexact float32"),
}, [("node", "tracker", ""), ("cli", "io", ""), ("cli", "evaluation", ""), ("cli", "estimator", ""),
    ("benchmark", "evaluation", "BR"), ("tracker", "estimator", ""), ("evaluation", "estimator", "BR"),
    ("training", "evaluation", "b"), ("training", "bundle", ""), ("estimator", "model", ""), ("model", "bundle", ""),
    ("estimator", "detection", "BT"), ("estimator", "inference", ""), ("estimator", "camera", "BT"),
    ("detection", "features", ""), ("inference", "features", "BT"), ("inference", "solver", ""),
    ("inference", "cuda", "bBT"), ("cuda", "gpu", "")])

IMAGE = ({
    "image": Box(0, 0, "Image, CameraInfo", "and perhaps\nDetection2DArray", "o"),
    "check": Box(1, 0, "checks", "stamp, frame, encoding,\ncalibration, boxes"),
    "boxes": Box(2, 0, "where to look", "detector's boxes, own\nproposals, or tracks"),
    "crop": Box(3, 0, "crop", "a virtual pinhole camera\nthat looks at the box"),
    "features": Box(3, 1, "network", "a unit vector per\n8 x 8 pixels"),
    "volume": Box(2, 1, "similarity volume", "every vertex against\nevery cell and clutter"),
    "coarse": Box(1, 1, "coarse search", "all viewpoints, sizes and\nshifts; template matching"),
    "refine": Box(0, 1, "Gauss-Newton", "refinement of pose\nand size together"),
    "flip": Box(0, 2, "flip TTA", "at low confidence the\nmirror image is asked, too"),
    "recrop": Box(1, 2, "re-crop", "crop again where the\nobject fills another box"),
    "sure": Box(2, 2, "uncertainty", "covariance, probability,\nrunners-up"),
    "out": Box(3, 2, "TF, detections, pose,", "markers, overlay,\ndiagnostics", "o"),
}, [("image", "check", ""), ("check", "boxes", ""), ("boxes", "crop", ""), ("crop", "features", ""),
    ("features", "volume", ""), ("volume", "coarse", ""), ("coarse", "refine", ""), ("refine", "flip", ""),
    ("flip", "recrop", ""), ("recrop", "sure", ""), ("sure", "out", "")])

PHOTOGRAPH = ({
    "photo": Box(0, 0, "photographs", "no labels", "o"),
    "crop": Box(1, 0, "stage photographs", "square crops, found by a\nsaliency network if asked"),
    "label": Box(2, 0, "stage labelsN", "a pose by the model of\nthe round before"),
    "trust": Box(3, 0, "believed?", "the mirror image agrees,\nthe margin is large enough"),
    "cad": Box(0, 1, "CAD models", "or a box", "o"),
    "shape": Box(1, 1, "shape, synthetic, held_out", "mean mesh; renders\nwith exact poses"),
    "train": Box(3, 1, "stage trainN", "contrastive: a vertex and\nthe cell that shows it"),
    "seq": Box(0, 2, "turntable sequences", "one says where front is", "o"),
    "align": Box(1, 2, "stage sequences", "aligned and posed\nwithout labels"),
    "bundleN": Box(3, 2, "stage bundleN", "measured on renders\nthat were held out"),
    "export": Box(4, 2, "export, calibrate, evaluate", "ONNX, distance,\nscores, uncertainty"),
    "out": Box(4, 1, "publish, report", "the checked bundle and\nreport/index.html", "o"),
}, [("photo", "crop", ""), ("crop", "label", ""), ("label", "trust", ""), ("trust", "train", ""), ("cad", "shape", ""),
    ("seq", "align", ""), ("shape", "align", ""), ("shape", "train", ""), ("align", "train", "RL"),
    ("train", "bundleN", ""), ("bundleN", "label", "bLB"), ("bundleN", "export", ""), ("export", "out", "")])


def main() -> None:
    """Write the three files."""
    for name, (boxes, arrows) in {"packages": PACKAGES, "way_of_an_image": IMAGE,
                                  "way_of_a_photograph": PHOTOGRAPH}.items():
        (HERE / f"{name}.svg").write_text(svg(boxes, arrows), encoding="utf-8")


if __name__ == "__main__":
    main()
