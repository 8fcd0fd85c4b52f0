# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 side: the only modules that import rclpy. Everything they do with pixels and poses is done elsewhere."""
