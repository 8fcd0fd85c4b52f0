# SPDX-License-Identifier: Apache-2.0
"""What each part of the bidirectional correspondence gives; see :mod:`training.ablation.__main__`."""
