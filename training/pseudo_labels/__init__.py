# SPDX-License-Identifier: Apache-2.0
"""Poses for unlabelled photographs: correspondence, fit, consistency checks (DINeMo, arXiv 2503.20220)."""
