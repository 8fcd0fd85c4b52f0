# SPDX-License-Identifier: Apache-2.0
"""Draw ``sweeps.csv`` of a device as ``sweeps.png`` beside it (needs matplotlib): CPU time, which holds still.

    python tests/benchmarks/plot_sweeps.py tests/benchmarks/results/DEVICE
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import EngFormatter

LABELS = {"vertices": "vertices of the mesh", "hypotheses": "hypotheses of the first pass",
          "objects": "objects in the frame", "image width": "width of the image, pixels"}
WHAT = {"vertices": "solver alone, per object", "hypotheses": "solver alone, per object",
        "objects": "image in to poses out, per frame", "image width": "image in to pose out, one object"}


def read(folder: Path) -> dict[str, list[dict[str, float]]]:
    """Rows by sweep."""
    sweeps: dict[str, list[dict[str, float]]] = {}
    with (folder / "sweeps.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            sweeps.setdefault(row.pop("sweep"), []).append({key: float(value) for key, value in row.items()})
    return sweeps


def draw(folder: Path) -> Path:
    """Write the picture and return its path."""
    sweeps = read(folder)
    figure, axes = plt.subplots(1, len(sweeps), figsize=(4.2 * len(sweeps), 3.4), layout="constrained")
    for axis, (name, rows) in zip(axes, sweeps.items(), strict=True):
        x = [row["x"] for row in rows]
        axis.plot(x, [row["cpu_ms"] for row in rows], "o-")
        axis.set(xlabel=LABELS[name], ylabel="CPU time of all threads, ms", title=WHAT[name])
        axis.set_ylim(0, 1.1 * max(row["cpu_ms"] for row in rows))
        axis.grid(alpha=0.3)
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.title.set_fontsize(10)
    figure.savefig(folder / "sweeps.png", dpi=110)
    plt.close(figure)
    return folder / "sweeps.png"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    print(draw(parser.parse_args().folder))
