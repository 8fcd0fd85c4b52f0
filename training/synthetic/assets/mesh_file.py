# SPDX-License-Identifier: Apache-2.0
"""Mesh files of strangers through trimesh: what one states is looked at before it is built.

Archives unpack to anything, a glTF file of a few hundred bytes may state billions of zeros or draw one mesh a million
times, and its pictures are those of any decoder. The files that it names, materials, numbers and pictures, may be
anything, too: pipes that nobody writes to, files without end, files of other folders.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np
import trimesh
from PIL import Image
from trimesh.resolvers import Resolver

from dinemo_ros.errors import DocumentError, ImageError, told
from dinemo_ros.io.bounded_file import read_bounded
from dinemo_ros.io.picture_header import require_size
from dinemo_ros.io.quoting import quoted, shown_path

MOST_BYTES = 256 << 20
#: Faces, and vertices, of a file; of a scene all that is drawn. CAD models of cars have some hundred thousand.
MOST_ELEMENTS = 1_000_000
_MOST_TEXTURE_PIXELS = 64_000_000
_HEAD_BYTES = 1 << 16
_KINDS = (".obj", ".ply", ".stl", ".off", ".glb", ".gltf")
#: Of pictures; Pillow has others, of which some start programs (EPS) or open further files.
_PICTURES = ("PNG", "JPEG", "BMP", "TGA", "TIFF", "WEBP", "GIF", "DDS")
_NODES, _DESCRIPTION_BYTES = 10_000, 16 << 20  # of a glTF scene


def load_mesh_file(path: Path, **options: object) -> trimesh.Trimesh | trimesh.Scene:
    """``trimesh.load`` without merging of vertices.

    Raises:
        ValueError: of another kind, or larger than what is read; or it is damaged.
    """
    if path.suffix.lower() not in _KINDS:
        raise ValueError(f"{path}: not one of {', '.join(_KINDS)}; unpack or convert it first")
    if not path.is_file() and path.exists():
        raise ValueError(f"{shown_path(path)}: is a folder, device, pipe or socket; give a file")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{path}: has {size >> 20} MiB, at most {MOST_BYTES >> 20} are read: simplify the mesh")
    stated = _stated(path, size)
    if stated > MOST_ELEMENTS:
        raise ValueError(f"{path}: states {stated} faces or vertices, at most {MOST_ELEMENTS} are read: simplify the "
                         "mesh")
    try:
        with path.open("rb") as file:
            loaded = trimesh.load(file, file_type=path.suffix[1:].lower(), resolver=_Beside(path.parent), process=False,
                                  **options)
    except Exception as error:  # each of trimesh's readers fails in its own way
        raise ValueError(f"{shown_path(path)}: cannot be read as a mesh ({told(error)})") from error
    drawn = _drawn(loaded)
    if drawn > MOST_ELEMENTS:
        raise ValueError(f"{path}: draws {drawn} faces, at most {MOST_ELEMENTS} are read: simplify the scene")
    return loaded


def texture_pixels(picture: Image.Image | Path) -> np.ndarray:
    """RGB uint8 [H, W, 3] of a texture, whose size is looked at before it is decoded; ValueError if it is too large."""
    if isinstance(picture, Path):
        try:
            data = read_bounded(picture, MOST_BYTES)
            with Image.open(io.BytesIO(data), formats=_PICTURES) as opened:
                return texture_pixels(opened)
        except (DocumentError, ValueError) as error:
            raise ValueError(f"{shown_path(picture)}: {error}") from error
        except (OSError, SyntaxError) as error:  # Pillow, of what is no picture or damaged
            raise ValueError(f"{shown_path(picture)}: {told(error)}") from error
    if picture.format not in (None, *_PICTURES):
        raise ValueError(f"a texture is of the kind {quoted(picture.format, 20)}; {', '.join(_PICTURES)} are read")
    try:
        require_size(*picture.size)
        if picture.width * picture.height > _MOST_TEXTURE_PIXELS:
            raise ImageError(f"a texture is {picture.width}x{picture.height}; at most {_MOST_TEXTURE_PIXELS} pixels "
                             "are read: make it smaller")
    except ImageError as error:
        raise ValueError(f"{getattr(picture, 'filename', '') or 'texture'}: {error}") from error
    return np.asarray(picture.convert("RGB"))


class _Beside(Resolver):
    """The files that a mesh file names: those of its own folder and below it, plain ones of limited size."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._left = folder.resolve(), MOST_BYTES

    def get(self, name: str) -> bytes:
        """Content of the file ``name``; FileNotFoundError where there is none that is read."""
        name = name.strip()
        for given in (name, name.lstrip("/"), Path(name).name):  # as trimesh looks: exporters write paths of their own
            path = (self._folder / given).resolve()
            if path.is_relative_to(self._folder) and path.is_file():
                break
        else:
            raise FileNotFoundError(f"{shown_path(name)}: no plain file in the folder of the mesh, or below it")
        try:
            data = read_bounded(path, self._left)
        except DocumentError as error:
            raise FileNotFoundError(f"{shown_path(name)}: {error}") from error
        self._left -= len(data)
        return data

    def keys(self) -> list[str]:
        """None: what is there is not looked through."""
        return []

    def namespaced(self, namespace: str) -> _Beside:
        """Of a folder below this one."""
        return _Beside(self._folder / namespace)

    def write(self, name: str, data: str | bytes) -> None:
        """Nothing is written beside a mesh."""
        raise PermissionError(name)


def _stated(path: Path, size: int) -> int:
    """The larger of the numbers of vertices and faces that the file states."""
    kind = path.suffix.lower()
    if kind == ".stl":
        return size // 50
    with path.open("rb") as file:
        if kind in (".glb", ".gltf"):
            return _stated_of_gltf(path, _description(file, kind))
        if kind == ".obj":
            data = file.read()
            # A face may have any number of corners; a mesh of triangles has 11 numbers for each at most.
            return max(data.count(b"\nv "), data.count(b"\nf "), data.count(b" ") // 12)
        head = file.read(_HEAD_BYTES)
    pattern = rb"\nelement\s+\w+\s+(\d{1,18})" if kind == ".ply" else rb"OFF(?:\s|#[^\n]*\n)*(\d{1,18})\s+(\d{1,18})"
    found = [match.groups() for match in re.finditer(pattern, head)]
    return max((int(number) for numbers in found for number in numbers), default=0)


def _description(file: BinaryIO, kind: str) -> dict:
    """The JSON of a glTF file, or of a binary one the first chunk."""
    length = MOST_BYTES
    if kind == ".glb":
        length = int.from_bytes(file.read(20)[12:16], "little")
    if length > _DESCRIPTION_BYTES and kind == ".glb":
        return {"accessors": [{"count": length}]}  # refused by its number
    try:
        found = json.loads(file.read(min(length, _DESCRIPTION_BYTES)))
    except (ValueError, RecursionError):
        return {}  # trimesh reports what is wrong with it
    return found if isinstance(found, dict) else {}


def _stated_of_gltf(path: Path, description: dict) -> int:
    """Of its largest list of numbers, or of all that its scene draws."""
    counts, meshes, nodes = (_dictionaries(description, name) for name in ("accessors", "meshes", "nodes"))
    counts = [_number(item, "count") for item in counts]
    faces = [sum(counts[k] for part in _dictionaries(mesh, "primitives")
                 for k in [_number(part, "indices", len(counts))] if k < len(counts)) // 3 for mesh in meshes]
    drawn = [faces[k] if (k := _number(node, "mesh", len(faces))) < len(faces) else 0 for node in nodes]
    if _with_all_below(nodes, [1] * len(nodes), _NODES) > _NODES:
        raise ValueError(f"{path}: its scene draws more than {_NODES} nodes: simplify it")
    return max(max(counts, default=0) // 3, _with_all_below(nodes, drawn, MOST_ELEMENTS))


def _dictionaries(holder: dict, name: str) -> list[dict]:
    found = holder.get(name)
    return [item if isinstance(item, dict) else {} for item in found] if isinstance(found, list) else []


def _number(holder: dict, name: str, otherwise: int = 0) -> int:
    found = holder.get(name, otherwise)
    return found if isinstance(found, int) and found >= 0 else otherwise


def _with_all_below(nodes: list[dict], own: list[int], most: int) -> int:
    """The largest sum of a node and of all below it, each as often as it is named; above ``most`` where they are in a
    circle."""
    named = [[c for c in node.get("children") or [] if isinstance(c, int) and 0 <= c < len(nodes)] for node in nodes]
    total = own
    for _ in range(64):  # deeper than any scene
        more = [min(mine + sum(total[c] for c in below), most + 1) for mine, below in zip(own, named, strict=True)]
        if more == total:
            return max(total, default=0)
        total = more
    return most + 1


def _drawn(loaded: trimesh.Trimesh | trimesh.Scene) -> int:
    """Faces of all that is drawn, each mesh as often as it is."""
    if not isinstance(loaded, trimesh.Scene):
        return len(getattr(loaded, "faces", ()))
    names = [loaded.graph[node][1] for node in loaded.graph.nodes_geometry]
    return sum(len(getattr(loaded.geometry[name], "faces", ())) for name in names)
