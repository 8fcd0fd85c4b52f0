# SPDX-License-Identifier: Apache-2.0
"""Finding TensorRT or TensorRT-RTX; their Python APIs share every call that is needed here."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import BackendError, NotInstalledError, told

_log = logging.getLogger(__name__)

#: Builder, configuration, engine, ...: of the module that is found at run time, ordinary TensorRT or RTX.
TrtObject = Any

# Module, the flavour it is, and the packages whose folder may hold its libraries (first found).
_CANDIDATES = (
    ("tensorrt", "tensorrt", ()),  # finds its own libraries: JetPack, or NVIDIA's wheels
    ("tensorrt_rtx", "tensorrt_rtx", ()),
    ("tensorrt_rtx_bindings", "tensorrt_rtx", ("tensorrt_rtx_libs", "onnxruntime_ep_nv_tensorrt_rtx")),
)
_LIBRARIES = ("libcudart.so.*", "libtensorrt_rtx.so.*", "libtensorrt_onnxparser_rtx.so.*")
_OLDEST = (10, 0)  # strongly typed networks, which keep every layer in the precision that the file says


@dataclass(frozen=True)
class TensorRt:
    """An installed TensorRT.

    Attributes:
        api: the Python module.
        flavour: "tensorrt" or "tensorrt_rtx"; their engines are not interchangeable.
    """

    api: ModuleType
    flavour: str
    version: str

    @property
    def archs(self) -> tuple[str, ...]:
        """GPU architectures that engines can be built for without such a GPU; empty: only for the one present."""
        capability = getattr(self.api, "ComputeCapability", None)
        names = getattr(capability, "__members__", {})
        return tuple(sorted((name.lower() for name in names if re.fullmatch(r"SM\d+", name)),
                            key=lambda name: int(name[2:])))


def installed_modules() -> list[str]:
    """Names of TensorRT modules that could be imported, without importing them (they load for seconds)."""
    return [module for module, _, _ in _CANDIDATES if importlib.util.find_spec(module) is not None]


def load_tensorrt() -> TensorRt:
    """The first TensorRT that loads, ordinary before RTX; BackendError says what is missing."""
    problems = []
    for module, flavour, library_packages in _CANDIDATES:
        if importlib.util.find_spec(module) is None:
            continue
        try:
            _load_libraries(library_packages)
            api = importlib.import_module(module)
            found = TensorRt(api, flavour, api.__version__)
        except Exception as error:  # a broken installation raises OSError, ImportError or AttributeError
            problems.append(f"{module}: {told(error)}")
            continue
        if flavour == "tensorrt" and _number(found.version) < _OLDEST:
            problems.append(f"tensorrt {found.version} is older than 10.0 (JetPack 6 brings 10.3)")
            continue
        return found
    if problems:
        raise BackendError(f"TensorRT is installed and cannot be used: {'; '.join(problems)}")
    raise NotInstalledError("TensorRT is not installed: on a Jetson it comes with JetPack, on a desktop pip "
                            "install tensorrt, or tensorrt-rtx for GeForce RTX")


def make_logger(trt: TensorRt) -> TrtObject:
    """A logger object for TensorRT's calls that keeps the last error, its only way to say why a call gave None."""

    class Logger(trt.api.ILogger):  # type: ignore[name-defined]  # of a module that is found at run time
        def __init__(self) -> None:
            trt.api.ILogger.__init__(self)
            self.last_error = ""

        def log(self, severity, message: str) -> None:
            if severity <= trt.api.ILogger.ERROR:
                # The first error is the cause; what follows are its consequences.
                self.last_error = self.last_error or " ".join(message.split())
            _log.debug("%s: %s", trt.flavour, message)

    return Logger()


def _load_libraries(packages: tuple[str, ...]) -> None:
    """Load the libraries of wheels whose folder the dynamic linker does not search."""
    for package in packages:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            continue
        folder = Path(next(iter(spec.submodule_search_locations)))
        for pattern in _LIBRARIES:
            for library in sorted(folder.glob(pattern)):
                ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
        return


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
