# SPDX-License-Identifier: Apache-2.0
"""Which environment variable names the Fast DDS profile (``config/fastdds.xml``) that lets large images through.

Its shared memory belongs to who publishes, and all of it is taken at the start. The pose node publishes nothing larger
than an overlay, so it takes ``config/fastdds_results.xml`` in its place: the same with a quarter of the memory.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# Fast DDS 3 (Kilted and later) reads the first, Fast DDS 2 (Humble, Jazzy) the second; each warns about the other's.
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")

_LARGE, _SMALL = "fastdds.xml", "fastdds_results.xml"
_LARGE_BYTES, _SMALL_BYTES = (f"<segment_size>{mib << 20}</segment_size>" for mib in (64, 16))


def profile_variable() -> str | None:
    """The variable that a launch file has to set; None where the user has chosen a profile.

    Kilted and later have a package ``fastdds``, Humble and Jazzy ``fastrtps``.
    """
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    if any(os.environ.get(name) for name in PROFILE_VARIABLES):
        return None
    try:
        get_package_share_directory("fastdds")
    except PackageNotFoundError:
        return PROFILE_VARIABLES[1]
    return PROFILE_VARIABLES[0]


def prefer_small_segment() -> None:
    """For a node that publishes no camera images, before rclpy begins: see the module.

    A profile of the user's, or one of ours that was edited, stays.
    """
    for variable in PROFILE_VARIABLES:
        chosen = Path(os.environ.get(variable) or os.devnull)
        small = chosen.with_name(_SMALL)
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if chosen.name == _LARGE and small.is_file():
                texts = [file.read_text(encoding="utf-8") for file in (chosen, small)]
                if texts[0].replace(_LARGE_BYTES, _SMALL_BYTES) == texts[1]:
                    os.environ[variable] = str(small)
