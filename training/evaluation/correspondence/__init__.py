# SPDX-License-Identifier: Apache-2.0
"""How well features find the same point again, measured as the papers do: SPair-71k, PF-PASCAL, TAP-Vid, OnePose.

Readers of published layouts, the definitions of the measures, and the nearest neighbour in between. Nothing is trained.
"""
