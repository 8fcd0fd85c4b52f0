# SPDX-License-Identifier: Apache-2.0
"""Cameras: projection, lens distortion, calibrations as files and messages, crops as virtual cameras."""
