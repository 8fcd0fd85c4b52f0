# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of a mutant in a process of their own and says whether one of them noticed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

CPU_LIMIT_S = 90  # of processor time, which a busy machine does not change; the longest list of tests takes 40
_WALL_LIMIT_S = 900
_NO_TESTS, _USAGE = 5, 4  # of pytest's exit codes


class Verdict(NamedTuple):
    """outcome: killed, survived or timeout; by: the test that noticed, or how the process ended; seconds: in all."""

    outcome: str
    by: str
    seconds: float


def judged(root: Path, tests: Sequence[str], environment: dict[str, str]) -> Verdict:
    """The verdict of ``tests`` (arguments of pytest) in the tree ``root``; the first failure ends them.

    Raises RuntimeError where pytest found no tests or did not understand: that is no verdict.
    """
    limited = ["bash", "-c", f'ulimit -c 0; ulimit -St {CPU_LIMIT_S}; exec "$@"', "bash"]
    command = [*limited, sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests]
    begin = time.monotonic()
    process = subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace", start_new_session=True)
    try:
        output, _ = process.communicate(timeout=_WALL_LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Verdict("timeout", f"{_WALL_LIMIT_S} s", time.monotonic() - begin)
    seconds = time.monotonic() - begin
    code = process.returncode
    if code in (_NO_TESTS, _USAGE):
        raise RuntimeError(f"pytest {' '.join(tests)} ran no test:\n{output[-2000:]}")
    if code == 0:
        return Verdict("survived", "", seconds)
    if code == -signal.SIGXCPU:
        return Verdict("timeout", f"{CPU_LIMIT_S} s of processor time", seconds)
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    return Verdict("killed", found[1] if found else f"exit status {code}", seconds)

