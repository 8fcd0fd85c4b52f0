# SPDX-License-Identifier: Apache-2.0
"""The similarity volume: how well every vertex fits every cell, against clutter.

With the vertex features C [V, D] and one image's features F [D, h*w] fixed, S = C F is one matrix product, and scoring
a pose needs no D-dimensional work any more (Ma et al., ECCV 2022, keep the same volume per key point). The product is a
kernel of its own because numpy's BLAS brings its own thread pool, which fights the backbone's for two cores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .jit import kernel

EVIDENCE = ("clutter", "posterior")
UNIT = 127  # of evidence in 8 bits; sums of 80 vertices (category.COARSE_SAMPLES) fit into 16
MOST = np.float32(2.0)  # what two unit vectors can differ by; "posterior" has no such bound at high temperatures
_ROWS = 4  # vertices and channels multiplied together: what is read and written once then serves sixteen products


@dataclass(frozen=True)
class SimilarityVolume:
    """What the search and the refinement read of one crop; V counts the evenly spread vertices of the search.

    Attributes:
        cells: [h, w, D] float32, the features with the channel last.
        similarity: [V, h * w] float32, cosine of every vertex and every cell.
        background_score: [h, w] float32, what the best competing explanation scores in a cell, see :class:`Similarity`.
        foreground: [h, w] float32, probability that the cell shows any vertex.
        evidence: [V + 1, h + 2 pad, w + 2 pad] uint8, UNIT * max(S - background_score, 0) per vertex and cell (NeMo's
        occlusion
            choice: a cell that clutter explains better says nothing about the object). Zero in the padding, and in the
            last plane, into which the coarse search's reading runs on.
        odds: [V, h, w] float32, object : clutter odds of "cell p shows vertex v".
        pad: cells.
    """

    cells: np.ndarray
    similarity: np.ndarray
    background_score: np.ndarray
    foreground: np.ndarray
    evidence: np.ndarray
    odds: np.ndarray
    pad: int


class Similarity:
    """Turns features into a :class:`SimilarityVolume`; its buffers are reused, so one volume lives at a time.

    Args:
        features: [V, D] float32 vertex features, V a multiple of 4; clutter: [K, D] float32.
        temperature: softmax temperature of the training.
        evidence: what a vertex competes with in a cell: "clutter" alone (background_score = best clutter feature,
        NeMo), or
            "posterior", all vertices and clutter (background_score = log of their mean likelihood), as in the
            training's softmax.
        pad: cells around the evidence.
    """

    def __init__(self, features: np.ndarray, clutter: np.ndarray, temperature: float, evidence: str,
                 pad: int) -> None:
        if evidence not in EVIDENCE:
            raise ValueError(f"evidence is {evidence!r}; allowed: {', '.join(EVIDENCE)}")
        self._depth = features.shape[1]
        self._features, self._clutter = (np.pad(rows, ((0, 0), (0, -rows.shape[1] % _ROWS)))
                                         for rows in (features, clutter))
        self._temperature, self._posterior, self._pad = np.float32(temperature), evidence == "posterior", pad
        self._volume: SimilarityVolume | None = None
        self._S = self._peak = self._background = self._best_clutter = np.empty(0, np.float32)

    def __call__(self, F: np.ndarray) -> SimilarityVolume:
        """Volume of one feature map F [D, h, w] float32 of unit norm over D.

        Raises:
            ValueError: another D than the vertices'; the kernels would read past the end.
        """
        if len(F) != self._depth:
            raise ValueError(f"the features have {len(F)} channels, those of the mesh {self._depth}: both must come "
                             "from one bundle, with flip_tta or without")
        volume = self._buffers(F.shape)
        D, h, w = F.shape
        flat = np.ascontiguousarray(F).reshape(D, h * w)
        if D % _ROWS:
            flat = np.pad(flat, ((0, -D % _ROWS), (0, 0)))
        volume.cells[:] = F.transpose(1, 2, 0)
        S, peak, background, clutter = self._S, self._peak, self._background, self._best_clutter
        products(self._features, flat, S, 0, len(S), peak)
        products(self._clutter, flat, background, 0, len(background), clutter)
        foreground = volume.foreground.reshape(-1)
        foreground[:] = object_probability(peak, clutter, self._temperature)
        if self._posterior:
            background_score = log_mean(S, background, np.maximum(peak, clutter), self._temperature)
            level = background_score
        else:
            background_score = clutter
            # One level for all cells: where a match lies must not depend on how much a cell looks like clutter.
            level = np.full_like(background_score, np.sum(background_score * foreground) / np.sum(foreground))
        volume.background_score.reshape(-1)[:] = background_score
        evidence_and_odds(S, background_score, level, foreground, 1.0 / self._temperature, volume.evidence, volume.odds,
                          self._pad)
        return volume

    def _buffers(self, shape: tuple[int, int, int]) -> SimilarityVolume:
        D, h, w = shape
        if self._volume is None or self._volume.background_score.shape != (h, w):
            V, pad = len(self._features), self._pad
            self._S = np.empty((V, h * w), np.float32)
            self._peak = np.empty(h * w, np.float32)
            self._background = np.empty((len(self._clutter), h * w), np.float32)
            self._best_clutter = np.empty(h * w, np.float32)
            self._volume = SimilarityVolume(np.empty((h, w, D), np.float32), self._S,
                                            np.empty((h, w), np.float32), np.empty((h, w), np.float32),
                                            np.zeros((V + 1, h + 2 * pad, w + 2 * pad), np.uint8),
                                            np.empty((V, h, w), np.float32), pad)
        return self._volume


@kernel
def products(C, F, S, first, last, peak):
    """S[first:last] = C[first:last] F for C [V, D], F [D, P], S [V, P]; peak [P] = the largest of these rows.

    D is a multiple of 4.
    """
    D, P = F.shape
    peak[:] = np.float32(-1e9)
    v = first
    while v + 4 <= last:
        a, b, c, d = S[v], S[v + 1], S[v + 2], S[v + 3]
        for p in range(P):
            a[p] = b[p] = c[p] = d[p] = np.float32(0.0)
        for k in range(0, D, 4):
            e, f, g, h = F[k], F[k + 1], F[k + 2], F[k + 3]
            ae, af, ag, ah = C[v, k], C[v, k + 1], C[v, k + 2], C[v, k + 3]
            be, bf, bg, bh = C[v + 1, k], C[v + 1, k + 1], C[v + 1, k + 2], C[v + 1, k + 3]
            ce, cf, cg, ch = C[v + 2, k], C[v + 2, k + 1], C[v + 2, k + 2], C[v + 2, k + 3]
            de, df, dg, dh = C[v + 3, k], C[v + 3, k + 1], C[v + 3, k + 2], C[v + 3, k + 3]
            for p in range(P):
                x, y, z, w = e[p], f[p], g[p], h[p]  # once: behind the first store they would be read again
                a[p] += ae * x + af * y + ag * z + ah * w
                b[p] += be * x + bf * y + bg * z + bh * w
                c[p] += ce * x + cf * y + cg * z + ch * w
                d[p] += de * x + df * y + dg * z + dh * w
        for p in range(P):
            peak[p] = max(peak[p], max(max(a[p], b[p]), max(c[p], d[p])))
        v += 4
    while v < last:
        a = S[v]
        for p in range(P):
            a[p] = np.float32(0.0)
        for k in range(D):
            f, ca = F[k], C[v, k]
            for p in range(P):
                a[p] += ca * f[p]
        for p in range(P):
            peak[p] = max(peak[p], a[p])
        v += 1


@kernel
def evidence_and_odds(S, background_score, level, foreground, sharpness, evidence, odds, pad):
    """evidence = UNIT max(S - background_score, 0) in its padding, odds = foreground exp((S - level) sharpness)."""
    h, w = odds.shape[1:]
    P = h * w  # whole maps instead of rows: vector instructions have no ends to see to
    units, scaled, power = np.empty(P, np.uint8), np.empty(P, np.float32), np.empty(P, np.int32)
    two_to, maps = power.view(np.float32), odds.reshape(-1, P)
    for v in range(len(S)):
        s, o = S[v], maps[v]
        for p in range(P):
            units[p] = np.uint8(np.float32(UNIT) * min(max(s[p] - background_score[p], np.float32(0.0)), MOST)
                                + np.float32(0.5))
        for i in range(h):
            row = evidence[v, i + pad]
            for j in range(w):
                row[pad + j] = units[i * w + j]
        for p in range(P):
            # exp(x) = 2^n exp(y), n an integer, |y| < ln 2 / 2: the power by the bits of the exponent, which unlike
            # the library's exp the compiler turns into vector instructions
            x = min(max((s[p] - level[p]) * sharpness, np.float32(-80.0)), np.float32(80.0))
            n = np.floor(x * np.float32(1.4426950408889634) + np.float32(0.5))
            scaled[p] = x - n * np.float32(0.6931471805599453)
            power[p] = (np.int32(n) + np.int32(127)) << np.int32(23)
        for p in range(P):
            y = scaled[p]
            series = np.float32(1 / 24) + y * (np.float32(1 / 120) + y * np.float32(1 / 720))
            series = np.float32(1.0) + y * (np.float32(1.0) + y * (np.float32(0.5) + y * (np.float32(1 / 6)
                                                                                        + y * series)))
            o[p] = foreground[p] * two_to[p] * series


def object_probability(peak: np.ndarray, clutter: np.ndarray, temperature: float) -> np.ndarray:
    """Probability [...] that a cell shows the object, by the best vertex against the best clutter feature.

    peak, clutter: [...] similarity of these two to each cell; temperature: of the training's softmax.
    """
    return 1.0 / (1.0 + np.exp((clutter - peak) / temperature))


def log_mean(S: np.ndarray, background: np.ndarray, peak: np.ndarray, temperature: float) -> np.ndarray:
    """[P]: temperature times the log of (mean over vertices + mean over clutter) of exp(similarity / temperature).

    Means instead of sums: a vertex competes with its neighbours on the surface, however many of them the mesh has.

    S: [V, P] and background: [K, P] cosines of vertices and clutter with P cells; peak: [P] largest of S.
    """
    vertices = np.exp((S - peak) / temperature).mean(axis=0)
    clutter = np.exp((background - peak) / temperature).mean(axis=0)
    return peak + temperature * np.log(vertices + clutter)
