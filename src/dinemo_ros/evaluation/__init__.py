# SPDX-License-Identifier: Apache-2.0
"""Measuring a bundle on annotated images: full turns around a car, and KITTI."""
