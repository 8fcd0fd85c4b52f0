# SPDX-License-Identifier: Apache-2.0
"""Turntable sequences of CAD cars with exact truth, each in an own frame that is unknown to the aligner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dinemo_ros.geometry import pinhole_matrix, rotation_from_viewpoint, se3, so3_exp
from dinemo_training.data.posed_crops import CROP_SIDE
from dinemo_training.synthetic.assets.asset import Asset
from dinemo_training.synthetic.render.background import View, contact_shadow, random_colour
from dinemo_training.synthetic.render.dataset import Pose, draw
from dinemo_training.synthetic.render.environment import Environment, random_environment
from dinemo_training.synthetic.render.shading import MaterialTable, displayed, material_table, repainted

from .object_sequence import ObjectSequence, crop_frames
from .similarity import Similarity

_PICTURE = (480, 360)


@dataclass(frozen=True)
class TrueSequence:
    """A rendered sequence and what is known about it.

    Attributes:
        sequence: cameras exact, in the sequence's own frame.
        own_from_object: object frame (metres) to own frame. azimuths: [N] radians, elevation: radians.
        T_cam_obj: [N, 4, 4] metres; size: [3] metres.
    """

    sequence: ObjectSequence
    own_from_object: Similarity
    azimuths: np.ndarray
    elevation: float
    T_cam_obj: np.ndarray
    size: np.ndarray


def render_turntable(asset: Asset, seed: int, frames: int = 24, tilt_deg: float = 4.0,
                     side: int = CROP_SIDE) -> TrueSequence:
    """One turn around ``asset``: random start, sense, height, distance, paint, light and own frame.

    The own frame is turned by any angle about the vertical, tilted by up to ``tilt_deg`` degrees, moved and scaled.
    ``side``: of the crops in pixels.
    """
    rng = np.random.default_rng([seed, 7])
    asset = asset.scaled(np.exp(rng.normal(0, [0.04, 0.03, 0.04])))
    table = repainted(material_table(asset.materials), asset.materials, rng)
    environment, colour = random_environment(rng), random_colour(rng)
    elevation, lengths = np.radians(rng.uniform(4, 22)), rng.uniform(2.5, 6)
    azimuths = (rng.uniform(0, 2 * np.pi) + rng.choice([-1, 1]) * 2 * np.pi * np.arange(frames) / frames) % (2 * np.pi)
    distance = lengths * asset.size[0]
    focal = 0.75 * _PICTURE[0] * lengths
    K = pinhole_matrix(focal, (_PICTURE[0] - 1) / 2, (_PICTURE[1] - 1) / 2)
    images, masks, poses = [], [], []
    for azimuth in azimuths:
        T = se3(rotation_from_viewpoint(azimuth, elevation, 0.0), [0, 0, distance])
        picture, mask = _frame(asset, table, environment, colour, Pose(K, T))
        images.append(picture), masks.append(mask), poses.append(T)
    own = random_own_frame(rng, tilt_deg, float(asset.size[0]))
    cut = crop_frames(asset.name, [f"{i:03d}.png" for i in range(frames)], images, masks, side)
    sequence = ObjectSequence(cut.name, cut.files, cut.images, cut.masks, cut.crop_from_picture,
                              cut.crop_from_picture @ K, np.stack([camera_in_own_frame(T, own) for T in poses]))
    return TrueSequence(sequence, own, azimuths, elevation, np.stack(poses), asset.size)


def random_own_frame(rng: np.random.Generator, tilt_deg: float, length: float) -> Similarity:
    """Object frame to an own frame as structure from motion would choose it.

    Args:
        tilt_deg: its z axis is within so many degrees of up. length: of the object, in metres.
    """
    yaw = so3_exp([0, 0, rng.uniform(-np.pi, np.pi)])
    direction = rng.uniform(0, 2 * np.pi)
    tilt = np.radians(rng.uniform(0, tilt_deg)) * np.array([np.cos(direction), np.sin(direction), 0])
    scale = np.exp(rng.uniform(-1, 1)) / length
    return Similarity(float(scale), so3_exp(tilt) @ yaw, rng.normal(0, 0.3, 3) * scale * length)


def camera_in_own_frame(T_cam_obj: np.ndarray, own: Similarity) -> np.ndarray:
    """T_cam_own [4, 4] in the own unit: the picture stays what it was."""
    R = T_cam_obj[:3, :3] @ own.R.T
    return se3(R, own.scale * T_cam_obj[:3, 3] - R @ own.t)


def _frame(asset: Asset, table: MaterialTable, environment: Environment, background: np.ndarray,
           pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """RGB uint8 [H, W, 3] before a plain background with the car's shadow, and its mask uint8 [H, W]."""
    colour, coverage = draw(asset, table, pose, _PICTURE, environment)
    shadow = contact_shadow(View(pose.K, pose.T_cam_obj, _PICTURE, asset.ground), asset.size, 0.4, 0.7)
    picture = background * shadow[..., None] * (1 - coverage[..., None]) + colour
    return displayed(picture), np.where(coverage >= 0.5, 255, 0).astype(np.uint8)
