# SPDX-License-Identifier: Apache-2.0
"""The pictures of the grasping tutorial, made by the package itself.

    .venv-train/bin/python docs/figures/make_grasp_pictures.py        takes half a minute

A cup and a bottle are invented and rendered on a table; the poses are what the shipped bundles answer for the pictures,
and the grasps are those of their cards at the sizes that were found. Nothing is drawn by hand.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.drawing.grasps import draw_grasps
from dinemo_ros.drawing.overlay import draw_poses
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.geometry import pinhole_matrix, rotation_from_viewpoint, se3
from dinemo_ros.model.bundle import load_bundle
from dinemo_ros.model.grasps import grasp_frames
from dinemo_ros.pose import ObjectPose
from dinemo_training.synthetic.assets.vessel_kind import vessel_kind
from dinemo_training.synthetic.render.background import View, contact_shadow
from dinemo_training.synthetic.render.dataset import Pose, draw
from dinemo_training.synthetic.render.environment import random_environment
from dinemo_training.synthetic.render.shading import displayed, material_table
from dinemo_training.synthetic.render.table import table_background
from dinemo_training.synthetic.render.tabletop import skinned

HERE = Path(__file__).resolve().parent
ENGINES = HERE.parents[1] / "engines"
SIDE = 560  # pixels
_DRAWN_SIDE = 2.0  # the renderer's tables and lights are made for things of this size


def main() -> None:
    """Both pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", type=Path, default=ENGINES, help="folder of the bundles")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    cup = picture("cup", args.bundles, seed=40, azimuth_deg=50, elevation_deg=30, distance=0.72)
    bottle = picture("bottle", args.bundles, seed=6, azimuth_deg=0, elevation_deg=40, distance=1.0)
    for name, panels in (("grasps_cup.jpg", panels_of(cup, ("rim_0", "rim_4", "handle"))),
                         ("grasps_bottle.jpg", panels_of(bottle, ("body", "neck", "top")))):
        cv2.imwrite(str(args.out / name), np.hstack(panels)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])


def picture(category: str, bundles: Path, seed: int, azimuth_deg: float, elevation_deg: float,
            distance: float) -> tuple[np.ndarray, Camera, ObjectPose, PoseEstimator]:
    """A rendered vessel, uint8 [SIDE, SIDE, 3], its camera, and what the bundle answers for its box."""
    image, camera, box = render(category, seed, azimuth_deg, elevation_deg, distance)
    estimator = PoseEstimator(load_bundle(bundles / category), threads=2, precision="fp32")
    return image, camera, estimator.estimate(image, camera, [box])[0], estimator


def render(category: str, seed: int, azimuth_deg: float, elevation_deg: float, distance: float):
    """Picture, camera and box of an invented vessel on a table, ``distance`` metres away."""
    rng, kind = np.random.default_rng(seed), vessel_kind(category)
    vessel = kind.invent(rng)
    scale = _DRAWN_SIDE / float(np.ptp(vessel.vertices, axis=0).max())
    K = pinhole_matrix(2.2 * SIDE, (SIDE - 1) / 2, (SIDE - 1) / 2)
    R = rotation_from_viewpoint(*np.radians([azimuth_deg, elevation_deg, 0.0]))
    pose = Pose(K, se3(R, np.array([0.0, 0.0, distance * scale])))
    asset = skinned(vessel, scale, kind.skin(rng), kind.open, rng)
    environment = random_environment(rng)
    view = View(K, pose.T_cam_obj, (SIDE, SIDE), asset.ground)
    background = table_background(view, environment, rng, None)
    background = background * contact_shadow(view, 0.8 * asset.size, 0.25, 0.7)[..., None]
    colour, coverage = draw(asset, material_table(asset.materials), pose, (SIDE, SIDE), environment)
    image = displayed(background * (1 - coverage[..., None]) + colour)
    rows, columns = np.nonzero(coverage > 0.5)
    box = (float(columns.min()), float(rows.min()), columns.max() + 1.0, rows.max() + 1.0)
    return image, Camera(SIDE, SIDE, K), box


def panels_of(found: tuple[np.ndarray, Camera, ObjectPose, PoseEstimator], names: tuple[str, ...]) -> list[np.ndarray]:
    """The pose, and beside it the grasps of these names."""
    image, camera, pose, estimator = found
    grasps = {grasp.name: grasp for grasp in grasp_frames(estimator.bundle.card, pose)}
    missing = set(names) - set(grasps)
    if missing:
        raise SystemExit(f"the card has no grasp {', '.join(sorted(missing))} for this pose; it has "
                         f"{', '.join(grasps) or 'none'}")
    drawn = draw_grasps(image, camera, pose.T_cam_obj, [grasps[name] for name in names])
    return [draw_poses(image, camera, [pose], estimator.bundle.mesh), drawn]


if __name__ == "__main__":
    main()
