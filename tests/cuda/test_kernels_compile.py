# SPDX-License-Identifier: Apache-2.0
"""The kernels compile to machine code for every GPU from Turing on, Jetsons included.

Triton's compiler needs no GPU for that. In processes of their own, two at a time: the interpreter of the other tests
replaces it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("triton", reason="triton is not installed")

from dinemo_ros.cuda.selection import remedy_for

#: Turing, A100, GeForce 30, Orin, Ada, Hopper, B200, B300, Thor, GeForce 50.
ARCHITECTURES = (75, 80, 86, 87, 89, 90, 100, 103, 110, 120)
_ROOT = Path(__file__).resolve().parents[2]
_SCRIPT = Path(__file__).with_name("compile_kernels.py")


def started(cache: Path, *architectures: int, **environment: str) -> subprocess.Popen:
    base = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    base |= {"PYTHONPATH": str(_ROOT / "src"), "TRITON_CACHE_DIR": str(cache)} | environment
    return subprocess.Popen([sys.executable, _SCRIPT, *map(str, architectures)], env=base, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finished(process: subprocess.Popen) -> list[dict]:
    out, problems = process.communicate(timeout=600)
    assert process.returncode == 0, problems[-2000:]
    return [json.loads(line) for line in out.splitlines() if line.startswith('{"arch"')]  # Triton prints, too


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> dict[int, dict]:
    """By architecture."""
    cache = tmp_path_factory.mktemp("triton")
    halves = [started(cache, *ARCHITECTURES[k::2]) for k in range(2)]
    return {line["arch"]: line for half in halves for line in finished(half)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_kernels_compile(compiled, architecture):
    found = compiled[architecture]
    if found["refused"]:
        assert architecture >= 100, "ptxas has known it for years"
        assert "TRITON_PTXAS_BLACKWELL_PATH" in found["refused"]
        pytest.skip(f"Triton's assembler does not know sm_{architecture}{found['refused']}")
    kernels = found["kernels"]
    assert len(kernels) == 8 and all(kernel["bytes"] > 500 for kernel in kernels.values())
    # Products of float32, not of the ten bits that tensor cores take.
    assert not [name for name, kernel in kernels.items() if kernel["tf32"]]
    # No number makes Triton compile again in operation, e.g. the size of another camera's images.
    assert not [name for name, kernel in kernels.items() if kernel["again"]]
    # A single warp's sums need no shared memory, so nobody waits there.
    assert kernels["_window_terms"]["barriers"] == 0 < kernels["_stepped"]["barriers"]


def test_an_assembler_that_does_not_know_the_gpu(tmp_path):
    """As Triton 3.6 on a Jetson Thor: the ptxas of CUDA 12.8, which Triton brings for older GPUs, in its place."""
    from triton import knobs

    if not hasattr(knobs.nvidia, "ptxas_blackwell"):
        pytest.skip("this Triton has one assembler for all")
    line, = finished(started(tmp_path, 110, TRITON_PTXAS_BLACKWELL_PATH=knobs.nvidia.ptxas.path,
                             TRITON_PTXAS_THOR_PATH=knobs.nvidia.ptxas.path))
    if not line["refused"]:
        pytest.skip("this Triton's other assembler knows Thor, or it does not read the variable")
    assert line["refused"] == remedy_for(RuntimeError("Value 'sm_110a' is not defined for option 'gpu-name'"))
    for part in ("sm_110a", "TRITON_PTXAS_BLACKWELL_PATH", "Triton 3.7", "ptxas"):
        assert part in line["refused"]


def test_the_variable_that_older_gpus_need():
    remedy = remedy_for(RuntimeError("ptxas fatal   : Value 'sm_88' is not defined for option 'gpu-name'"))
    assert "sm_88" in remedy and "TRITON_PTXAS_PATH" in remedy and "BLACKWELL" not in remedy
