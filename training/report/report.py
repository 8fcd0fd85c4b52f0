# SPDX-License-Identifier: Apache-2.0
"""Collects the sections of the report and writes the page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jinja2

from dinemo_ros.io.quoting import harmless

from ..run.recipe import Recipe, dump_recipe
from ..run.run_folder import RunFolder, now, write_text
from . import data_section, label_section, model_section, result_section
from .page import Section

_TEMPLATE = Path(__file__).with_name("page.html")


def render(**content: object) -> str:
    """The page; whatever text it is given appears as it is written, and does nothing."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True, finalize=_printable)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(**content)


def _printable(value: object) -> object:
    """Names may hold marks that turn what follows round, or controls of a terminal that shows the page's source."""
    return harmless(value) if isinstance(value, str) else value


def write_report(recipe: Recipe, folder: RunFolder) -> dict:
    """Write ``report/index.html`` and its pictures anew; parts whose results are not there are left out."""
    out = folder.path / "report"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    sections: list[Section] = [result_section.overview(recipe, folder), data_section.data(recipe, folder.path, out)]
    for number, spec in enumerate(recipe.rounds):
        if spec.labels != "none":
            sections.append(label_section.labels(recipe, folder.path, number, out))
    sections += [model_section.training(recipe, folder.path, out), model_section.features(folder.path, out),
                 result_section.evaluation(recipe, folder, out), result_section.calibration(folder, out)]
    sections = [section for section in sections if section.filled]
    versions = json.loads((folder.path / "versions.json").read_text())
    page = render(category=recipe.category, time=now(), sections=sections, config=dump_recipe(recipe),
                  versions=versions)
    write_text(out / "index.html", page)
    return {"sections": len(sections), "pictures": len(list(out.glob("*.png")) + list(out.glob("*.jpg")))}
