# SPDX-License-Identifier: Apache-2.0
"""The cars that synthetic pictures show: how to read each, where it comes from, which way it faces.

Which they are is data: ``training/configs/fleets/car.yaml``, or a file like it. Their sources (each optional; folders
are given on the command line):
  gazebo     hatchback, SUV and Prius of the Gazebo model collection, CC BY 3.0 (Nathan Koenig and others), and any
             other OBJ files with textures
  torcs      ``apt-get download torcs-data && dpkg-deb -x torcs-data_*.deb DIR``: DIR/usr/share/games/torcs/cars;
             Free Art License for most cars
  metadrive  ``pip download --no-deps metadrive-simulator==0.2.5.1`` and unzip: metadrive/assets/models/vehicle;
             Apache-2.0
  cad        untextured PASCAL3D+ style models; materials are invented (``cad.py``)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from dinemo_ros.errors import DatasetError
from dinemo_ros.io.quoting import shown_path

from .acc import OBJECT_FROM_ACC, read_acc_car
from .asset import Asset, Part, assemble
from .cad import CadCar, read_cad_car
from .data_file import CONFIGS, are_numbers, document_of, is_below, is_number, listed, mapping, require
from .paint import Polygon
from .scene import material_by_word, read_gltf_car, read_obj_car
from .wheel import wheel_parts

FOLDER = CONFIGS / "fleets"
_MESHES = {".obj", ".gltf", ".glb", ".bin", ".acc"}
# Front of the file's model along -y (PASCAL3D+, most of Gazebo), along +y, along -z with y up (glTF of metadrive).
_FRONT = {"-y": np.array([[0, -1.0, 0], [1.0, 0, 0], [0, 0, 1.0]]),
          "+y": np.array([[0, 1.0, 0], [-1.0, 0, 0], [0, 0, 1.0]])}
_FRONT_MINUS_Z = np.array([[0, 0, -1.0], [-1.0, 0, 0], [0, 1.0, 0]])


@dataclass(frozen=True)
class CarModel:
    """One car of the fleet: how to read it, how often it is drawn, and the file or folder of its source that it is."""

    name: str
    source: str
    weight: float
    read: Callable[[Path], Asset]
    place: str

    def meshes(self, root: Path) -> list[Path]:
        """Its files that hold shape, below the folder of its source."""
        path = root / self.place
        return sorted(f for f in (path.rglob("*") if path.is_dir() else [path])
                      if f.suffix.lower() in _MESHES and f.is_file())


@dataclass(frozen=True)
class Fleet:
    """All cars that are known; of ``held_out``, by name, none is in a training set: they measure what a model makes of
    cars that it has not seen."""

    cars: tuple[CarModel, ...]
    held_out: tuple[str, ...]


@dataclass(frozen=True)
class _Entry:
    """What every source says of a car; names of files are below the folder of the source."""

    name: str
    weight: float

    def __post_init__(self) -> None:
        require(is_below(self.name), "name", self.name, "a text between quotes, without ..")
        require(is_number(self.weight, 0), "weight", self.weight, "a number above 0")


@dataclass(frozen=True)
class _Textured(_Entry):
    """An OBJ file with textures by the names of its materials; size in metres, glass: materials that are windows."""

    mesh: str
    front: str
    size: list
    textures: dict
    glass: list = field(default_factory=list)
    windows: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(is_below(self.mesh), "mesh", self.mesh, "a file below the folder of the source")
        require(self.front in _FRONT, "front", self.front, ", ".join(_FRONT))
        require(are_numbers(self.size, 3), "size", self.size, "length, width and height in metres")
        require(isinstance(self.textures, dict) and all(map(is_below, self.textures.values())), "textures",
                self.textures, "names of materials with files below the folder of the source")
        require(isinstance(self.windows, dict) and all(
            isinstance(w, dict) and set(w) == {"of", "outlines"} and are_numbers(w["of"], 2)
            for w in self.windows.values()), "windows", self.windows,
                "{of: [width, height], outlines: [[[x, y], ...]]}")

    def model(self) -> CarModel:
        return CarModel(self.name, "gazebo", self.weight, self._read, self.mesh)

    def _read(self, root: Path) -> Asset:
        outlines = {name: tuple(tuple((x / w["of"][0], y / w["of"][1]) for x, y in outline)
                                for outline in w["outlines"]) for name, w in self.windows.items()}
        files = {name: root / file for name, file in self.textures.items()}
        parts = read_obj_car(root / self.mesh, files, tuple(self.glass), outlines)
        return assemble(self.name, parts, _FRONT[self.front], tuple(self.size))


@dataclass(frozen=True)
class _Wheelless(_Entry):
    """A glTF file without wheels: centres of these ahead of, behind and beside its origin, their radius and width, and
    how far the body was moved forward; metres."""

    front: float
    rear: float
    track: float
    radius: float
    width: float
    forward_shift: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("front", "rear", "track", "radius", "width", "forward_shift"):
            require(is_number(getattr(self, name)), name, getattr(self, name), "metres")

    def model(self) -> CarModel:
        return CarModel(self.name, "metadrive", self.weight, self._read, self.name)

    def _read(self, root: Path) -> Asset:
        parts = read_gltf_car(root / self.name / "vehicle.gltf", material_by_word, skip=("color_",))
        return assemble(self.name, parts + self._wheels(parts), _FRONT_MINUS_Z)

    def _wheels(self, parts: list[Part]) -> list[Part]:
        floor = min(part.vertices[:, 1].min() for part in parts)
        axles = (self.front - self.forward_shift, -self.rear - self.forward_shift)
        return [wheel for forward in axles for side in (-1.0, 1.0)
                for wheel in wheel_parts(np.array([side * self.track, floor - 0.14 + self.radius, -forward]),
                                         self.radius, self.width, axle=0, outward=side)]


@dataclass(frozen=True)
class _Acc(_Entry):
    """A folder of TORCS; windows: boxes (x_min, y_min, x_max, y_max) of its texture, as shares of it."""

    windows: list = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(isinstance(self.windows, list) and all(are_numbers(box, 4) for box in self.windows), "windows",
                self.windows, "boxes [x_min, y_min, x_max, y_max]")

    def model(self) -> CarModel:
        outlines: tuple[Polygon, ...] = tuple(
            ((left, low), (right, low), (right, high), (left, high)) for left, low, right, high in self.windows)
        return CarModel(self.name, "torcs", self.weight,
                        lambda root: assemble(self.name, read_acc_car(root / self.name, outlines), OBJECT_FROM_ACC),
                        f"{self.name}/{self.name}.acc")


def _cad_model(entry: Any) -> CarModel:
    """An untextured file, with the fields of :class:`dinemo_training.synthetic.assets.cad.CadCar`."""
    own = ("name", "weight", "mesh", "front")
    if not isinstance(entry, dict):
        raise ValueError("cad must be a list of mappings of keys to values")
    missing = [key for key in own if key not in entry]
    require(not missing, "cad", missing, f"all of {', '.join(own)}")
    car = CadCar(**mapping(CadCar, {key: value for key, value in entry.items() if key not in own}, "cad"))
    require(is_number(car.length, 0), "length", car.length, "metres, above 0")
    known = _Textured(entry["name"], entry["weight"], entry["mesh"], entry["front"], [1, 1, 1], {})
    return CarModel(known.name, "cad", known.weight, partial(_read_cad, known, car), known.mesh)


def _read_cad(known: _Textured, car: CadCar, root: Path) -> Asset:
    return assemble(known.name, read_cad_car(root / known.mesh, car), _FRONT[known.front], car.length)


@lru_cache(maxsize=8)
def fleet(name: str = "car") -> Fleet:
    """The fleet of this name in ``training/configs/fleets``, or of the YAML file at this path.

    Raises:
        DatasetError: there is none, or a key of it is wrong; the message names it.
    """
    path, document = document_of(name, FOLDER, "fleet")
    try:
        return _fleet(document)
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{shown_path(path)}: {error}") from error


def _fleet(document: Any) -> Fleet:
    kinds = {"gazebo": _Textured, "metadrive": _Wheelless, "torcs": _Acc}
    known = ("held_out", *kinds, "cad")
    if not isinstance(document, dict) or set(document) - set(known):
        raise ValueError(f"a fleet is a mapping with the keys {', '.join(known)}")
    cars = [entry.model() for source, kind in kinds.items() for entry in listed(kind, document.get(source, []), source)]
    cars += [_cad_model(entry) for entry in document.get("cad", [])]
    held_out = tuple(document.get("held_out", ()))
    unknown = set(held_out) - {car.name for car in cars}
    require(not unknown, "held_out", sorted(unknown), "names of cars of the file")
    return Fleet(tuple(cars), held_out)


def load_fleet(sources: dict[str, Path | None], names: list[str] | None = None,
               known: Fleet | None = None) -> tuple[list[Asset], np.ndarray]:
    """Assets and their drawing weights [A] (sum 1) of all cars whose source folder is given.

    ``sources`` maps gazebo, torcs, metadrive, cad to folders or None; ``names`` picks cars by name; ``known``: the
    fleet, by default the shipped one.

    Raises:
        SystemExit: a car that was asked for is not available, or no source is given.
    """
    known = known or fleet()
    entries = [e for e in known.cars if sources.get(e.source) and (names is None or e.name in names)]
    missing = set(names or ()) - {e.name for e in entries}
    if missing:
        raise SystemExit(f"cars not available: {', '.join(sorted(missing))}; known are "
                         f"{', '.join(e.name for e in known.cars)}, each needs the folder of its source")
    if not entries:
        raise SystemExit("no cars to draw: give at least one of --gazebo, --torcs, --metadrive, --cad")
    weights = np.array([e.weight for e in entries])
    return [e.read(sources[e.source]) for e in entries], weights / weights.sum()
