# SPDX-License-Identifier: Apache-2.0
"""``dinemo bench``: how long each stage of an estimate takes on this machine, and against what."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..benchmark.device import REFERENCE_PACKAGES, cpu_name, load_average, peak_memory_mb, versions
from ..defaults import available_cpus
from ..errors import FRAME_ERRORS, DatasetError
from ..io.quoting import one_line, shown, shown_path
from ..io.sources import open_source
from . import options
from .camera_choice import CameraChoice
from .output import check_outputs, prose_beside, result_file, to_json

if TYPE_CHECKING:
    from ..benchmark.stages import Job
    from ..estimator import PoseEstimator
    from ..features import FeatureExtractor
    from ..model.bundle import Bundle
    from .options import Commands

_DISTINCT_FRAMES = 32  # held in memory; more would only measure the disk
_OBJECTS = 4
_CROPS = 12  # for the reference solver, which takes a second each

_DESCRIPTION = """\
Time the estimator, image in memory to pose, median and 95th percentile over frames.

Measured with one region of interest per frame (a detector or tracker gives it), which fills "stages" and "total"; with
flip test-time augmentation of every object, where the bundle has it and does it at low confidence alone ("flip_tta");
with an object followed from the pose before ("followed"); with nothing given, the whole frame and --detector ("auto");
and with four objects in one frame against one. Where the solver runs on a GPU (--device), also the solver alone there,
hypotheses per second and every kernel against its twin in torch.

--startup    a fresh process from start to its first pose, kernels compiled and from the cache, and its memory
--reference  the published solver (NeMo, NOVUM: 144 starts, 30 steps of Adam through a rasteriser) and PnP, on the same
             features as ours: how much slower they are, and, where the folder has a ground_truth.json as the demo
             sequence has, how accurate
"""


def add_parser(subparsers: Commands) -> None:
    """Declare ``dinemo bench``."""
    parser = subparsers.add_parser("bench", help="stage times on this machine", description=_DESCRIPTION,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", metavar="PATH", nargs="?", help="image, folder, video or bag to measure on (default: "
                        "the shipped demo sequence)")
    parser.add_argument("--json", metavar="FILE", help="write the report here; -: to standard output, and the table "
                        "to standard error")
    parser.add_argument("--frames", type=options.frame_count, default=100, metavar="N",
                        help="frames to time; short sources are repeated (default: %(default)s)")
    parser.add_argument("--startup", action="store_true", help="also time a fresh process (takes a minute)")
    parser.add_argument("--reference", nargs="?", const="auto", choices=("auto", "pytorch3d", "torch"),
                        metavar="RASTERIZER", help="also time the published solver, with this rasteriser: pytorch3d, "
                        "torch (ours), or auto, pytorch3d where installed (needs torch)")
    options.add_estimator_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Time everything and print the table; returns the exit code.

    Raises:
        DinemoError: an input or output is no good, or torch is missing for ``--reference``; told before the work.
    """
    from ..benchmark import stages  # late, as the estimator: they load ONNX Runtime and Numba
    from ..benchmark.demo import demo_sequence
    from ..benchmark.gpu_memory import watched_gpu

    path = Path(arguments.path or demo_sequence())
    bundle = _checked(arguments, path)
    frames = _load(path)
    memory = watched_gpu(arguments.device)
    estimator = options.make_estimator(arguments, bundle)
    if memory:
        memory.mark("warm")
    jobs = _with_regions(estimator, frames)
    if not jobs:
        raise DatasetError(f"{path}: no {estimator.bundle.card.category} was found in {len(frames)} images, so "
                           "there is nothing to time; give a PATH that shows one")
    one, total = stages.measure(estimator, jobs, arguments.frames, "one region")
    followed, followed_total = stages.measure_followed(estimator, jobs, arguments.frames)
    auto, auto_total = stages.measure(estimator, frames, arguments.frames, "own regions")
    if memory:  # here, before other estimators, twins and larger batches take theirs
        memory.mark("running")
        memory_mb = memory.report()
    augmented = _augmented(estimator.bundle, arguments, jobs)
    search = estimator.bundle.card.search
    height, width = frames[0].image.shape[:2]
    report = {
        "stages": one, "total": total, "solver_ms": stages.solver_alone(one),
        "device": describe_device(arguments.threads, estimator.extractor), "cpu": cpu_name(),
        "threads": arguments.threads, "frames": arguments.frames, "image": [width, height],
        "followed": {"stages": followed, "total": followed_total},
        "auto": {"stages": auto, "total": auto_total}, **augmented,
        "objects": stages.objects_against_one(estimator, jobs, _OBJECTS, arguments.frames),
        "solver_device": estimator.pipeline.device, "peak_memory_mb": peak_memory_mb(),
    }
    gpu = _gpu(estimator, jobs[0], arguments.frames)
    if gpu:
        gpu |= {"memory_mb": memory_mb} if memory else {}
        report |= {"gpu": gpu, "hypotheses_per_s": gpu["hypotheses"]["per_s"]}
    elif "coarse" in one:  # not where a GPU failed on the way
        report["hypotheses_per_s"] = 1e3 * stages.hypotheses(search) / one["coarse"]["median_ms"]
    if arguments.startup:
        from ..benchmark.startup import measure_startup

        report["startup"] = measure_startup(estimator.bundle.path, arguments.threads)
    if arguments.reference:
        report["solvers"] = _compared_solvers(estimator, path, jobs, arguments.reference)
    packages = (estimator.extractor.name, *(("torch", "triton") if gpu else ()),
                *(REFERENCE_PACKAGES if arguments.reference else ()))
    report |= {"load": load_average(), "versions": versions(packages)}
    if arguments.json:
        with result_file(arguments.json) as file:
            file.write(to_json(report, indent=1) + "\n")
    with prose_beside(arguments.json):
        _show(report)
    return 0


def _checked(arguments: argparse.Namespace, path: Path) -> Bundle:
    """The bundle to time on ``path``; DinemoError now and not after the work for what is missing or no good."""
    check_outputs({"--json": arguments.json}, [path, options.bundle_folder(arguments.bundle),
                                                options.detector_folder(arguments)])
    if arguments.reference:
        from ..benchmark.solver_comparison import require_reference

        require_reference(arguments.reference)
    return options.load(arguments.bundle, arguments.quiet)


def _load(path: Path) -> list[Job]:
    """The first frames that an estimator takes; the others are named."""
    from ..benchmark.stages import Job
    from ..io.rgb_image import check_image

    source, frames, refused = open_source(path), [], []
    said: set[str] = set()
    cameras = CameraChoice(None, None, said.add, advice="")
    source.required_camera = cameras.required
    for frame in source:
        height, width = frame.image_rgb.shape[:2]
        camera, _ = cameras.of(frame)
        try:
            check_image(frame.image_rgb)
            camera.require_size(width, height)
        except FRAME_ERRORS as error:
            refused.append(f"{shown(frame.name)}: {error}")
            continue
        frames.append(Job(frame.image_rgb, camera, None))
        if len(frames) == _DISTINCT_FRAMES:
            break
    refused += source.skipped
    for sentence in sorted(said):
        print(one_line(sentence), file=sys.stderr)
    if not frames:
        raise DatasetError(f"{shown_path(path)}: no image could be used" + (f"; {refused[0]}" if refused else ""))
    for sentence in refused:
        print(f"skipped {one_line(sentence)}", file=sys.stderr)
    return frames


def _with_regions(estimator: PoseEstimator, frames: list[Job]) -> list[Job]:
    """The frames in which an object is found, with the region of the best one."""
    from ..benchmark.stages import Job

    found = [(frame, estimator.estimate(frame.image, frame.camera)) for frame in frames]
    return [Job(frame.image, frame.camera, [poses[0].roi]) for frame, poses in found if poses]


def _augmented(bundle: Bundle, arguments: argparse.Namespace, jobs: list[Job]) -> dict:
    """The times of objects in given regions where every first pose is of low confidence; nothing without flip_tta."""
    from ..benchmark import stages

    if not bundle.card.features.flip_tta:
        return {}
    card = replace(bundle.card, score=replace(bundle.card.score, tta_threshold=1.0))
    estimator = options.estimator_of(replace(bundle, card=card), arguments)
    spent, total = stages.measure(estimator, jobs, arguments.frames, "flip TTA")
    return {"flip_tta": {"stages": spent, "total": total}}


def _gpu(estimator: PoseEstimator, job: Job, repeats: int) -> dict | None:
    """What the GPU does by itself, where the solver runs on one."""
    from ..cuda.selection import SolverWithFallback

    pipeline = estimator.pipeline
    if not isinstance(pipeline, SolverWithFallback) or pipeline.failed:
        return None
    from ..benchmark.gpu import measure_gpu
    from ..estimator import checked_boxes, crops_and_targets

    box, = checked_boxes(job.image, job.camera, job.rois)
    (crop,), (target,) = crops_and_targets(estimator.bundle.card.image, job.camera, [box], box_is_observed=True)
    return measure_gpu(pipeline.first, job.image, job.camera, crop, target, repeats=repeats)


def _compared_solvers(estimator: PoseEstimator, path: Path, jobs: list[Job], rasterizer: str) -> list[dict]:
    from ..benchmark import solver_comparison
    from ..benchmark.demo import demo_entries
    from ..evaluation.sample import LabelledSample, Sample
    from ..evaluation.truth import ReferenceObject

    entries = demo_entries(path)
    if not entries:  # speed and agreement can be compared without a truth
        entries = [LabelledSample(path.name, str(k), lambda job=job: Sample(job.image, job.camera, job.rois[0], None,
            None))
                   for k, job in enumerate(jobs)]
    entries = entries[::max(1, len(entries) // _CROPS)][:_CROPS]
    reference = solver_comparison.reference_solver(estimator, rasterizer=rasterizer)
    solvers = {"dinemo_ros": solver_comparison.our_solver(estimator), "NOVUM, 30 steps": reference,
               "PnP, RANSAC": solver_comparison.pnp_solver(estimator)}
    return solver_comparison.compare(solvers, solver_comparison.crops(estimator, entries),
                                     ReferenceObject.of(estimator.bundle), "solvers")


def describe_device(threads: int, extractor: FeatureExtractor) -> str:
    """CPU, threads used of those there are, and what runs the network."""
    runtime = extractor.name
    return (f"{cpu_name()}, {threads} threads on {available_cpus()} CPUs, network in {extractor.precision} on "
            f"{extractor.device} by {runtime} {versions((runtime,))[runtime]}")


def _show(report: dict) -> None:
    print(report["device"])
    print(f"load of the machine {report['load']}, peak memory {report['peak_memory_mb'] or float('nan'):.0f} MB")
    print(f"CPU time of one estimate, all threads {report['total']['cpu_median_ms']:.1f} ms (wall-clock below)")
    print(f"image {report['image'][0]}x{report['image'][1]}, {report['frames']} frames      median      p95")
    for title, part in (("one region of interest", report), ("low confidence, with flip TTA", report.get("flip_tta")),
                        ("followed, no search", report["followed"]), ("own regions", report["auto"])):
        if part is None:
            continue
        print(title)
        for name, spread in [*part["stages"].items(), ("total", part["total"])]:
            print(f"  {name:34} {spread['median_ms']:6.1f} ms {spread['p95_ms']:6.1f} ms")
    print(f"solver alone, features to pose       {report['solver_ms']:6.1f} ms, coarse search "
          f"{report.get('hypotheses_per_s', float('nan')):.2g} hypotheses/s")
    objects = report["objects"]
    print(f"{objects['objects']} objects in one frame             {objects['median_ms']:6.1f} ms, "
          f"{objects['ratio']:.2f} times one object (the smallest times: {objects['smallest_ratio']:.2f})")
    if "gpu" in report:
        _show_gpu(report)
    for name, start in report.get("startup", {}).items():
        print(f"start to first pose, kernels {name}    {start['to_first_pose_s']:6.1f} s (CPU "
              f"{start['cpu_s']:.1f} s), first frame {1e3 * start['first_frame_s']:.0f} ms, peak memory "
              f"{start['peak_memory_mb'] or float('nan'):.0f} MB")
    for row in report.get("solvers", []):
        accuracy = f", Acc@30 {row['acc30']:.0%}, Acc@10 {row['acc10']:.0%}" if "acc30" in row else ""
        print(f"solver {row['solver']:29} {row['median_ms']:6.1f} ms, x {row['times_slower']:.1f}, same pose as ours "
              f"{row['same_pose']:.0%}{accuracy} ({row['n']} crops)")


def _show_gpu(report: dict) -> None:
    """The rows of the table of a GPU, with the bars that are set for an H200 and ViT-S/14 at 448 pixels."""
    gpu = report["gpu"]
    way = "stay there" if gpu["features_stay_on_device"] else "come from the host"
    print(f"solver on {gpu['name']}, features {way}")
    follow = f"{gpu['follow']['median_ms']:8.2f} ms" if gpu["follow"] else "nothing found"
    used = gpu.get("memory_mb")
    memory = f"{used['used_running']:8.0f} MB" if used else "     none"
    for name, value, bar in (
            ("image in to pose out, one object", f"{report['total']['median_ms']:8.2f} ms", "5 ms"),
            ("tracked", f"{report['followed']['total']['median_ms']:8.2f} ms", "2 ms"),
            ("solver alone", f"{gpu['solver']['median_ms']:8.2f} ms", ""), ("following alone", follow, ""),
            ("pose hypotheses scored per second", f"{gpu['hypotheses']['per_s']:8.2g}", "1e8"),
            ("memory of the GPU, all programs", memory, "1500 MB")):
        print(f"  {name:34} {value}{f'   (bar {bar})' if bar else ''}")
    if used:
        print(f"  of it before the start {used['used_before']:.0f} MB (context, other programs), the start "
              f"{used['added_warm']:.0f} MB, torch's largest {used['torch_peak']:.0f} MB")
    for row in gpu["kernels"]:
        kernel = "no kernel here" if row["kernel_ms"] is None else (
            f"{row['kernel_ms']:8.3f} ms, x {row['twin_ms'] / row['kernel_ms']:.1f}, largest difference "
            f"{row['largest_difference']:.1e}")
        print(f"  {row['name']:20} twin {row['twin_ms']:8.3f} ms, kernel {kernel}")
