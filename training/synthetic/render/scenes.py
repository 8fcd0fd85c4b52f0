# SPDX-License-Identifier: Apache-2.0
"""Scenes with truth for whole pictures: cups and bottles on tables, with depth and the table's plane, in BOP's format.

    python -m dinemo_training.synthetic.render.scenes --category cup --cad meshes --out scenes --count 250 --seed 160 \
        --held-out

A camera of 640 x 480 pixels and 60 degrees sees one object from 0.35 to 1.2 m and 15 to 75 degrees of elevation.
In two of five pictures something stands or reaches before it and hides up to 60 %; one object in ten stands on
something else than the table or is held above it. What is written: :mod:`dinemo_training.synthetic.render.bop_scene`;
the depth camera: :mod:`dinemo_training.synthetic.render.depth_sensor`. Planes with errors lie beside the true one:
``noisy`` (1 degree about the object's foot, 3 mm), ``about_camera`` (the same about the camera), ``wrong`` (5 cm too
high or too low). Picture k depends on --seed and k alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from dinemo_ros.process.console import command_main
from dinemo_ros.scene.support_plane import SupportPlane
from dinemo_training.run.arguments import parsed
from dinemo_training.synthetic.assets.vessel_catalogue import VesselCatalogue
from dinemo_training.synthetic.assets.vessel_kind import CATEGORY_HELP
from dinemo_training.synthetic.plane_noise import lifted, tilted_about_camera, tilted_about_foot

from . import tabletop
from .background import Photos
from .bop_scene import BopScene, Labels, write_objects
from .dataset import _pictures, one_folder
from .depth_sensor import measured
from .scene_sampler import Sample, SceneSampler
from .table_scene import Shot, drawn

WRONG = 0.05  # metres
_PLANE, _DEPTH = 1, 2  # random sources of their own, so that one kind of error can change and the rest stays
_SAVED_EVERY = 25


def planes(T_cam_table: np.ndarray, foot: np.ndarray, seed: int, k: int) -> dict[str, SupportPlane]:
    """The true plane ("") and those with errors, see the module.

    Args:
        T_cam_table: [4, 4] metres. foot: [3] metres, camera frame: where the object stands, or is above.
    """
    true = SupportPlane.from_frame(T_cam_table)
    sign = 1 if np.random.default_rng([seed, k, _PLANE, 1]).random() < 0.5 else -1
    return {"": true, "noisy": tilted_about_foot(true, foot, np.random.default_rng([seed, k, _PLANE])),
            "about_camera": tilted_about_camera(true, np.random.default_rng([seed, k, _PLANE])),
            "wrong": lifted(true, sign * WRONG)}


def labelled(sample: Sample, seed: int, k: int, object_id: int) -> tuple[Shot, np.ndarray, Labels]:
    """Picture, depth image [H, W] uint16 millimetres and labels (metres) of a sample."""
    shot = drawn(sample.scene, sample.view, sample.rng)
    depth = measured(shot.depth, shot.behind, shot.clear, shot.visible, np.random.default_rng([seed, k, _DEPTH]))
    T_cam_table = sample.T_cam_table
    below = np.array([*sample.scene.T_table_obj[:2, 3], 0.0]) / sample.scene.scale
    foot = T_cam_table[:3, :3] @ below + T_cam_table[:3, 3]
    return shot, depth, Labels(sample.view.K, sample.T_cam_obj, object_id, sample.scene.standing,
                               planes(T_cam_table, foot, seed, k))


def write_scenes(out: Path, sampler: SceneSampler, seed: int, count: int) -> None:
    """Draw ``count`` pictures as the one BOP scene of the folder ``out``; every picture has an object of its own."""
    scene, objects = BopScene(out / "000000"), {}
    for k in tqdm(range(count), unit="picture", smoothing=0.05):
        sample = sampler.sample(k)
        objects[k + 1] = (sample.category, sample.scene.vessel)
        scene.add(k, *labelled(sample, seed, k, k + 1))
        if (k + 1) % _SAVED_EVERY == 0 or k + 1 == count:
            scene.save()
            write_objects(out / "objects.json", objects)


def category_folder(cad: Path | None, category: str) -> Path | None:
    """Where a category's CAD files lie: in the folder of its name below ``cad``, or in ``cad`` itself."""
    return cad / category if cad and (cad / category).is_dir() else cad


def model_files(options: dict) -> list[Path]:
    """The CAD files that a command with these options draws, see :mod:`dinemo_training.run.leakage`."""
    categories, cad = options.get("category") or [], one_folder(options.get("cad"))
    return [file for category in ([categories] if isinstance(categories, str) else categories)
            for file in tabletop.model_files({**options, "category": category,
                                              "cad": category_folder(cad, category)})]


def main() -> None:
    """The command ``python -m dinemo_training.synthetic.render.scenes``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--category", required=True, action="append",
                        help=f"{CATEGORY_HELP}; may be given several times: they take turns")
    parser.add_argument("--cad", type=Path, help="folder of the category's CAD files, or of folders by the names of "
                        "the categories; without it all are invented")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", action="store_true", help="draw the vessels that training never sees")
    parser.add_argument("--backgrounds", type=Path, help="folder of photographs without such objects, for prints, "
                        "tables and walls")
    args = parsed(parser)
    cv2.setNumThreads(1)
    catalogues = {category: VesselCatalogue(category, category_folder(args.cad, category), args.held_out)
                  for category in args.category}
    for category, catalogue in catalogues.items():
        print(f"{category}: {', '.join(e.file for e in catalogue.entries) or 'invented ones'}")
    write_scenes(args.out, SceneSampler(catalogues, args.seed, Photos(_pictures(args.backgrounds), [])), args.seed,
                 args.count)


if __name__ == "__main__":
    command_main(main)
