# SPDX-License-Identifier: Apache-2.0
"""A copy of the working tree in which one file at a time is broken; the checkout itself is never written to."""

from __future__ import annotations

import ast
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_COPIED = ("src", "tests", "scripts", "launch", "CONVENTIONS.md", "pyproject.toml", "package.xml")
_LINKED = ("engines", "config", "docs")  # large, and only read
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc", "results")
_PACKAGE = "dinemo_ros"
_OF_THE_CALLER = ("COV", "PYTEST_", "NUMBA_")  # a test run that started this one must not measure or steer it


class Tree:
    """A copy of the tree ``root`` at ``place`` with a kernel cache of its own.

    Compiled kernels are kept by the time stamp of the file that they stand in, and do not notice when a function or a
    constant that they import has changed. So a broken tree starts with those kernels only whose file does not import
    the broken one, by however many steps.
    """

    def __init__(self, root: Path, place: Path) -> None:
        self.root = place / "tree"
        self._origin = root.resolve()
        self._warm, self._cache = place / "kernels", place / "kernels_of_mutant"
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        for name in (n for n in _COPIED if (root / n).exists()):
            if (root / name).is_dir():
                shutil.copytree(root / name, self.root / name, ignore=_NOT_COPIED)
            else:
                shutil.copy2(root / name, self.root / name)
        for name in (n for n in _LINKED if (root / n).exists()):
            (self.root / name).symlink_to((root / name).resolve(), target_is_directory=True)
        self._importers = importers(self.root / "src" / _PACKAGE)
        self._serial = 0

    def environment(self, cache: Path | None = None) -> dict[str, str]:
        """Of a process that runs the copy's tests."""
        paths = [str(self.root / part) for part in ("src", "tests")]
        paths += [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and not self._of_checkout(p)]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_CALLER)}
        return {**inherited, "PYTHONPATH": os.pathsep.join(paths), "NUMBA_CACHE_DIR": str(cache or self._warm),
                "PYTHONPYCACHEPREFIX": str(self.root.parent / "bytecode"), "PYTHONDONTWRITEBYTECODE": ""}

    def _of_checkout(self, path: str) -> bool:
        """Its sources and its installation must not be imported in place of the copy's; a venv's packages may."""
        path_ = Path(path).resolve()
        return path_.is_relative_to(self._origin) and not any(part.startswith(".venv") for part in path_.parts)

    @contextmanager
    def broken(self, path: str, text: str) -> Iterator[dict[str, str]]:
        """The file ``path`` has ``text`` while the body runs, which gets the environment for its processes."""
        file = self.root / path
        whole, stat = file.read_text(), file.stat()
        self._serial += 1
        try:
            file.write_text(text)
            # Bytecode and kernels are kept by time stamp: no two mutants may share one.
            os.utime(file, (stat.st_atime, stat.st_mtime + 10 * self._serial))
            self._prepare_cache(file)
            yield self.environment(self._cache)
        finally:
            file.write_text(whole)
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def _prepare_cache(self, broken: Path) -> None:
        shutil.rmtree(self._cache, ignore_errors=True)
        dependents = {broken, *self._importers.get(broken, ())}
        stale = {file.stem for file in dependents if "@kernel" in file.read_text()}
        if self._warm.exists():
            shutil.copytree(self._warm, self._cache)
        known = set()
        for kept in [*self._cache.rglob("*.nbi"), *self._cache.rglob("*.nbc")]:
            module = kept.name.split(".")[0]
            known.add(module)
            if module in stale:
                kept.unlink()
        if stale and not stale & known:  # kept under other names: nothing can be told, nothing is trusted
            shutil.rmtree(self._cache, ignore_errors=True)
        self._cache.mkdir(exist_ok=True)


def importers(package: Path) -> dict[Path, set[Path]]:
    """Per file of the package those that import it, by however many steps."""
    direct: dict[Path, set[Path]] = {}
    for file in package.rglob("*.py"):
        for imported in _imported(file, package):
            direct.setdefault(imported, set()).add(file)
    result = {}
    for file in direct:
        found, new = set(), [file]
        while new:
            for other in direct.get(new.pop(), ()):
                if other not in found:
                    found.add(other)
                    new.append(other)
        result[file] = found
    return result


def _imported(file: Path, package: Path) -> Iterator[Path]:
    """Files of the package that ``file`` names in its imports; a package stands for its ``__init__.py``."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            base = file.parents[node.level - 1]
        elif (node.module or "").split(".")[0] == package.name:
            base = package.parent
        else:
            continue
        base = base.joinpath(*(node.module or "").split(".")) if node.module else base
        for candidate in (base.with_suffix(".py"), base / "__init__.py", *(base / f"{a.name}.py" for a in node.names)):
            if candidate.is_file():
                yield candidate
