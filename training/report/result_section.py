# SPDX-License-Identifier: Apache-2.0
"""Results: overview of the run, errors on held-out pictures, the largest of them, and the calibration."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from dinemo_ros.io.files import write_file

from ..data.posed_crops import load_posed_crops
from ..run.leakage import notes
from ..run.old_names import existing
from ..run.recipe import Recipe
from ..run.run_folder import RunFolder
from .charts import error_plots, reliability_diagram, score_histograms, stage_times
from .data_section import azimuth
from .page import Picture, Section, Table, duration, number, percent

_SETS = {"held_out": "Held-out renders (region: box of the mask; error: angle of the full rotation)",
         "turntables": "Turntables (region: the whole frame; error: azimuth)"}


def overview(recipe: Recipe, folder: RunFolder) -> Section:
    """Stages, their times in seconds and their figures."""
    section, figures = Section("Overview"), folder.metrics()
    (folder.path / "report").mkdir(exist_ok=True)
    sources = ", ".join(sorted(recipe.sources()))
    choice = ", except which way the reference sequence faces" if recipe.data.reference else ""
    section.text.append(f"Category {recipe.category}, {len(recipe.rounds)} rounds, trained on: {sources}. No pose "
                        f"label of a real picture was used{choice}.")
    seconds = {name: folder.seconds(name) for name in dict.fromkeys(e["stage"] for e in folder.events())
               if name in figures}
    rows = [[name, duration(value), _figures(figures[name])] for name, value in seconds.items()]
    rows.append(["total", duration(sum(seconds.values())), ""])
    section.tables.append(Table(["stage", "time", "figures"], rows))
    if seconds:
        section.pictures.append(Picture(stage_times(folder.path / "report" / "times.png", seconds),
                                        "Time per stage, summed over all starts."))
    return section


def _figures(metrics: dict) -> str:
    """``name value`` of the plain figures."""
    plain = {k: v for k, v in metrics.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    return ", ".join(f"{k.replace('_', ' ')} {v:.4g}" for k, v in plain.items())


def evaluation(recipe: Recipe, folder: RunFolder, out: Path) -> Section:
    """A row per round and for the bundle, plots of the errors in degrees, and the pictures with the largest errors."""
    section, run, figures = Section("Evaluation"), folder.path, folder.metrics()
    section.text += [f"Note: {note}." for note in notes(recipe)]
    for name, title in _SETS.items():
        rows = []
        if name == "held_out":
            rows = [[f"round {k}", *_row(figures[f"bundle{k}"]["held_out"])] for k in range(len(recipe.rounds))
                    if "held_out" in figures.get(f"bundle{k}", {})]
        path = existing(run, f"evaluation_{name}.json")
        if path.is_file():
            result = json.loads(path.read_text())
            rows += [[f"bundle, {row['group']}", *_row(row)] for row in result["rows"]]
            section.pictures.append(_errors(result["records"], run / name, out / f"errors_{name}.png", title))
            section.pictures += _worst(existing(run / "worst", name), out, title)
        if rows:
            section.tables.append(Table(["model", "n", "Acc@30", "Acc@10", "median", "flips", "distance", "ADD<0.1d",
                                         "PCK@0.1"], rows, title
                                        + ". The rounds are measured on fewer pictures than the bundle."))
    if not section.tables:
        section.text.append("Nothing was measured: there are no renders of held-out models, and no turntables were "
                            "given (--turntables DIR).")
    return section


def _row(row: dict) -> list[str]:
    return [str(row["n"]), percent(row["acc30"]), percent(row["acc10"]), number(row["median_deg"], 1, " deg"),
            percent(row["flips"]), number(row.get("distance_median_pct"), 1, " %"), percent(row.get("add_within")),
            percent(row.get("pck"))]


def _errors(records: list[dict], pictures: Path, path: Path, title: str) -> Picture:
    errors = np.array([180.0 if r["error_deg"] is None else r["error_deg"] for r in records])
    azimuths = None
    if (pictures / "labels.npz").is_file():
        truth = {crop.name: azimuth(crop.T_cam_obj) for crop in load_posed_crops(pictures)}
        azimuths = np.array([truth[Path(r["file"]).stem] for r in records])
    elif all("azimuth_true" in r for r in records):
        azimuths = np.deg2rad([r["azimuth_true"] for r in records])
    return Picture(error_plots(path, errors, azimuths), f"{title}: {len(errors)} pictures.")


def _worst(folder: Path, out: Path, title: str) -> list[Picture]:
    pictures = []
    for file in sorted(folder.glob("*.png")):
        name = f"worst_{folder.name}_{file.name}"
        write_file(out / name, file.read_bytes())
        pictures.append(Picture(name, f"{title}: error number {len(pictures) + 1} by size."))
    return pictures


def calibration(folder: RunFolder, out: Path) -> Section:
    """Scores of pictures with and without the object, and the bias of the distance."""
    section, path = Section("Calibration"), folder.path / "calibration.npz"
    if not path.is_file():
        return section
    with np.load(path, allow_pickle=False) as data:
        scores, negatives, ratios = data["scores"], data["negatives"], data["ratios"]
        accept, depth = float(data["accept"]), float(data["depth_scale"])
    exact = (folder.path / "held_out").is_dir()
    section.text.append(f"Objects that the bundle finds itself are accepted from a score of {accept:.3f} on. "
                        f"{percent((scores >= accept).mean())} of the pictures with the object reach that score"
                        + (f", and {percent((negatives >= accept).mean())} of the pictures without it."
                           if len(negatives) else "."))
    section.text.append(f"Distances are multiplied by {depth:.4f}." if exact
                        else "Distances are not calibrated, because there are no renders with exact poses.")
    panels = {"score": {"with the object": scores, "without": negatives}}
    lines = {"score": accept}
    if exact and len(ratios):
        panels["true over estimated distance"] = {"correct rotation": ratios}
        lines["true over estimated distance"] = depth
    section.pictures.append(Picture(score_histograms(out / "calibration.png", panels, lines),
                                    "The dashed lines are the chosen values."))
    _uncertainty(section, folder.path / "uncertainty.json", out)
    return section


def _uncertainty(section: Section, path: Path, out: Path) -> None:
    """Coverage and reliability; each object model is evaluated with a fit to the other models."""
    if not path.is_file():
        section.text.append("The bundle announces no probability, and its covariance is that of the solver.")
        return
    summary = json.loads(path.read_text())
    section.text.append(f"Probability and covariance were fitted to {summary['pictures']} estimates of "
                        f"{', '.join(summary['assets'])}, clean and occluded. Expected calibration error (ECE) of the "
                        f"probability on the same estimates: {summary['ece']:.3f}.")
    if not summary["coverage"]:
        section.text.append("There is only one object model: whether this holds for others was not measured.")
        return
    section.pictures.append(Picture(reliability_diagram(out / "reliability.png", summary["reliability"]),
                                    "Announced probability that a rotation is within 30 degrees, against the "
                                    "share that is. Each object model is evaluated with a fit to the others. Bars: "
                                    "95 % intervals."))
    rows = [[row["model"], row["occlusion"], row["quantity"], str(row["n"]), *map(percent, row["coverage"].values()),
             {True: "yes", False: "no", None: ""}[row["holds"]]] for row in summary["coverage"]]
    section.tables.append(Table(["network", "level", "quantity", "n", "inside 68.3 %", "inside 95.4 %",
                                 "within bounds"], rows,
                                "Share of the errors inside the announced ellipsoids, evaluated in the same way."))
