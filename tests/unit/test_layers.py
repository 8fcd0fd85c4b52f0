# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: commands are on top, and what they share with others lies below them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLI = "dinemo_ros.cli"


def imported(path: Path, package: str) -> Iterator[str]:
    """Full names of what a module of ``package`` imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[:1 - node.level or None] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def importers(folder: Path, package: str, other: str = CLI) -> list[str]:
    """Files below ``folder``, which is ``package``, that import anything of ``other``, the command line."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        here = ".".join([package, *path.relative_to(folder).parent.parts])
        if not here.startswith(other) and any(f"{name}.".startswith(f"{other}.") for name in imported(path, here)):
            found.append(path.relative_to(folder).as_posix())
    return found


def test_training_imports_no_command():
    assert importers(ROOT / "training", "training") == []


def test_nothing_else_of_the_package_imports_a_command():
    assert importers(ROOT / "src" / "dinemo_ros", "dinemo_ros") == []


@pytest.mark.parametrize(("package", "above"), [("gpu", "features"), ("gpu", "cuda"), ("features", "cuda")])
def test_network_and_solver_share_what_lies_below_them(package, above):
    """``cuda`` is on ``features``, both are on ``gpu``, also where something is imported late."""
    folder = ROOT / "src" / "dinemo_ros" / package
    assert importers(folder, f"dinemo_ros.{package}", f"dinemo_ros.{above}") == []


@pytest.mark.parametrize("line", [
    "import dinemo_ros.cli.main", "from dinemo_ros import cli", "from dinemo_ros.cli import options",
    "from .cli.options import number", "from . import cli", "def f():\n    from dinemo_ros.cli.main import main"])
def test_every_way_to_import_it_is_seen(tmp_path, line):
    (tmp_path / "module.py").write_text(line + "\n")
    assert importers(tmp_path, "dinemo_ros") == ["module.py"]
    (tmp_path / "module.py").write_text("from dinemo_ros.client import cli_words\n")
    assert importers(tmp_path, "dinemo_ros") == []
