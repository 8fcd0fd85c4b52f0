# SPDX-License-Identifier: Apache-2.0
from ros_support.fixtures import demo_frames, make_probe, no_node_is_left, ros  # noqa: F401
