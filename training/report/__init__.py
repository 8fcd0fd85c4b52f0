# SPDX-License-Identifier: Apache-2.0
"""The HTML report of a run folder: what went in, what the labels look like, how training went, where the model fails.

``report/index.html`` stands alone with the pictures beside it; nothing is loaded from anywhere else.
"""

from .report import write_report

__all__ = ["write_report"]
