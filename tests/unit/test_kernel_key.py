# SPDX-License-Identifier: Apache-2.0
"""What a compiled kernel is kept under: a changed constant, wherever it stands, is another kernel."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dinemo_ros import estimator  # noqa: F401  brings every kernel
from dinemo_ros.solver import jit, kernel_key

PACKAGE = kernel_key.PACKAGE
# One kernel whose answer tells a constant of another file: sliding_window.py scales evidence by UNIT of similarity.py.
_ASK = """\
import json, sys
import numpy as np
from dinemo_ros.detection import sliding_window as sliding
from dinemo_ros.solver.jit import progress
if len(sys.argv) > 1:
    sliding.UNIT = int(sys.argv[1])
evidence = np.zeros((1, 1, 1), np.uint8)
sliding.fill_evidence(np.full((1, 1, 1), 0.5, np.float32), np.zeros((1, 1), np.float32), evidence, 0, 0, 1)
print(json.dumps([int(evidence[0, 0, 0]), progress().compiled]))
"""


def ask(folder: Path, cache: Path, *patch: str, **environment: str) -> tuple[int, int]:
    """Evidence of similarity 0.5, and how many kernels were compiled for it, in a process with ``folder``'s sources."""
    done = subprocess.run([sys.executable, "-c", _ASK, *patch], text=True, timeout=120, capture_output=True, check=True,
                          env=os.environ | {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(cache), **environment})
    return tuple(json.loads(done.stdout))


@pytest.fixture
def copy(tmp_path):
    """The package once more, in a folder of its own."""
    shutil.copytree(PACKAGE, tmp_path / "copy" / "dinemo_ros", ignore=shutil.ignore_patterns("__pycache__", "*.nb?"))
    return tmp_path / "copy"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path} holds {old!r} {text.count(old)} times"
    path.write_text(text.replace(old, new))


def unit() -> int:
    from dinemo_ros.solver.similarity import UNIT

    return int(UNIT)


def test_a_constant_changed_in_an_imported_file_changes_the_answer(copy, tmp_path):
    cache, similarity = tmp_path / "cache", copy / "dinemo_ros" / "solver" / "similarity.py"
    before = round(0.5 * unit())
    assert ask(copy, cache) == (before, 1)
    assert ask(copy, cache) == (before, 0)
    (line,) = [line for line in similarity.read_text().splitlines() if line.startswith("UNIT = ")]
    edit(similarity, line, f"UNIT = {unit() // 2}")
    assert ask(copy, cache) == (round(0.5 * (unit() // 2)), 1)
    edit(similarity, f"UNIT = {unit() // 2}", line)
    assert ask(copy, cache) == (before, 0), "what was compiled for these sources is still there"
    with (copy / "dinemo_ros" / "geometry.py").open("a") as geometry:
        geometry.write("# the text counts, whether or not it matters\n")
    assert ask(copy, cache) == (before, 1)


def test_a_constant_that_differs_in_memory_is_no_kernel_of_the_sources(copy, tmp_path):
    """Byte code older than its source, a patched module: takes and leaves no kernel of the sources."""
    cache, patched = tmp_path / "cache", unit() // 2
    assert ask(copy, cache, str(patched)) == (round(0.5 * patched), 1)
    assert ask(copy, cache) == (round(0.5 * unit()), 1)
    assert ask(copy, cache, str(patched)) == (round(0.5 * patched), 0)


def test_the_same_sources_elsewhere_share_their_kernels(copy, tmp_path):
    """The venv's editable installation and colcon's copy."""
    cache, answer = tmp_path / "cache", round(0.5 * unit())
    assert ask(copy, cache) == (answer, 1)
    assert ask(copy.rename(tmp_path / "moved"), cache) == (answer, 0)


def test_several_processes_at_once_on_an_empty_cache(copy, tmp_path):
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", _ASK]
    environment = os.environ | {"PYTHONPATH": str(copy), "NUMBA_CACHE_DIR": str(cache)}
    several = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
               for _ in range(3)]
    for process in several:
        out, said = process.communicate(timeout=120)
        assert process.returncode == 0 and json.loads(out)[0] == round(0.5 * unit())
        assert "damaged" not in said and "cannot" not in said
    assert ask(copy, cache) == (round(0.5 * unit()), 0)
    assert len(list(cache.rglob("*.nbi"))) == len(list(cache.rglob("*.nbc"))) == 1 and not list(cache.rglob("*.part"))


def test_numbas_settings_that_change_machine_code_are_part_of_the_key(copy, tmp_path):
    assert ask(copy, tmp_path)[1] == 1
    assert ask(copy, tmp_path, NUMBA_OPT="1")[1] == 1
    assert ask(copy, tmp_path, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")[1] == 1
    assert ask(copy, tmp_path)[1] == 0


@pytest.mark.parametrize("name", ["sources", "numba", "llvmlite", "llvm", "numpy", "python", "cpu", "settings"])
def test_every_ingredient_counts(monkeypatch, name):
    before, others = kernel_key.folder_key(), dict(kernel_key.ingredients())
    monkeypatch.setattr(kernel_key, "ingredients", lambda: others | {name: others[name] + "."})
    assert kernel_key.folder_key() != before


def test_switched_off_they_are_the_functions_that_they_are(copy, tmp_path):
    assert ask(copy, tmp_path / "cache", NUMBA_DISABLE_JIT="1") == (round(0.5 * unit()), 0)
    assert not (tmp_path / "cache").exists()


class TestSources:
    def test_every_kernel_comes_from_a_file_that_counts(self):
        defined = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")
                   for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)
                   for decorator in node.decorator_list if ast.unparse(decorator).rpartition(".")[2] == "kernel"}
        assert len(defined) >= 12 and defined <= set(kernel_key.sources())
        assert len(jit.kernels()) == len(set(jit.kernels())) >= 36
        assert all(kernel._cache._enabled for kernel in jit._KERNELS)

    def test_they_are_all_that_the_parser_finds(self):
        """Import statements are found by a pattern, in a hundredth of the parser's time; nothing may escape it."""
        for name, content in kernel_key.sources().items():
            for other in parsed_imports(PACKAGE / name):
                assert other.relative_to(PACKAGE).as_posix() in kernel_key.sources(), f"{name} imports {other}"
            assert b"import dinemo_ros" not in content, "an import that the pattern does not know"

    def test_what_no_kernel_sees_does_not_count(self):
        """An edit of the node must not cost half a minute of compiling."""
        assert not [name for name in kernel_key.sources() if name.startswith(("node/", "cli/", "evaluation/"))]

    def test_a_new_kernel_and_what_it_imports_are_found(self, copy):
        package = copy / "dinemo_ros"
        (package / "node" / "numbers.py").write_text("LEVEL = 3.0\n")
        (package / "evaluation" / "deep").mkdir()
        (package / "evaluation" / "deep" / "new.py").write_text(
            "from ...node import (\n    numbers,\n)\nfrom ...solver import jit\n\n\n@jit.kernel\ndef f():\n"
            "    return numbers.LEVEL\n")
        found = kernel_key.sources.__wrapped__(package)
        assert {"evaluation/deep/new.py", "node/numbers.py"} <= set(found)


def parsed_imports(path: Path) -> set[Path]:
    """Files of the package from which the module at ``path`` takes names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("dinemo_ros")):
            folder = path.parents[node.level - 1] if node.level else PACKAGE.parent
            base = folder.joinpath(*(node.module or "").split("."))
            for place in (base, *(base / alias.name for alias in node.names)):
                found |= {file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()}
    return found


SCALE = 2.0
TABLE = np.arange(3.0)


def scaled(x):
    return SCALE * x


def looked_up(i):
    return TABLE[i] + scaled(i)


class TestFrozen:
    def digest(self) -> str:
        return kernel_key.frozen(looked_up)

    def test_it_is_the_same_for_the_same(self):
        assert self.digest() == self.digest()

    @pytest.mark.parametrize(("name", "value"), [
        ("TABLE", np.array([0.0, 1.0, 3.0])), ("TABLE", np.arange(3)), ("SCALE", 2.5), ("SCALE", 2),
        ("scaled", lambda x: SCALE + x)])
    def test_values_and_called_functions_count(self, monkeypatch, name, value):
        before = self.digest()
        monkeypatch.setitem(looked_up.__globals__, name, value)
        assert self.digest() != before

    def test_what_it_does_not_name_does_not_count(self, monkeypatch):
        before = self.digest()
        monkeypatch.setitem(looked_up.__globals__, "PACKAGE", Path("/elsewhere"))
        assert self.digest() == before

    def test_closures_and_defaults_count(self):
        def made(a, b=0.0):
            def kernel(x, scale=b):
                return a * x * scale

            return kernel_key.frozen(kernel)

        assert made(1.0) == made(1.0)
        assert len({made(1.0), made(2.0), made(1.0, 3.0)}) == 3
