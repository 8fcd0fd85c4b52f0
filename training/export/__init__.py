# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to a bundle: ONNX, calibration, uncertainty."""
