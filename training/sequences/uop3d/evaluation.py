# SPDX-License-Identifier: Apache-2.0
"""How well instances are aligned: rendered turntables with exact truth, real ones against azimuths not used."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from dinemo_ros.errors import DatasetError, DocumentError
from dinemo_ros.evaluation.checked import mapping, number
from dinemo_ros.geometry import rotation_angle
from dinemo_ros.io.document import read_json
from dinemo_ros.io.files import write_file
from dinemo_ros.io.quoting import quoted, shown_path
from dinemo_training.models.teachers import CnnTeacher
from dinemo_training.synthetic.assets.car_catalogue import load_fleet
from dinemo_training.synthetic.render.dataset import source_folders

from .alignment import AlignConfig
from .collection import align_pairs, frame_azimuths
from .instance import Instance, build_instance, feature_maps
from .object_sequence import ObjectSequence
from .outputs import write_sheet
from .similarity import nearest_rotation
from .synchronization import Pairs, pick_reference, synchronize, to_reference
from .synthetic import TrueSequence, render_turntable
from .turntable import pose_turntable

ABLATIONS = {
    "UOP3D objective, view-wise appearance": AlignConfig(),
    "UOP3D objective alone": AlignConfig(view_weight=0),
    "  without cyclic weights": AlignConfig(view_weight=0, temperature=None),
    "  without RANSAC": AlignConfig(view_weight=0, samples=0),
    "  without appearance term": AlignConfig(view_weight=0, alpha=0.0),
    "  free rotation (not gravity-aligned)": AlignConfig(view_weight=0, upright=False),
}


def summary(errors_deg: np.ndarray) -> dict[str, float]:
    """Acc@30, Acc@10 and flips (above 150 degrees) in percent, median in degrees, of rotation errors [N]."""
    e = np.asarray(errors_deg)
    return {"count": len(e), "acc30": round(100 * float((e < 30).mean()), 1),
            "acc10": round(100 * float((e < 10).mean()), 1), "median_deg": round(float(np.median(e)), 1),
            "flips": round(100 * float((e > 150).mean()), 1)}


def true_rotation(sequence: ObjectSequence, T_cam_obj: np.ndarray) -> np.ndarray:
    """Rotation R_own_obj [3, 3] that explains the true poses [N, 4, 4] best (chordal mean over the frames).

    For cameras that were estimated this is what an aligner of the sequence can at best find.
    """
    turns = [a[:3, :3].T @ b[:3, :3] for a, b in zip(sequence.T_cam_own, T_cam_obj, strict=True)]
    return nearest_rotation(np.mean(turns, axis=0))


def camera_errors(sequence: ObjectSequence, T_cam_obj: np.ndarray) -> np.ndarray:
    """[N] radians: how far the relative rotation of every frame is off, own frame and object frame laid together."""
    R = true_rotation(sequence, T_cam_obj)
    return np.array([rotation_angle(a[:3, :3] @ R, b[:3, :3])
                     for a, b in zip(sequence.T_cam_own, T_cam_obj, strict=True)])


def pair_errors(pairs: Pairs, truth: list[np.ndarray]) -> np.ndarray:
    """Rotation errors [P] in degrees of the best hypothesis of every pair.

    Args:
        truth: R_own_obj [3, 3] of every instance.
    """
    return np.rad2deg([rotation_angle(h[0].transform.R, truth[j] @ truth[i].T) for (i, j), h in pairs.items()])


def canonical_errors(rotations: list[np.ndarray], truth: list[np.ndarray], reference: int) -> np.ndarray:
    """Rotation errors [N - 1] in degrees of all instances but the reference, in the reference's frame.

    Args:
        rotations, truth: [3, 3] of each of the N instances: found, own frame to canonical; true, R_own_obj.
    """
    home = truth[reference]
    return np.rad2deg([rotation_angle(R @ truth[i], rotations[reference] @ home)
                       for i, R in enumerate(rotations) if i != reference])


def evaluate_alignment(instances: list[Instance], truth: list[np.ndarray], config: AlignConfig) -> dict[str, dict]:
    """Errors in degrees under one setting: pairwise, all to one reference, and synchronised.

    Args:
        truth: R_own_obj [3, 3] of every instance.
    """
    pairs = align_pairs(instances, config)
    reference = pick_reference(pairs, len(instances))
    alone = [T.R for T in to_reference(pairs, len(instances), reference)]
    together = [T.R for T in synchronize(pairs, len(instances), reference).transforms]
    return {"pairwise": summary(pair_errors(pairs, truth)),
            "to_reference": summary(canonical_errors(alone, truth, reference)),
            "synchronised": summary(canonical_errors(together, truth, reference))}


def synthetic_command(args: argparse.Namespace) -> None:
    """``python -m dinemo_training.sequences.uop3d synthetic``."""
    assets, _ = load_fleet(source_folders(args), args.assets)
    teacher = CnnTeacher()
    instances, truth, cameras, rendered = [], [], {}, []
    for k, asset in enumerate(tqdm(assets, desc="turntables")):
        true = render_turntable(asset, 1000 * args.seed + k, args.frames)
        maps = feature_maps(true.sequence, teacher)
        if args.cameras == "turntable":
            true, cameras[asset.name] = _estimated(true, maps)
        instances.append(build_instance(true.sequence, maps))
        truth.append(true_rotation(true.sequence, true.T_cam_obj))
        rendered.append(true)
    settings = ABLATIONS if args.ablations else dict(list(ABLATIONS.items())[:1])
    table = {name: evaluate_alignment(instances, truth, config)
             for name, config in tqdm(settings.items(), desc="settings")}
    if args.sheet:
        _write_sheet(args.sheet, rendered, instances)
    result = {"cars": [a.name for a in assets], "frames": args.frames, "seed": args.seed, "cameras": args.cameras,
              **({"camera_errors": cameras} if cameras else {}), "settings": table}
    _write_json(args.out, result)
    for name, row in table.items():
        for stage, figures in row.items():
            print(f"{name:40s} {stage:14s} " + ", ".join(f"{k} {v}" for k, v in figures.items()))


def _estimated(true: TrueSequence, maps: Tensor) -> tuple[TrueSequence, dict]:
    """The sequence with cameras found from its frames, and how good they are."""
    found = pose_turntable(true.sequence, maps, "equal")
    error = np.rad2deg(camera_errors(found.sequence, true.T_cam_obj))
    figures = {"median_deg": round(float(np.median(error)), 1), "max_deg": round(float(error.max()), 1),
               "elevation_deg": round(float(np.rad2deg(found.elevation)), 1),
               "true_elevation_deg": round(float(np.rad2deg(true.elevation)), 1),
               "hull_overlap": round(found.coherence, 3), "feature_agreement": round(found.agreement, 3)}
    return replace(true, sequence=found.sequence), figures


def _write_sheet(path: Path, rendered: list[TrueSequence], instances: list[Instance]) -> None:
    aligned = synchronize(align_pairs(instances), len(instances))
    sequences = [true.sequence for true in rendered]
    azimuths = [frame_azimuths(s, T.R) for s, T in zip(sequences, aligned.transforms, strict=True)]
    # Only for the eye: the reference's true heading comes first.
    start = float(np.angle(np.exp(1j * (azimuths[aligned.reference] - rendered[aligned.reference].azimuths)).mean()))
    write_sheet(path, sequences, [a - start for a in azimuths])


def check_command(args: argparse.Namespace) -> None:
    """``python -m dinemo_training.sequences.uop3d check``: aligned azimuths against a table of azimuths, per
    sequence; DatasetError where one of them is none."""
    aligned, known = _azimuths(args.aligned / "alignment.json", "sequences"), _azimuths(args.azimuths)
    table = {}
    for name in sorted(set(aligned) & set(known)):
        found, true = aligned[name], known[name]
        if not found or set(found) - set(true):
            raise DatasetError(f"{shown_path(args.azimuths)}: lacks frames of the sequence {quoted(name)}, or there "
                               "are none; give the azimuths of the sequences that were aligned")
        difference = np.array([found[f] - true[f] for f in found])
        error = np.abs((difference + 180) % 360 - 180)
        offset = np.rad2deg(np.angle(np.exp(1j * np.deg2rad(difference)).mean()))
        table[name] = {**summary(error), "mean_offset_deg": round(float(offset), 1)}
        print(f"{name:14s} " + ", ".join(f"{k} {v}" for k, v in table[name].items()))
    _write_json(args.out, table)


def _azimuths(path: Path, key: str = "") -> dict[str, dict[str, float]]:
    """Azimuths in degrees by frame, by sequence; those without any are left out.

    Raises:
        DatasetError: the file has something else.
    """
    try:
        document = mapping(read_json(path), "the document", [key] if key else [])
        sequences = mapping(document[key], key) if key else document
        return {name: {frame: number(value, f"azimuth_deg of {quoted(frame)}") for frame, value in mapping(
            entry["azimuth_deg"], f"azimuth_deg of {quoted(name)}").items()}
                for name, entry in sequences.items() if mapping(entry, quoted(name)).get("azimuth_deg") is not None}
    except (DocumentError, DatasetError) as error:
        raise DatasetError(f"{shown_path(path)}: {error}; expected {{SEQUENCE: {{azimuth_deg: {{FRAME: degrees}}}}}}"
                           ) from error


def _write_json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, json.dumps(value, indent=1))
