# SPDX-License-Identifier: Apache-2.0
"""From photographs to a bundle in one command.

    python -m training.pipeline --recipe training/configs/car.yaml --data DATA --run runs/car --out engines/car \
        [--torcs DIR] [--metadrive DIR]

Every stage leaves its result in the run folder and is skipped when that exists; a killed stage goes on where it
stopped. Delete a result to make it again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from dinemo_ros.bundle import Card, FeatureSpec, ImageSpec, SizePrior, load_bundle
from dinemo_ros.estimator import PoseEstimator

from .calibrate import calibrate
from .category_shape import CategoryShape
from .checkpoint import average_checkpoints
from .export import export_bundle
from .foreground import SaliencyMask
from .negatives import write_negatives
from .photos import prepare
from .posed_crops import load_posed_crops
from .pseudo_labels import confirmed_labeller, correspondence_labeller, label_photos, render_labeller, select
from .recipe import POOLS, Recipe, Round, load_recipe
from .sequences import align, read_reference_azimuths, read_sequence, write_templates
from .student import STRIDE
from .teachers import CnnTeacher
from .train import TrainConfig, train

_TERMS = "Apache-2.0 code; see README.md for the terms of the training pictures"


class Pipeline:
    """The stages of one run; ``data`` holds the sources, ``run`` the results."""

    def __init__(self, recipe: Recipe, data: Path, run: Path, assets: dict[str, Path]):
        self.recipe, self.data, self.run, self.assets = recipe, data, run, assets
        self.folders = {name: run / name for name in POOLS}

    def shape(self) -> CategoryShape:
        """The category's mean mesh."""
        path = self.run / "shape.npz"
        if not path.is_file():
            self._module("training.shape.mean_mesh", "--cad", *[self.data / folder for folder in self.recipe.shape],
                         "--size", "x".join(f"{v:g}" for v in self.recipe.size), "--out", path)
        return CategoryShape.load(path)

    def sequences(self) -> None:
        """Posed template views of every sequence, aligned to the reference."""
        out = self.folders["sequences"]
        if (out / "labels.npz").is_file():
            return
        saliency, teacher = SaliencyMask(), CnnTeacher()
        reference = read_sequence(self.data / self.recipe.reference, saliency, teacher)
        others = [read_sequence(self.data / folder, saliency, teacher) for folder in self.recipe.sequences]
        azimuths = read_reference_azimuths(self.data / self.recipe.azimuths, reference.name, reference.files)
        aligned = align(reference, azimuths, others)
        write_templates([reference, *others], aligned, reference.name, self.shape(), out)

    def synthetic(self) -> None:
        """Rendered cars with exact poses; its own module resumes."""
        spec = self.recipe.synthetic
        sources = {"gazebo": spec.gazebo and self.data / spec.gazebo, "cad": spec.cad and self.data / spec.cad,
                   **self.assets}
        arguments = [part for name, folder in sources.items() if folder for part in (f"--{name}", folder)]
        self._module("training.render.dataset", "--out", self.folders["synthetic"], "--count", spec.count, "--seed",
                     self.recipe.seed, "--photo-corners", self.data / self.recipe.photographs, *arguments)

    def negatives(self) -> None:
        """Pictures without the object."""
        spec, out = self.recipe.negatives, self.folders["negatives"]
        if not (out / "labels.npz").is_file():
            write_negatives(out, spec.count, spec.photographs and self.data / spec.photographs, self.recipe.seed)

    def round(self, number: int, before: Path | None) -> Path:
        """Label photographs with the model of the round before, train, export; returns the checkpoint."""
        spec, out = self.recipe.rounds[number], self.run / f"round{number}"
        final = out / "student.pt"
        if final.is_file():
            return final
        if spec.labels != "none":
            earlier = self.run / f"round{number - 1}" / "labels.npz"
            self._label(spec, out / "labels.npz", before, self.run / f"bundle{number - 1}",
                        earlier if earlier.is_file() else None)
        pools = [(load_posed_crops(self.folders[name]), share) for name, share in spec.pools.items()]
        for (crops, share), name in zip(pools, spec.pools, strict=True):
            print(f"round {number}: {len(crops)} crops of {name}, share {share:g}")
        config = TrainConfig(steps=spec.steps, batch=self.recipe.batch, seed=self.recipe.seed + number)
        train(pools, self.shape(), out, config, init=before)
        return final

    def _label(self, spec: Round, out: Path, before: Path | None, bundle: Path, earlier: Path | None) -> None:
        photos = self.folders["photographs"]
        names = prepare(self.data / self.recipe.photographs, photos)[:: spec.every]
        labellers = []
        if spec.labels in ("render", "confirmed"):
            labellers.append(render_labeller(PoseEstimator(load_bundle(bundle))))
        if spec.labels in ("correspondence", "confirmed"):
            labellers.append(correspondence_labeller(before, self.shape(), self.folders["sequences"]))
        labeller = confirmed_labeller(*labellers) if len(labellers) == 2 else labellers[0]
        out.parent.mkdir(parents=True, exist_ok=True)
        label_photos(photos, names, labeller, out)
        select(photos, out, spec.min_score, spec.min_margin, earlier)

    def export(self, checkpoint: Path, out: Path, version: str) -> None:
        """Write and check a bundle."""
        recipe = self.recipe
        card = Card(category=recipe.category, version=version, license=_TERMS,
                    description=f"{recipe.category}: trained without pose labels of real images by training.pipeline",
                    size_prior=SizePrior(tuple(recipe.size), tuple(recipe.size_log_sigma)),
                    image=ImageSpec(size=224, margin=1.15, stride=STRIDE), features=FeatureSpec())
        cosine = export_bundle(checkpoint, self.shape(), card, out)
        print(f"{out}: ONNX against torch, smallest cosine {cosine:.6f}")

    def all(self, out: Path, version: str) -> None:
        """Every stage in order."""
        self.run.mkdir(parents=True, exist_ok=True)
        self.sequences()
        self.synthetic()
        self.negatives()
        checkpoints: list[Path] = []
        for number in range(len(self.recipe.rounds)):
            checkpoints.append(self.round(number, checkpoints[-1] if checkpoints else None))
            self.export(checkpoints[-1], self.run / f"bundle{number}", version)
        final = average_checkpoints(checkpoints[-self.recipe.average:], self.run / "student.pt")
        self.export(final, out, version)
        calibrate(out, self.folders["synthetic"], self.folders["negatives"], count=300)

    def _module(self, name: str, *arguments) -> None:
        """Run a stage that is a command of its own, in this Python, without a shell."""
        subprocess.run([sys.executable, "-m", name, *map(str, arguments)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder that the recipe's paths are relative to")
    parser.add_argument("--run", type=Path, required=True, help="results of every stage; start again to resume")
    parser.add_argument("--out", type=Path, required=True, help="bundle folder")
    parser.add_argument("--version", default="1")
    parser.add_argument("--torcs", type=Path, help="car folder of Debian's torcs-data (usr/share/games/torcs/cars)")
    parser.add_argument("--metadrive", type=Path, help="vehicle folder of the metadrive-simulator package")
    args = parser.parse_args()
    assets = {"torcs": args.torcs, "metadrive": args.metadrive}
    Pipeline(load_recipe(args.recipe), args.data, args.run, assets).all(args.out, args.version)


if __name__ == "__main__":
    main()
