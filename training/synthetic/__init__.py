# SPDX-License-Identifier: Apache-2.0
"""Rendered training pictures: shapes, skins, scenes, a rasteriser."""
