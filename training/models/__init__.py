# SPDX-License-Identifier: Apache-2.0
"""What is trained: the student network, the neural mesh, the teachers, and the contrastive training itself."""
