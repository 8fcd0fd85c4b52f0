# SPDX-License-Identifier: Apache-2.0
"""Category-level 6D object pose from neural meshes learnt without 3-D labels.

The runtime half. Nothing outside :mod:`dinemo_ros.node` imports ROS, nothing here imports torch.
"""

from .privacy import keep_private

keep_private()  # here, because whatever of this package comes next may import ONNX Runtime

__version__ = "0.1.0"
