# SPDX-License-Identifier: Apache-2.0
"""``dinemo build-engine``: everything that would otherwise be built at the first start, ahead of time."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BackendError, DatasetError, ImageError, WrongFeaturesError
from ..features.protocol import PRECISIONS
from . import options
from .output import check_output_file

if TYPE_CHECKING:
    from ..features.engine_cache import EngineCache, EngineKey
    from ..gpu.cuda_driver import CudaError, Gpu
    from ..model.bundle import Bundle
    from .options import Commands

_log = logging.getLogger(__name__)
_LEAST_SIDE = 16  # pixels
_PICTURES = 64  # ranges of activations hardly change with more

_DESCRIPTION = """\
Build TensorRT engines (and int8 networks) of a bundle into the cache.

With ordinary TensorRT run it on the target; TensorRT-RTX builds for any of its GPUs, also where there is none. An
engine is checked against ONNX Runtime at every start; where this machine has the GPU it is checked here as well.

int8 needs --calibration: pictures of what the camera will see, as regions of interest (about 50; no labels). With
--ship the int8 network for CPUs goes into the bundle instead of the cache, where --precision auto finds it.
"""


def add_parser(subparsers: Commands) -> None:
    """Declare ``dinemo build-engine``."""
    parser = subparsers.add_parser("build-engine", help="build engines ahead of time", description=_DESCRIPTION,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", metavar="BUNDLE", help="a folder, or the name of a shipped category")
    parser.add_argument("--precision", choices=("auto", *PRECISIONS), default="auto", help="auto: what the node tries "
                        "first on a GPU, fp16, or fp32 where the onnx package is missing (default: %(default)s)")
    parser.add_argument("--for-arch", action="append", metavar="SM", type=_arch, help="GPU architecture, like sm89; "
                        "may be given several times (default: this machine's GPU)")
    parser.add_argument("--calibration", metavar="DIR", help="pictures that ranges are measured on, for int8")
    parser.add_argument("--ship", action="store_true", help="write the int8 network for CPUs into the bundle")
    options.add_cache_option(parser)
    parser.add_argument("--check", action=argparse.BooleanOptionalAction, default=None, help="compare with ONNX "
                        "Runtime after the build; needs the GPU (default: where it is there)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Build, check and list what was asked for; returns the exit code.

    Raises:
        DinemoError: the options exclude each other or something is missing, told before the work; or a build failed.
    """
    from ..features.engine_cache import EngineCache
    from ..features.variants import quantized, ship_int8, variant_key
    from ..model.bundle import load_bundle

    options.log_to_stderr()
    bundle = load_bundle(options.bundle_folder(arguments.bundle))
    cache = EngineCache(arguments.cache)
    if arguments.calibration and arguments.precision != "int8":
        raise BackendError(f"--calibration is for int8, the precision is {arguments.precision}")
    if arguments.ship and not arguments.calibration:
        raise BackendError("--ship writes an int8 network: give --precision int8 and --calibration")
    if arguments.ship and (arguments.for_arch or arguments.check):
        raise BackendError("--ship writes the int8 network for CPUs and builds no engine: leave "
                           f"{'--for-arch' if arguments.for_arch else '--check'} out, or build the engine by itself")
    _require_means(arguments, bundle, cache)
    made: list[Path] = []
    if arguments.calibration:
        pictures = _pictures(arguments.calibration, bundle.card.image.size)
        int8 = quantized(bundle, pictures, "cpu")
        _check_on_cpu(bundle, int8)
        if arguments.ship:
            _report([ship_int8(bundle, int8, cache).int8_path])
            return 0
        for device, content in (("cpu", int8), ("gpu", quantized(bundle, pictures, "gpu"))):
            key = variant_key(bundle, "int8", device)
            cache.store(key, content)
            made.append(_kept(cache, key, content))
    made += _build(arguments, bundle, cache)
    _report(made)
    return 0


def _has_onnx() -> bool:
    """Whether networks in other precisions than the bundle's can be made here."""
    from ..features.variants import require_onnx

    try:
        require_onnx("networks in fp16 and bf16")
    except BackendError as error:
        _log.info("the engine is built in fp32: %s", error)
        return False
    return True


def _require_means(arguments: argparse.Namespace, bundle: Bundle, cache: EngineCache) -> None:
    """Now and not after minutes of measuring: what is not installed, or where nothing can be written.

    Precision auto becomes what can be made here.

    Raises:
        DinemoError: names what is missing.
    """
    from ..features.engine_build import check_arch
    from ..features.tensorrt_api import load_tensorrt
    from ..features.variants import require_onnx
    from ..model.bundle import CARD_FILE

    if arguments.precision not in ("auto", "fp32"):
        require_onnx(f"networks in {arguments.precision}")
    if arguments.check:
        _require_own_gpu(arguments.for_arch)
    if arguments.for_arch:
        trt, present = load_tensorrt(), _present()[0]
        for arch in arguments.for_arch:
            check_arch(trt, arch, present.arch if present else arch)
    if arguments.precision == "auto":
        arguments.precision = "fp16" if _has_onnx() else "fp32"
    if arguments.ship:
        check_output_file(bundle.path / CARD_FILE)
    else:
        cache.require()
        check_output_file(cache.folder / "probe")


def _present() -> tuple[Gpu | None, CudaError | None]:
    """This machine's GPU, or why there is none to use."""
    from ..gpu.cuda_driver import CudaError, find_gpu

    try:
        return find_gpu(), None
    except CudaError as error:
        return None, error


def _require_own_gpu(archs: list[str] | None) -> None:
    """BackendError unless what is built can be run here, which ``--check`` asks for. archs: those that are built."""
    present, reason = _present()
    if present is None:
        raise BackendError(f"--check runs the engine on a GPU ({reason}): leave it out, the engine is checked at every "
                           "start")
    if archs and present.arch not in archs:
        raise BackendError(f"--check runs the engine on {present.name}, which is {present.arch} and not among "
                           f"--for-arch {', '.join(archs)}: leave one of the two out")


def _report(paths: list[Path]) -> None:
    for path in paths:
        print(f"{path} {path.stat().st_size / 1e6:.1f} MB")


def _kept(cache: EngineCache, key: EngineKey, content: bytes) -> Path:
    """The file of an entry; BackendError unless it holds ``content``: the disk would not have it."""
    if cache.load(key) != content:
        raise BackendError(f"{cache.path(key)}: was built and could not be kept, the reason stands above; make room, "
                           "or name another folder with --cache")
    return cache.path(key)


def _build(arguments: argparse.Namespace, bundle: Bundle, cache: EngineCache) -> list[Path]:
    """The TensorRT engines that were asked for; none where only an int8 network for the CPU was.

    Raises:
        BackendError: no engine can be built here, or one that was built is wrong.
    """
    from ..features.engines import CachedEngine
    from ..features.tensorrt_api import load_tensorrt

    present, reason = _present()
    try:
        trt = load_tensorrt()
    except BackendError as error:
        if arguments.calibration and not arguments.for_arch:
            _log.info("no engine for a GPU: %s", error)
            return []
        raise
    archs = arguments.for_arch or ([present.arch] if present else [])
    if not archs and not arguments.calibration:
        raise BackendError(f"there is no GPU to build for ({reason}); name one with --for-arch, {trt.flavour} "
                           f"{trt.version} can for {', '.join(trt.archs) or 'none but the one present'}")
    engines = [CachedEngine(bundle, trt, arch, arguments.precision, cache, present) for arch in archs]
    made = [_kept(cache, engine.key, engine.plan()) for engine in engines]
    if arguments.check if arguments.check is not None else present is not None and present.arch in archs:
        _check_on_gpu(arguments, bundle)
    return made


def _check_on_gpu(arguments: argparse.Namespace, bundle: Bundle) -> None:
    """Run it as the node would; BackendError if the node would fall back to something else."""
    from ..features import create_extractor

    extractor = create_extractor(bundle, "tensorrt", precision=arguments.precision, cache=arguments.cache)
    if (extractor.name, extractor.precision) != ("tensorrt", arguments.precision):
        raise BackendError(f"the engine was built and must not be used: {extractor.reason}")


def _check_on_cpu(bundle: Bundle, int8: bytes) -> None:
    """Run these very bytes on this CPU; BackendError if their features are wrong."""
    from ..features.onnxruntime_backend import OnnxRuntimeExtractor
    from ..features.selection import check

    try:
        check(OnnxRuntimeExtractor(bundle), OnnxRuntimeExtractor(bundle, model=int8, precision="int8"), bundle)
    except WrongFeaturesError as error:
        raise BackendError(f"the int8 network must not be used on this CPU: {error}") from error


def _pictures(folder: str, size: int) -> list[np.ndarray]:
    """uint8 [1, size, size, 3] each: evenly spread pictures of a folder, their middle as a square."""
    import cv2

    from ..io.overlay_file import OVERLAY_SUFFIXES, is_overlay
    from ..io.sources.folder import read_image

    skipped = 0
    paths = [path for path in sorted(Path(folder).rglob("*")) if path.suffix.lower() in OVERLAY_SUFFIXES
             and not is_overlay(path)]
    pictures = []
    for k in np.unique(np.linspace(0, len(paths) - 1, _PICTURES).astype(int)) if paths else []:
        try:
            image = read_image(paths[k])
        except ImageError as error:
            _log.info("skipped %s", error)
            image = np.empty((0, 0, 3), np.uint8)
        side = min(image.shape[:2])
        if side < _LEAST_SIDE:
            skipped += 1
            continue
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        crop = cv2.resize(image[top:top + side, left:left + side], (size, size), interpolation=cv2.INTER_AREA)
        pictures.append(np.ascontiguousarray(crop[None]))
    if skipped:
        _log.info("%d of %d pictures skipped: not to be read, or of fewer than %d pixels a side", skipped,
                  skipped + len(pictures), _LEAST_SIDE)
    if not pictures:
        raise DatasetError(f"{folder}: no JPEG or PNG to calibrate with")
    return pictures


def _arch(text: str) -> str:
    name = text.lower().replace(".", "")
    name = name if name.startswith("sm") else f"sm{name}"
    if not name[2:].isdigit() or not 2 <= len(name[2:]) <= 3:
        raise argparse.ArgumentTypeError(f"{text!r} is no GPU architecture; write its compute capability, like sm87")
    return name
