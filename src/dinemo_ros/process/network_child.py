# SPDX-License-Identifier: Apache-2.0
"""Loads a network and runs it on sample pictures, with time and memory limited: the child of ``features/trial.py``.

Standard input: a line of JSON with ``pictures`` ([n, height, width] each), ``given`` (type and shape of the one input
of a network of another kind, or nothing), ``seconds`` and ``bytes``, then the pictures uint8 [n, height, width, 3],
that input, then the network. Standard output: a line of JSON with ``stage`` ("load", "run" or "done"),
``error`` and, of "run", ``shape``. No output is a child that was ended. It stands outside of :mod:`dinemo_ros.features`
to import little.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys

import numpy as np
import onnxruntime as ort

_WALL_FACTOR = 5  # of the computing time that is allowed, for machines with other things to do


def session_options(threads: int) -> ort.SessionOptions:
    """What every session of a stranger's network has, here and in operation."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # The card's hash vouches for one file: weights beside it, or in the folder one happens to stand in, are not read.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    options.log_severity_level = 4  # what is wrong is told by its exceptions, cut and escaped
    return options


def main() -> None:
    """Read the order and the network, run it, write the verdict; see the module for the form of each."""
    stream = sys.stdin.buffer
    order = json.loads(stream.readline())
    pictures = [np.frombuffer(stream.read(n * h * w * 3), np.uint8).reshape(n, h, w, 3)
                for n, h, w in order["pictures"]]
    given = [np.frombuffer(stream.read(np.dtype(kind).itemsize * int(np.prod(shape))), kind).reshape(shape)
             for kind, shape in order["given"]]
    model = stream.read()
    _limit(order["seconds"], order["bytes"])
    stage, shape = "load", ()
    try:
        session = ort.InferenceSession(model, session_options(1), providers=["CPUExecutionProvider"])
        stage = "run"
        # Another signature is told by whoever looks at that, in better words.
        inputs, outputs = ([tensor.name for tensor in side] for side in (session.get_inputs(), session.get_outputs()))
        if inputs == ["image"] and "features" in outputs:
            for picture in pictures:
                shape = picture.shape
                session.run(["features"], {"image": picture})
        elif len(inputs) == 1:
            for picture in given:
                shape = picture.shape
                session.run(None, {inputs[0]: picture})
        answer = {"stage": "done", "error": ""}
    except Exception as error:  # onnxruntime's errors have no common type
        answer = {"stage": stage, "error": str(error).split("\n")[0][:2000] or type(error).__name__, "shape": shape}
    print(json.dumps(answer), flush=True)
    os._exit(0)  # what ends with the process needs no clearing up


def _limit(seconds: int, size: int) -> None:
    """From here on: ``seconds`` of computing, ``size`` bytes more than now."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    ends = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (ends, ends + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(_WALL_FACTOR * seconds)  # waiting takes no computing time; the parent may be gone
    try:
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (now + size, now + size))


if __name__ == "__main__":
    main()
