# SPDX-License-Identifier: Apache-2.0
"""A bundle on pictures whose poses are known, through the same functions as ``dinemo eval``."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from dinemo_ros.defaults import DEFAULT_HFOV_DEG, available_cpus
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.evaluation.floor import without_floor
from dinemo_ros.evaluation.runner import Competitor, Setting, evaluate, tabulate
from dinemo_ros.evaluation.synthetic import read_synthetic, synthetic_entries
from dinemo_ros.evaluation.truth import ReferenceObject
from dinemo_ros.evaluation.turntable import read_turntables, turntable_entries
from dinemo_ros.evaluation.worst import WorstFrames
from dinemo_ros.io.files import write_file
from dinemo_ros.model.bundle import load_bundle

_WORST = 8
_SHOWN = ("n", "acc30", "acc10", "median_deg", "flips", "missing", "distance_median_pct", "add_within", "pck")


@dataclass(frozen=True)
class Measurement:
    """Records of all frames and the rows of the table made of them, see :mod:`dinemo_ros.evaluation`."""

    records: list[dict]
    rows: list[dict]

    def summary(self) -> dict:
        """The row of all frames, only what is talked about."""
        row = next((r for r in self.rows if r["group"] == "all"), self.rows[0])
        return {key: round(row[key], 4) if isinstance(row[key], float) else row[key]
                for key in _SHOWN if row.get(key) is not None}

    def save(self, path: Path) -> None:
        """Write JSON: rows and records."""
        write_file(path, json.dumps({"rows": self.rows, "records": self.records}, indent=1))


def evaluate_bundle(bundle: Path, renders: Path | None = None, limit: int | None = None, turntables: Path | None = None,
                    names: list[str] | None = None, worst: Path | None = None) -> Measurement:
    """Estimate every render (boxes of their masks), or every frame of the turntables (its box, where that is known, or
    the whole frame), and compare.

    Args:
        limit: only the first so many renders. names: only these sequences. worst: folder for pictures of the worst.
    """
    loaded = load_bundle(bundle)
    entries = (synthetic_entries(read_synthetic(renders, limit)) if renders is not None
               else turntable_entries(read_turntables(turntables, names), DEFAULT_HFOV_DEG,
                                      views=loaded.card.symmetry.axis == "z"))
    keeper = WorstFrames("bundle", loaded.mesh, _WORST) if worst is not None else None
    estimator = PoseEstimator(without_floor(loaded), threads=available_cpus())
    competitor = Competitor("bundle", estimator, floor=loaded.card.presence.floor)
    setting = Setting([competitor], ReferenceObject.of(loaded), worst=keeper)
    records = evaluate(setting, tqdm(entries, desc="evaluate", mininterval=5))
    if keeper is not None:
        shutil.rmtree(worst, ignore_errors=True)
        worst.mkdir(parents=True)
        keeper.save(worst)
    return Measurement(records, tabulate(records))
