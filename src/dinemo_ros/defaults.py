# SPDX-License-Identifier: Apache-2.0
"""What is assumed where nobody says: by commands, by ``image_source_node`` and by training alike."""

from __future__ import annotations

import os

# Horizontal field of view where neither a calibration nor --hfov is given: the short telephoto that objects are
# portrayed with, tried on turntable sequences among 15, 25, 40 and 55 (a phone's main camera has 65).
# Orientation depends on it little, distance is proportional to 1 / tan(hfov / 2).
DEFAULT_HFOV_DEG = 25.0


def available_cpus() -> int:
    """CPUs this process may run on (fewer than the machine has, in a container or under taskset)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
