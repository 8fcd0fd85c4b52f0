# SPDX-License-Identifier: Apache-2.0
"""The measurement of starts and of memory runs and says what it measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def test_one_start_three_cycles_and_two_rests():
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run([sys.executable, TESTS / "benchmarks" / "node_start.py", "--starts", "1", "--cycles", "3",
                          "--rests", "2"], capture_output=True, text=True, timeout=180,
                         env=os.environ | {"PYTHONPATH": path})
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["starts"]["n"] == 1 and result["memory"]["cycles"] == 3
    assert 0.5 < result["starts"]["cpu_median_s"] and result["starts"]["median_s"] < 60
    assert 100 < result["memory"]["mb_last"] < 800
    assert result["rest"]["n"] == 2 and 0 < result["rest"]["wake_median_s"] < 60
    assert result["rest"]["mb_given_back_median"] > 30, "the model and its network are not held any more"
