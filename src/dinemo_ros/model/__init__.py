# SPDX-License-Identifier: Apache-2.0
"""What a bundle holds: its card, the neural mesh, the symmetry of its category."""
