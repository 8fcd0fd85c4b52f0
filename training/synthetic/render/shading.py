# SPDX-License-Identifier: Apache-2.0
"""Deferred shading of rasterised cars: texture or plain colour, diffuse light, mirror reflections, sun highlight.

    colour = albedo * (irradiance(n) + sun * max(0, n.l)) * occlusion + Fresnel(n.v) * radiance(reflect(v, n)) + spot

Physically inspired, not physically exact: the network needs the look of lacquer and glass, not their photometry.
Everything is computed in the object frame and in linear RGB.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dinemo_ros.solver.jit import kept
from dinemo_training.synthetic.assets.asset import Asset, Material
from dinemo_training.synthetic.assets.paint import paint_luma

from .environment import Environment
from .rasterizer import Fragments

# Real cars are mostly white, black, grey and silver (about three quarters), then blue, red and others; sRGB.
_PAINTS = np.array([[0.93, 0.93, 0.92], [0.06, 0.06, 0.07], [0.35, 0.36, 0.38], [0.66, 0.67, 0.68],
                    [0.10, 0.18, 0.40], [0.55, 0.06, 0.07], [0.45, 0.40, 0.33], [0.10, 0.25, 0.16],
                    [0.85, 0.65, 0.10], [0.80, 0.35, 0.08], [0.30, 0.45, 0.65]])
_PAINT_SHARES = np.array([0.22, 0.17, 0.13, 0.14, 0.10, 0.10, 0.04, 0.03, 0.03, 0.02, 0.02])


class MaterialTable(NamedTuple):
    """The asset's materials as flat arrays for the kernel, after repainting.

    Attributes:
        albedo: [M, 3] linear factor; gloss [M]; texture [M] index or -1.
        texels: [T, 4] uint8 of all textures in a row; layout [textures, 3] offset, height, width.
        paint: [M, 4] linear target colour of painted texels and the luma that maps onto it; luma 0 keeps the colour.
    """

    albedo: np.ndarray
    gloss: np.ndarray
    texture: np.ndarray
    texels: np.ndarray
    layout: np.ndarray
    paint: np.ndarray


class Corners(NamedTuple):
    """An asset's faces for the kernel: normals [F, 3, 3], uv [F, 3, 2], material [F], see :class:`Asset`."""

    normals: np.ndarray
    uv: np.ndarray
    material: np.ndarray


class View(NamedTuple):
    """From where it is seen.

    Attributes:
        intrinsics: [4] fx, fy, cx, cy in pixels.
        R: [3, 3] object to camera; eye: [3] metres, the camera's place in the object frame.
        ground: z of the ground in metres, object frame.
    """

    intrinsics: np.ndarray
    R: np.ndarray
    eye: np.ndarray
    ground: float


def linear(srgb: ArrayLike) -> np.ndarray:
    """sRGB colours [...] in [0, 1] to linear light, by the exponent 2.2."""
    return np.clip(np.asarray(srgb, dtype=np.float32), 0, None) ** 2.2


def displayed(picture: np.ndarray) -> np.ndarray:
    """Inverse of :func:`linear` in 8 bits: linear light [..., 3] as sRGB uint8, what is out of range clipped."""
    return (np.clip(picture, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)


def film_curve(colour: np.ndarray) -> np.ndarray:
    """Linear light [...] (colours of any shape) with the shoulder of a film: from 0.6 on highlights approach 1."""
    return np.where(colour > 0.6, 0.6 + 0.4 * np.tanh((colour - 0.6) / 0.6), colour)


def material_table(materials: tuple[Material, ...]) -> MaterialTable:
    """Flatten materials once per asset; :func:`repainted` is then cheap."""
    texels, layout, texture, luma = [], [], [], []
    offset = 0
    for material in materials:
        if material.texture is None:
            texture.append(-1)
            luma.append(0.0)
            continue
        texture.append(len(layout))
        luma.append(paint_luma(material.texture) if material.tint > 0 else 0.0)
        layout.append((offset, *material.texture.shape[:2]))
        texels.append(material.texture.reshape(-1, 4))
        offset += len(texels[-1])
    return MaterialTable(linear([m.albedo for m in materials]), np.array([m.gloss for m in materials],
        dtype=np.float32),
                np.array(texture, dtype=np.int64),
                np.concatenate(texels) if texels else np.zeros((1, 4), dtype=np.uint8),
                np.array(layout or [(0, 1, 1)], dtype=np.int64),
                np.array([(0.0, 0.0, 0.0, value) for value in luma], dtype=np.float32))


def repainted(table: MaterialTable, materials: tuple[Material, ...], rng: np.random.Generator) -> MaterialTable:
    """The same car in a random body colour; now and then textured cars keep their own."""
    colour = linear(np.clip(_PAINTS[rng.choice(len(_PAINTS), p=_PAINT_SHARES)] + rng.normal(0, 0.05, 3), 0.02, 0.97))
    keep_texture = rng.random() < 0.2
    albedo, paint = table.albedo.copy(), table.paint.copy()
    gloss = table.gloss * rng.uniform(0.6, 1.1)
    for k, material in enumerate(materials):
        if material.texture is None and material.tint > 0:
            albedo[k] = colour
        paint[k, :3] = colour
        if keep_texture:
            paint[k, 3] = 0.0
    return table._replace(albedo=albedo, paint=paint, gloss=gloss.astype(np.float32))


def shade(asset: Asset, table: MaterialTable, fragments: Fragments, K: np.ndarray, T_cam_obj: np.ndarray,
          environment: Environment) -> np.ndarray:
    """Linear RGB [H, W, 3] float32 of the hit pixels, zero elsewhere."""
    R, t = T_cam_obj[:3, :3], T_cam_obj[:3, 3]
    image = np.zeros((*fragments.face.shape, 3), dtype=np.float32)
    view = View(np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2]]), R, -R.T @ t, float(asset.ground))
    _shade(fragments, Corners(asset.normals, asset.uv, asset.material), table, view, environment, image)
    return image


@kept()
def _panorama(image, x, y, z, out):
    """Bilinear look-up of direction (x, y, z) in a latitude-longitude picture [h, w, 3]."""
    height, width = image.shape[0], image.shape[1]
    row = np.arccos(min(1.0, max(-1.0, z))) / np.pi * height - 0.5
    column = np.arctan2(y, x) / (2 * np.pi) * width - 0.5
    r, c = np.floor(row), np.floor(column)
    fr, fc = row - r, column - c
    r0, r1 = max(0, int(r)), min(height - 1, int(r) + 1)
    c0, c1 = int(c) % width, (int(c) + 1) % width
    for k in range(3):
        top = image[r0, c0, k] * (1 - fc) + image[r0, c1, k] * fc
        bottom = image[r1, c0, k] * (1 - fc) + image[r1, c1, k] * fc
        out[k] = top * (1 - fr) + bottom * fr


@kept()
def _texel(texels, offset, height, width, u, v, out):
    """Bilinear, repeating look-up; out[0:3] sRGB in [0, 1], out[3] paint share."""
    x, y = (u - np.floor(u)) * width - 0.5, (1.0 - (v - np.floor(v))) * height - 0.5
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = x - x0, y - y0
    xa, xb = int(x0) % width, (int(x0) + 1) % width
    ya, yb = int(y0) % height, (int(y0) + 1) % height
    for k in range(4):
        top = texels[offset + ya * width + xa, k] * (1 - fx) + texels[offset + ya * width + xb, k] * fx
        bottom = texels[offset + yb * width + xa, k] * (1 - fx) + texels[offset + yb * width + xb, k] * fx
        out[k] = (top * (1 - fy) + bottom * fy) / 255.0


@kept()
def _shade(fragments, corners, table, view, environment, image):
    face, weights, normals, uv = fragments.face, fragments.weights, corners.normals, corners.uv
    R, sun, sun_colour, layout, paint = view.R, environment.sun, environment.sun_colour, table.layout, table.paint
    fx, fy, cx, cy = view.intrinsics
    n, v, colour = np.zeros(3), np.zeros(3), np.zeros(3)
    texel, ambient, mirror = np.zeros(4), np.zeros(3), np.zeros(3)
    for i in range(face.shape[0]):
        for j in range(face.shape[1]):
            f = face[i, j]
            if f < 0:
                continue
            m = corners.material[f]
            dx, dy = (j - cx) / fx, (i - cy) / fy
            z = fragments.depth[i, j]
            length = np.sqrt(dx * dx + dy * dy + 1.0)
            height = view.eye[2]  # of the surface point above the object's origin
            for k in range(3):
                ray = R[0, k] * dx + R[1, k] * dy + R[2, k]  # R^T * ray: object frame
                v[k] = -ray / length
                n[k] = (weights[i, j, 0] * normals[f, 0, k] + weights[i, j, 1] * normals[f, 1, k]
                        + weights[i, j, 2] * normals[f, 2, k])
                if k == 2:
                    height += ray * z
            norm = max(1e-9, np.sqrt(n[0] ** 2 + n[1] ** 2 + n[2] ** 2))
            n_v = (n[0] * v[0] + n[1] * v[1] + n[2] * v[2]) / norm
            if n_v < 0:
                norm, n_v = -norm, -n_v
            for k in range(3):
                n[k] /= norm
                colour[k] = table.albedo[m, k]
            if table.texture[m] >= 0:
                u_ = (weights[i, j, 0] * uv[f, 0, 0] + weights[i, j, 1] * uv[f, 1, 0] + weights[i, j, 2] * uv[f, 2, 0])
                v_ = (weights[i, j, 0] * uv[f, 0, 1] + weights[i, j, 1] * uv[f, 1, 1] + weights[i, j, 2] * uv[f, 2, 1])
                tex = table.texture[m]
                _texel(table.texels, layout[tex, 0], layout[tex, 1], layout[tex, 2], u_, v_, texel)
                luma = 0.299 * texel[0] + 0.587 * texel[1] + 0.114 * texel[2]
                share = texel[3] if paint[m, 3] > 0 else 0.0
                for k in range(3):
                    own = texel[k] ** 2.2 * colour[k]
                    if share > 0:
                        own += share * (paint[m, k] * min(1.3, luma / paint[m, 3]) ** 2.2 - own)
                    colour[k] = own
            _panorama(environment.irradiance, n[0], n[1], n[2], ambient)
            n_sun = max(0.0, n[0] * sun[0] + n[1] * sun[1] + n[2] * sun[2])
            near_ground = np.exp(-max(0.0, height - view.ground) / 0.3)
            occlusion = 1.0 - 0.8 * near_ground * (0.6 - 0.4 * n[2])
            # Mirror reflection v -> 2 (n.v) n - v; rays that go down meet the car's own shadow.
            rx, ry, rz = 2 * n_v * n[0] - v[0], 2 * n_v * n[1] - v[1], 2 * n_v * n[2] - v[2]
            _panorama(environment.radiance, rx, ry, rz, mirror)
            fresnel = (0.09 + 0.91 * (1.0 - n_v) ** 4) * table.gloss[m]
            if rz < 0:
                fresnel *= 0.6
            spot = max(0.0, rx * sun[0] + ry * sun[1] + rz * sun[2]) ** 180 * 6.0 * table.gloss[m]
            for k in range(3):
                light = ambient[k] * occlusion + sun_colour[k] * n_sun * (1.0 - 0.7 * near_ground)
                image[i, j, k] = colour[k] * light + fresnel * mirror[k] * occlusion + spot * sun_colour[k]
