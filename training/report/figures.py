# SPDX-License-Identifier: Apache-2.0
"""matplotlib without a screen, and without what a ``matplotlibrc`` in the current folder or at home sets."""

from dinemo_ros.process.library_cache import set_cache

set_cache("MPLCONFIGDIR", "matplotlib", "matplotlib's lists of fonts")

import matplotlib  # noqa: E402  (which looks for its folder when it is imported)

matplotlib.use("Agg")
matplotlib.rcdefaults()

from matplotlib import pyplot as plt  # noqa: E402

__all__ = ["plt"]
