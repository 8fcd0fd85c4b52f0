# SPDX-License-Identifier: Apache-2.0
r"""Fit a bundle's ``uncertainty_by_source``: how wide the covariance is where more than the picture tells the distance.

    python -m dinemo_training.export.source_uncertainty --bundle engines/cup --scenes calib_cups \
        --objects calib_cups/objects.json [--support-file scene_support_noisy.json] [--json FILE]

The scenes are rendered ones with truth, plane and depth (``dinemo_training.synthetic.render.scenes``), of other objects
than those that the bundle is measured on. Every object is estimated with the plane, with the depth and with both, by
every network of the bundle; a pose counts for the source that it says it has, so one whose observation was refused does
not count for it. Held and stacked objects that were taken for standing ones do. The fit is that of
:mod:`.uncertainty`, for each source by itself. Poses stay what they are.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.evaluation.bop import Found, Judged, evaluate_bop, sources_of
from dinemo_ros.evaluation.bop_objects import read_objects
from dinemo_ros.evaluation.bop_scene import BopData, BopInstance, SupportFile, read_bop
from dinemo_ros.evaluation.truth import ReferenceObject
from dinemo_ros.io.files import write_file
from dinemo_ros.model.bundle import Bundle, load_bundle, rewrite_card
from dinemo_ros.model.card import SOURCES
from dinemo_ros.pose import ObjectPose, Roi
from dinemo_ros.process.console import command_main
from dinemo_ros.scene.depth_image import DepthImage
from dinemo_ros.scene.support_plane import SupportPlane
from dinemo_ros.uncertainty import UncertaintySpec
from dinemo_ros.verification.spec import PresenceSpec
from dinemo_training.run.arguments import parsed

from .announced import Announced, announced, gathered
from .uncertainty import FEWEST, fit

_PARTS = 8  # groups of shapes; the slopes are tried on those that they were not fitted to
_WHOLE = 0.98  # share that is seen of an object that nothing covers


class _Remembering:
    """An estimator that keeps the box that each of its poses covers, [4] pixels, by identity of the pose."""

    def __init__(self, estimator: PoseEstimator) -> None:
        self._estimator = estimator
        self.covered: dict[int, np.ndarray] = {}

    def estimate(self, image: np.ndarray, camera: Camera, rois: Sequence[Roi] | None = None, *,
                 support: SupportPlane | None = None, depth: DepthImage | None = None) -> list[ObjectPose]:
        """See :meth:`PoseEstimator.estimate`."""
        poses = self._estimator.estimate(image, camera, rois, support=support, depth=depth)
        self.covered |= {id(pose): self._estimator.covered(pose, camera) for pose in poses}
        return poses


def measure_sources(bundle: Bundle, data: BopData, threads: int = 2) -> dict[str, Announced]:
    """By source what the bundle announces and what its errors are, of the objects of its category in ``data``."""
    plain = replace(bundle, card=replace(bundle.card, uncertainty=UncertaintySpec(), uncertainty_by_source={},
                                         presence=PresenceSpec()))
    category, rows = bundle.card.category, {source: [] for source in SOURCES}
    truth = {(image.scene, image.im_id, one.obj_id): one for image in data.images for one in image.instances}
    for network in ["fp32"] + (["int8"] if bundle.int8_path else []):
        estimator = _Remembering(PoseEstimator(plain, threads=threads, precision=network))
        judged = {category: Judged(estimator, ReferenceObject.of(bundle))}
        images = tqdm(data.images, desc=f"sources, {network}", mininterval=5)
        found = evaluate_bop(judged, images, sources_of(support=True, depth=True)[1:]).found
        for one in found:
            if one.pose.source in rows:
                known = truth[one.scene, one.im_id, one.obj_id]
                rows[one.pose.source].append(_row(one, known, network, estimator.covered[id(one.pose)], bundle))
    return {source: gathered(found) for source, found in rows.items() if found}


def _row(one: Found, known: BopInstance, network: str, covered: np.ndarray, bundle: Bundle) -> dict:
    level = "L0" if known.visible is None or known.visible >= _WHOLE else "L1"
    return announced(one.pose, known.T_cam_category, known.known.size, bundle.card.symmetry, covered) | {
        "network": network, "level": level, "asset": f"part {one.obj_id % _PARTS}"}


def calibrate_sources(bundle: Path, data: BopData, version: str | None = None) -> dict:
    """Measure the bundle in folder ``bundle`` on ``data`` and write what was fitted into its card.

    Returns:
        By source ``fitted`` and the number of ``pictures``; a source with fewer than enough poses is left out.

    Raises:
        ValueError: not one source has enough poses.
    """
    loaded, summary, known = load_bundle(bundle), {}, {}
    for source, found in measure_sources(loaded, data).items():
        if len(found) >= FEWEST:
            known[source] = fit(found)
            summary[source] = {"fitted": asdict(known[source]), "pictures": len(found),
                               "right": float(found.right.mean())}
    if not known:
        raise ValueError(f"{bundle}: no source has {FEWEST} poses; render more scenes")
    rewrite_card(loaded, replace(loaded.card, uncertainty_by_source=known, version=version or loaded.card.version))
    return summary


def main() -> None:
    """The command ``python -m dinemo_training.export.source_uncertainty``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, required=True, help="BOP scenes with plane and depth")
    parser.add_argument("--objects", type=Path, required=True, help="what their objects are")
    parser.add_argument("--support-file", default="scene_support_noisy.json", help="planes as exact as a robot knows "
                        "them (default: %(default)s)")
    parser.add_argument("--version", help="write this version into the card, too")
    parser.add_argument("--json", type=Path, help="write the report of the fit here")
    args = parsed(parser)
    data = read_bop(args.scenes, read_objects(args.objects), support=SupportFile(args.support_file), depth=True)
    summary = calibrate_sources(args.bundle, data, args.version)
    for source, found in summary.items():
        print(f"{args.bundle}: {source}: fitted to {found['pictures']} estimates")
    if args.json:
        write_file(args.json, json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    command_main(main)
