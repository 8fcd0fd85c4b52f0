# SPDX-License-Identifier: Apache-2.0
"""What can run the network here, and for what cannot, what is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import BackendError, told
from ..features.optional import imported
from .finding import Finding, installed, version


def backends() -> Iterator[Finding]:
    """One finding for the GPU, one for the solver on it, and one for each backend."""
    for subject, look in (("GPU", _gpu), ("solver", _solver), ("onnxruntime", _onnxruntime), ("TensorRT", _tensorrt),
                          ("OpenVINO", _openvino), ("torch", _torch), ("onnx", _onnx)):
        try:
            yield look()
        except Exception as error:  # a broken package raises what it likes, and that is what doctor is asked about
            yield Finding("--", subject, f"is there and does not work ({told(error)}): install it again, or remove it")


def engine_cache(folder: str = "") -> Finding:
    """Where engines are kept, what is there, and whether there is room for more."""
    from ..features.engine_cache import EngineCache

    cache = EngineCache(folder)
    if why := cache.unsafe():
        return Finding("!!", "engine cache", why)
    entries = cache.entries()
    text = f"{len(entries)} entries, {sum(size for _, size in entries) / 1e6:.1f} MB in {cache.folder}"
    place = next((p for p in (cache.folder, *cache.folder.parents) if p.exists()), Path("/"))
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return Finding("--", "engine cache", f"{text}; {place} cannot be written, so every start builds its engines "
                       "again: name another folder (parameter engine_cache, option --cache)")
    free = os.statvfs(place)
    free_mb = free.f_bavail * free.f_frsize / 1e6
    if free_mb < 100:
        return Finding("--", "engine cache", f"{text}; only {free_mb:.0f} MB are free there, an engine takes 5 to 100: "
                       "make room, or name another folder")
    return Finding("ok", "engine cache", text)


def _gpu() -> Finding:
    from ..gpu.cuda_driver import CudaError, find_gpu

    try:
        gpu = find_gpu()
    except CudaError as error:
        return Finding("--", "GPU", f"none to use ({error}); the network runs on the CPU")
    return Finding("ok", "GPU", f"{gpu.name}, {gpu.arch}, {gpu.memory / 1e9:.1f} GB")


def _solver() -> Finding:
    """What ``device: auto`` would take; that it also finds the CPU's poses is tried when an estimator starts."""
    from ..cuda.selection import usable_gpu

    try:
        return Finding("ok", "solver", f"device auto takes {usable_gpu()}")
    except BackendError as error:
        return Finding("--", "solver", f"device auto takes the CPU: {error}")


def _onnxruntime() -> Finding:
    try:
        import onnxruntime
    except Exception as error:  # nothing runs without it: whatever it raises, this is the line to look at
        return Finding("!!", "onnxruntime", f"cannot be imported ({told(error)}): pip install onnxruntime")
    providers = onnxruntime.get_available_providers()
    cuda = "" if "CUDAExecutionProvider" in providers else "; on a GPU only with onnxruntime-gpu in its place"
    return Finding("ok", "onnxruntime", f"{onnxruntime.__version__}, providers {', '.join(providers)}{cuda}")


def _tensorrt() -> Finding:
    from ..features.tensorrt_api import installed_modules, load_tensorrt

    if not installed_modules():
        return Finding("--", "TensorRT", "not installed, on an NVIDIA GPU it is the fastest: on a Jetson it comes with "
                       "JetPack, on a desktop pip install tensorrt, or tensorrt-rtx for GeForce RTX")
    try:
        trt = load_tensorrt()
    except BackendError as error:
        return Finding("--", "TensorRT", str(error))
    builds = f"for {', '.join(trt.archs)}, with or without a GPU here" if trt.archs else "for the GPU that is here"
    return Finding("ok", "TensorRT", f"{trt.flavour} {trt.version}, builds engines {builds}")


def _openvino() -> Finding:
    if not installed("openvino"):
        return Finding("--", "OpenVINO", "not installed; on x86 CPUs with AVX-512 BF16 or AMX it can do the network in "
                       "bf16, nearly as exact as fp32 and 1.7 times as fast; int8, which bundles bring, is faster: pip "
                       "install openvino")
    openvino = imported("openvino", "networks on OpenVINO", "pip install openvino")
    can = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    fast = [name.lower() for name in ("BF16", "FP16", "INT8") if name in can]
    return Finding("ok", "OpenVINO", f"{version('openvino')}, fast on this CPU: fp32"
                   f"{''.join(f', {name}' for name in fast)}")


def _torch() -> Finding:
    if not installed("torch"):
        return Finding("--", "torch", "not installed; backend torch needs it, and the solver on a GPU")
    torch = imported("torch", "networks on PyTorch", "pip install torch")
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU only"
    return Finding("ok", "torch", f"{torch.__version__}, {where}")


def _onnx() -> Finding:
    if not installed("onnx"):
        return Finding("--", "onnx", "not installed, needed for backend torch and to make networks in fp16, bf16 and "
                       "int8: pip install onnx")
    imported("onnx", "networks in other precisions", "pip install onnx")
    return Finding("ok", "onnx", version("onnx"))
