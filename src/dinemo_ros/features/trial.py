# SPDX-License-Identifier: Apache-2.0
"""A stranger's network is loaded and run in a process of its own first, which has an end.

What is constant in a network is computed while it loads, and a few hundred bytes can ask for terabytes or for years:
neither ONNX Runtime nor this process could stop that. Networks of installed bundles are as trusted as this package.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..errors import BundleError
from ..io.bounded_file import size_in_words
from ..io.quoting import shown
from ..process.child_python import python_command, python_environment
from .onnx_file import check_onnx

#: Seconds of computing for loading and two pictures; the shipped networks take 0.3 on a slow core.
SECONDS = 10
#: Bytes beyond six times the file; the shipped networks take 200 MB.
MEMORY = 1 << 30
_PARENT_S = 90.0  # the child ends itself before
_NO_MEMORY = ("bad_alloc", "allocate memory", "memoryerror", "unable to allocate", "bad allocation", "out of memory")


def try_network(model: bytes, pictures: Sequence[np.ndarray], given: np.ndarray | None = None) -> str:
    """Load ``model`` and run it on ``pictures`` uint8 [N, H, W, 3] in a process with limits; once for equal ones.

    given: what a network that is no bundle's takes as its one input, of whatever type and shape.

    Returns:
        What ONNX Runtime says against running it, "" if it runs.

    Raises:
        BundleError: it is no plain network, cannot be loaded, or needs too much; without the path.
    """
    check_onnx(model)
    return _tried(_Order(model, pictures, given))


class _Order:
    """What is tried, equal where the bytes are."""

    def __init__(self, model: bytes, pictures: Sequence[np.ndarray], given: np.ndarray | None) -> None:
        inputs = [] if given is None else [given]
        head = {"pictures": [picture.shape[:3] for picture in pictures],
                "given": [(array.dtype.name, array.shape) for array in inputs],
                "seconds": SECONDS, "bytes": MEMORY + 6 * len(model)}
        self._parts = [json.dumps(head).encode() + b"\n",
                       *(np.ascontiguousarray(array).tobytes() for array in (*pictures, *inputs)), model]
        digest = hashlib.sha256()
        for part in self._parts:
            digest.update(part)
        self._digest = digest.digest()

    def taken(self) -> bytes:
        """What the child reads; once, so that what is remembered does not hold the network."""
        data = b"".join(self._parts)
        self._parts = []
        return data

    def __hash__(self) -> int:
        return hash(self._digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Order) and self._digest == other._digest


@lru_cache(maxsize=32)
def _tried(order: _Order) -> str:
    try:
        done = subprocess.run(python_command("dinemo_ros.process.network_child"), input=order.taken(),
                              env=python_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              timeout=_PARENT_S)
        code = done.returncode
    except subprocess.TimeoutExpired:
        code = -signal.SIGALRM
    except OSError as error:
        raise BundleError(f"cannot be tried, because no process can be started for that ({error.strerror})") from error
    if code:
        raise BundleError(_ended(code))
    answer = json.loads(done.stdout.splitlines()[-1])
    reason = shown(answer["error"], 300)
    if any(word in reason.lower() for word in _NO_MEMORY):
        raise BundleError(f"needs more than {size_in_words(MEMORY)} of memory for one picture, or to be loaded "
                          f"({reason}); make a smaller one")
    if answer["stage"] == "load":
        raise BundleError(f"ONNX Runtime cannot load it ({reason})")
    if answer["stage"] == "run":
        return f"ONNX Runtime cannot run the network on pictures {answer['shape']} ({reason})"
    return ""


def _ended(code: int) -> str:
    if -code in (signal.SIGXCPU, signal.SIGALRM):
        return f"takes more than {SECONDS} s of computing for one picture, or to be loaded; make a smaller one"
    if code < 0:
        return f"ends ONNX Runtime with signal {-code} where it is tried; export it again"
    return f"cannot be tried, its process ends with {code} and says nothing; is ONNX Runtime installed as it should be?"
