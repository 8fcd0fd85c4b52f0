# SPDX-License-Identifier: Apache-2.0
r"""Is the announced uncertainty of the azimuth the true one? For categories whose handle may be hidden.

    python -m dinemo_training.export.azimuth_uncertainty --bundle engines/cup --renders runs/cup/held_out [--json \
        FILE] [--fit]

Renders are estimated clean and with 20 to 80 % of the object covered, in the box of their mask, and sorted by whether
their handle is seen (from the mesh and the true pose; a covered picture may hide it all the same). Per group the table
gives: the error of the turn about the axis and of the axis itself, the standard deviation announced for the turn, how
often the error lies within one and two of them, and the mean logarithm of the density of the posterior at the true
turn.

``--fit`` writes the key ``azimuth`` into the card: the posterior under which the true turns of all these pictures are
likeliest (:class:`dinemo_ros.model.azimuth.AzimuthSpec`), each hidden handle counted three times: they are few, and a
robot that is sure of one reaches for what is not there. The variance about the axis is then that of the posterior
alone, and the factors of ``uncertainty`` leave it: fit those afterwards, they read what the solver announces.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.evaluation.cutouts import DrawnCutOuts
from dinemo_ros.evaluation.occlusion import LEVELS, Occluder
from dinemo_ros.evaluation.sample import CLEAN
from dinemo_ros.evaluation.synthetic import SyntheticFrame, read_synthetic, synthetic_entries
from dinemo_ros.geometry import wrapped
from dinemo_ros.io.files import check_output_file, write_file
from dinemo_ros.model.azimuth import AzimuthSpec
from dinemo_ros.model.bundle import Bundle, load_bundle, rewrite_card
from dinemo_ros.model.symmetry import Symmetry
from dinemo_ros.process.console import command_main
from dinemo_ros.solver.ambiguity import azimuth_of, azimuth_posterior
from dinemo_ros.solver.visibility import direction_index, visibility_table
from dinemo_ros.turns import TURNS, angles, deviation, turn_between
from dinemo_ros.uncertainty import UncertaintySpec
from dinemo_ros.verification.spec import PresenceSpec

from ..data.batches import camera_centre
from ..data.evenly import some_of
from ..run.arguments import parsed

FEWEST = 20  # pictures with a pose below which nothing is fitted
_SEEN = 0.15  # share of the handle's vertices from which on it counts as seen
_HIDDEN_COUNTS = 3.0  # pictures with a seen handle
_AXIS = Symmetry("z", 0)  # two poses that differ by a turn are one
_BIN = 2 * math.pi / TURNS
_NEVER = 1e-300  # of a turn: its logarithm stays a number
_TRIED = {"scale": np.geomspace(0.1, 100.0, 37), "unseen": np.r_[0.0, np.geomspace(0.01, 10.0, 19)],
          "blur_deg": np.arange(5.0, 31.0, 1.0), "doubt": np.r_[0.0, np.geomspace(0.005, 0.5, 15)]}
_ROUNDS = 6  # through all of them, one after the other


@dataclass(frozen=True)
class Turns:
    """Arrays [N], one value per estimated picture, and likelihoods [N, TURNS].

    Attributes:
        likelihoods: logarithms, of the turns of the reported pose, in units of a cell's noise (``scale`` 1).
        azimuth: of the camera about the reported pose, radians.
        turn: by what the true pose is turned from the reported one, radians. axis: between their axes.
        seen: share of the handle that is not behind the object. level: of occlusion.
    """

    likelihoods: np.ndarray
    azimuth: np.ndarray
    turn: np.ndarray
    axis: np.ndarray
    seen: np.ndarray
    level: np.ndarray

    def __len__(self) -> int:
        return len(self.turn)

    def posteriors(self, spec: AzimuthSpec) -> np.ndarray:
        """[N, TURNS] under ``spec``."""
        return np.array([azimuth_posterior(each / spec.scale, azimuth, spec)
                         for each, azimuth in zip(self.likelihoods, self.azimuth, strict=True)])

    def log_densities(self, spec: AzimuthSpec) -> np.ndarray:
        """[N] logarithm of the posterior's density (per radian) at the true turn."""
        sharp = self.posteriors(replace(spec, blur_deg=0.0, doubt=0.0))
        away, blur = wrapped(angles()[None] - self.turn[:, None]), math.radians(spec.blur_deg)
        kernel = np.exp(-0.5 * (away / blur) ** 2) / (math.sqrt(2 * math.pi) * blur)
        return np.log((1 - spec.doubt) * np.sum(sharp * kernel, axis=1) + spec.doubt / (2 * math.pi))

    def summary(self, spec: AzimuthSpec) -> dict[str, dict[str, float]]:
        """Figures in degrees and percent of all clean pictures, of those whose handle is seen, and of those where it is
        hidden; then of the covered ones."""
        clean, seen = self.level == CLEAN, self.seen >= _SEEN
        groups = {"all": clean, "handle seen": clean & seen, "handle hidden": clean & ~seen, "covered": ~clean}
        announced = np.array([deviation(posterior) for posterior in self.posteriors(spec)])
        density = self.log_densities(spec)
        return {name: self._figures(chosen, announced, density) for name, chosen in groups.items() if chosen.any()}

    def _figures(self, chosen: np.ndarray, deviations: np.ndarray, density: np.ndarray) -> dict[str, float]:
        turn, axis, announced = (np.degrees(x[chosen]) for x in (np.abs(self.turn), self.axis, deviations))
        return {"n": int(chosen.sum()), "turn_median_deg": round(float(np.median(turn)), 1),
                "turn_within_30_pct": round(100 * float(np.mean(turn < 30)), 1),
                "axis_median_deg": round(float(np.median(axis)), 1),
                "axis_within_10_pct": round(100 * float(np.mean(axis < 10)), 1),
                "announced_median_deg": round(float(np.median(announced)), 1),
                "within_one_deviation_pct": round(100 * float(np.mean(turn < announced)), 1),
                "within_two_deviations_pct": round(100 * float(np.mean(turn < 2 * announced)), 1),
                "log_density": round(float(np.mean(density[chosen])), 3)}


def measure(bundle: Bundle, folders: Sequence[Path], count: int | None = None) -> Turns:
    """Estimate every render, clean and covered, in the box of its mask; those without a pose are left out.

    Args:
        folders: as ``dinemo_training.synthetic.render`` writes them. count: pictures of each, evenly chosen.

    Raises:
        ValueError: a category without a part that tells its azimuth.
    """
    azimuth = AzimuthSpec(level=bundle.card.azimuth.level, scale=1.0)  # its posterior is the plain softmax
    card = replace(bundle.card, azimuth=azimuth, uncertainty=UncertaintySpec(), presence=PresenceSpec())
    handle_seen = _handle_visibility(bundle)
    estimator, occluder, rows = PoseEstimator(replace(bundle, card=card)), Occluder(DrawnCutOuts()), []
    frames = [frame for folder in folders for frame in _chosen(folder, count)]
    for frame, entry in zip(tqdm(frames, desc="azimuth", mininterval=5), synthetic_entries(frames), strict=True):
        sample = entry.load()
        for level in (None, *LEVELS.values()):
            image = sample.image if level is None else \
                occluder(sample.image, sample.mask, level, f"{entry.group}/{entry.name}").image
            for pose in estimator.estimate(image, sample.camera, [sample.roi])[:1]:
                R, R_true = pose.T_cam_obj[:3, :3], frame.T_cam_obj[:3, :3]
                rows.append((np.log(np.maximum(pose.turns, _NEVER)), azimuth_of(R, pose.T_cam_obj[:3, 3]),
                             turn_between(R, R_true), _AXIS.distance(R, R_true), handle_seen(frame),
                             level.name if level else CLEAN))
    return Turns(*(np.array(column) for column in zip(*rows, strict=True))) if rows else Turns(
        np.empty((0, TURNS)), *(np.empty(0) for _ in range(5)))


def _chosen(folder: Path, count: int | None) -> list[SyntheticFrame]:
    frames = read_synthetic(folder)
    return frames if count is None else some_of(frames, count)


def _handle_visibility(bundle: Bundle) -> Callable[[SyntheticFrame], float]:
    """Function of a render: share of the handle's vertices that its camera sees, the vessel itself considered."""
    mesh = bundle.mesh
    vertices = mesh.vertices.astype(np.float64)
    handle = vertices[:, 0] > 1.1 * 0.5 * mesh.extent[1]
    if not bundle.card.symmetry.uncertain_azimuth or not handle.any():
        raise ValueError(f"{bundle.path}: the mesh has nothing beyond its body along x, or the card's symmetry is not "
                         "{axis: z, order: 1}; this category has no handle that tells its azimuth")
    table = visibility_table(vertices, mesh.faces, mesh.normals.astype(np.float64))

    def share(frame: SyntheticFrame) -> float:
        centre = camera_centre(frame.T_cam_obj) / (frame.size / mesh.extent)
        row = table.visible[direction_index(centre, table.azimuths, table.elevations)] > 0
        return 2 * float(row[handle].mean())  # half of a tube's vertices look away

    return share


def likeliest(turns: Turns, level: float) -> AzimuthSpec:
    """The posterior under which the true turns are likeliest, value by value in turn; hidden handles count more.

    level: a cosine, of the bundle that ``turns`` were measured with.

    Raises:
        ValueError: too few pictures.
    """
    if len(turns) < FEWEST:
        raise ValueError(f"{len(turns)} pictures got a pose; at least {FEWEST} are needed to fit the azimuth's "
                         "posterior")
    weight = np.where(turns.seen < _SEEN, _HIDDEN_COUNTS, 1.0)
    weight /= weight.sum()
    best = AzimuthSpec(level, scale=2.0, unseen=0.1, blur_deg=10.0, doubt=0.05)
    for _ in range(_ROUNDS):
        before = best
        for name, values in _TRIED.items():
            tried = [replace(best, **{name: float(f"{value:.4g}")}) for value in values]
            best = max([best, *tried], key=lambda spec: float(weight @ turns.log_densities(spec)))
        if best == before:
            break
    return best


def fit(bundle: Path, renders: Sequence[Path], count: int | None = None) -> dict:
    """Measure the bundle in folder ``bundle``, write ``azimuth`` into its card, and say what it does to the pictures.

    Raises:
        ValueError: see :func:`measure` and :func:`likeliest`.
    """
    loaded = load_bundle(bundle)
    turns = measure(loaded, renders, count)
    spec = likeliest(turns, loaded.card.azimuth.level)
    rewrite_card(loaded, replace(loaded.card, azimuth=spec))
    return {"azimuth": asdict(spec), **turns.summary(spec)}


def main() -> None:
    """The command ``python -m dinemo_training.export.azimuth_uncertainty``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--renders", type=Path, required=True, action="append", help="posed crops with masks, rendered "
                        "with exact poses; may be given several times")
    parser.add_argument("--count", type=int, help="only so many of each, evenly chosen")
    parser.add_argument("--fit", action="store_true", help="fit the posterior, write it into the card")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parsed(parser)
    check_output_file(args.json)
    if args.fit:
        summary = fit(args.bundle, args.renders, args.count)
    else:
        bundle = load_bundle(args.bundle)
        spec = bundle.card.azimuth or replace(bundle.card.azimuth, scale=bundle.card.score.covariance_scale,
                                              unseen=0.0, blur_deg=5.0, doubt=0.0)
        summary = {"azimuth": asdict(spec), **measure(bundle, args.renders, args.count).summary(spec)}
    print(json.dumps(summary, indent=1))
    if args.json:
        write_file(args.json, json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    command_main(main)
