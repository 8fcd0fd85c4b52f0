# SPDX-License-Identifier: Apache-2.0
"""The HTML report of a run folder: training data, pseudo-labels, course of the training, and errors of the bundle.

``report/index.html`` stands alone with the pictures beside it; nothing is loaded from anywhere else.
"""

from .report import write_report

__all__ = ["write_report"]
