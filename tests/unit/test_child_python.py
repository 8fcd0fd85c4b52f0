# SPDX-License-Identifier: Apache-2.0
"""A folder of data that somebody sent may hold modules; standing in it must not run them."""

import os
import subprocess
import sys

import pytest
from shared_data import ROOT

from dinemo_ros.process.child_python import python_command, python_environment


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """The current folder holds modules under names that ours import; whichever is run leaves a file."""
    for name in ("numpy", "yaml", "cv2", "rclpy", "argparse", "dinemo_training"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w').write({name!r})\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    return tmp_path / "sprung"


def run(command, environment) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


def test_the_trap_works(trap):
    run([sys.executable, "-m", "dinemo_ros.cli.main", "--version"], {**os.environ, "PYTHONSAFEPATH": ""})
    assert trap.exists()


@pytest.mark.parametrize("path", ["", ":", ".:", "{ours}:", "{ours}::.", "{here}:{ours}"])
def test_the_current_folder_is_not_imported_from(trap, monkeypatch, path):
    monkeypatch.setenv("PYTHONPATH", path.format(ours=ROOT / "src", here=trap.parent))
    words = run(python_command("dinemo_ros.cli.main", "--version"), python_environment())
    assert words.startswith("dinemo_ros 0."), words
    assert not trap.exists()


def test_nor_by_a_python_that_it_starts(trap, monkeypatch):
    if sys.version_info < (3, 11):
        pytest.skip("PYTHONSAFEPATH is of Python 3.11")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:")
    run([sys.executable, "-m", "dinemo_ros.cli.main", "--version"], python_environment())
    assert not trap.exists()


def test_it_runs_in_the_folder_of_our_own_sources(monkeypatch):
    monkeypatch.chdir(ROOT / "src")
    assert run(python_command("dinemo_ros.cli.main", "--version"), python_environment()).startswith("dinemo_ros 0.")


def test_the_demo_does_not_either(trap):
    """Its last line, as the script has it."""
    line = next(line for line in (ROOT / "scripts" / "demo.sh").read_text().splitlines() if line.startswith("exec "))
    command = line.removeprefix("exec ").replace('"$@"', "--help").replace("python ", f"{sys.executable} ", 1)
    words = run(["bash", "-c", command], {**os.environ, "PYTHONSAFEPATH": ""})
    assert "6D poses from a real ROS 2 node" in words, words
    assert not trap.exists()
