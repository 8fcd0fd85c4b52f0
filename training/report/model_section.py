# SPDX-License-Identifier: Apache-2.0
"""Course of the training, and the features that it led to."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from dinemo_ros.io.picture_read import imread
from dinemo_ros.model.bundle import load_bundle
from dinemo_training.data.evenly import some_of

from ..run.recipe import Recipe
from .charts import training_curves
from .drawings import FalseColours, mesh_views, save_sheet, tile
from .page import Picture, Section, Table, duration, number, percent

_SHOWN = 6


def training(recipe: Recipe, run: Path, out: Path) -> Section:
    """Curves and a row per round."""
    section, rounds = Section("Training"), {}
    rows = []
    for k, spec in enumerate(recipe.rounds):
        path = run / f"round{k}" / "metrics.jsonl"
        if not path.is_file():
            continue
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        rounds[f"round {k}"] = lines
        last = lines[-1] if lines else {}
        total = sum(spec.pools.values())
        pools = ", ".join(f"{100 * share / total:.0f} % {name}" for name, share in spec.pools.items())
        rows.append([str(k), str(last.get("step", 0)), pools, spec.labels, number(last.get("vertex"), 3),
                     number(last.get("clutter"), 3), percent(last.get("accuracy")), duration(last.get("seconds", 0))])
    if rows:
        section.tables.append(Table(["round", "steps", "pictures", "labels", "vertex loss", "clutter loss",
                                     "share of vertices found", "time since last start"], rows))
        section.pictures.append(Picture(training_curves(out / "training.png", rounds),
                                        "Running means over the augmented training pictures."))
    return section


def features(run: Path, out: Path) -> Section:
    """The three strongest directions of the features as colours, on the mesh and on pictures."""
    section, bundle = Section("Features"), run / "bundle"
    if not (bundle / "model.yaml").is_file():
        return section
    loaded = load_bundle(bundle)
    colours = FalseColours(loaded.mesh.features)
    vertices = loaded.mesh.vertices.astype(np.float64)
    section.pictures.append(Picture(
        save_sheet(out / "features_mesh.jpg", mesh_views(vertices, loaded.mesh.faces, colours(loaded.mesh.features)),
                   6),
        "The first three principal components of the vertex features as red, green and blue. Parts of similar "
        "shape should differ in colour where they distinguish views (front and rear, left and right)."))
    session = onnxruntime.InferenceSession(str(loaded.backbone_path), providers=["CPUExecutionProvider"])
    for name in ("photographs", "held_out", "sequences"):
        pictures = _pictures(run / name)
        if pictures:
            side = loaded.card.image.size
            tiles = [t for image in pictures
                     for t in (tile(image), tile(_false_colours(image, session, colours, side)))]
            section.pictures.append(Picture(save_sheet(out / f"features_{name}.jpg", tiles, _SHOWN),
                                            f"{name}: the same components in pictures. The object should have the "
                                            "colours of the mesh."))
    return section


def _pictures(folder: Path) -> list[np.ndarray]:
    files = sorted((folder / "images").glob("*.jpg"))
    chosen = some_of(files, _SHOWN)
    return [np.ascontiguousarray(imread(file)[..., ::-1]) for file in chosen]


def _false_colours(image: np.ndarray, session: onnxruntime.InferenceSession, colours: FalseColours,
                   side: int) -> np.ndarray:
    square = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    F = session.run(["features"], {"image": square[None]})[0][0]
    return cv2.resize(colours(F.transpose(1, 2, 0)), (side, side), interpolation=cv2.INTER_NEAREST)

