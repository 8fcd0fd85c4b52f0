# SPDX-License-Identifier: Apache-2.0
"""No library writes an identifier or reports home: what commands write into a home of their own, and whom they call."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dinemo_ros.process import privacy

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "config" / "demo_sequence" / "000.jpg"
CACHES = (".cache/dinemo_ros/", ".cache/numba/")  # compiled code and engines, nothing else
STRACE = shutil.which("strace")


def alone(home):
    """The environment of somebody who has never run anything of this, and has switched nothing off."""
    kept = {name: value for name, value in os.environ.items()
            if name not in privacy._OPT_OUT and not name.startswith("XDG_") and name != "CI"}
    (home / "tmp").mkdir(parents=True)
    return kept | {"HOME": str(home), "TMPDIR": str(home / "tmp"),
                   "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}


def written(home):
    """Files below a home that are not in our own caches."""
    names = (path.relative_to(home).as_posix() for path in home.rglob("*") if not path.is_dir())
    return sorted(name for name in names if not name.startswith(CACHES))


def watched(home, *command):
    """Run it; the result, and every call of it and its children to something that is not this machine's own socket."""
    trace = home.parent / "trace"
    tracer = [STRACE, "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace)] if STRACE else []
    result = subprocess.run([*tracer, *map(str, command)], text=True, capture_output=True, env=alone(home), timeout=280)
    calls = trace.read_text().splitlines() if STRACE else []
    return result, [line for line in calls if re.search(r"\bAF_INET6?\b", line)]


@pytest.mark.parametrize("words", [["estimate", PICTURE], ["doctor"], ["estimate", PICTURE, "--backend", "openvino"]],
                         ids=["estimate", "doctor", "openvino"])
def test_a_command_leaves_nothing_and_calls_nobody(tmp_path, words):
    if "openvino" in words and importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    home = tmp_path / "home"
    result, calls = watched(home, sys.executable, "-m", "dinemo_ros.cli.main", *words)
    assert result.returncode == 0 or words == ["doctor"], result.stderr
    assert written(home) == []
    assert calls == []


def test_this_test_can_see(tmp_path):
    """The same watch over ONNX Runtime with its telemetry on: otherwise the test above would be worth nothing."""
    script = ("import socket, pathlib; pathlib.Path.home().joinpath('id').write_text('1'); "
              "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 9))")
    home = tmp_path / "home"
    calls = watched(home, sys.executable, "-c", script)[1]
    assert written(home) == ["id"]
    assert calls or not STRACE


@pytest.mark.parametrize("module", ["dinemo_ros.errors", "dinemo_training"])
def test_it_is_off_before_anything_is_imported(tmp_path, module):
    """Whoever imports any part of the package, as a program of one's own does."""
    script = f"import os, sys; import {module}; print(os.environ['ORT_DISABLE_TELEMETRY'], " \
             "os.environ['HF_HUB_DISABLE_TELEMETRY'], sys.modules['openvino_telemetry'], 'onnxruntime' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True, env=alone(tmp_path / "home"),
                         timeout=60, check=True)
    assert run.stdout.split() == ["1", "1", "None", "False"]


def test_what_a_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "")
    privacy.keep_private()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0" and os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
