# SPDX-License-Identifier: Apache-2.0
"""The package says that it is typed (py.typed): mypy agrees, with what pyproject.toml leaves out named there."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from shared_data import ROOT

pytestmark = pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed (scripts/setup.sh --test)")


def mypy(tmp_path, *files: str) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MYPYPATH")}
    return subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), *files], cwd=ROOT,
                          env=environment, capture_output=True, text=True, check=False)


def test_types_of_the_package(tmp_path):
    done = mypy(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_type_is_noticed(tmp_path):
    """The settings leave out so much that this has to be seen."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from dinemo_ros.io.orientation import orientation_of\n\n"
                     "def f() -> None:\n    orientation_of(3)\n")
    done = mypy(tmp_path, str(wrong))
    assert done.returncode == 1 and "arg-type" in done.stdout, done.stdout + done.stderr
