# SPDX-License-Identifier: Apache-2.0
"""What each stage of a run does. :mod:`dinemo_training.run.main` decides the order, and which ones are skipped."""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.evaluation.bop_objects import read_objects
from dinemo_ros.evaluation.bop_scene import SupportFile, read_bop
from dinemo_ros.io.files import write_file
from dinemo_ros.model.bundle import Card, load_bundle
from dinemo_ros.process.child_python import python_command, python_environment

from ..data.batches import CorrespondenceSampler
from ..data.example_stream import ExampleStream, Pool, parse_pool
from ..data.feature_cache import LINKS, write_features
from ..data.foreground import SaliencyMask
from ..data.label_store import read_labels, write_labels
from ..data.negatives import write_negatives
from ..data.photographs import by_detector, by_saliency, prepare
from ..data.plain_background import ObjectMask
from ..data.posed_crops import load_posed_crops
from ..data.presence_boxes import Sources
from ..evaluation.bundle_accuracy import evaluate_bundle
from ..export import azimuth_uncertainty, presence, uncertainty
from ..export import calibrate as calibration
from ..export.bundle_export import check_bundle, export_bundle
from ..export.source_uncertainty import calibrate_sources
from ..models.category_shape import CategoryShape
from ..models.checkpoint import average_checkpoints
from ..models.contrastive import TrainConfig, train
from ..models.student import create_student, is_transformer, load_pretrained
from ..models.teachers import create_teacher
from ..pseudo_labels.correspondence import ONE_WAY
from ..pseudo_labels.labelling import (
    Labeller,
    confirmed_labeller,
    correspondence_labeller,
    label_photos,
    render_labeller,
    select,
)
from ..pseudo_labels.neighbour_consistency import with_neighbour_consistency
from ..sequences.one_turn import fit_turn, read_turn, write_turn
from ..sequences.posed_templates import align, read_reference_azimuths, read_sequence, write_templates
from ..sequences.views_between import write_views
from ..synthetic.assets.vessel_catalogue import VesselCatalogue
from ..synthetic.shape.mean_mesh import box_mesh, mean_mesh, read_cad, save_shape
from ..synthetic.shape.vessel_shape import save_vessel_shape
from ..synthetic.shape.visual_hull import hull_mesh
from .inputs import parse_size
from .leakage import mean_files, notes
from .old_names import existing
from .recipe import Recipe, RecipeError, Round

_TEMPLATES = 72        # posed views that photographs are compared with
_WITH, _WITHOUT = 2, 4  # boxes with and without the object, for each of recipe.evaluate
_ROUND_CHECK = 60      # held-out renders that every round is measured on
_LIKE_CAMERAS = ("photographs", "sequences", "synthetic")  # pools, the one first that looks most like what robots see


class Work:
    """The stages of one run: ``recipe`` with absolute paths, ``run`` the folder for results."""

    def __init__(self, recipe: Recipe, run: Path) -> None:
        self.recipe, self.run = recipe, run
        self.bundle = run / "bundle"
        self.held_out = run / "held_out"

    def pool(self, name: str) -> Path:
        """Folder of posed crops."""
        return self.run / name

    def round(self, number: int) -> Path:
        """Folder of a round."""
        return self.run / f"round{number}"

    def shape(self) -> dict:
        """The category's mesh at its mean size."""
        sources, size = self.recipe.data.shape, np.array(self.recipe.size)
        boxes = [s for s in sources if s.startswith("box:")]
        out = self.run / "shape.npz"
        if boxes:
            save_shape(out, *box_mesh(np.array(parse_size(boxes[0])), self.recipe.mesh.vertices))
        elif sources[0].endswith(".npz"):
            shape = CategoryShape.load(sources[0]).resized(size)
            save_shape(out, shape.vertices, shape.faces, shape.places, shape.modes)
        elif self.recipe.mesh.profile:
            catalogue = VesselCatalogue(self.recipe.mesh.profile, Path(sources[0]))
            save_vessel_shape(out, catalogue, size, self.recipe.mesh.vertices)
        else:
            files, left_out = mean_files(self.recipe)
            if left_out and files:
                print(f"held out, and so not in the mean shape: {', '.join(f.name for f in left_out)}")
            files = files or left_out
            models = [read_cad(f, self.recipe.mesh.axes) for f in files]
            print(f"mean shape of {len(files)} CAD models: {', '.join(f.name for f in files)}")
            mesh = self.recipe.mesh
            save_shape(out, *mean_mesh(models, size, mesh.vertices, mesh.body, mesh.filled))
        return self._shape_figures()

    def _shape_figures(self) -> dict:
        shape = self._mesh()
        return {"vertices": len(shape.vertices), "faces": len(shape.faces), "size_m": shape.size.round(4).tolist()}

    def hull(self) -> dict:
        """The mesh of one object from the silhouettes of its turn, and the turn's pictures with their poses."""
        data, spec = self.recipe.data, self.recipe.turn
        frames, azimuths, width = read_turn(Path(data.reference), data.azimuths and Path(data.azimuths),
                                            ObjectMask(SaliencyMask()))
        turn = fit_turn(frames, azimuths, width, spec.hfov_deg, spec.elevation_deg)
        print(turn.told())
        mesh = hull_mesh(turn.sequence, np.array(self.recipe.size), self.recipe.mesh.vertices)
        save_shape(self.run / "shape.npz", mesh.vertices, mesh.faces)
        write_turn(turn, mesh, self.pool("turn"))
        return self._shape_figures() | turn.figures()

    def turn_views(self) -> dict:
        """The turn's pictures, and pictures drawn between them."""
        out, between = self.pool("sequences"), self.recipe.turn.between
        write_views(load_posed_crops(self.pool("turn")), self._mesh(), between, self.recipe.seed, out)
        return {"views": len(load_posed_crops(out)), "between": between}

    def photographs(self) -> dict:
        """Square crops of the photographs.

        Raises:
            RecipeError: not one photograph is usable.
        """
        data = self.recipe.data
        if data.find_object == "detector":
            find = by_detector(self.recipe.bundle_card().detector.labels)
        else:
            find = by_saliency() if data.find_object else None
        kept = prepare(Path(data.photographs), self.pool("photographs"), find)
        if not kept:
            raise RecipeError(f"{data.photographs}: not one photograph is usable; look at its pictures" +
                              (", or leave --find-object out" if data.find_object else ""))
        return {"kept": len(kept)}

    def sequences(self) -> dict:
        """Posed template views of every sequence, aligned to the reference."""
        data, out = self.recipe.data, self.pool("sequences")
        saliency, teacher = SaliencyMask(), create_teacher(self.recipe.teacher)
        reference = read_sequence(Path(data.reference), saliency, teacher)
        others = [read_sequence(Path(folder), saliency, teacher) for folder in data.sequences]
        azimuths = read_reference_azimuths(Path(data.azimuths), reference.name, reference.files)
        aligned = align(reference, azimuths, others)
        write_templates([reference, *others], aligned, reference.name, self._mesh(), out)
        return {"views": len(load_posed_crops(out)), "sequences": 1 + len(others)}

    def synthetic(self) -> dict:
        """Renders with exact poses to train on."""
        return self._render(self.pool("synthetic"), self.recipe.synthetic.count, self.recipe.seed, {})

    def held_out_renders(self) -> dict:
        """Renders to calibrate and to measure on."""
        spec = self.recipe.synthetic
        return self._render(self.held_out, spec.held_out, self.recipe.seed + 10_007, spec.held_out_options)

    def _render(self, out: Path, count: int, seed: int, more: dict) -> dict:
        """Run the renderer, a command of its own that continues with missing pictures."""
        data, spec = self.recipe.data, self.recipe.synthetic
        options = {**data.renders, **self.recipe.resolved({**spec.options, **more})}
        arguments = [part for name, value in options.items() for part in self._option(name, value)]
        # Last, so that whatever came before, it is drawn here.
        command("-m", f"dinemo_training.synthetic.render.{spec.renderer}", *arguments, "--out", out,
                "--count", count, "--seed", seed)
        return {"renders": count}

    @staticmethod
    def _option(name: str, value: object) -> list[str]:
        """``--name value``, see :class:`dinemo_training.run.recipe.Synthetic`."""
        if value is None or value is False:
            return []
        values = [] if value is True else value if isinstance(value, list) else [value]
        return [f"--{name.replace('_', '-')}", *map(str, values)]

    def negatives(self) -> dict:
        """Pictures without the object."""
        photographs = self.recipe.data.negatives
        write_negatives(self.pool("negatives"), self.recipe.negatives, photographs and Path(photographs),
                        self.recipe.seed)
        return {"pictures": self.recipe.negatives}

    def labels(self, number: int) -> dict:
        """Poses of photographs by the model of the round before."""
        spec, out = self.recipe.rounds[number], self.round(number) / "labels.npz"
        out.parent.mkdir(parents=True, exist_ok=True)
        names = self._photo_names()[:: spec.every]
        photos, settled = self.pool("photographs"), self.recipe.uses_neighbours(spec)
        each = out.with_name("labels_alone.npz") if settled else out
        label_photos(photos, names, self._labeller(spec, number), each, symmetry=self.recipe.bundle_card().symmetry)
        if settled:
            write_labels(out, with_neighbour_consistency(photos, read_labels(each),
                                                         create_teacher(self.recipe.teacher)))
        with np.load(out, allow_pickle=False) as labels:
            return {"asked": len(names), "consistent": len(labels["names"]), "rejected": len(labels["rejected"])}

    def _photo_names(self) -> list[str]:
        prepared = json.loads((self.pool("photographs") / "prepared.json").read_text())
        return sorted(name for name, kept in prepared.items() if kept)

    def _labeller(self, spec: Round, number: int) -> Labeller:
        labellers = []
        if spec.labels in ("render", "confirmed"):
            bundle = load_bundle(self.round(number - 1) / "bundle")
            labellers.append(render_labeller(PoseEstimator(bundle, threads=torch.get_num_threads())))
        if spec.labels in ("correspondence", "confirmed"):
            templates = self.pool(self.recipe.templates())
            every = max(1, len(load_posed_crops(templates)) // _TEMPLATES)
            teacher = self.round(number - 1) / "student.pt" if number else self.recipe.teacher
            labellers.append(correspondence_labeller(teacher, self._mesh(), templates, every,
                                                     None if spec.bidirectional else ONE_WAY))
        symmetry = self.recipe.bundle_card().symmetry
        return confirmed_labeller(*labellers, symmetry) if len(labellers) == 2 else labellers[0]

    def features(self, number: int) -> dict:
        """Select labels, and put views of all pools through the frozen transformer."""
        learning, seed = self.recipe.learning, self.recipe.seed + number
        pools, figures = self._pools(number)
        backbone = create_student(learning.backbone, freeze=True)
        load_pretrained(backbone, learning.weights)
        sampler = CorrespondenceSampler(self._mesh(), learning.augment_config(), LINKS)
        stream = ExampleStream(_read(pools), sampler, seed, 0, learning.views)
        views = write_features(existing(self.round(number), "features"), stream, backbone, workers=learning.workers)
        return figures | {"views": views}

    def train(self, number: int) -> dict:
        """Select labels and train."""
        pools, figures = self._pools(number)
        before = self.round(number - 1) / "student.pt" if number else self.recipe.learning.init
        self._optimise(pools, self.round(number), number, before and Path(before))
        return figures | _last_line(self.round(number) / "metrics.jsonl")

    def _pools(self, number: int) -> tuple[dict[Path, float], dict]:
        """Folders of a round's posed crops and their shares, photographs with the labels that this round trusts."""
        spec, figures = self.recipe.rounds[number], {}
        if "photographs" in spec.pools:
            figures["labels_kept"] = self._select(number)
        pools = {self.pool(name): share for name, share in spec.pools.items()}
        for folder, share in pools.items():
            print(f"round {number}: {len(load_posed_crops(folder))} crops of {folder.name}, share {share:g}")
        return pools, figures

    def round_bundle(self, number: int) -> dict:
        """The round's weights as a bundle: to label with, and to see what the round brought."""
        out, figures = self.round(number), {}
        figures["parity"] = export_bundle(out / "student.pt", self._mesh(), self._card(), out / "bundle")
        if self.held_out.is_dir():
            figures["held_out"] = evaluate_bundle(out / "bundle", self.held_out, limit=_ROUND_CHECK).summary()
        return figures

    def _select(self, number: int) -> int:
        """Trusted labels of the latest labelled round become posed crops; returns how many."""
        labelled = [n for n in range(number + 1) if (self.round(n) / "labels.npz").is_file()]
        if not labelled:
            raise RecipeError(f"round {number} trains on photographs, but no round up to it labels them; set its "
                              "labels in the recipe")
        latest, earlier = labelled[-1], labelled[-2] if len(labelled) > 1 else None
        spec = self.recipe.rounds[latest]
        previous = None if earlier is None else self.round(earlier) / "labels.npz"
        kept = select(self.pool("photographs"), self.round(latest) / "labels.npz", spec.min_score, spec.min_margin,
                      previous, drop=spec.drop, keep=spec.keep, symmetry=self.recipe.bundle_card().symmetry)
        if not kept:
            raise RecipeError(f"not one label of round {latest} can be trusted (min_score {spec.min_score:g}, "
                              f"min_margin {spec.min_margin:g}); train the round before for more steps, or lower them")
        return kept

    def _optimise(self, pools: dict[Path, float], out: Path, number: int, before: Path | None) -> None:
        """In this process, or on several GPUs as a command under Accelerate's launcher."""
        spec, learning = self.recipe.rounds[number], self.recipe.learning
        seed, weights = self.recipe.seed + number, learning.weights and Path(learning.weights)
        cache = existing(out, "features") if learning.views else None
        if torch.cuda.device_count() > 1:
            options = {"shape": self.run / "shape.npz", "out": out, "init": before, "weights": weights,
                       "backbone": learning.backbone, "steps": spec.steps, "batch": learning.batch, "lr": learning.lr,
                       "sigma": learning.sigma, "temperature": learning.temperature, "size": learning.crop,
                       "seed": seed, "workers": learning.workers, "feature-cache": cache}
            flags = ["--freeze"] if learning.freeze else []
            flags += ["--augmentation", json.dumps(learning.augmentation)] if learning.augmentation else []
            data = [part for folder, share in pools.items() for part in ("--data", f"{folder}:{share}")]
            command("-m", "accelerate.commands.launch", "--multi_gpu", "-m", "dinemo_training.models.contrastive",
                    *data, *flags,
                    *[part for name, value in options.items() if value is not None for part in (f"--{name}", value)])
            return
        config = TrainConfig(steps=spec.steps, batch=learning.batch, lr=learning.lr, sigma=learning.sigma,
                             temperature=learning.temperature, seed=seed, architecture=learning.backbone,
                             freeze=learning.freeze, augmentation=learning.augment_config())
        train(_read(pools), self._mesh(), out, config, init=before, weights=weights, feature_cache=cache,
              workers=learning.workers,
              checkpoint_every=int(np.clip(spec.steps // 20, 10, 200)))  # short runs on slow machines are killed, too

    def export(self) -> dict:
        """Mean weights of the last rounds, as a checked bundle in the run folder."""
        rounds = range(len(self.recipe.rounds))[-self.recipe.average:]
        student = average_checkpoints([self.round(n) / "student.pt" for n in rounds], self.run / "student.pt")
        write_file(self.run / "train.json", (self.round(rounds[-1]) / "train.json").read_bytes())
        parity = export_bundle(student, self._mesh(), self._card(), self.bundle)
        return {"parity": parity, "rounds_averaged": len(rounds), "int8": self._add_int8(),
                "modes": len(self._mesh().modes)}

    def _add_int8(self) -> bool:
        """The network in 8 bits beside the other, ranges from crops that it learnt from; whether there is one now.

        Transformers are for GPUs, which want another kind; and a CPU whose 8-bit products saturate refuses its own.
        """
        pool = next((self.pool(name) for name in _LIKE_CAMERAS if self.pool(name).is_dir()), None)
        if pool is None or is_transformer(self.recipe.learning.backbone):
            return False
        try:
            command("-m", "dinemo_ros.cli.main", "build-engine", self.bundle, "--precision", "int8", "--calibration",
                    pool / "images", "--ship")
        except RecipeError as error:
            print(f"the bundle goes without a network in int8: {error}")
            return False
        return True

    def azimuth(self) -> dict:
        """The posterior over the turns about the axis, where a single part tells them; a mesh without such a part goes
        without."""
        out = self.run / "azimuth.json"
        out.unlink(missing_ok=True)
        try:
            summary = azimuth_uncertainty.fit(self.bundle, [self.held_out], self.recipe.evaluate)
        except ValueError as error:
            print(f"the bundle goes without a fitted posterior over its azimuth: {error}")
            return {}
        write_file(out, json.dumps(summary, indent=1) + "\n")
        shown = {"announced_seen_deg": "handle seen", "announced_hidden_deg": "handle hidden"}
        return {name: summary[group]["announced_median_deg"] for name, group in shown.items() if group in summary}

    def calibrate(self) -> dict:
        """Distance and accepted score, measured on pictures that no round was trained on."""
        negatives = self.pool("negatives") if self.recipe.negatives else None
        exact = self.held_out.is_dir()  # without renders, sequences posed by alignment have to do
        posed = self.held_out if exact else self.pool("sequences")
        result = calibration.calibrate(self.bundle, posed, negatives, self.recipe.evaluate, exact,
                                       self.recipe.data.photographs is not None)
        result.save(self.run / "calibration.npz")
        return result.summary() | (self._uncertainty() if exact else {})

    def _uncertainty(self) -> dict:
        """How likely poses are right, and how wide their covariances have to be; a model that is always right or
        never goes without."""
        out = self.run / "uncertainty.json"
        out.unlink(missing_ok=True)
        try:
            summary = uncertainty.calibrate(self.bundle, [self.held_out], self.recipe.evaluate)
        except ValueError as error:
            print(f"the bundle goes without a probability and with the solver's own covariance: {error}")
            return {}
        write_file(out, json.dumps(summary, indent=1))
        return {"probability_error": summary["ece"]}

    def presence(self) -> dict:
        """How likely there is an object at all, and the floor; a model whose boxes give too few poses goes without."""
        data, out = self.recipe.data, self.run / "presence.json"
        out.unlink(missing_ok=True)
        sources = Sources((self.pool("synthetic"),), _folders(data.photographs), (), _folders(*data.others),
                          _folders(data.negatives))
        count = self.recipe.evaluate
        try:
            summary = presence.calibrate(self.bundle, sources, _WITH * count, _WITHOUT * count, seed=self.recipe.seed)
        except ValueError as error:
            print(f"the bundle goes without a presence and publishes a pose for every box given: {error}")
            return {}
        write_file(out, json.dumps(summary, indent=1))
        return {"presence_floor": summary["floor"]}

    def sources(self) -> dict:
        """How wide covariances are where the support plane or depth tells the distance, on rendered scenes."""
        data, out, seed = self.recipe.data, self.run / "scenes", self.recipe.seed + 20_011
        renders = {**data.renders, "category": self.recipe.mesh.profile, "backgrounds": data.negatives}
        words = [part for name, value in renders.items() for part in self._option(name, value)]
        command("-m", "dinemo_training.synthetic.render.scenes", *words, "--out", out, "--count",
                self.recipe.synthetic.scenes, "--seed", seed)
        scenes = read_bop(out, read_objects(out / "objects.json"), support=SupportFile("scene_support_noisy.json"),
                          depth=True)
        summary = calibrate_sources(self.bundle, scenes)
        write_file(self.run / "sources.json", json.dumps(summary, indent=1))
        return {"poses": {source: found["pictures"] for source, found in summary.items()}}

    def evaluate(self) -> dict:
        """The finished bundle on held-out renders and, where the recipe names them, on turntables."""
        data, figures = self.recipe.data, {}
        worst = self.run / "worst"
        if self.held_out.is_dir():
            result = evaluate_bundle(self.bundle, self.held_out, limit=self.recipe.evaluate, worst=worst / "held_out")
            result.save(self.run / "evaluation_held_out.json")
            figures["held_out"] = result.summary() | ({"notes": remarks} if (remarks := notes(self.recipe)) else {})
        if data.turntables:
            result = evaluate_bundle(self.bundle, turntables=Path(data.turntables), names=data.turntable_names or None,
                                     worst=worst / "turntables")
            result.save(self.run / "evaluation_turntables.json")
            figures["turntables"] = result.summary()
        return figures

    def publish(self, out: Path) -> dict:
        """Copy the checked bundle to where it was asked for; documents that lie there stay."""
        size = check_bundle(self.bundle, self.recipe.learning.backbone)
        out.mkdir(parents=True, exist_ok=True)
        for file in sorted(self.bundle.iterdir()):  # model.yaml is last: until then its hashes refuse a mixture
            write_file(out / file.name, file.read_bytes())
        load_bundle(out)
        return {"bundle": str(out), "megabytes": round(size / 1e6, 2)}

    def _card(self) -> Card:
        """The card of this run's bundles; the size of one object is what its pictures say."""
        return self.recipe.bundle_card(self._mesh().size.tolist() if self.recipe.one_object else None)

    def _mesh(self) -> CategoryShape:
        return CategoryShape.load(self.run / "shape.npz")


def command(*arguments: object) -> None:
    """Run another part of this package as a process of this Python, without a shell or what lies in the current folder.

    Args:
        arguments: "-m", the module, and its arguments.

    Raises:
        RecipeError: it failed; its own message is on the terminal already.
    """
    flag, *words = arguments
    assert flag == "-m", "only modules are run"
    process = subprocess.Popen(python_command(*words), env=python_environment(), preexec_fn=_die_with_parent)
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if code:
        raise RecipeError(f"{arguments[1]} ended with exit code {code}; its message is above")


def _die_with_parent() -> None:
    """A run that is killed must not leave a renderer behind that writes into its folder (Linux; elsewhere it does)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _folders(*paths: str | None) -> tuple[Path, ...]:
    return tuple(Path(path) for path in paths if path)


def _read(pools: dict[Path, float]) -> list[Pool]:
    return [parse_pool(f"{folder}:{share}") for folder, share in pools.items()]


def _last_line(path: Path) -> dict:
    lines = path.read_text().splitlines() if path.is_file() else []
    return json.loads(lines[-1]) if lines else {}
