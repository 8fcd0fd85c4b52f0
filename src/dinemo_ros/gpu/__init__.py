# SPDX-License-Identifier: Apache-2.0
"""What the network (``features``) and the solver (``cuda``) both need of a GPU: driver, CUDA graphs, no TF32."""
