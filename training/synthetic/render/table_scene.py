# SPDX-License-Identifier: Apache-2.0
"""An object on a table, with what stands about, drawn as a whole picture with the true depth of everything in it.

Frame of the table: z up, z = 0 on its top, the origin below the object. Lengths are in drawn units, ``scale`` of them
to a metre, because surroundings, lights and shadows are made for things of one size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np

from dinemo_training.synthetic.assets.asset import Asset
from dinemo_training.synthetic.assets.skin import Skin
from dinemo_training.synthetic.assets.vessel import Vessel

from .background import View, contact_shadow, ground_points
from .dataset import SUPERSAMPLING, sun_shadow, supersampled
from .environment import Environment
from .rasterizer import NEAR, Fragments, rasterize
from .shading import displayed, film_curve, material_table, shade
from .table import table_picture
from .tabletop import clear_pixels, shaded_glass

_WALL = 1.3  # how much farther than the table's edge the wall behind it stands


@dataclass(frozen=True)
class TableScene:
    """Everything but the camera.

    Attributes:
        vessel: the object's shape in metres. scale: drawn units to a metre.
        asset: the object in the table's frame, drawn units; skin: its look.
        T_table_obj: [4, 4] drawn units. standing: "table", "stacked" on something, or "held" above it.
        things: what else is there, in the table's frame, drawn units.
        seed: of the table's looks. photo: uint8 RGB [h, w, 3] for them, or None.
    """

    vessel: Vessel
    scale: float
    asset: Asset
    skin: Skin
    T_table_obj: np.ndarray
    standing: str
    environment: Environment
    seed: int
    photo: np.ndarray | None = None
    things: tuple[Asset, ...] = ()


@dataclass(frozen=True)
class Shot:
    """A picture of a scene.

    Attributes:
        picture: [H, W, 3] uint8 RGB.
        depth: [H, W] metres along the optical axis of the first surface, infinite where there is none; behind: the same
            as if there were no clear glass.
        mask: [H, W] bool, the object's silhouette, hidden parts as well; visible: what of it is seen; clear: where what
            is seen of it is clear glass.
    """

    picture: np.ndarray
    depth: np.ndarray
    behind: np.ndarray
    mask: np.ndarray
    visible: np.ndarray
    clear: np.ndarray


class Region(NamedTuple):
    """A part of a picture: where it lies, and the intrinsics [3, 3] and the size (W, H) of a camera that sees it."""

    place: tuple[slice, slice]
    K: np.ndarray
    size: tuple[int, int]


def region_of(asset: Asset, K: np.ndarray, T_cam_asset: np.ndarray, size: tuple[int, int]) -> Region | None:
    """The part of a picture of ``size`` (W, H) pixels that an asset can be seen in; None where it is outside.

    K: [3, 3] pixels. T_cam_asset: [4, 4] in the asset's own units.
    """
    points = asset.vertices @ T_cam_asset[:3, :3].T + T_cam_asset[:3, 3]
    if points[:, 2].min() < NEAR:
        return Region((slice(0, size[1]), slice(0, size[0])), K, size)
    pixels = points[:, :2] / points[:, 2:] * [K[0, 0], K[1, 1]] + K[:2, 2]
    low = np.clip(np.floor(pixels.min(axis=0)).astype(int), 0, size)
    high = np.clip(np.ceil(pixels.max(axis=0)).astype(int) + 1, 0, size)
    if (high <= low).any():
        return None
    own = K.copy()
    own[:2, 2] -= low
    return Region((slice(low[1], high[1]), slice(low[0], high[0])), own, (int(high[0] - low[0]), int(high[1] - low[1])))


def seen_alone(asset: Asset, view: View) -> tuple[Region, Fragments] | None:
    """The asset as if nothing stood before it, in its part of the picture."""
    region = region_of(asset, view.K, view.T_cam_obj, view.size)
    if region is None:
        return None
    return region, rasterize(asset.vertices, asset.faces, region.K, view.T_cam_obj, region.size)


def hidden_share(asset: Asset, others: list[Asset], view: View) -> float:
    """Share, 0 to 1, of the asset's silhouette that ``others`` hide."""
    alone = seen_alone(asset, view)
    if alone is None:
        return 1.0
    region, own = alone
    hidden = np.zeros(own.depth.shape, bool)
    for other in others:
        hidden |= rasterize(other.vertices, other.faces, region.K, view.T_cam_obj, region.size).depth < own.depth
    return float((hidden & own.mask).sum() / max(1, own.mask.sum()))


def drawn(scene: TableScene, view: View, rng: np.random.Generator) -> Shot:
    """A picture of the scene; ``view`` is in the table's frame, drawn units; ``rng`` is of the camera's own noise."""
    background, on_table = _table(scene, view)
    canvas = _Canvas(background, view, scene.environment)
    for thing in scene.things:
        canvas.add(thing)
    canvas.add_clear(scene.asset, scene.skin)
    picture = canvas.picture()
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 0.8))
    noise = rng.uniform(0.5, 2.5) * rng.normal(size=picture.shape)
    picture = np.clip(displayed(picture) + noise, 0, 255).astype(np.uint8)
    return _with_truth(scene, view, picture, on_table)


def _table(scene: TableScene, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Table with shadows on it and what is beyond it [H, W, 3], and where it is the table [H, W]."""
    rng, environment = np.random.default_rng(scene.seed), scene.environment
    picture, on_table = table_picture(view, environment, rng, scene.photo)
    softness, strength, sun = rng.uniform(0.1, 0.5), rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.7)
    shadow = np.zeros(on_table.shape, np.float32)
    for asset in (scene.asset, *scene.things):
        low, high = asset.vertices.min(axis=0), asset.vertices.max(axis=0)
        if low[2] < 1e-6:
            T = view.T_cam_obj.copy()
            T[:3, 3] += T[:3, :3] @ np.array([*(low + high)[:2] / 2, 0])
            dark = contact_shadow(replace(view, T_cam_obj=T), 0.9 * (high - low), softness, strength)
            picture *= np.where(on_table, dark, 1.0)[..., None]
        if environment.sun_colour.max() > 0.3:
            shadow = np.maximum(shadow, sun_shadow(replace(asset, ground=0.0), view, environment.sun))
    picture *= 1 - (sun * shadow * on_table)[..., None]
    return picture, on_table


class _Canvas:
    """A picture at ``SUPERSAMPLING`` times its pixels with the depth of what was drawn; clear things come last."""

    def __init__(self, picture: np.ndarray, view: View, environment: Environment) -> None:
        self._view, self._environment = view, environment
        self._colour = picture.repeat(SUPERSAMPLING, axis=0).repeat(SUPERSAMPLING, axis=1)
        self._depth = np.full(self._colour.shape[:2], np.inf, np.float32)
        self._K = supersampled(view.K, SUPERSAMPLING)

    def add(self, asset: Asset) -> None:
        """Draw an opaque thing."""
        self._draw(asset, None)

    def add_clear(self, asset: Asset, skin: Skin) -> None:
        """Draw a thing that may let light through, over all that stands behind it."""
        self._draw(asset, skin)

    def _draw(self, asset: Asset, skin: Skin | None) -> None:
        T, (height, width) = self._view.T_cam_obj, self._depth.shape
        region = region_of(asset, self._K, T, (width, height))
        if region is None:
            return
        fragments = rasterize(asset.vertices, asset.faces, region.K, T, region.size)
        if skin is None:
            table = material_table(asset.materials)
            colour, through = film_curve(shade(asset, table, fragments, region.K, T, self._environment)), 0.0
        else:
            colour, through = shaded_glass(asset, skin, fragments, region.K, T, self._environment)
        nearer = (fragments.depth < self._depth[region.place])[..., None]
        canvas = self._colour[region.place]
        canvas[:] = np.where(nearer, canvas * through + colour, canvas)
        np.minimum(self._depth[region.place], fragments.depth, out=self._depth[region.place])

    def picture(self) -> np.ndarray:
        """[H, W, 3] linear RGB in the pixels of the view."""
        return cv2.resize(self._colour, self._view.size, interpolation=cv2.INTER_AREA)


def _with_truth(scene: TableScene, view: View, picture: np.ndarray, on_table: np.ndarray) -> Shot:
    """Depth and masks at the centres of the pixels."""
    rest = _table_depth(view, on_table)
    for thing in scene.things:
        alone = seen_alone(thing, view)
        if alone is not None:
            place = alone[0].place
            np.minimum(rest[place], alone[1].depth, out=rest[place])
    own = np.full(rest.shape, np.inf, np.float32)
    glass = np.zeros(rest.shape, bool)
    alone = seen_alone(scene.asset, view)
    if alone is not None:
        region, fragments = alone
        own[region.place] = fragments.depth
        glass[region.place] = clear_pixels(scene.asset, scene.skin, fragments, region.K, view.T_cam_obj)
    mask, visible = np.isfinite(own), own < rest
    clear = visible & glass
    depth = np.where(visible, own, rest) / scene.scale
    return Shot(picture, depth, np.where(clear, rest / scene.scale, depth), mask, visible, clear)


def _table_depth(view: View, on_table: np.ndarray) -> np.ndarray:
    """[H, W] drawn units along the optical axis: the table, and an upright wall a little beyond its far edge."""
    rays = view.rays()
    x, y, _ = ground_points(view, rays)
    away = -view.eye / max(np.linalg.norm(view.eye[:2]), 1e-6)
    away[2] = 0.0
    reach = (x * away[0] + y * away[1])[on_table]
    wall = _WALL * float(reach.max()) if len(reach) else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        table = (view.ground - view.eye[2]) / rays[..., 2]
        beyond = (max(wall, 1.0) - view.eye @ away) / (rays @ away)
    return np.where(on_table, table, np.where(beyond > 0, beyond, np.inf)).astype(np.float32)
