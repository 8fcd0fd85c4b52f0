# SPDX-License-Identifier: Apache-2.0
"""Training data: the mesh, and pictures of every pool with their poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dinemo_ros.geometry import allocentric, viewpoint_from_rotation
from dinemo_ros.model.neural_mesh import NeuralMesh
from dinemo_training.data.evenly import some_of

from ..data.posed_crops import PosedCrop, load_posed_crops
from ..models.category_shape import CategoryShape
from ..run.recipe import Recipe
from .charts import azimuth_roses
from .drawings import mesh_views, overlay_mesh, posed, save_sheet, tile
from .page import Picture, Section, Table

_SHOWN = 10  # pictures of each pool
_POSED = {"synthetic": "rendered pictures with exact poses", "held_out": "rendered pictures to measure on",
          "sequences": "frames of sequences, posed by alignment and silhouettes"}


def data(recipe: Recipe, run: Path, out: Path) -> Section:
    """The mesh, and pictures of every pool with the mesh drawn at their labelled poses."""
    section = Section("Mesh and pictures")
    if not (run / "shape.npz").is_file():
        return section
    shape = CategoryShape.load(run / "shape.npz")
    mesh = overlay_mesh(shape)
    size = " x ".join(f"{v:.3g}" for v in shape.size)
    section.pictures.append(Picture(
        save_sheet(out / "mesh.jpg", mesh_views(shape.vertices, shape.faces), 6),
        f"The neural mesh: {len(shape.vertices)} vertices, {len(shape.faces)} faces, {size} m."))
    rows, azimuths = [], {}
    for name, what in _POSED.items():
        if not (run / name / "labels.npz").is_file():
            continue
        crops = load_posed_crops(run / name)
        rows.append([name, str(len(crops)), what])
        azimuths[name] = np.array([azimuth(crop.T_cam_obj) for crop in crops])
        section.pictures.append(Picture(save_sheet(out / f"{name}.jpg", _sheet(crops, mesh), _SHOWN // 2),
                                        f"{name}: {what}. The mesh is drawn at the labelled pose and size; where it "
                                        "does not cover the object, the label is wrong."))
    for name, what in (("photographs", "unlabelled photographs"), ("negatives", "pictures without the object")):
        files = sorted((run / name / "images").glob("*.jpg"))
        if files:
            rows.append([name, str(len(files)), what])
    section.tables.append(Table(["pool", "pictures", "content"], rows))
    if azimuths:
        section.pictures.append(Picture(azimuth_roses(out / "azimuths_data.png", azimuths),
                                        "Histogram of the azimuths."))
    return section


def azimuth(T_cam_obj: np.ndarray) -> float:
    """Azimuth in radians along the ray to the object, of a transform [4, 4]."""
    return viewpoint_from_rotation(allocentric(T_cam_obj))[0]


def _sheet(crops: list[PosedCrop], mesh: NeuralMesh) -> list[np.ndarray]:
    chosen = some_of(crops, _SHOWN)
    return [tile(posed(crop.image(), crop.K, crop.T_cam_obj, crop.size, mesh)) for crop in chosen]
