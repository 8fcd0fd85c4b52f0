# SPDX-License-Identifier: Apache-2.0
"""Accuracy and time of the solvers on identical features: ours, the published one, matches and PnP.

    python tests/benchmarks/compare_solvers.py --out tests/benchmarks/results/DEVICE --synthetic DIR --turntable DIR

``--synthetic`` takes renders as ``dinemo_training.synthetic.render.dataset`` writes them, ``--turntable``
the sequences cx5 and subaru (evaluation only), both see ``dinemo eval``; the shipped demo sequence is always measured.
Every set is looked at once per frame in the box that belongs to it, and every solver gets the same crop. One JSON file
per set and solver group; sets that are done are left out, so that the command can be repeated after a kill. Run it with
OMP_NUM_THREADS=1: the idle threads of numpy's linear algebra spin, which counts as CPU time and slows down the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dinemo_ros.benchmark import solver_comparison
from dinemo_ros.benchmark.demo import demo_entries, demo_sequence
from dinemo_ros.benchmark.device import REFERENCE_PACKAGES, cpu_name, load_average, versions
from dinemo_ros.cli.output import AtomicFile, to_json
from dinemo_ros.defaults import DEFAULT_HFOV_DEG, available_cpus
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.evaluation.cutouts import DrawnCutOuts
from dinemo_ros.evaluation.occlusion import LEVELS, Occluder
from dinemo_ros.evaluation.sample import LabelledSample, Sample
from dinemo_ros.evaluation.synthetic import read_synthetic, synthetic_entries
from dinemo_ros.evaluation.truth import ReferenceObject
from dinemo_ros.evaluation.turntable import read_turntables, turntable_entries
from dinemo_ros.model.bundle import find_bundle, load_bundle

TURNTABLES = ("cx5", "subaru")
RENAMED = {"spin": "turntable"}  # what sets were called in version 0.1
# Options of the reference solver by group and name. The published solver as it is, its object either moved along or
# held on the ray through the middle of the ROI; with our rasteriser, which is faster on a CPU, and in its variants:
# NeMo's length, what Ma et al. and wufeim/NeMo do about local optima, to the letter.
VARIANTS: dict[str, dict[str, dict]] = {
    "pnp": {},
    "published": {
        "NOVUM, 30 steps, pytorch3d": {"rasterizer": "pytorch3d"},
        "NOVUM, 30 steps, pytorch3d, centre fixed by the ROI": {"rasterizer": "pytorch3d", "shift": False},
    },
    "many_crops": {  # the same with the fast rasteriser: few enough to afford hundreds of crops
        "NOVUM, 30 steps, own rasteriser": {"rasterizer": "torch"},
        "NOVUM, 30 steps, own rasteriser, centre fixed by the ROI": {"rasterizer": "torch", "shift": False},
    },
    "own_rasterizer": {
        "NOVUM, 30 steps, own rasteriser": {"rasterizer": "torch"},
        "NOVUM, 30 steps, own rasteriser, centre fixed by the ROI": {"rasterizer": "torch", "shift": False},
        "NeMo, 300 steps, own rasteriser": {"rasterizer": "torch", "steps": 300},
        "NeMo, 300 steps, own rasteriser, centre fixed by the ROI": {"rasterizer": "torch", "steps": 300,
                                                                     "shift": False},
        "NOVUM, 30 steps of the 4 best starts": {"rasterizer": "torch", "refined": 4},
        "NOVUM, 432 starts": {"rasterizer": "torch", "distances": (0.8, 1.0, 1.2)},
        "NOVUM to the letter (centre fixed, mean clutter)": {"rasterizer": "torch", "shift": False, "clutter": "mean"},
    },
}


def every(entries: list[LabelledSample], count: int) -> list[LabelledSample]:
    """``count`` of the entries, evenly spread."""
    return [entries[k * len(entries) // count] for k in range(count)] if count < len(entries) else entries


def occluded(entry: LabelledSample, level: str) -> LabelledSample:
    """The entry with drawn cut-outs pasted over it, the same ones as ``dinemo eval --occlusion`` pastes."""
    def load() -> Sample:
        sample = entry.load()
        covered = Occluder(DrawnCutOuts())(sample.image, sample.mask, LEVELS[level], f"{entry.group}/{entry.name}")
        return replace(sample, image=covered.image)

    return replace(entry, load=load)


def sets(args: argparse.Namespace) -> dict[str, Callable[[], list[LabelledSample]]]:
    """Entries by the name of the set."""
    found: dict[str, Callable[[], list[LabelledSample]]] = {"demo": lambda: demo_entries(demo_sequence())}
    if args.synthetic:
        found["synthetic"] = lambda: synthetic_entries(read_synthetic(args.synthetic))
        found |= {f"synthetic_{level}": lambda level=level: [occluded(entry, level) for entry in found["synthetic"]()]
                  for level in LEVELS}
    if args.turntable:
        found["turntable"] = lambda: turntable_entries(read_turntables(args.turntable, TURNTABLES), DEFAULT_HFOV_DEG)
    return found


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The options; those of version 0.1 go on working."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of this device")
    parser.add_argument("--synthetic", type=Path, help="folder with renders of objects never trained on")
    parser.add_argument("--turntable", type=Path, help="folder with cx5 and subaru")
    parser.add_argument("--spin", type=Path, dest="turntable", help=argparse.SUPPRESS)  # the name of version 0.1
    parser.add_argument("--bundle", type=Path, default=None, help="default: the shipped car")
    parser.add_argument("--count", type=int, default=100, help="frames per set, evenly spread (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=available_cpus())
    parser.add_argument("--variants", choices=list(VARIANTS), nargs="+", default=list(VARIANTS))
    parser.add_argument("--sets", metavar="SET", nargs="+", type=lambda name: RENAMED.get(name, name),
                        help="demo, synthetic, synthetic_L1 to synthetic_L3 (cut-outs pasted over 20 to 80 %% of the "
                        "object), turntable (default: all whose folder is given)")
    return parser.parse_args(words)


def main() -> None:
    args = parse()
    bundle = load_bundle(args.bundle or find_bundle("car"))
    estimator = PoseEstimator(bundle, args.threads)
    for name, entries in sets(args).items():
        if args.sets and name not in args.sets:
            continue
        for group in args.variants:
            target = args.out / f"solvers_{name}_{group}.json"
            if target.is_file():
                print(f"{target}: there already")
                continue
            given = solver_comparison.crops(estimator, every(entries(), args.count))
            solvers = {"dinemo_ros": solver_comparison.our_solver(estimator)}
            if group == "pnp":
                solvers["PnP, RANSAC"] = solver_comparison.pnp_solver(estimator)
            solvers |= {title: solver_comparison.reference_solver(estimator, **options) for title, options
                        in VARIANTS[group].items()}
            before = load_average()
            rows = solver_comparison.compare(solvers, given, ReferenceObject.of(bundle), f"{name}, {group}")
            report = {"set": name, "rows": rows, "bundle": f"{bundle.card.category} {bundle.card.version}",
                      "network": f"{estimator.extractor.name} {estimator.extractor.precision}", "cpu": cpu_name(),
                      "threads": args.threads, "load_before": before, "load_after": load_average(),
                      "versions": versions(REFERENCE_PACKAGES)}
            with AtomicFile(target) as file:
                file.write(to_json(report, indent=1) + "\n")
            for row in rows:
                print(f"{name:10} {row['solver']:48} {row['median_ms']:7.1f} ms, CPU {row['cpu_median_ms']:7.1f} ms, x "
                      f"{row['times_slower_cpu']:6.1f}, Acc@30 {row['acc30']:.3f}, Acc@10 {row['acc10']:.3f}, median "
                      f"{row['median_deg']:.1f} deg", flush=True)


if __name__ == "__main__":
    main()
