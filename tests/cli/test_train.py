# SPDX-License-Identifier: Apache-2.0
"""``dinemo train`` as a user meets it: its help without torch, and one clear line where something is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dinemo_ros.train_stages import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
HIDE_TORCH = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in {hidden!r} else found(name, *rest)
from dinemo_ros.cli.main import main
sys.exit(main({words!r}))
"""


def dinemo(*words, hidden=()):
    """Run ``dinemo train`` in a Python that does not find the packages in ``hidden``."""
    return subprocess.run([sys.executable, "-c", HIDE_TORCH.format(hidden=set(hidden), words=["train", *words])],
                          text=True, timeout=120, capture_output=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT / "src")})


def test_help_lists_every_stage_and_needs_no_torch():
    result = dinemo("--help", hidden=("torch", "dinemo_training"))
    assert result.returncode == 0 and result.stdout.startswith("usage: dinemo train")
    assert all(f"  {name}" in result.stdout for name in FAMILIES)


@pytest.mark.parametrize(("hidden", "says"), [
    (("torch", "timm"), ("training needs ", "torch, ", "timm, ", "not installed in this Python", "setup.sh --train")),
    (("dinemo_training",), ("the training half is not here: run from the source tree",)),
])
def test_a_robot_is_told_what_to_install(hidden, says):
    result = dinemo("--category", "mug", hidden=hidden)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert all(part in result.stderr for part in says)


def test_a_stage_that_does_not_exist_is_wrong_usage():
    result = dinemo("bake")
    assert result.returncode == 2 and "'bake' is no stage; there are shape, photographs" in result.stderr
