# SPDX-License-Identifier: Apache-2.0
"""Offline half: from unlabelled photographs and a rough shape to a bundle for the runtime.

``dinemo train`` runs it all (:mod:`dinemo_training.run.main`); ``training/docs`` tells how the parts work. Nothing in
the runtime imports this package.
"""

import dinemo_ros  # noqa: F401  (modules here import ONNX Runtime first, and it is to keep quiet before)
