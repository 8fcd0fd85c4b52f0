# SPDX-License-Identifier: Apache-2.0
"""Poses drawn over pictures."""
