# SPDX-License-Identifier: Apache-2.0
"""matplotlib without a screen, and without what a ``matplotlibrc`` in the current folder or at home sets."""

from dinemo_ros.process.current_folder import elsewhere
from dinemo_ros.process.library_cache import set_cache

set_cache("MPLCONFIGDIR", "matplotlib", "matplotlib's lists of fonts")

with elsewhere():
    import matplotlib  # which looks for its folder and its settings when it is imported

matplotlib.use("Agg")
matplotlib.rcdefaults()

from matplotlib import pyplot as plt  # noqa: E402

__all__ = ["plt"]
