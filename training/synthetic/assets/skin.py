# SPDX-License-Identifier: Apache-2.0
"""Random skins for untextured vessels: glazes, patterns, labels, prints, caps, glass.

A skin is drawn on the unrolled side of the vessel: columns turn once about the axis, row 0 is the rim. It decides
nothing about the pose, so nothing about it may repeat: every sample gets a new one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

HEIGHT, WIDTH = 192, 384
# Linear transmission: water, cola, beer, wine, juice.
_LIQUIDS = np.array([[0.9, 0.95, 0.95], [0.10, 0.04, 0.02], [0.75, 0.45, 0.08], [0.35, 0.02, 0.05], [0.85, 0.8, 0.4]])


@dataclass(frozen=True)
class Skin:
    """The look of one vessel.

    Attributes:
        texture: [H, W, 4] uint8 sRGB of the outside, channel 3 unused (0).
        opacity: [H, W] float32, 0 where the wall is clear glass.
        tint: [3] linear transmission of the empty glass, liquid [3] of what is in it below ``level`` (share of height).
        gloss: of the outside. handle, inner: sRGB [3] in [0, 1] of the handle and of the inner wall.
    """

    texture: np.ndarray
    opacity: np.ndarray
    tint: np.ndarray
    liquid: np.ndarray
    level: float
    gloss: float
    handle: tuple[float, float, float]
    inner: tuple[float, float, float]


def colour(rng: np.random.Generator) -> np.ndarray:
    """sRGB colour [3] in [0, 1]: white, grey and black ware as often as coloured ware."""
    kind = rng.random()
    if kind < 0.28:
        return np.clip(rng.uniform(0.8, 0.97) + rng.normal(0, 0.02, 3), 0, 1)
    if kind < 0.5:
        return np.clip(rng.uniform(0.04, 0.8) + rng.normal(0, 0.03, 3), 0, 1)
    hsv = np.uint8([[[rng.integers(180), rng.integers(50, 256), rng.integers(40, 256)]]])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0] / 255.0


def cup_skin(rng: np.random.Generator, photo: np.ndarray | None = None) -> Skin:
    """Ceramic, enamel, paper or plastic: opaque; ``photo`` [H, W, 3] uint8 RGB may be printed on it."""
    base = colour(rng)
    canvas = _pattern(rng, base)
    for _ in range(rng.choice([0, 1, 2, 3], p=[0.4, 0.35, 0.15, 0.1])):
        _decal(canvas, rng, photo)
    if rng.random() < 0.2:  # rim in another colour
        canvas[:max(2, int(rng.uniform(0.01, 0.06) * HEIGHT))] = 255 * colour(rng)
    same = tuple(float(c) for c in canvas[HEIGHT // 3: 2 * HEIGHT // 3].reshape(-1, 3).mean(axis=0) / 255)
    handle = same if rng.random() < 0.7 else tuple(colour(rng))
    inner = same if rng.random() < 0.35 else tuple(np.full(3, rng.uniform(0.75, 0.95))) \
        if rng.random() < 0.7 else tuple(colour(rng))
    return Skin(_finished(canvas), np.ones((HEIGHT, WIDTH), np.float32), np.ones(3), np.ones(3), 0.0,
                float(rng.choice([0.05, rng.uniform(0.2, 1.0)], p=[0.25, 0.75])), handle, inner)


def bottle_skin(rng: np.random.Generator, photo: np.ndarray | None = None) -> Skin:
    """Glass or plastic, clear or opaque, with label and cap; ``photo`` [H, W, 3] uint8 RGB may be on the label."""
    clear = rng.random() < 0.55
    base = colour(rng)
    opacity = np.zeros((HEIGHT, WIDTH), np.float32)
    if clear:
        tint = np.array([[0.85, 0.9, 0.88], [0.15, 0.45, 0.18], [0.45, 0.2, 0.05], [0.5, 0.65, 0.85]][rng.integers(4)])
        tint = np.clip(tint * rng.uniform(0.6, 1.1) + rng.normal(0, 0.03, 3), 0.02, 0.98)
        canvas = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        canvas[:] = 255 * (0.25 * tint) ** (1 / 2.2)
    else:
        tint = np.ones(3)
        canvas = _pattern(rng, base)
        opacity[:] = 1.0
    if rng.random() < 0.75:
        _label(canvas, opacity, rng, photo)
    if rng.random() < 0.8:  # cap or foil; the neck begins at about a third from the top
        rows = int(rng.uniform(0.03, 0.22 if rng.random() < 0.3 else 0.10) * HEIGHT)
        canvas[:rows], opacity[:rows] = 255 * colour(rng), 1.0
    liquid = np.clip(_LIQUIDS[rng.integers(len(_LIQUIDS))] + rng.normal(0, 0.05, 3), 0.01, 0.98)
    return Skin(_finished(canvas), opacity, tint, liquid, float(rng.uniform(0.0, 0.85)),
                float(rng.uniform(0.3, 1.0)), tuple(base), tuple(base))


def _finished(canvas: np.ndarray) -> np.ndarray:
    texture = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    texture[..., :3] = canvas
    return texture


def _pattern(rng: np.random.Generator, base: np.ndarray) -> np.ndarray:
    """Ground of a skin [H, W, 3] uint8; continues across the seam."""
    second = colour(rng)
    row, column = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    kind = rng.choice(["plain", "rings", "stripes", "checks", "dots", "dipped", "glaze"],
                      p=[0.46, 0.1, 0.08, 0.05, 0.08, 0.11, 0.12])
    share = np.zeros((HEIGHT, WIDTH), np.float32)
    around, up = int(rng.integers(2, 24)), float(rng.uniform(1, 10))
    if kind in ("rings", "checks"):
        share = (np.sin(2 * np.pi * (up * row / HEIGHT + rng.random())) > rng.uniform(-0.7, 0.9)).astype(np.float32)
    if kind in ("stripes", "checks"):
        stripes = np.sin(2 * np.pi * (around * column / WIDTH + rng.random())) > rng.uniform(-0.5, 0.8)
        share = np.abs(share - stripes)
    if kind == "dots":
        share = (np.sin(2 * np.pi * around * column / WIDTH) * np.sin(2 * np.pi * up * row / HEIGHT) > 0.55) * 1.0
    if kind == "dipped":
        edge = rng.uniform(0.15, 0.85) * HEIGHT + rng.uniform(0, 5) * np.sin(2 * np.pi * (column / WIDTH * around))
        share = (row > edge) * 1.0
    if kind == "glaze":
        noise = cv2.resize(rng.normal(size=(int(rng.integers(3, 24)), int(rng.integers(3, 24)))), (WIDTH, HEIGHT),
                           interpolation=cv2.INTER_CUBIC)
        share = 1 / (1 + np.exp(-rng.uniform(1, 6) * 0.5 * (noise + noise[:, ::-1])))
    share = cv2.GaussianBlur(share.astype(np.float32), (0, 0), 0.8)[..., None]
    return np.clip(255 * (base + (second - base) * share), 0, 255).astype(np.uint8)


def _decal(canvas: np.ndarray, rng: np.random.Generator, photo: np.ndarray | None) -> None:
    """One print: a panel, a sign, writing or a picture, anywhere on the side."""
    height, width = (int(v) for v in rng.uniform([0.15, 0.08], [0.7, 0.3]) * [HEIGHT, WIDTH])
    top, left = int(rng.uniform(0.08, 0.92) * (HEIGHT - height)), int(rng.integers(WIDTH))
    patch = np.roll(canvas, -left, axis=1)[top:top + height, :width].copy()
    _print(patch, rng, photo)
    canvas[:] = np.roll(np.concatenate([_with(np.roll(canvas, -left, axis=1), patch, top)], axis=1), left, axis=1)


def _with(canvas: np.ndarray, patch: np.ndarray, top: int) -> np.ndarray:
    canvas[top:top + len(patch), :patch.shape[1]] = patch
    return canvas


def _print(patch: np.ndarray, rng: np.random.Generator, photo: np.ndarray | None) -> None:
    height, width = patch.shape[:2]
    ink = [float(255 * c) for c in colour(rng)]
    kind = rng.choice(["panel", "disc", "star", "writing", "picture"], p=[0.15, 0.2, 0.2, 0.3, 0.15])
    middle = (width // 2, height // 2)
    if kind == "panel":
        patch[:] = ink
    elif kind == "disc":
        cv2.ellipse(patch, middle, (width // 2, min(height, width) // 2), 0, 0, 360, ink,
                    int(rng.choice([-1, 2, 4])), cv2.LINE_AA)
    elif kind == "star":
        angle = np.linspace(0, 2 * np.pi, 2 * int(rng.integers(3, 8)), endpoint=False) + rng.uniform(0, 1)
        radius = np.where(np.arange(len(angle)) % 2, rng.uniform(0.3, 1.0), 1.0) * 0.5 * min(height, width)
        points = np.array(middle) + np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]
        cv2.fillPoly(patch, [points.astype(np.int32)], ink, cv2.LINE_AA)
    elif kind == "picture" and photo is not None:
        patch[:] = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    if kind in ("writing", "panel") or rng.random() < 0.3:
        _writing(patch, rng)


def _writing(patch: np.ndarray, rng: np.random.Generator) -> None:
    """A few lines of random letters."""
    height, width = patch.shape[:2]
    ink, size = [float(255 * c) for c in colour(rng)], rng.uniform(0.25, 1.1)
    for y in np.arange(0.25, 0.95, rng.uniform(0.15, 0.4)):
        word = "".join(rng.choice(list("ABCDEFGHIKLMNOPRSTUVWZaeioulmnrst0123456789 "), int(rng.integers(2, 12))))
        cv2.putText(patch, word, (int(rng.uniform(0, 0.2) * width), int(y * height)), int(rng.choice([0, 2, 3, 4, 6])),
                    size, ink, int(rng.integers(1, 3)), cv2.LINE_AA)


def _label(canvas: np.ndarray, opacity: np.ndarray, rng: np.random.Generator, photo: np.ndarray | None) -> None:
    """Paper around the belly, or on one side of it, with prints."""
    top, height = int(rng.uniform(0.35, 0.6) * HEIGHT), int(rng.uniform(0.15, 0.4) * HEIGHT)
    width = WIDTH if rng.random() < 0.6 else int(rng.uniform(0.2, 0.7) * WIDTH)
    paper = _pattern(rng, colour(rng))[:height, :width]
    for _ in range(int(rng.integers(1, 5))):
        x, y = int(rng.integers(0, max(1, width - 40))), int(rng.integers(0, max(1, height // 2)))
        _print(paper[y:, x:x + int(rng.integers(30, 120))], rng, photo)
    start, rows = int(rng.integers(WIDTH)), slice(top, min(top + height, HEIGHT))
    columns = (start + np.arange(width)) % WIDTH
    canvas[rows, columns], opacity[rows, columns] = paper[:rows.stop - rows.start], 1.0
