# SPDX-License-Identifier: Apache-2.0
"""Where the small videos of the tests lie; ``make.sh`` there makes them anew."""

from pathlib import Path

VIDEOS = Path(__file__).parent / "data" / "videos"
