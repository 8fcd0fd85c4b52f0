# SPDX-License-Identifier: Apache-2.0
"""The cars the synthetic pictures show, where they come from, and which way they face.

Sources (each optional; folders are given on the command line):
  gazebo     hatchback, SUV and Prius of the Gazebo model collection, CC BY 3.0 (Nathan Koenig and others)
  torcs      ``apt-get download torcs-data && dpkg-deb -x torcs-data_*.deb DIR``: DIR/usr/share/games/torcs/cars;
             Free Art License for most cars
  metadrive  ``pip download --no-deps metadrive-simulator==0.2.5.1`` and unzip: metadrive/assets/models/vehicle;
             Apache-2.0
  cad        untextured PASCAL3D+ style models; materials are invented (``cad.py``)

Every car was looked at with its axes drawn (``python -m dinemo_training.synthetic.render.fleet_sheet``): the Gazebo SUV
and the metadrive cars face the other way than their neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .acc import OBJECT_FROM_ACC, read_acc_car
from .asset import Asset, Part, assemble
from .cad import CAD_CARS, read_cad_car
from .scene import material_by_word, read_gltf_car, read_obj_car
from .wheel import wheel_parts

# Never in the training set: they measure what the model makes of cars it has not seen.
HELD_OUT = ("hatchback", "p406", "beetle")

_MESHES = {".obj", ".gltf", ".glb", ".bin", ".acc"}
# Front of the file's model along -y (PASCAL3D+, most of Gazebo), along +y, along -z with y up (glTF of metadrive).
_FRONT_MINUS_Y = np.array([[0, -1.0, 0], [1.0, 0, 0], [0, 0, 1.0]])
_FRONT_PLUS_Y = np.array([[0, 1.0, 0], [-1.0, 0, 0], [0, 0, 1.0]])
_FRONT_MINUS_Z = np.array([[0, 0, -1.0], [-1.0, 0, 0], [0, 1.0, 0]])

_TORCS = ("155-DTM", "acura-nsx-sz", "baja-bug", "car1-stock1", "car1-stock2", "car1-trb1", "car2-trb1", "car3-trb1",
          "car4-trb1", "car5-trb1", "car6-trb1", "car7-trb1", "car8-trb1", "p406")
_ORDINARY = {"155-DTM": 1.5, "p406": 1.5, "baja-bug": 0.4}  # the rest are sports cars: half as often

# Outlines in the hatchback's texture: side, wind screen, rear.
_HATCHBACK_WINDOWS = tuple(tuple((x / 1400, y / 1400) for x, y in outline) for outline in (
    ((378, 168), (445, 215), (466, 295), (487, 560), (489, 670), (465, 820), (423, 1015), (415, 1015), (355, 910),
     (322, 560), (336, 245)),
    ((510, 738), (565, 752), (712, 760), (712, 1100), (480, 1045), (460, 1025), (460, 995)),
    ((1040, 955), (1180, 960), (1250, 978), (1265, 1120), (1075, 1120), (1040, 1110))))


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


def _gazebo(name: str, folder: str, mesh: str, textures: dict[str, tuple[str, str]], axes: np.ndarray,
            size: tuple[float, float, float], glass: tuple[str, ...] = (), windows: dict | None = None) -> CarModel:
    def read(root: Path) -> Asset:
        files = {key: root / car / "materials/textures" / file for key, (car, file) in textures.items()}
        return assemble(name, read_obj_car(root / folder / "meshes" / mesh, files, glass, windows), axes, size)
    return CarModel(name, "gazebo", 1.5, read, f"{folder}/meshes/{mesh}")


def _metadrive(folder: str, front: float, rear: float, track: float, radius: float, width: float,
               forward_shift: float) -> CarModel:
    """``front``, ``rear``, ``track``: wheel centres ahead of, behind and beside the origin (its ``vehicle_type``)."""
    def read(root: Path) -> Asset:
        parts = read_gltf_car(root / folder / "vehicle.gltf", material_by_word, skip=("color_",))
        return assemble(folder, parts + _wheels(parts), _FRONT_MINUS_Z)

    def _wheels(parts: list[Part]) -> list[Part]:
        floor = min(part.vertices[:, 1].min() for part in parts)
        return [wheel for forward in (front - forward_shift, -rear - forward_shift) for side in (-1.0, 1.0)
                for wheel in wheel_parts(np.array([side * track, floor - 0.14 + radius, -forward]), radius, width,
                                         axle=0, outward=side)]
    return CarModel(folder, "metadrive", 1.0, read, folder)


def _torcs(name: str) -> CarModel:
    return CarModel(name, "torcs", _ORDINARY.get(name, 0.5),
                 lambda root: assemble(name, read_acc_car(root / name), OBJECT_FROM_ACC), f"{name}/{name}.acc")


def _cad(name: str) -> CarModel:
    return CarModel(f"cad-{name}", "cad", 1.5,
                 lambda root: assemble(f"cad-{name}", read_cad_car(root / f"{name}.obj", CAD_CARS[name]),
                                       _FRONT_MINUS_Y, CAD_CARS[name].length), f"{name}.obj")


FLEET = (
    _gazebo("hatchback", "hatchback", "hatchback.obj", {"Hatchback": ("hatchback", "hatchback.png"),
            "Wheels3": ("hatchback", "wheels3.png")}, _FRONT_MINUS_Y, (4.00, 1.70, 1.52),
            windows={"Hatchback": _HATCHBACK_WINDOWS}),
    _gazebo("suv", "suv", "suv.obj", {"SUV_Body": ("suv", "suv.png"), "SUV_Wheels": ("suv", "wheels_01.png")},
            _FRONT_PLUS_Y, (4.82, 2.06, 1.98)),
    _gazebo("prius", "prius_hybrid", "Hybrid.obj", {"Hybrid": ("prius_hybrid", "Hybrid.png"),
            "Hybrid_Interior": ("prius_hybrid", "Hybrid_Interior.png"), "Wheels3": ("prius_hybrid", "Wheels3.png")},
            _FRONT_MINUS_Y, (4.54, 1.76, 1.47), glass=("Windows",)),
    _metadrive("ferra", 1.05234, 1.4166, 0.815, 0.313, 0.22, 0.0),
    _metadrive("130", 1.285, 1.203, 0.78, 0.33, 0.22, -0.05),
    _metadrive("beetle", 1.4126, 1.07, 0.66, 0.34, 0.18, -0.2),
    *(_torcs(name) for name in _TORCS),
    *(_cad(name) for name in CAD_CARS),
)


def load_fleet(sources: dict[str, Path | None], names: list[str] | None = None) -> tuple[list[Asset], np.ndarray]:
    """Assets and their drawing weights [A] (sum 1) of all cars whose source folder is given.

    ``sources`` maps gazebo, torcs, metadrive, cad to folders or None; ``names`` picks cars by name.

    Raises:
        SystemExit: a car that was asked for is not available, or no source is given.
    """
    entries = [e for e in FLEET if sources.get(e.source) and (names is None or e.name in names)]
    missing = set(names or ()) - {e.name for e in entries}
    if missing:
        raise SystemExit(f"cars not available: {', '.join(sorted(missing))}; known are "
                         f"{', '.join(e.name for e in FLEET)}, each needs the folder of its source")
    if not entries:
        raise SystemExit("no cars to draw: give at least one of --gazebo, --torcs, --metadrive, --cad")
    weights = np.array([e.weight for e in entries])
    return [e.read(sources[e.source]) for e in entries], weights / weights.sum()
