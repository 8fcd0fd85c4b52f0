# SPDX-License-Identifier: Apache-2.0
"""Modules of version 0.1 under their old names, for one release: found where they are now, with a DeprecationWarning.

To be removed with version 0.3.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_FOLDERS = {
    "camera": "camera_file camera_info crop distortion intrinsics lens",
    "detection": "proposals regions",
    "drawing": "overlay",
    "io": "content document files image_codec image_encodings isobmff jpeg_end jpeg_warnings opencv_log orientation "
          "overlay_file picture_header picture_read quoting sample_range sources tiff",
    "model": "bundle mirror neural_mesh symmetry",
    "process": "cache_home child_python compile_ahead console fastdds_profile privacy",
}
#: Old name to today's, both below this package; what lies below an old name moved with it.
MOVED = {name: f"{folder}.{name}" for folder, names in _FOLDERS.items() for name in names.split()} | {
    "benchmark.rivals": "benchmark.solver_comparison",
    "crew": "process.thread_pool",
    "cuda.capture": "gpu.capture",
    "cuda.full_float32": "gpu.full_float32",
    "cuda.graph": "gpu.graph",
    "cuda.pipeline": "cuda.inference",
    "evaluation.spin": "evaluation.turntable",
    "features.cuda_driver": "gpu.cuda_driver",
    "features.mirrored": "features.flip_tta",
    "features.spare": "features.fallback",
    "painter": "drawing.painters_rasterizer",
    "pipeline": "inference",
    "sliding": "detection.sliding_window",
}


class _Alias(ModuleType):
    """A module that has what another one has."""

    def __init__(self, name: str, real: ModuleType) -> None:
        super().__init__(name, real.__doc__)
        self.__dict__["_real"] = real
        self.__path__: list[str] = []  # what lies below is found by its old name as well, not loaded a second time

    def __getattr__(self, name: str) -> object:
        return getattr(self.__dict__["_real"], name)


class OldNames(MetaPathFinder, Loader):
    """Finds a module by its old name; asked last, so that nothing of today is hidden."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, fullname: str, path: Sequence[str] | None = None,
                  target: ModuleType | None = None) -> ModuleSpec | None:
        """See :meth:`importlib.abc.MetaPathFinder.find_spec`; None for every other name."""
        return ModuleSpec(fullname, self, is_package=True) if self._today(fullname) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The alias, whose module is imported for it."""
        today = self._today(spec.name)
        warnings.warn(f"{spec.name} is now {today}; the old name goes with version 0.3", DeprecationWarning,
                      stacklevel=2)
        return _Alias(spec.name, import_module(str(today)))

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do."""

    def _today(self, fullname: str) -> str | None:
        old, found = fullname.removeprefix(f"{self._package}."), None
        for name, today in MOVED.items():
            if old == name or old.startswith(f"{name}."):
                found = f"{self._package}.{today}{old[len(name):]}"
        return found if fullname.startswith(f"{self._package}.") else None
