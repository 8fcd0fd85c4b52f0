# SPDX-License-Identifier: Apache-2.0
"""What is trained on: photographs, crops with poses, augmentation, negatives, cached features."""
