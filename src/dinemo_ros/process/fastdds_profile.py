# SPDX-License-Identifier: Apache-2.0
"""Which environment variable names the Fast DDS profile (``config/fastdds.xml``) that lets large images through."""

from __future__ import annotations

import os

# Fast DDS 3 (Kilted and later) reads the first, Fast DDS 2 (Humble, Jazzy) the second; each warns about the other's.
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")


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
