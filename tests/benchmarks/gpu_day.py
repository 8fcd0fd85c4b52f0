# SPDX-License-Identifier: Apache-2.0
"""The measuring stages of scripts/gpu_day.sh, each in a process of its own.

    python tests/benchmarks/gpu_day.py device | replay | memory | capture | frames [--out FILE] [--count N]

Each writes what it found as JSON, also where it then fails; exit code 1 says that something is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

_REPLAYS = 50
_FLAT_MB = 1.0  # what torch may reserve more after the first frames

Report = dict[str, object]


def device_name() -> str:
    """The GPU's name as that of a folder; SystemExit with one sentence where torch has none."""
    try:
        import torch

        there = torch.cuda.is_available()
    except Exception as error:  # a broken installation raises what it likes
        raise SystemExit(f"gpu_day needs torch with CUDA, and torch cannot be imported here: {error}") from error
    if not there:
        raise SystemExit(f"gpu_day needs a GPU, and torch {torch.__version__} finds no CUDA here")
    try:
        import triton  # noqa: F401
    except Exception as error:
        raise SystemExit(f"gpu_day needs Triton, which cannot be imported here: {error}") from error
    return re.sub(r"[^a-z0-9]+", "_", torch.cuda.get_device_name().lower()).strip("_")


def car_on(device: str = "cuda", precision: str = "fp32"):
    """An estimator of the shipped car with network and solver on ``device``; SystemExit where it went to the CPU."""
    from dinemo_ros.cuda.selection import SolverWithFallback
    from dinemo_ros.estimator import PoseEstimator
    from dinemo_ros.model.bundle import find_bundle, load_bundle

    estimator = PoseEstimator(load_bundle(find_bundle("car")), backend="torch", precision=precision, device=device)
    on_cpu = device == "cuda" and estimator.extractor.device == "CPU"
    if on_cpu or not isinstance(estimator.pipeline, SolverWithFallback):
        raise SystemExit(f"the solver or the network went to the CPU: {estimator.extractor.reason}; the log says more")
    return estimator


def graph_times(graph, profiled: Callable, timed: Callable) -> Report:
    """What one replay costs beside its kernels.

    Args:
        graph: has ``replay``. profiled: of a call, (kernels, their microseconds). timed: of a call, its milliseconds
            by the device's clock; asked with
            the device, which is the current one.
    """
    times = [timed(graph.replay, None) for _ in range(_REPLAYS)]
    kernels, busy_us = profiled(graph.replay)
    replay_us = 1e3 * float(np.median(times))
    return {"replay_us": replay_us, "kernels": kernels, "kernel_sum_us": busy_us,
            "us_per_node": (replay_us - busy_us) / kernels if kernels else None,
            "replay_us_per_node": replay_us / kernels if kernels else None}


def profiled_kernels(call: Callable[[], object]) -> tuple[int, float]:
    """Kernels and copies that the device ran for a call, and the sum of their microseconds."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    call()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        call()
        torch.cuda.synchronize()
    spans = [event.time_range.elapsed_us() for event in found.events()
             if event.device_type == torch.autograd.DeviceType.CUDA]
    return len(spans), float(sum(spans))


def replay(estimator, report: Report) -> bool:
    """Per graph of one crop: solver, following, network."""
    from dinemo_ros.benchmark.gpu import _device_clock
    from dinemo_ros.gpu.graph import GraphCache

    pipeline = estimator.pipeline.first
    caches = {"solve": pipeline.solver._solve, "follow": pipeline.solver._follow, "network": _captured(estimator)}
    for name, cache in caches.items():
        graphs = cache._graphs if isinstance(cache, GraphCache) else {}
        single = [graph for (count, *_), (graph, *_) in graphs.items() if count == 1]
        report[name] = graph_times(single[0], profiled_kernels, _device_clock) if single else None
    return all(report[name] for name in caches)


def _captured(estimator):
    """The network's graphs, behind what watches over it."""
    extractor = estimator.extractor
    return getattr(getattr(extractor, "_active", extractor), "_captured", None)


def memory(estimator_of: Callable[[], object], report: Report, watch: Callable | None = None) -> bool:
    """Of the GPU before and after the start."""
    if watch is None:
        from dinemo_ros.benchmark.gpu_memory import GpuMemory as watch
    used = watch()
    estimator_of()
    used.mark("warm")
    report.update({f"{name}_mb": value for name, value in used.report().items()})
    return True


def memory_comes_back() -> bool:
    """Whether tensors that another stream was using are given back when it is done with them.

    As long as torch's allocator believes in a capture, it waits for its end.
    """
    import torch

    start = torch.cuda.memory_allocated()
    for _ in range(5):
        torch.empty(1 << 24, device="cuda").record_stream(torch.cuda.Stream())
        torch.cuda.synchronize()
    torch.empty(1, device="cuda")  # the next allocation looks what is done
    return torch.cuda.memory_allocated() == start


def capture(report: Report, device: str = "cuda", comes_back: Callable[[], bool] = memory_comes_back) -> bool:
    """A capture that fails, then others: what they compute, and whether memory still comes and goes."""
    import torch

    from dinemo_ros.gpu.graph import GraphCache

    def synchronising(x):
        if torch.cuda.is_current_stream_capturing():
            torch.cuda.synchronize()
        return x.sum(1)

    def right(cache) -> bool:
        x = torch.arange(8.0, device=device).reshape(2, 4)
        return torch.equal(cache(x), x.sum(1))

    before = GraphCache(lambda x: x.sum(1))
    report["before"] = right(before)
    try:
        GraphCache(synchronising)(torch.ones(2, 4, device=device))
        report["failed"] = ""
    except RuntimeError as error:
        report["failed"] = str(error).partition("\n")[0]
    report["after"] = right(GraphCache(lambda x: x.sum(1)))
    report["graph_of_before"] = right(before)
    report["memory_comes_back"] = comes_back()
    return bool(report["failed"]) and all(value for name, value in report.items() if name != "failed")


def frames(estimator, report: Report, count: int, reserved: Callable[[], float]) -> bool:
    """Demo frames, image in memory to pose out, one after the other; torch's reserve must not grow.

    Args:
        reserved: MB that torch has reserved now.
    """
    from dinemo_ros.benchmark.demo import demo_entries, demo_sequence

    samples = [entry.load() for entry in demo_entries(demo_sequence())]
    times, held = [], []
    for k in range(count):
        sample = samples[k % len(samples)]
        begin = time.perf_counter()
        estimator.estimate(sample.image, sample.camera, [sample.roi])
        times.append(1e3 * (time.perf_counter() - begin))
        held.append(reserved())
    settled = min(len(samples), count // 2)
    report |= {"frames": count, "p50_ms": float(np.percentile(times, 50)), "p99_ms": float(np.percentile(times, 99)),
               "slowest_ms": max(times), "reserved_mb": held[-1],
               "reserved_grew_mb": max(held[settled:]) - held[settled], "solver": estimator.pipeline.device}
    return not estimator.pipeline.failed and report["reserved_grew_mb"] <= _FLAT_MB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stage", choices=("device", "replay", "memory", "capture", "frames"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    name = device_name()
    if options.stage == "device":
        print(name)
        return 0
    import torch

    report: Report = {}
    run = {"replay": lambda: replay(car_on(), report), "memory": lambda: memory(car_on, report),
           "capture": lambda: capture(report),
           "frames": lambda: frames(car_on(), report, options.count, lambda: torch.cuda.memory_reserved() / 1e6)}
    try:
        report["ok"] = run[options.stage]()
    finally:  # what was found before something failed is a result, too
        text = json.dumps(report, indent=1)
        if options.out:
            options.out.write_text(text + "\n")
        print(text)
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
