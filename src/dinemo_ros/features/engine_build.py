# SPDX-License-Identifier: Apache-2.0
"""ONNX to a TensorRT plan.

Networks are strongly typed: a layer computes in the type that the ONNX file gives it and TensorRT chooses nothing by
itself. With TensorRT-RTX an engine can be built on a machine without a GPU.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from ..errors import BackendError
from ..io.quoting import shown
from ..model.bundle import Bundle
from .protocol import LARGEST_SIDE
from .tensorrt_api import TensorRt, TrtObject, make_logger
from .timing_cache import TimingCache

_log = logging.getLogger(__name__)
_SECONDS_BETWEEN_REPORTS = 2.0

Shape = tuple[int, int, int]  # N, H, W


@dataclass(frozen=True)
class Profile:
    """Shapes that an engine takes: smallest, the one it is tuned for, largest."""

    least: Shape
    best: Shape
    most: Shape

    def covers(self, shape: Shape) -> bool:
        """Whether each side of ``shape`` lies between the smallest and the largest."""
        return all(low <= n <= high for low, n, high in zip(self.least, shape, self.most, strict=True))


def profiles(bundle: Bundle, max_batch: int = 8, max_side: int = LARGEST_SIDE) -> tuple[Profile, Profile]:
    """Batches of crops, and single frames in which objects are looked for."""
    size = bundle.card.image.size
    frame_side = min(max_side, 640)
    return (Profile((1, size, size), (1, size, size), (max_batch, size, size)),
            Profile((1, 32, 32), (1, frame_side, frame_side), (1, max_side, max_side)))


def build_plan(trt: TensorRt, model: bytes, shapes: tuple[Profile, ...], arch: str, name: str,
               timings: TimingCache | None = None) -> bytes:
    """Build an engine; progress goes to the log.

    Args:
        model: ONNX bytes in the precision that the engine shall have.
        arch: like "sm89". With ordinary TensorRT it must be the GPU that is present.
        name: of the bundle, for messages.
        timings: of earlier builds; None where nothing is measured, as by TensorRT-RTX.

    Raises:
        BackendError: TensorRT refuses; the message has its reason.
    """
    started = time.monotonic()
    logger = make_logger(trt)
    builder = trt.api.Builder(logger)
    network = builder.create_network(1 << int(trt.api.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.api.OnnxParser(network, logger)
    if not parser.parse(model):
        raise BackendError(f"{name}: {trt.flavour} {trt.version} cannot read the network "
                           f"({shown(parser.get_error(0).desc(), 300)}); a bundle of an older version is "
                           "rewritten for it where the onnx package is installed: pip install onnx")
    config = _config(trt, builder, shapes, arch, name)
    if timings:
        timings.give(config)
    _log.info("%s: building an engine with %s %s for %s", name, trt.flavour, trt.version, arch)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendError(f"{name}: {trt.flavour} {trt.version} could not build an engine for {arch} "
                           f"({logger.last_error or 'it gave no reason'})")
    if timings:
        timings.keep(config)
    data = bytes(plan)
    _log.info("%s: engine of %.1f MB built in %.1f s", name, len(data) / 1e6, time.monotonic() - started)
    return data


def _config(trt: TensorRt, builder: TrtObject, shapes: tuple[Profile, ...], arch: str, name: str) -> TrtObject:
    config = builder.create_builder_config()
    config.clear_flag(trt.api.BuilderFlag.TF32)  # fp32 means fp32; who wants speed takes fp16
    config.progress_monitor = _monitor(trt, name)
    _set_arch(trt, config, arch)
    for shape in shapes:
        profile = builder.create_optimization_profile()
        profile.set_shape("image", *((*extent, 3) for extent in (shape.least, shape.best, shape.most)))
        if config.add_optimization_profile(profile) < 0:
            raise BackendError(f"{name}: {trt.flavour} refuses the shapes {shape}")
    return config


def check_arch(trt: TensorRt, arch: str, present: str | None) -> None:
    """BackendError unless engines for ``arch`` can be built where ``present`` (None: no GPU) is the GPU."""
    if trt.archs and arch not in trt.archs:
        raise BackendError(f"{trt.flavour} {trt.version} builds no engines for {arch}; it can for "
                           f"{', '.join(trt.archs)}")
    if not trt.archs and arch != present:
        raise BackendError(f"TensorRT {trt.version} builds only for the GPU it runs on (here {present or 'none'}), "
                           f"not for {arch}: build on the target")


def _set_arch(trt: TensorRt, config: TrtObject, arch: str) -> None:
    if trt.archs:  # without this TensorRT-RTX builds for every architecture it knows
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.api.ComputeCapability, arch.upper()), 0)


def _monitor(trt: TensorRt, name: str) -> TrtObject:
    """Logs the phases of a build; on a Jetson one takes minutes."""

    class Monitor(trt.api.IProgressMonitor):  # type: ignore[name-defined]  # of a module found at run time
        def __init__(self) -> None:
            trt.api.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self._last = time.monotonic()

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self._steps[phase] = steps

        def step_complete(self, phase: str, step: int) -> bool:
            if time.monotonic() - self._last > _SECONDS_BETWEEN_REPORTS:
                self._last = time.monotonic()
                _log.info("%s: %s, %d of %d", name, phase.lower(), step + 1, self._steps.get(phase, 0))
            return True  # go on

        def phase_finish(self, phase: str) -> None:
            self._steps.pop(phase, None)

    return Monitor()
