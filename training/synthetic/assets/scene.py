# SPDX-License-Identifier: Apache-2.0
"""OBJ and glTF files through trimesh, with textures and materials assigned by name where the file does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import trimesh

from .asset import CHROME, DARK_PLASTIC, GLASS, HEADLAMP, PAINT, PLATE, RUBBER, TAIL_LAMP, Material, Part
from .mesh_file import load_mesh_file, texture_pixels
from .paint import Polygon, painted_texture


def read_scene(path: Path) -> list[tuple[str, trimesh.Trimesh]]:
    """Named meshes of a file, node transforms applied."""
    scene = load_mesh_file(path)
    if isinstance(scene, trimesh.Trimesh):
        return [(path.stem, scene)]
    return [(node, scene.geometry[scene.graph[node][1]].copy().apply_transform(scene.graph[node][0]))
            for node in scene.graph.nodes_geometry]


def read_obj_car(path: Path, textures: dict[str, Path], glass: tuple[str, ...] = (),
                 windows: dict[str, tuple[Polygon, ...]] | None = None) -> list[Part]:
    """A Gazebo car: ``textures`` maps an OBJ material name to its picture, names in ``glass`` become windows.

    ``windows``: outlines of the windows that a material's picture paints in grey.
    """
    loaded = {}
    for name, file in textures.items():
        picture = painted_texture(texture_pixels(file), (windows or {}).get(name, ()))
        wheel = "heel" in name
        loaded[name] = Material((1.0, 1.0, 1.0), picture, gloss=0.1 if wheel else 0.8, tint=0.0 if wheel else 1.0)
    parts = []
    for name, mesh in read_scene(path):
        material_name = getattr(getattr(mesh.visual, "material", None), "name", name)
        if material_name in glass:
            parts.append(Part(mesh.vertices, mesh.faces, GLASS))
        elif material_name in loaded:
            parts.append(Part(mesh.vertices, mesh.faces, loaded[material_name], np.asarray(mesh.visual.uv)))
    return parts


def read_gltf_car(path: Path, material_of: Callable[[str], Material | None], skip: tuple[str, ...] = ()) -> list[Part]:
    """A glTF car. ``material_of`` may name a material by the glTF material's name; None keeps the file's own."""
    cache: dict[str, Material] = {}
    parts = []
    for node, mesh in read_scene(path):
        source = getattr(mesh.visual, "material", None)
        name = getattr(source, "name", "") or ""
        if any(word in node or word in name for word in skip):
            continue
        if name not in cache:
            cache[name] = material_of(name) or _own_material(source)
        uv = getattr(mesh.visual, "uv", None)
        parts.append(Part(mesh.vertices, mesh.faces, cache[name], None if uv is None else np.asarray(uv)))
    return parts


def _own_material(source: object) -> Material:
    factor = getattr(source, "baseColorFactor", None)
    albedo = (1.0, 1.0, 1.0) if factor is None else tuple(float(c) / 255 for c in factor[:3])
    picture = getattr(source, "baseColorTexture", None)
    if picture is None:
        return Material(albedo if factor is not None else (0.5, 0.5, 0.5), gloss=0.3)
    return Material(albedo, painted_texture(texture_pixels(picture)), gloss=0.4)


def material_by_word(name: str) -> Material | None:
    """Materials that car models name in plain words."""
    words = {"glass": GLASS, "carpaint": PAINT, "body.": PAINT, "body2.": PAINT, "tire": RUBBER, "tyre": RUBBER,
             "chrome": CHROME, "light_red": TAIL_LAMP, "lights_yellow_front": HEADLAMP, "seat": DARK_PLASTIC,
             "number": PLATE}
    return next((material for word, material in words.items() if word in name.lower()), None)
