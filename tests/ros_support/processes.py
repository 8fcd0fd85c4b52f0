# SPDX-License-Identifier: Apache-2.0
"""Starts nodes the way a launch system does and ends them the way Ctrl-C does."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix


def executable(name: str) -> str:
    """Path of an installed executable of this package."""
    try:
        return str(Path(get_package_prefix("dinemo_ros")) / "lib" / "dinemo_ros" / name)
    except PackageNotFoundError as error:
        raise RuntimeError("dinemo_ros is not installed: run scripts/test.sh, or colcon build and source it") from error


#: Every process of this run, for whoever tidies up after a test that failed.
STARTED: list[NodeProcess] = []


class NodeProcess:
    """A node in a process of its own, its output in a file."""

    def __init__(self, command: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self._log = log
        with log.open("w") as file:
            # A session of its own, and SIGINT as it is by default: a background job would have it ignored.
            self.process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=env or dict(os.environ), start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
        STARTED.append(self)

    @property
    def output(self) -> str:
        return self._log.read_text()

    def wait_for_output(self, words: str, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while words not in self.output:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.output}"
            assert time.monotonic() < deadline, f"{words!r} did not appear in {timeout_s} s:\n{self.output}"
            time.sleep(0.05)

    def interrupt(self, timeout_s: float = 15.0) -> int:
        """SIGINT; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@contextmanager
def running_node(folder: Path, namespace: str, **parameters) -> Iterator[NodeProcess]:
    """An active pose node; it must end well at the end, without a traceback in all that it wrote."""
    node = start_node("pose_node", folder / "log", namespace, **parameters)
    node.wait_for_output("active: images from")
    yield node
    assert node.interrupt() == 0, node.output
    assert "Traceback" not in node.output


def start_node(name: str, log: Path, namespace: str = "", **parameters) -> NodeProcess:
    """An executable of this package with parameters from the command line."""
    command = [executable(name), "--ros-args"] + (["-r", f"__ns:={namespace}"] if namespace else [])
    for key, value in parameters.items():
        written = str(value).lower() if isinstance(value, bool) else f"'{value}'" if isinstance(value, str) else value
        command += ["-p", f"{key}:={written}"]
    return NodeProcess(command, log)
