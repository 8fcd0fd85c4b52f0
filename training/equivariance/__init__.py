# SPDX-License-Identifier: Apache-2.0
"""Multiview-equivariance fine-tuning of a vision transformer (3DCorrEnhance, You et al., ICLR 2025, arXiv 2411.19458).

Two pictures of one object from two directions show many of the same surface points. A teacher is tuned until those
points are each other's nearest neighbours: LoRA on the last blocks and one convolution learn, the rest stays.
"""
