# SPDX-License-Identifier: Apache-2.0
"""What a GPU does by itself: solver alone, hypotheses per second, every kernel against its twin. Needs torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ..camera.crop import CropCamera
from ..camera.pinhole import Camera
from ..cuda import twins
from ..cuda.coarse import DeviceTarget, coarse_search, target_row
from ..cuda.hypotheses import Search
from ..cuda.inference import TorchPipeline, takes_tensors
from ..cuda.similarity import similarity_volume
from ..cuda.warp import warp_crops
from ..solver import Start, crop_solver
from ..solver.coarse import SHIFT, Target
from .stages import spread

_WARM_UP = 3  # the first calls compile and fill the allocator


def measure_gpu(pipeline: TorchPipeline, image: np.ndarray, camera: Camera, crop: CropCamera, target: Target,
                batch: int = 16, repeats: int = 100) -> dict:
    """One crop of an image uint8 [H, W, 3], alone and ``batch`` times at once; times in milliseconds.

    Returns:
        what it ran on; ``solver`` and ``follow`` (:func:`spread`, features on the device to poses on the host, of one
        crop), ``hypotheses`` with ``per_s`` of the coarse search's first pass, ``kernels`` (rows of name, kernel_ms,
        twin_ms, largest_difference, differing_share; kernel_ms is None where kernels cannot run). Times of the solver
        are those of a clock on the wall, of hypotheses and kernels the device's own where it is a GPU.
    """
    solver, device = pipeline.solver, pipeline.solver.device
    features = torch.as_tensor(pipeline.features(image, camera, [crop])).to(device).clone()
    found = solver.solve_batch(features, [target])[0]
    start = Start(found[0].T_crop_obj, found[0].size) if found else None
    return {
        **_machine(device), "features_stay_on_device": takes_tensors(pipeline.extractor, device),
        "solver": _timed(lambda: solver.solve_batch(features, [target]), device, repeats),
        "follow": _timed(lambda: solver.follow_batch(features, [target], [start]), device, repeats) if start else None,
        "hypotheses": _hypotheses_per_second(solver.search, features, target, batch, repeats),
        "kernels": _kernels(pipeline, torch.from_numpy(image).to(device), camera, crop, features, target, repeats),
    }


def _machine(device: torch.device) -> dict:
    if device.type != "cuda":
        return {"name": "CPU, by the twins", "torch": torch.__version__}
    major, minor = torch.cuda.get_device_capability()
    return {"name": torch.cuda.get_device_name(), "capability": f"sm{major}{minor}", "torch": torch.__version__,
            "cuda": torch.version.cuda}


def _hypotheses_per_second(search: Search, features: Tensor, target: Target, batch: int, repeats: int) -> dict:
    """Of the coarse search, which scores every view at every distance and shift and then the best views again."""
    category = search.category
    rows = torch.as_tensor(target_row(target), dtype=torch.float32).to(features.device).expand(batch, -1)
    volume = similarity_volume(features.expand(batch, -1, -1, -1), category, SHIFT + 1)
    targets = DeviceTarget.of(rows)
    first, second = crop_solver._FIRST_SAMPLES, crop_solver._SECOND_VIEWS
    took = _timed(lambda: coarse_search(volume, category, targets, first, second, search.loops), features.device,
                  repeats, by_device=True)
    count = batch * len(category.rotations) * len(category.scales) * (2 * SHIFT + 1) ** 2
    return {"crops_at_once": batch, "scored": count, **took, "per_s": 1e3 * count / took["median_ms"]}


class Recorder:
    """The twins, which remember what each was first called with."""

    def __init__(self) -> None:
        self.calls: dict[str, tuple] = {}

    def __getattr__(self, name: str) -> Callable:
        def call(*arguments):
            self.calls.setdefault(name, arguments)
            return getattr(twins, name)(*arguments)

        return call


def _kernels(pipeline: TorchPipeline, image: Tensor, camera: Camera, crop: CropCamera, features: Tensor, target: Target,
             repeats: int) -> list[dict]:
    """Every loop on the arguments that it gets in a solve of one crop."""
    recorder = Recorder()
    warp_crops(image, camera, [crop], recorder)
    rows = torch.as_tensor(target_row(target), dtype=torch.float32).to(features.device)[None]
    Search(pipeline.solver.search.category, recorder).solve(features, rows)
    return [compared(name, arguments, pipeline.solver.loops, features.device, repeats)
            for name, arguments in recorder.calls.items()]


def compared(name: str, arguments: tuple, loops: ModuleType, device: torch.device, repeats: int) -> dict:
    """Times of one loop of ``loops`` and of its twin on the same arguments, and how far their results are apart."""
    twin, kernel = getattr(twins, name), getattr(loops, name)
    row = {"name": name, "kernel_ms": None, "largest_difference": None, "differing_share": None,
           "twin_ms": _timed(lambda: twin(*arguments), device, repeats, by_device=True)["median_ms"]}
    if loops is not twins:
        row["kernel_ms"] = _timed(lambda: kernel(*arguments), device, repeats, by_device=True)["median_ms"]
        pairs = list(zip(_as_tuple(kernel(*arguments)), _as_tuple(twin(*arguments)), strict=True))
        row["largest_difference"] = max(_difference(a, b) for a, b in pairs)
        row["differing_share"] = _differing_share(pairs)
    return row


def _differing_share(pairs: Sequence[tuple[Tensor, Tensor]]) -> float | None:
    """Of the whole numbers in the results (scores, shifts, faces, pixels); None where there are none.

    The largest difference does not tell of them: one vertex rounded to its neighbour cell is another score.
    """
    shares = [float((a != b).double().mean()) for a, b in pairs if not a.is_floating_point()]
    return max(shares) if shares else None


def _as_tuple(result: Tensor | tuple[Tensor, ...]) -> Sequence[Tensor]:
    return result if isinstance(result, tuple) else (result,)


def _difference(a: Tensor, b: Tensor) -> float:
    """Largest difference of numbers that both have, e.g. not of the depth where nothing is seen."""
    both = torch.isfinite(a) & torch.isfinite(b)
    return float((a.double() - b.double())[both].abs().max()) if both.any() else 0.0


@torch.inference_mode()
def _timed(call: Callable[[], object], device: torch.device, repeats: int, by_device: bool = False) -> dict[str, float]:
    """Milliseconds from asking until the device is done, by the host's clock or by a GPU's own (CUDA events).

    by_device: without what the host needs to ask and to hear of the end, some ten microseconds, which is more than a
    kernel takes.
    """
    clock = _device_clock if by_device and device.type == "cuda" else _host_clock
    return spread([clock(call, device) for _ in range(_WARM_UP + repeats)][_WARM_UP:])


def _host_clock(call: Callable[[], object], device: torch.device) -> float:
    begin = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - begin)


def _device_clock(call: Callable[[], object], device: torch.device) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)
