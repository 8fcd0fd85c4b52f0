# SPDX-License-Identifier: Apache-2.0
"""From folders of frames to aligned, posed crops."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dinemo_ros.io.files import write_file
from dinemo_training.data.foreground import SaliencyMask
from dinemo_training.models.category_shape import CategoryShape
from dinemo_training.models.teachers import CnnTeacher, Teacher
from dinemo_training.sequences.posed_templates import BINS, agreed_votes, describe, read_reference_azimuths, smooth_path

from .collection import Collection, collect, heading_from
from .instance import Instance, build_instance, feature_maps
from .object_sequence import Frames, read_frames
from .outputs import write_posed_crops, write_sheet
from .turntable import Turntable, fit_cameras, pose_turntable


@dataclass(frozen=True)
class Reading:
    """One sequence with its cameras, its feature maps [N, D, h, w] and its coarse model."""

    turntable: Turntable
    maps: Tensor
    instance: Instance


def read_sequence(frames: Frames, teacher: Teacher, order: str = "auto") -> Reading:
    """Pose the frames in their own frame and build the instance."""
    maps = feature_maps(frames, teacher)
    turntable = pose_turntable(frames, maps, order)
    print(f"{frames.name}: {len(frames.files)} frames, {turntable.how} steps, elevation "
          f"{np.rad2deg(turntable.elevation):.0f} deg, distance {turntable.distance:.1f} lengths, "
          f"hull overlap {turntable.coherence:.2f}, feature agreement {turntable.agreement:.2f}")
    return Reading(turntable, maps, build_instance(turntable.sequence, maps))


def frame_votes(frames: Frames, teacher: Teacher, aligned: list[Frames], azimuths: list[np.ndarray]) -> np.ndarray:
    """Votes [N, BINS] for the azimuth of each frame by itself, from all aligned views and their mirror images.

    Args:
        azimuths: [M] radians of the frames of each aligned sequence.
    """
    bank = torch.cat([view for known in aligned for view in describe(known.images, known.masks, teacher)])
    angles = np.concatenate([np.concatenate([a, -a]) for a in azimuths])
    return agreed_votes(*describe(frames.images, frames.masks, teacher), bank, angles)


def settle_azimuths(collection: Collection, readings: list[Reading], teacher: Teacher) -> list[np.ndarray]:
    """Azimuths [N] of every sequence in the canonical frame; uneven steps are looked up once more.

    How far two neighbouring frames are apart is hard to see in one sequence alone. Once it stands in the canonical
    frame, its frames can be compared with those of the sequences of even steps; whichever path explains silhouettes
    and features better is kept.
    """
    azimuths = [collection.azimuths(k) for k in range(len(readings))]
    even = [k for k, r in enumerate(readings) if r.turntable.how == "equal"]
    for k, reading in enumerate(readings):
        if k in even or not even:
            continue
        sequence = reading.turntable.sequence
        votes = frame_votes(sequence, teacher, [collection.sequences[j] for j in even], [azimuths[j] for j in even])
        path = smooth_path(votes)
        looked_up = fit_cameras(sequence, reading.maps, path)
        apart = float(np.rad2deg(np.median(np.abs(np.angle(np.exp(1j * (path - azimuths[k])))))))
        better = looked_up.score > reading.turntable.score
        print(f"{sequence.name}: azimuths looked up in other sequences differ by {apart:.0f} deg (median), evidence "
              f"{looked_up.score:.2f} against {reading.turntable.score:.2f}: {'taken' if better else 'not taken'}")
        if better:
            azimuths[k] = path
    return azimuths


def align_command(args: argparse.Namespace) -> None:
    """``python -m dinemo_training.sequences.uop3d align``.

    Raises:
        SystemExit: options that belong together are not given together, or there are fewer than two sequences.
    """
    if (args.reference is None) != (args.azimuths is None):
        raise SystemExit("--reference and --azimuths belong together: the one sequence whose heading is known")
    folders = ([args.reference] if args.reference else []) + args.sequence
    if len(folders) < 2:
        raise SystemExit("alignment needs at least two sequences: give them with --reference and --sequence")
    saliency, teacher = SaliencyMask(threads=1), CnnTeacher()
    readings = [read_sequence(read_frames(folder, saliency), teacher, args.order) for folder in folders]
    collection = collect([r.turntable.sequence for r in readings], [r.instance for r in readings],
                         reference=0 if args.reference else None)
    if args.reference:
        first = collection.sequences[0]
        known = read_reference_azimuths(args.azimuths, first.name, [Path(f) for f in first.files])
        collection = collection.turned(heading_from(collection.azimuths(0), known))
    write_collection(collection, readings, [read_frames(f, saliency) for f in args.unordered], teacher,
                     CategoryShape.load(args.shape), args.out)


def write_collection(collection: Collection, readings: list[Reading], unordered: list[Frames], teacher: Teacher,
                     shape: CategoryShape, out: Path) -> None:
    """Posed crops, sheet and figures of an aligned collection; unordered frames join by vote."""
    sequences: list[Frames] = list(collection.sequences)
    azimuths = settle_azimuths(collection, readings, teacher)
    joined = [frame_votes(frames, teacher, sequences, azimuths).argmax(1) * 2 * np.pi / BINS for frames in unordered]
    sequences, azimuths = sequences + unordered, azimuths + joined
    out.mkdir(parents=True, exist_ok=True)
    fitted = write_posed_crops(sequences, azimuths, shape, out)
    write_sheet(out / "sheet.jpg", sequences, azimuths)
    table = {}
    for k, (frames, azimuth) in enumerate(zip(sequences, azimuths, strict=True)):
        table[frames.name] = {"order": "unordered", **fitted[frames.name]}
        if k < len(readings):
            t = readings[k].turntable
            table[frames.name] |= {"order": t.how, "hull_overlap": round(t.coherence, 3),
                                   "feature_agreement": round(t.agreement, 3),
                                   "support": round(float(collection.alignment.support[k]), 3)}
        table[frames.name]["azimuth_deg"] = dict(zip(frames.files, np.rad2deg(azimuth).round(2).tolist(), strict=True))
        print(", ".join(f"{key} {value}" for key, value in table[frames.name].items() if key != "azimuth_deg"))
    write_file(out / "alignment.json", json.dumps(
        {"reference": sequences[collection.alignment.reference].name, "sequences": table}, indent=1))
