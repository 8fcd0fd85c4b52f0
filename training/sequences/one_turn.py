# SPDX-License-Identifier: Apache-2.0
"""Cameras of one turn around one object, from its silhouettes: what ``--shape hull`` begins with.

What is assumed of the camera, and told to users in training/docs/one_object.md: it goes round the object at one height,
upright, above the horizon, with one lens, whose horizontal field of view is given. Azimuths come from ``azimuth.json``,
or are equal steps from the first frame, which then is the front. What the pictures themselves have to tell:

* elevation: silhouette coherence (Hernandez, Schmitt and Cipolla, PAMI 2007): with the right camera the visual hull
  fills the silhouettes that it was cut from, with a wrong one it is too small;
* the way round, where only steps are known: the same. Round things, and all things from eye level and far away, fit
  both ways (Necker's reversal), and the run says so. Where azimuths are given it says whether silhouettes contradict
  them;
* whether the camera stood still. Cut-outs of collections are scaled and centred anew: then every picture gets the scale
  and the place under which the hull fills the silhouettes best.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dinemo_ros.errors import DatasetError, DocumentError
from dinemo_ros.geometry import pinhole_matrix, rotation_from_viewpoint, se3
from dinemo_ros.io.document import read_json
from dinemo_ros.io.picture_read import imread
from dinemo_ros.io.quoting import shown, shown_path

from ..data.batches import project
from ..data.evenly import evenly_spread
from ..data.foreground import mask_box
from ..data.posed_crops import save_labels, save_picture
from ..synthetic.shape.visual_hull import HullMesh, hull_overlap, visual_hull
from .uop3d.object_sequence import Frames, ObjectSequence, crop_frames

FEWEST = 6                       # frames: with fewer a hull is a bundle of planes
MOST = 24                        # frames, evenly chosen: more take longer and tell little more
_ELEVATIONS_DEG = (2, 8, 15, 22, 30, 40, 52, 65)
_FINER_DEG = (4.0, 2.0, 1.0)     # steps of the search around the best of them
_RESOLUTION, _ROUNDS = 40, 4     # of the coarse hulls that are compared
_USUAL_DEG, _WIDTH_DEG = 20.0, 20.0  # elevations that people photograph things on a turntable from, and their spread
_PRIOR = 0.015                   # coherence by which others must be better: a round mug fits nearly all
_SIMPLER = 0.01                  # coherence that scales of their own must bring
_SCALE_STEPS = (0.06, 0.03, 0.015)
_CONTRADICTED = 0.02             # coherence by which the other way round must be better to doubt given azimuths
_CLEARLY = 0.004                 # coherence by which one way round must be better than the other


@dataclass(frozen=True)
class Turn:
    """A posed turn: cameras in a frame of its own (z up, x to azimuth 0, some unit).

    Attributes:
        azimuths: [N] radians. elevation: radians, of the camera above the object. coherence: mean IoU of the hull with
            its silhouettes. known: whether azimuths were given; clear: where they were, that the silhouettes do not
            contradict their way round, and else that they tell it.
    """

    sequence: ObjectSequence
    azimuths: np.ndarray
    elevation: float
    coherence: float
    known: bool = True
    clear: bool = True

    def told(self) -> str:
        """A line on what was found, and on what could not be."""
        text = (f"{self.sequence.name}: {len(self.azimuths)} frames, elevation {np.rad2deg(self.elevation):.0f} deg, "
                f"the hull fills {self.coherence:.1%} of the silhouettes")
        if self.known:
            return text if self.clear else (
                text + " - BUT the silhouettes fit better the other way round: look whether the azimuths of "
                "azimuth.json grow from the object's front to its left side")
        way = "counter-clockwise" if self.azimuths[1] > 0 else "clockwise"
        text += f"; no azimuth.json: equal steps, the camera {way} seen from above, the first frame is the front"
        return text if self.clear else (text + " - BUT the silhouettes fit the other way round as well: if the camera "
                                        "went clockwise, or the table turned counter-clockwise, give azimuth.json")

    def figures(self) -> dict:
        """Figures for a log."""
        return {"frames": len(self.azimuths), "elevation_deg": round(float(np.rad2deg(self.elevation)), 1),
                "coherence": round(self.coherence, 3), "way_round": "given" if self.known else
                "found" if self.clear else "assumed"}


@dataclass(frozen=True)
class Cameras:
    """Of all pictures: elevation, radians, and distance, own unit; of each: scales [N] pixels per own unit at that
    distance, centres [N, 2] where the origin is seen, pixels of the uncropped picture."""

    elevation: float
    distance: float
    scales: np.ndarray
    centres: np.ndarray


def read_turn(folder: Path, azimuths: Path | None,
              mask_of: Callable[[np.ndarray], np.ndarray]) -> tuple[Frames, np.ndarray | None, float]:
    """Frames that show an object, their azimuths [N] in radians (None: equal steps), and the pictures' width in pixels.

    Args:
        azimuths: ``azimuth.json``; pictures that it does not know are left out. None: all pictures, in name order.
        mask_of: RGB picture [H, W, 3] -> mask [H, W].

    Raises:
        DatasetError: fewer than six frames show an object, or the table is no good; or, with equal steps, one frame
            shows none, so that there would be a gap.
    """
    table = None if azimuths is None else _azimuth_table(azimuths, folder.name)
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    files, images, masks, angles = [], [], [], []
    for path in paths:
        if table is not None and path.name not in table:
            continue
        image = imread(path)
        mask = None if image is None else mask_of(image[..., ::-1])
        if mask is None or mask_box(mask) is None:
            if table is None:
                raise DatasetError(f"{shown_path(path)}: shows no object, and without an azimuth.json the frames are "
                                   "taken for equal steps; take it away and write the azimuths of the others")
            print(f"{path}: no picture or no object, left out")
            continue
        files.append(path.name), images.append(image[..., ::-1]), masks.append(mask)
        angles.append(0.0 if table is None else table[path.name])
    if len(files) < FEWEST:
        raise DatasetError(f"{shown_path(folder)}: {len(files)} of {len(paths)} frames show an object and have an "
                           f"azimuth; one turn needs {FEWEST} or more, evenly around the object")
    frames = crop_frames(folder.name, files, images, masks)
    return frames, None if table is None else np.deg2rad(angles), float(np.median([i.shape[1] for i in images]))


def _azimuth_table(path: Path, name: str) -> dict[str, float]:
    try:
        table = {str(file): float(value) for file, value in read_json(path)[name]["azimuth_deg"].items()}
        if not np.isfinite(list(table.values())).all():
            raise ValueError("an azimuth is no finite number")
    except (DocumentError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{shown_path(path)}: has no azimuths of {shown(name)} ({shown(error)}); expected "
                           + json.dumps({"NAME": {"azimuth_deg": {"000.jpg": 0.0}}})) from error
    return table


def fit_turn(frames: Frames, azimuths: np.ndarray | None, width: float, hfov_deg: float,
             elevation_deg: float | None = None) -> Turn:
    """Cameras of a turn.

    Args:
        azimuths: [N] radians, None for equal steps either way round. width: of the pictures, pixels.
        hfov_deg: their horizontal field of view. elevation_deg: of the camera, None to find it.
    """
    chosen = evenly_spread(len(frames.masks), MOST)
    steps = 2 * np.pi * chosen / len(frames.masks)
    frames, azimuths = frames.subset(chosen), None if azimuths is None else azimuths[chosen]
    boxes = _boxes(frames)
    distance = 0.5 * width / np.tan(np.deg2rad(hfov_deg) / 2) / float(np.median(np.ptp(boxes, axis=1)[:, 1]))
    if azimuths is not None:
        given, other = (_fitted(frames, sense * azimuths, distance, elevation_deg) for sense in (1, -1))
        return replace(given, clear=other.coherence < given.coherence + _CONTRADICTED)
    ways = [_fitted(frames, sense * steps, distance, elevation_deg) for sense in (1, -1)]
    best = max(ways, key=lambda turn: turn.coherence)
    clear = abs(ways[0].coherence - ways[1].coherence) >= _CLEARLY
    chosen = best if clear else ways[0]
    return Turn(chosen.sequence, chosen.azimuths, chosen.elevation, chosen.coherence, False, clear)


def _fitted(frames: Frames, azimuths: np.ndarray, distance: float, elevation_deg: float | None) -> Turn:
    """The turn with the elevation under which the hull fills its silhouettes best.

    A camera that stood still is tried first, and taken where pictures that were each scaled and placed anew explain no
    more.
    """
    still, moved = (_at_best_elevation(frames, azimuths, distance, elevation_deg, free) for free in (False, True))
    if still[2] >= moved[2] - _SIMPLER:
        cameras, degrees, coherence = still
    else:
        degrees = moved[1]
        cameras, coherence = _scaled_better(frames, azimuths, moved[0])
    return Turn(_posed(frames, azimuths, cameras), azimuths, float(np.deg2rad(degrees)), coherence)


def _at_best_elevation(frames: Frames, azimuths: np.ndarray, distance: float, elevation_deg: float | None,
                       free: bool) -> tuple[Cameras, float, float]:
    """Cameras, elevation in degrees and coherence; ``free``: every picture has a scale and a place of its own."""
    known: dict[float, tuple[Cameras, float]] = {}

    def quality(degrees: float) -> float:
        if degrees not in known:
            known[degrees] = _settle(frames, azimuths, np.deg2rad(degrees), distance, free)
        return known[degrees][1] - _PRIOR * min(((degrees - _USUAL_DEG) / _WIDTH_DEG) ** 2, 1.0)

    best = float(max(_ELEVATIONS_DEG, key=quality)) if elevation_deg is None else elevation_deg
    for step in _FINER_DEG if elevation_deg is None else ():
        best = max((d for d in (best, best - step, best + step) if 0 < d < 80), key=quality)
    quality(best)
    return (known[best][0], best, known[best][1])


def _settle(frames: Frames, azimuths: np.ndarray, elevation: float, distance: float,
            free: bool) -> tuple[Cameras, float]:
    """Cameras under which the hull's box lies on the silhouettes' boxes, all in common or each, and the mean IoU.

    Pictures that are ``free`` begin with one height in common, which is right for what is turned about its own axis,
    and nearly so for all that is seen from not too high.
    """
    boxes = _boxes(frames)
    heights, centres = np.ptp(boxes, axis=1)[:, 1], boxes.mean(1)
    if not free:
        heights, centres = np.full_like(heights, np.median(heights)), np.tile(centres.mean(0), (len(centres), 1))
    cameras = Cameras(elevation, distance, heights, centres)
    for _ in range(_ROUNDS):
        ratios, shifts = _misfit(frames, azimuths, cameras, boxes)
        if free:
            # All of them together are the unit.
            cameras = replace(cameras, scales=cameras.scales * ratios / np.exp(np.log(ratios).mean()),
                              centres=cameras.centres + shifts)
        else:
            cameras = replace(cameras, centres=cameras.centres + shifts.mean(0))
    return cameras, _coherence(frames, azimuths, cameras)


def _misfit(frames: Frames, azimuths: np.ndarray, cameras: Cameras, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much larger the silhouettes' boxes are than the hull's [N], and how far they are off [N, 2] pixels."""
    sequence = _posed(frames, azimuths, cameras)
    vertices, _ = visual_hull(sequence, _RESOLUTION**3, _RESOLUTION, misses=0.15)
    ratios, shifts = [], []
    for i, (K, T) in enumerate(zip(sequence.K, sequence.T_cam_own, strict=True)):
        uv = project(vertices, np.linalg.inv(frames.crop_from_picture[i]) @ K, T)
        drawn = np.array([uv.min(0), uv.max(0)])
        ratios.append(np.ptp(boxes[i], axis=0).sum() / np.ptp(drawn, axis=0).sum())
        shifts.append(boxes[i].mean(0) - drawn.mean(0))
    return np.array(ratios), np.array(shifts)


def _scaled_better(frames: Frames, azimuths: np.ndarray, cameras: Cameras) -> tuple[Cameras, float]:
    """Scales of single pictures, one after the other, changed for as long as the hull fills its silhouettes better."""
    boxes, best = _boxes(frames), _coherence(frames, azimuths, cameras)
    for step in _SCALE_STEPS:
        for i in range(len(frames.masks)):
            for factor in (1 + step, 1 / (1 + step)):
                scales = cameras.scales.copy()
                scales[i] *= factor
                tried = replace(cameras, scales=scales)
                tried = replace(tried, centres=tried.centres + _misfit(frames, azimuths, tried, boxes)[1])
                found = _coherence(frames, azimuths, tried)
                if found > best:
                    cameras, best = tried, found
                    break
    return cameras, best


def _coherence(frames: Frames, azimuths: np.ndarray, cameras: Cameras) -> float:
    return hull_overlap(_posed(frames, azimuths, cameras), _RESOLUTION)


def write_turn(turn: Turn, mesh: HullMesh, out: Path) -> None:
    """The frames as posed crops of the object whose mesh was made of them."""
    sequence, names = turn.sequence, [f"{turn.sequence.name}_{Path(file).stem}" for file in turn.sequence.files]
    for name, image, mask in zip(names, sequence.images, sequence.masks, strict=True):
        save_picture(out, name, image, mask)
    T = sequence.T_cam_own.copy()
    T[:, :3, 3] = mesh.scale * (T[:, :3, 3] + T[:, :3, :3] @ mesh.centre)
    save_labels(out, names, sequence.K, T, np.tile(np.ptp(mesh.vertices, axis=0), (len(names), 1)))


def _posed(frames: Frames, azimuths: np.ndarray, cameras: Cameras) -> ObjectSequence:
    """The frames with these cameras, which look at the origin."""
    K = np.array([A @ pinhole_matrix(scale * cameras.distance, *c) for A, scale, c in
                  zip(frames.crop_from_picture, cameras.scales, cameras.centres, strict=True)])
    T = np.array([se3(rotation_from_viewpoint(a, cameras.elevation, 0.0), np.array([0, 0, cameras.distance]))
                  for a in azimuths])
    return ObjectSequence(frames.name, frames.files, frames.images, frames.masks, frames.crop_from_picture, K, T)


def _boxes(frames: Frames) -> np.ndarray:
    """Corners [N, 2, 2] of the masks' boxes, pixel centres of the uncropped pictures."""
    corners = np.array([mask_box(mask) for mask in frames.masks]).reshape(-1, 2, 2) - 0.5
    scale = np.array([np.diag(A)[:2] for A in frames.crop_from_picture])[:, None]
    return (corners - frames.crop_from_picture[:, None, :2, 2]) / scale
