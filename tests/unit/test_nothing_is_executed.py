# SPDX-License-Identifier: Apache-2.0
"""No file that is read is ever run: what could do that stands nowhere in the sources, found by their syntax."""

import ast
from pathlib import Path

import pytest
from shared_data import ROOT

SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "training").rglob("*.py"), *(ROOT / "launch").rglob("*.py"),
                  *(ROOT / "scripts").rglob("*.py")])
_BUILT_IN = {"eval", "exec", "compile", "__import__"}
_MODULES = {"marshal", "shelve", "dill", "cloudpickle", "joblib", "code"}
# Reads a list that stands beside it, before anything of the project is installed.
_PLAIN_YAML = {"scripts/audit.py"}
_METHODS = {("os", "system"), ("os", "popen"), ("yaml", "load"), ("yaml", "load_all"), ("yaml", "full_load"),
            ("yaml", "unsafe_load"), ("yaml", "safe_load"), ("subprocess", "getoutput"), ("pickle", "load")}
# A kernel cache of this user's own folder, which is checked before anything of it is read.
_PICKLES = {"src/dinemo_ros/solver/kernel_cache.py"}


def _faults(tree: ast.AST, own_pickles: bool) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = {alias.name.split(".")[0] for alias in node.names} if isinstance(node, ast.Import) else {
                (node.module or "").split(".")[0] if not node.level else ""}
            found += names & (_MODULES if own_pickles else _MODULES | {"pickle"})
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in _BUILT_IN:
            found.append(node.func.id)
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            name = node.func.value.id, node.func.attr
            if name in _METHODS:
                found.append(".".join(name))
            given = {word.arg: word.value for word in node.keywords}
            if name == ("torch", "load") and not _is(given.get("weights_only"), True):
                found.append("torch.load without weights_only=True")
            if name == ("np", "load") and not _is(given.get("allow_pickle"), False):
                found.append("np.load without allow_pickle=False")
        found += ["shell=True" for word in node.keywords if word.arg == "shell" and not _is(word.value, False)]
    return found


def _is(value: ast.expr | None, expected: bool) -> bool:
    return isinstance(value, ast.Constant) and value.value is expected


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sources(path):
    own_pickles = str(path.relative_to(ROOT)) in _PICKLES
    faults = _faults(ast.parse(Path(path).read_text(encoding="utf-8")), own_pickles)
    allowed = {"yaml.safe_load"} if str(path.relative_to(ROOT)) in _PLAIN_YAML else set()
    assert not set(faults) - allowed


@pytest.mark.parametrize("text", [
    "eval(x)", "exec(x)", "import pickle", "from pickle import loads", "import os\nos.system(x)",
    "yaml.load(x, Loader=y)",
    "yaml.safe_load(x)", "torch.load(x)", "torch.load(x, weights_only=False)", "np.load(x)", "run(x, shell=True)",
    "np.load(x, allow_pickle=True)", "import dill"])
def test_what_would_be_found(text):
    assert _faults(ast.parse(text), False)
