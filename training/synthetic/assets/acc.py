# SPDX-License-Identifier: Apache-2.0
"""Cars of the racing game TORCS: AC3D text files (``.acc``) with one texture, wheels described in an XML file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from dinemo_ros.errors import DocumentError, told
from dinemo_ros.io.bounded_file import read_bounded
from dinemo_ros.io.quoting import shown_path

from .asset import Material, Part
from .mesh_file import MOST_BYTES, texture_pixels
from .paint import Polygon, painted_texture
from .wheel import wheel_parts

# AC3D files of TORCS: x forward, y up, z to the right; metres.
OBJECT_FROM_ACC = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
_INCH = 0.0254
# Inner skins coincide with the outer ones; wings and drivers are for the race track, not for a passenger car.
_LEFT_OUT = ("INSIDE", "REARWING", "DRIVERPART", "ANTENNA", "ROLLBAR")


def read_acc_car(folder: Path, windows: tuple[Polygon, ...] = ()) -> list[Part]:
    """Parts of the TORCS car in ``folder`` (file axes): the body of ``NAME.acc`` and four wheels.

    ``windows``: outlines, as shares of the texture, of those that it paints as light grey gradients; others are dark.

    Raises:
        ValueError: one of the two files is no such file.
    """
    model, settings = folder / f"{folder.name}.acc", folder / f"{folder.name}.xml"
    body = _of_file(model, lambda text: _read_objects(model, text, windows))
    return body + _of_file(settings, lambda text: _wheels(text, body))


def _of_file(path: Path, parse: Callable[[str], list[Part]]) -> list[Part]:
    try:
        return parse(read_bounded(path, MOST_BYTES).decode(errors="replace"))
    except DocumentError as error:
        raise ValueError(f"{shown_path(path)}: cannot be read as a car of TORCS: {error}") from error
    except (ValueError, IndexError, TypeError, StopIteration) as error:
        raise ValueError(f"{shown_path(path)}: cannot be read as a car of TORCS "
                         f"({told(error) if str(error) else 'it breaks off'})") from error


def _read_objects(path: Path, text: str, windows: tuple[Polygon, ...]) -> list[Part]:
    lines = iter(text.splitlines())
    materials: dict[str, Material] = {}
    parts, texture, name, vertices = [], None, "", np.empty((0, 3))
    for line in lines:
        key, _, rest = line.partition(" ")
        if key == "texture" and ' base' in rest:
            texture = rest.split('"')[1]
        elif key == "name":
            name = rest
        elif key == "numvert":
            rows = [next(lines).split() for _ in range(int(rest))]
            vertices = np.array([row[:3] for row in rows], dtype=np.float64)
            normals = np.array([row[3:6] for row in rows], dtype=np.float64) if len(rows[0]) >= 6 else None
        elif key == "numsurf":
            faces, corner_vertex, corner_uv = _read_surfaces(lines, int(rest))
            if texture not in materials:
                image = texture_pixels(path.parent / texture)
                painted = painted_texture(image, windows)
                materials[texture] = Material((1.0, 1.0, 1.0), painted, gloss=0.7, tint=1.0)
            if len(faces) and not any(word in name for word in _LEFT_OUT):
                parts.append(Part(vertices[corner_vertex], faces, materials[texture], corner_uv,
                                  None if normals is None else normals[corner_vertex]))
    return parts


def _read_surfaces(lines: Iterator[str], count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triangles [F, 3] into per-corner vertex ids [C] and texture coordinates [C, 2] of ``count`` surfaces."""
    faces, vertex, uv = [], [], []
    for _ in range(count):
        kind = int(next(lines).split()[1], 16) & 0xF
        line = next(lines)
        while not line.startswith("refs"):
            line = next(lines)
        rows = [next(lines).split() for _ in range(int(line.split()[1]))]
        base = len(vertex)
        vertex += [int(row[0]) for row in rows]
        uv += [(float(row[1]), float(row[2])) for row in rows]
        if kind == 4:  # triangle strip
            faces += [(base + k, base + k + 1, base + k + 2) for k in range(len(rows) - 2)]
        elif kind == 0:  # polygon
            faces += [(base, base + k, base + k + 1) for k in range(1, len(rows) - 1)]
    return (np.array(faces, dtype=np.int64).reshape(-1, 3), np.array(vertex, dtype=np.int64),
            np.array(uv, dtype=np.float64).reshape(-1, 2))


def _wheels(text: str, body: list[Part]) -> list[Part]:
    floor = min(part.vertices[:, 1].min() for part in body)
    parts = []
    for axle in ("Front", "Rear"):
        axle_text = _section(text, f"{axle} Axle")
        for side in ("Right", "Left"):
            wheel_text = _section(text, f"{axle} {side} Wheel")
            width = _number(wheel_text, "tire width") / 1000
            radius = _number(wheel_text, "rim diameter") * _INCH / 2 + \
                width * _number(wheel_text, "tire height-width ratio")
            centre = np.array([_number(axle_text, "xpos"), floor - 0.10 + radius, -_number(wheel_text, "ypos")])
            parts += wheel_parts(centre, radius, min(width, 0.24), axle=2, outward=float(np.sign(centre[2])))
    return parts


def _section(text: str, name: str) -> str:
    match = re.search(rf'<section name="{name}">(.*?)</section>', text, re.DOTALL)
    return match.group(1) if match else ""


def _number(text: str, name: str) -> float:
    match = re.search(rf'name="{re.escape(name)}"[^>]*?val="\s*([-+.\d]+)', text)
    if not match:
        raise ValueError(f"no attribute {name!r}")
    return float(match.group(1))
