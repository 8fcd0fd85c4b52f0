# SPDX-License-Identifier: Apache-2.0
"""Random pictures of objects on tables as a robot's camera meets them: near and far, half hidden, held, stacked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from dinemo_ros.geometry import pinhole_matrix, ray_rotation, rotation_from_viewpoint, se3, so3_exp
from dinemo_training.synthetic.assets.asset import Asset
from dinemo_training.synthetic.assets.solids import bar, gripper, moved, printed_box
from dinemo_training.synthetic.assets.vessel import Vessel
from dinemo_training.synthetic.assets.vessel_catalogue import VesselCatalogue

from .background import Photos, View
from .environment import random_environment
from .table_scene import TableScene, hidden_share
from .tabletop import photo_square, random_thing, skinned

SIZE = (640, 480)  # pixels
HFOV_DEG = 60.0
DISTANCE = (0.35, 1.2)  # metres from the camera to the object's origin
ELEVATION_DEG = (15.0, 75.0)
MOST_HIDDEN = 0.6  # share of the silhouette
STANDING = {"table": 0.90, "stacked": 0.05, "held": 0.05}
_DRAWN_SIDE = 2.0  # drawn units that a vessel's longest side has
_SIZE_SIGMA = 0.10  # of the logarithm: how much vessels of one file differ in size
_OCCLUDED, _GRIPPED = 0.4, 0.6  # shares: pictures with something before the object; held objects with a gripper
_CLEARANCE = 0.10  # metres; nothing comes nearer to the camera
_TRIES = 14
_Kind = Callable[[TableScene, View, np.random.Generator], Asset | None]


@dataclass(frozen=True)
class Sample:
    """A picture to draw: the scene, the camera in its frame, the random source after that, the object's category."""

    scene: TableScene
    view: View
    rng: np.random.Generator
    category: str

    @property
    def T_cam_obj(self) -> np.ndarray:
        """[4, 4] metres."""
        T = self.view.T_cam_obj @ self.scene.T_table_obj
        T[:3, 3] /= self.scene.scale
        return T

    @property
    def T_cam_table(self) -> np.ndarray:
        """[4, 4] metres."""
        T = self.view.T_cam_obj.copy()
        T[:3, 3] /= self.scene.scale
        return T


class SceneSampler:
    """Sample k depends on the seed and k alone; categories take turns."""

    def __init__(self, catalogues: Mapping[str, VesselCatalogue], seed: int, photos: Photos) -> None:
        self._catalogues, self._seed, self._photos = dict(catalogues), seed, photos

    def sample(self, k: int) -> Sample:
        """Scene and camera number k."""
        rng = np.random.default_rng([self._seed, k])
        category = list(self._catalogues)[k % len(self._catalogues)]
        scene = placed(other_size(self._catalogues[category].draw(rng), rng), self._catalogues[category], rng,
                       str(rng.choice(list(STANDING), p=list(STANDING.values()))), photo_square(self._photos, rng))
        view = random_view(scene, rng)
        things = [*scene.things, *_bystanders(scene, view, rng)]
        before = _gripper(scene, view, rng) if scene.standing == "held" and rng.random() < _GRIPPED else None
        if before is None and rng.random() < _OCCLUDED:
            before = _occluder(scene, things, view, rng)
        if before is not None:
            things.append(before)
        return Sample(replace(scene, things=tuple(things)), view, rng, category)


def other_size(vessel: Vessel, rng: np.random.Generator) -> Vessel:
    """The vessel larger or smaller: those of one file all have one height otherwise."""
    factor = float(np.exp(np.clip(rng.normal(0, _SIZE_SIGMA), -0.25, 0.25)))
    return replace(vessel, vertices=vessel.vertices * factor, profile=vessel.profile * factor)


def placed(vessel: Vessel, catalogue: VesselCatalogue, rng: np.random.Generator, standing: str = "table",
           photo: np.ndarray | None = None) -> TableScene:
    """A scene of the vessel (metres) in a random skin, with what it stands on; photo: [H, W, 3] for the skin."""
    category = catalogue.category
    scale = _DRAWN_SIDE / float(np.ptp(vessel.vertices, axis=0).max())
    skin = category.skin(rng, photo)
    asset = skinned(vessel, scale, skin, category.open, rng)
    T, things, ground = np.eye(4), [], 0.0
    if standing == "stacked":
        ground = rng.uniform(0.03, 0.15) * scale
        sides = np.maximum(rng.uniform(0.08, 0.25, 2) * scale, 1.15 * vessel.width * scale)
        box = printed_box(np.array([*sides, ground]), rng)
        things.append(moved(box, se3(so3_exp(np.array([0, 0, rng.uniform(0, np.pi)])), np.array([0, 0, ground / 2]))))
    if standing == "held":
        axis = rng.uniform(0, 2 * np.pi)
        T[:3, :3] = so3_exp(np.radians(rng.uniform(10, 50)) * np.array([np.cos(axis), np.sin(axis), 0]))
    lowest = float((asset.vertices @ T[2, :3]).min())
    T[2, 3] = ground - lowest + (rng.uniform(0.04, 0.25) * scale if standing == "held" else 0.0)
    return TableScene(vessel, scale, moved(asset, T, ground), skin, T, standing, random_environment(rng),
                      int(rng.integers(2**32)), photo, tuple(things))


def camera_matrix() -> np.ndarray:
    """Intrinsics [3, 3] in pixels of the camera of all these pictures."""
    return pinhole_matrix(0.5 * SIZE[0] / np.tan(np.radians(HFOV_DEG) / 2), (SIZE[0] - 1) / 2, (SIZE[1] - 1) / 2)


def random_view(scene: TableScene, rng: np.random.Generator) -> View:
    """A camera that sees the whole object, anywhere in the picture."""
    K, points = camera_matrix(), scene.asset.vertices
    while True:  # a long bottle seen from near does not fit; one that is far always does
        azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(*ELEVATION_DEG))
        rotation = rotation_from_viewpoint(azimuth, elevation, np.radians(rng.normal(0, 4)))
        T = se3(rotation, np.array([0, 0, rng.uniform(*DISTANCE) * scene.scale])) @ \
            se3(np.eye(3), -scene.T_table_obj[:3, 3])
        pixel = rng.uniform(0.1, 0.9, 2) * SIZE
        T = se3(ray_rotation(np.linalg.solve(K, [*pixel, 1.0])), np.zeros(3)) @ T
        seen = points @ T[:3, :3].T + T[:3, 3]
        if seen[:, 2].min() <= 0:
            continue
        pixels = seen[:, :2] / seen[:, 2:] * K[0, 0] + K[:2, 2]
        if (pixels > 4).all() and (pixels < np.array(SIZE) - 5).all():
            return View(K, T, SIZE, 0.0)


def _bystanders(scene: TableScene, view: View, rng: np.random.Generator) -> list[Asset]:
    """Boxes and cans behind and beside the object."""
    toward, aside = _directions(view)
    reach = max(float(np.linalg.norm(asset.vertices[:, :2], axis=1).max()) for asset in (scene.asset, *scene.things))
    found = []
    for _ in range(rng.choice([0, 1, 2, 3], p=[0.3, 0.3, 0.25, 0.15])):
        thing = random_thing(rng)
        radius = float(np.linalg.norm(thing.vertices[:, :2], axis=1).max())
        across, depth = rng.choice([-1, 1]) * (reach + radius + rng.uniform(0, 2.5)), rng.uniform(-0.3, 2.0)
        thing = moved(thing, se3(np.eye(3), np.array([*(aside * across - toward * depth), -thing.ground])))
        if _clear(thing, scene, view) and hidden_share(scene.asset, [thing], view) == 0:
            found.append(thing)
    return found


def _occluder(scene: TableScene, things: list[Asset], view: View, rng: np.random.Generator) -> Asset | None:
    """Something before the object, on the table or reaching in; None where neither kind fits."""
    wanted = rng.uniform(0.05, MOST_HIDDEN)
    kinds = [_standing_occluder, _bar]
    if rng.random() < 0.4:
        kinds.reverse()
    return next((found for kind in kinds if (found := _best(kind, wanted, scene, things, view, rng))), None)


def _best(kind: _Kind, wanted: float, scene: TableScene, things: list[Asset], view: View,
          rng: np.random.Generator) -> Asset | None:
    """Of a few things of one kind the one with which the hidden share is nearest to ``wanted``, or None."""
    best, off = None, np.inf
    for _ in range(_TRIES):
        thing = kind(scene, view, rng)
        if thing is None or not _clear(thing, scene, view):
            continue
        hidden = hidden_share(scene.asset, [*things, thing], view)
        if 0.02 < hidden <= MOST_HIDDEN and abs(hidden - wanted) < off:
            best, off = thing, abs(hidden - wanted)
    return best


def _standing_occluder(scene: TableScene, view: View, rng: np.random.Generator) -> Asset | None:
    toward, aside = _directions(view)
    thing = random_thing(rng)
    radius = float(np.linalg.norm(thing.vertices[:, :2], axis=1).max())
    nearest = float((scene.asset.vertices[:, :2] @ toward).max()) + radius
    farthest = 0.7 * float(np.linalg.norm(view.eye[:2]))
    if nearest >= farthest or scene.standing == "stacked":
        return None
    place = toward * rng.uniform(nearest, min(farthest, nearest + 4)) + aside * rng.uniform(-1.2, 1.2)
    return moved(thing, se3(np.eye(3), np.array([*place, -thing.ground])))


def _bar(scene: TableScene, view: View, rng: np.random.Generator) -> Asset | None:
    """An arm that reaches from outside of the picture in front of the object."""
    R, middle = view.T_cam_obj[:3, :3], scene.T_table_obj[:3, 3]
    share = rng.uniform(0.15, 0.55)  # of the way from the object to the camera
    angle = rng.uniform(-np.pi, 0) if rng.random() < 0.75 else rng.uniform(0, np.pi)  # mostly from above
    out = np.array([np.cos(angle), np.sin(angle), rng.uniform(-0.3, 0.2)]) @ R
    start = middle + share * (view.eye - middle) + rng.uniform(-1.0, 0.6) * out / np.linalg.norm(out)
    radius = rng.uniform(0.008, 0.035) * scene.scale
    thing = bar(start, start + 0.6 * scene.scale * out, radius, rng)
    # Points of the object that are nearer to the bar's axis than its radius would be inside of it.
    along = np.clip((scene.asset.vertices - start) @ out / (out @ out), 0, None)
    distance = np.linalg.norm(scene.asset.vertices - start - along[:, None] * out, axis=1).min()
    return thing if distance > 1.2 * radius and thing.vertices[:, 2].min() > 0 else None


def _gripper(scene: TableScene, view: View, rng: np.random.Generator) -> Asset | None:
    """A gripper that holds the object from a side without handle, or None where it would hide too much."""
    for _ in range(_TRIES):
        height = rng.uniform(-0.25, 0.2) * scene.vessel.height
        radius = float(scene.vessel.radius(np.array([height]))[0])
        thing = moved(gripper(radius * scene.scale, height * scene.scale, rng.uniform(np.pi / 3, 5 * np.pi / 3),
                              scene.scale, rng), scene.T_table_obj)
        if thing.vertices[:, 2].min() > 0 and _clear(thing, scene, view) and \
                hidden_share(scene.asset, [thing], view) <= MOST_HIDDEN:
            return thing
    return None


def _clear(thing: Asset, scene: TableScene, view: View) -> bool:
    """Whether the camera is well outside of the box round a thing."""
    low, high = thing.vertices.min(axis=0), thing.vertices.max(axis=0)
    return float(np.linalg.norm(view.eye - np.clip(view.eye, low, high))) > _CLEARANCE * scene.scale


def _directions(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors [2] on the table: to the camera, and to the left of that."""
    toward = view.eye[:2] / max(np.linalg.norm(view.eye[:2]), 1e-6)
    return toward, np.array([-toward[1], toward[0]])
