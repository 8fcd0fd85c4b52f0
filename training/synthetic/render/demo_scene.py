# SPDX-License-Identifier: Apache-2.0
"""Render the scene that ships in ``config/demo_scene_cups``: a camera moves around a mug on a table.

    python -m dinemo_training.synthetic.render.demo_scene --out config/demo_scene_cups

Mug, table and things are invented, so that the pictures may be passed on. Format:
:mod:`dinemo_training.synthetic.render.bop_scene`; ``000000/rgb`` has a ``camera_info.yaml`` as well and can be played
as a folder of pictures.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from dinemo_ros.geometry import pinhole_matrix, ray_rotation, rotation_from_viewpoint, se3
from dinemo_ros.io.files import write_file
from dinemo_ros.process.console import command_main
from dinemo_training.run.arguments import parsed
from dinemo_training.synthetic.assets.data_file import CONFIGS
from dinemo_training.synthetic.assets.solids import moved
from dinemo_training.synthetic.assets.vessel_catalogue import VesselCatalogue

from .background import View
from .bop_scene import BopScene, write_objects
from .demo_sequence import write_calibration
from .scene_sampler import Sample, placed
from .scenes import labelled
from .table_scene import TableScene
from .tabletop import random_thing

SIZE = (400, 300)  # pixels; depth images with noise are large
HFOV_DEG = 44.0
FRAMES = 12
_SEED = 19
_PLACES = ((-1.6, 1.9), (1.0, -2.9))  # where things stand on the table, drawn units
_README = """# Demo scene: a mug on a table

Rendered by `python -m dinemo_training.synthetic.render.demo_scene --out config/demo_scene_cups`. Mug, table, things and
light are invented by that command; no CAD file, texture or photograph went into it. Apache-2.0, as the package.

One scene in the format of the BOP benchmark (`000000/`): 12 pictures of 400 x 300 pixels by a camera that moves around
the mug, depth images with noise and holes (uint16, millimetres), masks, poses. Beside that format:

- `000000/scene_support.json`: the table's plane per picture, `normal @ x == offset_m` in the camera's optical frame;
  `scene_support_noisy.json`, `scene_support_about_camera.json`, `scene_support_wrong.json`: the same with errors.
- `objects.json`: category, frame and size (metres) of the mug.
- `000000/rgb/camera_info.yaml`: the camera, for players of folders of pictures.

`bash scripts/demo.sh --scene cups` and `ros2 launch dinemo_ros demo.launch.py scene:=cups` play it to the pose node and
print the errors of RGB alone, with the plane, with depth and with both. `dinemo eval bop` measures the same without
ROS:

    dinemo eval bop config/demo_scene_cups --objects config/demo_scene_cups/objects.json --support --depth

The mug is of the kind of mugs that the shipped cup bundle was trained on: the scene shows what the plane and the depth
do for the distance, it is no measurement of the bundle.
"""


def demo_scene() -> TableScene:
    """The mug on its table with two things beside it."""
    catalogue, rng = VesselCatalogue(str(CONFIGS / "scenes" / "plain_mug.yaml"), None), np.random.default_rng(_SEED)
    scene = placed(catalogue.draw(rng), catalogue, rng)
    things = []
    for place in _PLACES:
        thing = random_thing(rng)
        things.append(moved(thing, se3(np.eye(3), np.array([*place, -thing.ground]))))
    return replace(scene, things=tuple(things))


def camera_path(scene: TableScene) -> list[View]:
    """Views of the frames: from 0.62 m at the handle's side round to 0.42 m, first low, then high."""
    focal = 0.5 * SIZE[0] / np.tan(np.radians(HFOV_DEG) / 2)
    K, views = pinhole_matrix(focal, (SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2), []
    for s in np.linspace(0, 1, FRAMES):
        rotation = rotation_from_viewpoint(*np.radians([-35 + 170 * s, 24 + 26 * s, 3 * np.sin(7 * s)]))
        T = se3(rotation, np.array([0, 0, (0.62 - 0.2 * s) * scene.scale])) @ \
            se3(np.eye(3), -scene.T_table_obj[:3, 3])
        aside = np.array([0.12 * np.sin(5 * s), 0.06 * np.cos(4 * s), 1.0])  # the mug wanders through the picture
        views.append(View(K, se3(ray_rotation(aside), np.zeros(3)) @ T, SIZE, 0.0))
    return views


def write_demo(out: Path) -> None:
    """Write all files of the scene into the folder ``out``."""
    scene = demo_scene()
    bop = BopScene(out / "000000")
    for k, view in enumerate(camera_path(scene)):
        sample = Sample(scene, view, np.random.default_rng([_SEED, k]), "cup")
        bop.add(k, *labelled(sample, _SEED, k, 1))
    bop.save()
    write_objects(out / "objects.json", {1: ("cup", scene.vessel)})
    write_calibration(out / "000000" / "rgb" / "camera_info.yaml", camera_path(scene)[0].K, SIZE)
    write_file(out / "README.md", _README)


def main() -> None:
    """The command ``python -m dinemo_training.synthetic.render.demo_scene``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parsed(parser)
    cv2.setNumThreads(1)
    write_demo(args.out)


if __name__ == "__main__":
    command_main(main)
