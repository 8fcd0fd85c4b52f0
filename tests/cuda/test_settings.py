# SPDX-License-Identifier: Apache-2.0
"""Whether the tests' kernels are compiled or interpreted: what torch says counts, and it is asked before Triton is
imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
_ASK = ("import os, runpy, sys; runpy.run_path(sys.argv[1]); "
        "print(os.environ.get('TRITON_INTERPRET'), 'triton' in sys.modules)")


def asked(tmp_path, torch, **environment) -> list[str]:
    """The setting, and whether Triton was imported, with a module of this text as torch; None: there is none."""
    if torch is None:
        torch = "raise ModuleNotFoundError('no')"
    (tmp_path / "torch.py").write_text(torch)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    base = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    result = subprocess.run([sys.executable, "-c", _ASK, str(CONFTEST)], capture_output=True, text=True, timeout=120,
                            env=base | {"PYTHONPATH": str(tmp_path)} | environment)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.mark.parametrize("torch, setting", [
    ("class cuda: is_available = staticmethod(lambda: True)", "None"),
    ("class cuda: is_available = staticmethod(lambda: False)", "1"),
    ("raise OSError('libcudart.so.13: cannot open shared object file')", "1"), (None, "1")],
    ids=["CUDA", "no CUDA", "broken", "no torch"])
@pytest.mark.parametrize("path", ["with nvidia-smi", "without"])
def test_torch_decides(tmp_path, torch, setting, path):
    """Not nvidia-smi: containers lack it where CUDA works, and it says nothing of a torch that is for CPUs."""
    found = f"{tmp_path}{os.pathsep}{os.environ['PATH']}" if path == "with nvidia-smi" else "/nonexistent"
    assert asked(tmp_path, torch, PATH=found) == [setting, "False"]


def test_who_asks_for_the_interpreter_gets_it(tmp_path):
    cuda = "class cuda: is_available = staticmethod(lambda: True)"
    assert asked(tmp_path, cuda, TRITON_INTERPRET="1") == ["1", "False"]


def test_asking_torch_imports_no_triton():
    """The real one: where it did, the choice would come too late."""
    pytest.importorskip("torch", reason="torch is not installed")
    base = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    result = subprocess.run([sys.executable, "-c", _ASK, str(CONFTEST)], capture_output=True, text=True, timeout=300,
                            env=base)
    assert result.stdout.split()[1:] == ["False"], result.stderr
