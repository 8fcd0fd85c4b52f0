# SPDX-License-Identifier: Apache-2.0
"""The similarity volume: how well every vertex fits every cell, against clutter.

With the vertex features C [V, D] and one image's features F [D, h*w] fixed, S = C F is one matrix product, and scoring
a pose needs no D-dimensional work any more (Ma et al., ECCV 2022, keep the same volume per key point).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EVIDENCE = ("clutter", "posterior")


@dataclass(frozen=True)
class SimilarityVolume:
    """What the search and the refinement read of one crop.

    Attributes:
        evidence: [V, h + 2 pad, w + 2 pad] float32, max(S - clutter, 0) per vertex and cell (NeMo's occlusion choice:
            a cell that clutter explains better says nothing about the object), zero in the padding.
        odds: [V, h, w] float32, object : clutter odds of "cell p shows vertex v".
        foreground: [h, w] float32, probability that the cell shows any vertex.
        pad: cells.
    """

    evidence: np.ndarray
    odds: np.ndarray
    foreground: np.ndarray
    pad: int


class Similarity:
    """Turns features into a :class:`SimilarityVolume`; its buffers are reused, so one volume lives at a time."""

    def __init__(self, features: np.ndarray, clutter: np.ndarray, temperature: float, evidence: str, pad: int) -> None:
        if evidence not in EVIDENCE:
            raise ValueError(f"evidence is {evidence!r}; allowed: {', '.join(EVIDENCE)}")
        self._features, self._clutter = features, clutter
        self._temperature, self._mode, self._pad = np.float32(temperature), evidence, pad
        self._volume: SimilarityVolume | None = None

    def __call__(self, F: np.ndarray) -> SimilarityVolume:
        """Volume of one feature map F [D, h, w] of unit norm over D."""
        volume = self._buffers(F.shape[1:])
        cells = F.reshape(len(F), -1)
        S = volume.odds.reshape(len(self._features), -1)
        np.matmul(self._features, cells, out=S)
        background = self._clutter @ cells  # [K, h*w]
        rival = background.max(axis=0) if self._mode == "clutter" else self._log_partition(S, background)
        foreground = volume.foreground.reshape(-1)
        np.divide(1.0, 1.0 + np.exp((rival - S.max(axis=0)) / self._temperature), out=foreground)
        inner = volume.evidence[:, self._pad:-self._pad, self._pad:-self._pad]
        np.subtract(volume.odds, rival.reshape(F.shape[1:]), out=inner)
        np.maximum(inner, 0.0, out=inner)
        if self._mode == "clutter":
            rival = np.sum(rival * foreground) / np.sum(foreground)
        S -= rival
        S *= 1.0 / self._temperature
        np.exp(S, out=S)
        S *= foreground
        return volume

    def _log_partition(self, S: np.ndarray, background: np.ndarray) -> np.ndarray:
        """T log of the mean-per-vertex partition function: the softmax over vertices and clutter of the training.

        The mean instead of the sum keeps the odds of a vertex that competes with V neighbours comparable to clutter's.
        """
        peak = np.maximum(S.max(axis=0), background.max(axis=0))
        vertices = np.exp((S - peak) / self._temperature).mean(axis=0)
        clutter = np.exp((background - peak) / self._temperature).mean(axis=0)
        return peak + self._temperature * np.log(vertices + clutter)

    def _buffers(self, shape: tuple[int, int]) -> SimilarityVolume:
        if self._volume is None or self._volume.odds.shape[1:] != shape:
            V, (h, w), pad = len(self._features), shape, self._pad
            self._volume = SimilarityVolume(np.zeros((V, h + 2 * pad, w + 2 * pad), np.float32),
                                            np.empty((V, h, w), np.float32), np.empty((h, w), np.float32), pad)
        return self._volume
