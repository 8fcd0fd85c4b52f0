# SPDX-License-Identifier: Apache-2.0
r"""Fit a bundle's ``presence``: the probability that there is an object in a box at all, and the floor under it.

    python -m dinemo_training.export.presence --bundle engines/cup --renders RENDERS --photographs cups_unlabelled \
        --other-renders RENDERS --other-photographs bottles_unlabelled --backgrounds WALLPAPERS --json FILE

Boxes with and without the object (:mod:`dinemo_training.data.presence_boxes`) are estimated with every network that
the bundle has, and a logistic model of the evidence (:mod:`dinemo_ros.verification.evidence`) is fitted, both kinds
counting the same. The floor is what 99 of 100 boxes with the object reach, each judged by a fit to the other four
fifths: objects are kept, and how many of the others pass is what the report tells. Of photographs four fifths are
fitted to, by the hash of their names; ``python -m dinemo_training.evaluation.presence_check`` measures on the rest.

Poses stay what they are.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.io.files import write_file
from dinemo_ros.model.bundle import Bundle, load_bundle, rewrite_card
from dinemo_ros.process.console import command_main
from dinemo_ros.solver.coarse import Target
from dinemo_ros.solver.crop_solver import SolvedPose
from dinemo_ros.verification.evidence import Evidence, EvidenceReader
from dinemo_ros.verification.spec import NUMBERS, PresenceSpec

from ..data.presence_boxes import Sources, samples
from ..evaluation.presence_rows import share_markdown, share_rows

_RIDGE = 1e-3
_STEPS = 60  # of Newton's method
_FOLDS = 5
LOST = 0.01  # share of true objects that the floor may cost
FEWEST = 40  # poses of each kind
_FAR = 5.0  # as in dinemo_ros.verification.spec


@dataclass(frozen=True)
class Measured:
    """One entry per box and network.

    Attributes:
        network, kind: [M] text. present: [M] bool. found: [M] bool, the solver gave a pose.
        numbers: [M, N] and pooled: [M, 2 D] of the pose, zero without one.
    """

    network: np.ndarray
    kind: np.ndarray
    present: np.ndarray
    found: np.ndarray
    numbers: np.ndarray
    pooled: np.ndarray

    def only(self, chosen: np.ndarray) -> Measured:
        """Of some of the boxes, by index or mask."""
        return Measured(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def presences(self, spec: PresenceSpec) -> np.ndarray:
        """[M] by ``spec``; zero where there is no pose."""
        return np.array([spec.presence(n, p) if found else 0.0
                         for n, p, found in zip(self.numbers, self.pooled, self.found, strict=True)])


class Recorder:
    """Stands in for the verifier of a pipeline: keeps the evidence of every pose and answers with its number."""

    def __init__(self, bundle: Bundle) -> None:
        self._reader = EvidenceReader(bundle)
        self.kept: list[Evidence] = []

    def __call__(self, features: np.ndarray, target: Target, poses: list[SolvedPose]) -> float:
        self.kept.append(self._reader(features, target, poses))
        return float(len(self.kept) - 1)


def measure(bundle: Bundle, sources: Sources, with_object: int, without: int, seed: int = 0,
            threads: int = 2) -> Measured:
    """Run every network of the bundle in boxes with and without the object; see :func:`samples`."""
    rows: list[tuple] = []
    for network in ("fp32", *(["int8"] if bundle.int8_path else [])):
        estimator = PoseEstimator(bundle, threads=threads, precision=network, device="cpu")
        recorder = estimator.pipeline.verifier = Recorder(bundle)
        boxes = samples(sources, with_object, without, seed)
        for sample in tqdm(boxes, total=with_object + without, desc=f"presence, {network}", mininterval=5):
            recorder.kept = []
            (pose,) = estimator.locate(sample.image, sample.camera, [sample.box])
            evidence = Evidence(np.zeros(len(NUMBERS)), np.zeros(2 * bundle.card.features.dim)) \
                if pose is None else recorder.kept[int(pose.presence)]
            rows.append((network, sample.kind, sample.present, pose is not None, *evidence))
    return Measured(*(np.array(column) for column in zip(*rows, strict=True)))


def fit(measured: Measured) -> tuple[PresenceSpec, np.ndarray]:
    """The ``presence`` of a card, and [M] probabilities that each box gets by a fit to the others; what got no pose has
    no evidence.

    Raises:
        ValueError: too few poses in boxes with or without the object.
    """
    seen = measured.only(measured.found)
    for there, what in ((True, "with"), (False, "without")):
        if (count := int(np.sum(seen.present == there))) < FEWEST:
            raise ValueError(f"{count} poses in boxes {what} the object; at least {FEWEST} are needed")
    folds = _folds(measured)
    judged = np.zeros(len(measured.present))
    for fold in range(_FOLDS):
        judged[folds == fold] = measured.only(folds == fold).presences(_fitted(measured.only((folds != fold)
                                                                                             & measured.found)))
    floor = float(np.quantile(judged[measured.present & measured.found], LOST))
    return replace(_fitted(seen), floor=round(floor, 4)), judged


def _folds(measured: Measured) -> np.ndarray:
    """[M] part of each box; the same box seen by another network lies in the same part."""
    number = np.zeros(len(measured.network), int)
    for network in np.unique(measured.network):
        members = measured.network == network
        number[members] = np.arange(members.sum())
    return number % _FOLDS


def _fitted(seen: Measured) -> PresenceSpec:
    """Ridge logistic regression in which boxes with and without the object count the same."""
    mean, spread = _short(seen.numbers.mean(axis=0)), _short(seen.numbers.std(axis=0) + 1e-3)
    z = np.clip((seen.numbers - mean) / spread, -_FAR, _FAR)
    terms = np.hstack([z, z * z, seen.pooled])
    middle, scale = terms.mean(axis=0), terms.std(axis=0) + 1e-6
    weights = _logistic((terms - middle) / scale, seen.present)
    slope = weights[1:] / scale
    linear, square, pooled = np.split(slope, [len(NUMBERS), 2 * len(NUMBERS)])
    return PresenceSpec(float(_short(np.array(weights[0] - slope @ middle))), *(
        tuple(_short(part).tolist()) for part in (mean, spread, linear, square, pooled)))


def _logistic(x: np.ndarray, right: np.ndarray) -> np.ndarray:
    """[1 + E] weights, the first of one, for ``right`` [M] bool by ``x`` [M, E]; with a slight pull to zero."""
    x = np.c_[np.ones(len(x)), x]
    counts = np.where(right, 0.5 / right.mean(), 0.5 / (1.0 - right.mean()))
    pull = _RIDGE * len(x) * (np.arange(x.shape[1]) > 0)
    weights = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (counts * (right - p)) - pull * weights
        hessian = (x * (counts * p * (1 - p))[:, None]).T @ x + np.diag(pull + 1e-9)
        weights += np.linalg.solve(hessian, gradient)
    return weights


def _short(values: np.ndarray) -> np.ndarray:
    """Four digits, as a card shows them."""
    return np.array([float(f"{v:.4g}") for v in np.ravel(values)]).reshape(np.shape(values))


def calibrate(bundle: Path, sources: Sources, with_object: int, without: int, version: str | None = None,
              seed: int = 0) -> dict:
    """Measure, fit and write ``presence`` into the card of the bundle in folder ``bundle``.

    Args:
        sources: see :func:`samples`. with_object, without: boxes. version: written into the card, too.

    Returns:
        The floor and, of each network and kind of box, how many passed it that were not fitted to.
    """
    loaded = load_bundle(bundle)
    plain = replace(loaded, card=replace(loaded.card, presence=PresenceSpec()))
    measured = measure(plain, sources, with_object, without, seed)
    spec, judged = fit(measured)
    rewrite_card(loaded, replace(loaded.card, presence=spec, version=version or loaded.card.version))
    table = share_rows(measured.network, measured.kind, measured.present, measured.found, judged >= spec.floor)
    return {"floor": spec.floor, "with": with_object, "without": without, "cross_validated": table}


def add_sources(parser: argparse.ArgumentParser) -> None:
    """The options that :func:`sources_of` reads."""
    for name, what in (("renders", "posed crops with the object"), ("photographs", "photographs that it fills"),
                       ("other-renders", "posed crops of other categories"),
                       ("other-photographs", "photographs of other categories"),
                       ("backgrounds", "photographs without the object")):
        parser.add_argument(f"--{name}", type=Path, action="append", default=[], metavar="DIR",
                            help=f"{what}; may be given several times")


def sources_of(args: argparse.Namespace, held_out: bool) -> Sources:
    """Of the options of :func:`add_sources`."""
    return Sources(*(tuple(getattr(args, name)) for name in (
        "renders", "photographs", "other_renders", "other_photographs", "backgrounds")), held_out)


def main() -> None:
    """The command ``python -m dinemo_training.export.presence``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    add_sources(parser)
    parser.add_argument("--with", dest="with_object", type=int, default=900, help="boxes with the object (default: "
                        "%(default)s)")
    parser.add_argument("--without", type=int, default=1800, help="boxes without it (default: %(default)s)")
    parser.add_argument("--version", help="write this version into the card, too")
    parser.add_argument("--json", type=Path, help="write the report here")
    args = parser.parse_args()
    report = calibrate(args.bundle, sources_of(args, False), args.with_object, args.without, args.version)
    print(f"{args.bundle}: presence.floor {report['floor']:g}; each fifth of the boxes by a fit to the others:\n\n"
          f"{share_markdown(report['cross_validated'])}")
    if args.json:
        write_file(args.json, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    command_main(main)
