# SPDX-License-Identifier: Apache-2.0
"""What each part of the bidirectional correspondence gives; see :mod:`dinemo_training.evaluation.ablation.__main__`."""
