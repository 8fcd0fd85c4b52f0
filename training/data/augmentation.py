# SPDX-License-Identifier: Apache-2.0
"""What a robot's camera does to a picture: framing, mirror, light, blur, noise, compression, occluders, truncation.

Geometry is exact: one homography warps the picture and the same matrix updates the intrinsics, so a pose stays true.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dinemo_ros.camera.crop import BORDER_GREY
from dinemo_ros.geometry import mirror_rotation


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges of the random changes; see each field's comment."""

    size: int = 224                # output side in pixels
    coverage: tuple = (0.28, 1.05) # larger side of the projected object as a share of the output side
    shift: float = 0.12            # object centre off the crop centre, share of the output side, uniform +-
    roll_deg: float = 8.0          # in-plane rotation, uniform +-
    mirror: float = 0.5            # probability
    low_resolution: float = 0.35   # probability of shrinking to 32..128 px and back (far objects)
    occlude: float = 0.5           # probability of pasted occluders
    background: float = 0.5        # probability of a new background where a mask is known
    neighbour: float = 0.35        # probability of another object of the category beside it, where masks are known


def random_view(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray | None, K: np.ndarray, T: np.ndarray,
                outline: np.ndarray, background: np.ndarray,
                config: AugmentConfig) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray]:
    """Warp a picture to a random framing.

    Args:
        image: [H, W, 3] uint8; mask: [H, W] uint8 or None; K: [3, 3]; T: T_cam_obj [4, 4].
        outline: [P, 2] projected points of the object in ``image``; their bounds decide scale and shift.
        background: [S, S, 3] what may be seen beyond the picture's borders; or a plain colour is.

    Returns:
        image, mask, K, T after the change; the mirrored pose is exact for a left-right symmetric category.
    """
    low, high = outline.min(0), outline.max(0)
    S = config.size
    scale = rng.uniform(*config.coverage) * S / max(float((high - low).max()), 1.0)
    angle = np.deg2rad(rng.uniform(-config.roll_deg, config.roll_deg))
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    target = (S - 1) / 2 + rng.uniform(-config.shift, config.shift, 2) * S
    A = np.array([[c, -s, 0.0], [s, c, 0.0], [0, 0, 1.0]])
    A[:2, 2] = target - A[:2, :2] @ (0.5 * (low + high))
    if rng.random() < config.mirror:
        # Mirroring the picture (x -> S-1-x) equals mirroring the camera; M T M with M = diag(-1, 1, 1) in the
        # camera and diag(1, -1, 1) in the object is again a rigid pose, and K keeps positive focal lengths.
        A = np.array([[-1.0, 0, S - 1], [0, 1, 0], [0, 0, 1]]) @ A
        R, t = mirror_rotation(T[:3, :3]), T[:3, 3] * [-1, 1, 1]
        T = np.block([[R, t[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]])
        K_new = A @ K @ np.diag([-1.0, 1.0, 1.0])
    else:
        K_new = A @ K
    # OpenCV has no area filter in a warp: blur first when shrinking much, or thin structures alias.
    if scale < 0.6:
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / scale)
    warped = _surroundings(rng, background)
    cv2.warpAffine(image, A[:2], (S, S), dst=warped, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT)
    if mask is not None:
        mask = cv2.warpAffine(mask, A[:2], (S, S), flags=cv2.INTER_LINEAR, borderValue=0)
    return warped, mask, K_new, T


def _surroundings(rng: np.random.Generator, background: np.ndarray) -> np.ndarray:
    """What lies around a picture: another one, the grey of crops beyond an image, or any plain colour."""
    kind = rng.random()
    if kind < 0.5:
        return background.copy()
    return np.full_like(background, BORDER_GREY if kind < 0.8 else rng.integers(0, 256, 3))


def replace_background(image: np.ndarray, mask: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Put the object on another picture [S, S, 3], along a softened mask."""
    alpha = cv2.GaussianBlur(mask, (3, 3), 0)[..., None].astype(np.float32) / 255
    return (image * alpha + other * (1 - alpha)).astype(np.uint8)


def add_neighbour(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray, other: np.ndarray,
                  other_mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put another object of the category beside this one, behind it or, less often, partly in front.

    Objects stand in rows: parked cars, cups on a shelf. Which of them is meant, only the middle of the crop tells, and
    a network that never saw two of them takes the second for a part of the first.

    Args:
        image, other: [S, S, 3] and [H, W, 3] uint8; mask, other_mask: [S, S] and [H, W] uint8, 255 on the object.

    Returns:
        The picture, [S, S] uint8 255 where the neighbour is seen, and the same where it hides the object.
    """
    x, y, w, h = cv2.boundingRect((mask > 127).astype(np.uint8))
    a, b, c, d = cv2.boundingRect((other_mask > 127).astype(np.uint8))
    nothing = np.zeros_like(mask)
    if min(w, h, c, d) < 8:
        return image, nothing, nothing
    scale = rng.uniform(0.55, 1.15) * max(w, h) / max(c, d)
    side = 1.0 if rng.random() < 0.5 else -1.0
    flip = 1.0 if rng.random() < 0.5 else -1.0
    centre = np.array([x + w / 2 + side * rng.uniform(0.15, 0.6) * (w + scale * c),
                       y + h / 2 + rng.uniform(-0.3, 0.15) * h])
    A = np.array([[flip * scale, 0, centre[0] - flip * scale * (a + c / 2)],
                  [0, scale, centre[1] - scale * (b + d / 2)]])
    if scale < 0.6:
        other = cv2.GaussianBlur(other, (0, 0), 0.4 / scale)
    size = image.shape[1::-1]
    pasted = cv2.warpAffine(other, A, size, flags=cv2.INTER_LINEAR)
    alpha = cv2.warpAffine(np.where(other_mask > 127, 255, 0).astype(np.uint8), A, size, flags=cv2.INTER_LINEAR)
    if rng.random() < 0.7:
        alpha = np.where(mask > 32, 0, alpha)  # behind the object and behind what hides the object
    image = np.where(alpha[..., None] > 127, pasted, image)
    seen = np.where(alpha > 127, 255, 0).astype(np.uint8)
    return image, seen, np.where(mask > 127, seen, 0).astype(np.uint8)


def occlude(rng: np.random.Generator, image: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Paste shapes cut from another picture over a picture; both [S, S, 3] uint8 RGB.

    Mostly a few, sometimes so many that little of the object is left (Occluded PASCAL3D+ hides up to 80 %).

    Returns:
        The picture [S, S, 3], and the mask [S, S] uint8 of what is hidden, 255 there.
    """
    S = image.shape[0]
    heavy = rng.random() < 0.35
    count, largest = (rng.integers(3, 8), 0.30) if heavy else (rng.integers(1, 4), 0.22)
    hidden = np.zeros((S, S), np.uint8)
    for _ in range(count):
        cv2.fillPoly(hidden, [_outline(rng, rng.uniform(0.1, 0.9, 2) * S, rng.uniform(0.05, largest, 2) * S)], 255)
    fill = other if rng.random() < 0.75 else np.full_like(image, rng.integers(0, 256, 3, dtype=np.uint8))
    return np.where(hidden[..., None] > 0, fill, image), hidden


def _outline(rng: np.random.Generator, centre: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Closed outline [P, 2] int32 of a random thing: a box, or a round or ragged blob."""
    kind = rng.random()
    if kind < 0.35:
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * radii
        return (centre + corners).astype(np.int32)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = np.ones_like(angle)
    if kind > 0.65:  # a few waves make limbs and gaps
        for k in range(2, 6):
            radius += rng.uniform(0, 0.28) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    turn = rng.uniform(0, np.pi)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1) * radii
    c, s = np.cos(turn), np.sin(turn)
    return (centre + points @ np.array([[c, s], [-s, c]])).astype(np.int32)


def photometric(rng: np.random.Generator, image: np.ndarray, low_resolution: float) -> np.ndarray:
    """Light, colour, blur, noise, resolution and JPEG changes of one crop [S, S, 3] uint8."""
    S = image.shape[0]
    if rng.random() < low_resolution:
        small = int(rng.uniform(32, 128))
        image = cv2.resize(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), (S, S),
                           interpolation=cv2.INTER_LINEAR)
    elif rng.random() < 0.25:
        image = _motion_blur(rng, image)
    if rng.random() < 0.8:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.int16)
        hsv[..., 0] = (hsv[..., 0] + (rng.integers(-90, 90) if rng.random() < 0.3 else rng.integers(-8, 9))) % 180
        hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.3, 1.4), 0, 255)
        image = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
    x = image.astype(np.float32)
    x = 255 * (x / 255) ** np.exp(rng.uniform(-0.5, 0.5))
    x = (x - 127) * rng.uniform(0.6, 1.3) + 127 + rng.uniform(-35, 35)
    if rng.random() < 0.4:
        x += rng.normal(0, rng.uniform(2, 12), x.shape)
    if rng.random() < 0.1:
        x[:] = x.mean(-1, keepdims=True)
    image = np.clip(x, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        quality = int(rng.uniform(25, 90))
        image = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return image


def _motion_blur(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    length = int(rng.integers(3, 9))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    centre = (length - 1) / 2
    for step in np.linspace(-centre, centre, 2 * length):
        kernel[int(round(centre + step * np.sin(angle))), int(round(centre + step * np.cos(angle)))] = 1
    return cv2.filter2D(image, -1, kernel / kernel.sum())
