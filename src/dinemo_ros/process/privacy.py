# SPDX-License-Identifier: Apache-2.0
"""Libraries that would report home, or give this machine a number of its own, are told not to.

Seen with ``strace``: ONNX Runtime 1.32 writes ``~/.cache/Microsoft/DeveloperTools/.onnxruntime/deviceid`` and uploads
from Linux, too; ``import openvino`` writes ``~/intel/openvino_ga_cid`` and calls Google Analytics.
"""

from __future__ import annotations

import os
import sys

# Read when the library is loaded or first used; child processes inherit them. What a user has set stays.
_OPT_OUT = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime; its disable_telemetry_events() comes after the identifier is written
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, by which training fetches pretrained weights
    "DO_NOT_TRACK": "1",  # what several tools agreed on, huggingface_hub among them
}
# OpenVINO knows no variable. It does without this package where that cannot be imported, as its own code foresees.
_BLOCKED = "openvino_telemetry"


def keep_private() -> None:
    """Switch off what is known; before any of these libraries is imported, so the package does it when it is."""
    for name, value in _OPT_OUT.items():
        if not os.environ.get(name):
            os.environ[name] = value
    sys.modules.setdefault(_BLOCKED, None)  # type: ignore[arg-type]  # None keeps it from being imported
