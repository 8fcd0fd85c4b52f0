# SPDX-License-Identifier: Apache-2.0
from ros_support.fixtures import demo_frames, make_probe, ros  # noqa: F401
