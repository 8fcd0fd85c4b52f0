# SPDX-License-Identifier: Apache-2.0
"""Charts of the report, in one style. Every function writes one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dinemo_ros.io.files import completed

from .figures import plt

_INK, _SOFT = "#24435c", "#9fb6c9"
_ACCENT = "#d9772b"


def _figure(width: float, height: float, columns: int = 1, **options: Any) -> tuple[plt.Figure, np.ndarray]:
    figure, axes = plt.subplots(1, columns, figsize=(width, height), squeeze=False, **options)
    for ax in axes[0]:
        if "polar" not in ax.name:
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(alpha=0.25, linewidth=0.6)
        ax.set_axisbelow(True)
    return figure, axes[0]


def _save(figure: plt.Figure, path: Path) -> str:
    figure.tight_layout()
    with completed(path) as part:
        figure.savefig(part, dpi=110)
    plt.close(figure)
    return path.name


def training_curves(path: Path, rounds: dict[str, list[dict]]) -> str:
    """Losses and accuracy over the steps of all rounds; ``rounds``: lines of metrics.jsonl by name."""
    figure, axes = _figure(9.5, 2.9, 3)
    for ax, key, title in zip(axes, ("vertex", "clutter", "accuracy"),
                              ("vertex loss", "clutter loss", "share of vertices found"), strict=True):
        for k, (name, lines) in enumerate(rounds.items()):
            colour = plt.get_cmap("viridis")(0.15 + 0.7 * k / max(1, len(rounds) - 1))
            shown = [line for line in lines if key in line]
            ax.plot([line["step"] for line in shown], [line[key] for line in shown], label=name, color=colour,
                    marker="o" if len(shown) < 3 else None, markersize=4)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("step")
    axes[0].legend(fontsize=8, frameon=False)
    return _save(figure, path)


def azimuth_roses(path: Path, groups: dict[str, np.ndarray]) -> str:
    """How often each azimuth occurs, a rose per group of angles [N] in radians; front is up, the left side is left."""
    figure, axes = _figure(3.1 * len(groups), 3.2, len(groups), subplot_kw={"projection": "polar"})
    edges = np.linspace(0, 2 * np.pi, 37)
    for ax, (name, angles) in zip(axes, groups.items(), strict=True):
        counts, _ = np.histogram(np.mod(angles, 2 * np.pi), edges)
        ax.bar(edges[:-1] + np.pi / 36, counts, width=2 * np.pi / 36, color=_INK)
        _compass(ax, f"{name} ({len(angles)})")
    return _save(figure, path)


def vote_roses(path: Path, votes: Sequence[tuple[np.ndarray, np.ndarray, float | None]]) -> str:
    """Votes of single photographs: azimuths [G] radians, shares [G], and the azimuth of the label or None."""
    figure, axes = _figure(1.65 * len(votes), 1.9, len(votes), subplot_kw={"projection": "polar"})
    edges = np.linspace(0, 2 * np.pi, 73)
    for ax, (azimuths, shares, label) in zip(axes, votes, strict=True):
        counts, _ = np.histogram(np.mod(azimuths, 2 * np.pi), edges, weights=shares)
        ax.bar(edges[:-1] + np.pi / 72, counts, width=2 * np.pi / 72, color=_INK)
        if label is not None:
            ax.plot([label, label], [0, counts.max()], color=_ACCENT, linewidth=1.6)
        _compass(ax, "", small=True)
    return _save(figure, path)


def _compass(ax: plt.Axes, title: str, small: bool = False) -> None:
    ax.set_theta_zero_location("N")
    ax.set_xticks(np.arange(4) * np.pi / 2, ["", "", "", ""] if small else ["front", "left", "rear", "right"])
    ax.set_yticklabels([])
    ax.tick_params(labelsize=8, pad=0)
    ax.grid(alpha=0.3)
    ax.set_title(title, fontsize=10)


def score_histograms(path: Path, panels: dict[str, dict[str, np.ndarray]], lines: dict[str, float],
                     bins: np.ndarray | None = None) -> str:
    """One panel per entry, each with histograms of values [N] (scores or ratios) by name.

    Args:
        lines: vertical lines, by the panel's name. bins: [B + 1] edges; None for 30 bins over all values.
    """
    figure, axes = _figure(4.2 * len(panels), 2.8, len(panels))
    for ax, (title, groups) in zip(axes, panels.items(), strict=True):
        values = np.concatenate([v for v in groups.values() if len(v)] or [np.zeros(1)])
        edges = np.linspace(values.min(), max(values.max(), values.min() + 1e-3), 31) if bins is None else bins
        for (name, group), colour in zip(groups.items(), (_INK, _ACCENT, _SOFT), strict=False):
            ax.hist(group, edges, label=f"{name} ({len(group)})", color=colour, alpha=0.75)
        if title in lines:
            ax.axvline(lines[title], color="#b3261e", linewidth=1.4, linestyle="--", label=f"{lines[title]:.3f}")
        ax.set_title(title, fontsize=10)
        ax.set_ylim(0, 1.5 * ax.get_ylim()[1])  # room for the legend
        ax.locator_params(axis="x", nbins=6)
        ax.legend(fontsize=8, frameon=False, loc="upper left", ncols=3)
    return _save(figure, path)


def reliability_diagram(path: Path, rows: Sequence[dict]) -> str:
    """Share of right poses over their announced probability, one panel per model, all levels of occlusion together.

    rows: of :func:`dinemo_ros.evaluation.reliability.reliability_rows`.
    """
    last = {row["model"]: row for row in rows}  # the row of all levels comes last
    figure, axes = _figure(3.6 * len(last), 3.4, len(last))
    for ax, (name, row) in zip(axes, last.items(), strict=True):
        x, y = (np.array([b[key] for b in row["bins"]]) for key in ("probability", "right"))
        low, high = np.array([b["interval"] for b in row["bins"]]).T
        ax.plot([0, 1], [0, 1], color=_SOFT, linestyle="--", linewidth=1)
        ax.errorbar(x, y, [np.maximum(y - low, 0), np.maximum(high - y, 0)], color=_INK, marker="o", markersize=4,
                    capsize=2, linewidth=1.2)
        ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="announced probability", ylabel="share within 30 degrees")
        ax.set_title(f"{name}: n {row['n']}, ECE {row['ece']:.3f}", fontsize=10)
    return _save(figure, path)


def error_plots(path: Path, errors: np.ndarray, azimuths: np.ndarray | None) -> str:
    """Cumulative errors [N] degrees (180 without a pose), and errors over the true azimuth [N] radians."""
    figure, axes = _figure(9.0, 2.9, 1 if azimuths is None else 2)
    ordered = np.sort(errors)
    axes[0].plot(ordered, (np.arange(len(ordered)) + 1) / len(ordered), color=_INK)
    for limit in (10, 30):
        axes[0].axvline(limit, color=_SOFT, linewidth=1, linestyle="--")
    axes[0].set(xlim=(0, 60), ylim=(0, 1.02), xlabel="error, degrees", title="share of pictures below an error")
    if azimuths is not None:
        axes[1].scatter(np.rad2deg(np.mod(azimuths, 2 * np.pi)), errors, s=10, color=_INK, alpha=0.6)
        axes[1].set(xlim=(0, 360), ylim=(0, 185), xticks=range(0, 361, 90), xlabel="true azimuth, degrees (0 front, 90 "
                    "left side)", title="error, degrees")
    for ax in axes:
        ax.title.set_fontsize(10)
    return _save(figure, path)


def stage_times(path: Path, seconds: dict[str, float]) -> str:
    """Time of every stage as bars in minutes; ``seconds`` by the stage's name."""
    figure, (ax,) = _figure(9.0, 0.5 + 0.24 * len(seconds))
    names = list(seconds)[::-1]
    values = [seconds[name] / 60 for name in names]
    ax.barh(names, values, color=_INK, height=0.7)
    ax.set_xlabel("minutes")
    ax.tick_params(labelsize=8)
    return _save(figure, path)
