# SPDX-License-Identifier: Apache-2.0
"""Whether there is an object at all where a pose was found: evidence, its weights in the bundle's card, and the floor.
"""
