# SPDX-License-Identifier: Apache-2.0
"""Regions of interest: boxes in the image, and how the model finds its objects by itself."""
