# SPDX-License-Identifier: Apache-2.0
"""The pseudo-labels of one round: which are trusted, how the views voted, where picture and mirror image disagree."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.geometry import mirror_rotation, se3
from dinemo_ros.model.bundle import load_bundle
from dinemo_ros.model.neural_mesh import NeuralMesh
from dinemo_training.data.evenly import evenly_spread, some_of

from ..data.label_store import read_labels
from ..data.photographs import load_photo, photo_camera
from ..models.category_shape import CategoryShape
from ..pseudo_labels.labelling import correspondence_labeller, render_labeller
from ..pseudo_labels.mirror_check import Candidate, Label
from ..run.recipe import Recipe, Round
from .charts import azimuth_roses, score_histograms, vote_roses
from .data_section import azimuth
from .drawings import overlay_mesh, posed, save_sheet, tile
from .page import Picture, Section, Table, percent

_KEPT, _REJECTED, _VOTES = 12, 6, 6
_TEMPLATES = 48


def labels(recipe: Recipe, run: Path, number: int, out: Path) -> Section:
    """Pictures and figures of the labels that round ``number`` was trained on."""
    spec, section = recipe.rounds[number], Section(f"Pseudo-labels of round {number}")
    found = read_labels(run / f"round{number}" / "labels.npz")
    if not found:
        return section
    given = {name: label for name, label in found.items() if label is not None}
    trusted = {n: label for n, label in given.items() if label.score >= spec.min_score
               and label.margin >= spec.min_margin}
    rejected = [name for name, label in found.items() if label is None]
    section.tables.append(Table(["labels", "number", "share"], [
        ["photographs", str(len(found)), ""],
        ["poses of picture and mirror image agree", str(len(given)), percent(len(given) / len(found))],
        ["score and margin are large enough", str(len(trusted)), percent(len(trusted) / len(found))],
    ], f"Method: {spec.labels}. A label must also agree with that of the round before, if there is one. In every ten "
       f"degrees of azimuth, the {spec.drop:.0%} of the labels with the smallest margins are left out."))
    mesh = overlay_mesh(CategoryShape.load(run / "shape.npz"))
    photos = run / "photographs"
    ranked = _by_score(trusted)
    for title, names in (("best", ranked[: _KEPT // 2]), ("barely trusted", ranked[_KEPT // 2 :][-_KEPT // 2 :])):
        if names:
            tiles = [_labelled(photos, name, given[name], mesh) for name in names]
            section.pictures.append(Picture(save_sheet(out / f"labels{number}_{title.split()[0]}.jpg", tiles, 6),
                                            f"Trusted labels, {title}. Below each: score, margin over the next "
                                            "orientation, and angle "
                                            "between the poses of the picture and of its mirror image."))
    if given:
        groups = {"all that agree": given, "trusted": trusted}
        section.pictures.append(Picture(
            azimuth_roses(out / f"labels{number}_azimuths.png",
                          {k: np.array([azimuth(v.T_cam_obj) for v in g.values()]) for k, g in groups.items() if g}),
            "Histogram of the azimuths of the labels. Photographs rarely show all sides of an object equally often."))
        section.pictures.append(Picture(
            score_histograms(out / f"labels{number}_scores.png", {
                "score": {"labels": np.array([v.score for v in given.values()])},
                "margin": {"labels": np.array([v.margin for v in given.values()])}},
                {"score": spec.min_score, "margin": spec.min_margin}),
            "Scores and margins of the labels. Dashed: the least that a trusted label needs."))
    _add_votes(section, recipe, run, number, given, out)
    _add_disagreements(section, spec, run, number, rejected, mesh, out)
    return section


def _by_score(labels: dict[str, Label]) -> list[str]:
    return sorted(labels, key=lambda name: -labels[name].score)


def _labelled(photos: Path, name: str, label: Label, mesh: NeuralMesh) -> np.ndarray:
    photo = load_photo(photos, name)
    picture = posed(photo.image, photo_camera().K, label.T_cam_obj, label.size, mesh)
    return tile(picture, f"{label.score:.2f}, {label.margin:+.2f}, {label.agreement_deg:.0f} deg")


def _add_votes(section: Section, recipe: Recipe, run: Path, number: int, given: dict[str, Label], out: Path) -> None:
    """Vote histograms of a few photographs over the viewing directions of the template views."""
    templates = run / recipe.templates()
    teacher = run / f"round{number - 1}" / "student.pt" if number else recipe.teacher
    if not given or not (templates / "labels.npz").is_file() or (number and not teacher.is_file()):
        return
    with np.load(templates / "labels.npz", allow_pickle=False) as stored:
        every = max(1, len(stored["names"]) // _TEMPLATES)
    labeller = correspondence_labeller(teacher, CategoryShape.load(run / "shape.npz"), templates, every)
    names = some_of(sorted(given), _VOTES)
    photos = [load_photo(run / "photographs", name) for name in names]
    found = [(photo, labeller.votes(photo), name) for name, photo in zip(names, photos, strict=True)]
    found = [(photo, result, name) for photo, result, name in found if result is not None]  # None: no object seen
    if not found:
        return
    tiles = [tile(photo.image) for photo, _, _ in found]
    votes = [(result.grid.azimuths, result.share, azimuth(given[name].T_cam_obj)) for _, result, name in found]
    section.pictures += [
        Picture(save_sheet(out / f"labels{number}_voters.jpg", tiles, _VOTES), "The photographs of the votes below."),
        Picture(vote_roses(out / f"labels{number}_votes.png", votes),
                "How the template views vote for an orientation (azimuth; front is up, the object's left side left). "
                "Orange: the label. Two opposite lobes mean that front and rear are confused.")]


def _add_disagreements(section: Section, spec: Round, run: Path, number: int, rejected: list[str], mesh: NeuralMesh,
                       out: Path) -> None:
    """Poses by render-and-compare of rejected photographs and of their mirror images, side by side."""
    bundle = run / f"round{number - 1}" / "bundle"
    if not rejected or not (bundle / "model.yaml").is_file():
        return
    estimator = PoseEstimator(load_bundle(bundle))
    labeller, symmetry = render_labeller(estimator), estimator.bundle.card.symmetry
    tiles = []
    for i in evenly_spread(len(rejected), 4 * _REJECTED):
        photo = load_photo(run / "photographs", rejected[i])
        straight, mirror = labeller(photo)[:1], [_mirrored_back(c) for c in labeller(photo.mirrored())[:1]]
        if len(tiles) < 2 * _REJECTED and straight and mirror:
            turn = np.rad2deg(symmetry.distance(straight[0].T_cam_obj[:3, :3], mirror[0].T_cam_obj[:3, :3]))
            tiles += [tile(posed(photo.image, photo_camera().K, c.T_cam_obj, c.size, mesh), text)
                      for c, text in ((straight[0], "picture"), (mirror[0], f"mirror image, {turn:.0f} deg apart"))]
    if tiles:
        section.pictures.append(Picture(
            save_sheet(out / f"labels{number}_mirror.jpg", tiles, 6),
            f"Rejected photographs ({len(rejected)} in all): the best pose of each, and that of its mirror image "
            "(mirrored back)."))


def _mirrored_back(candidate: Candidate) -> Candidate:
    T = candidate.T_cam_obj
    return Candidate(se3(mirror_rotation(T[:3, :3]), T[:3, 3] * [-1, 1, 1]), candidate.size, candidate.score)
