# SPDX-License-Identifier: Apache-2.0
"""What training measures of itself: accuracy, baselines, ablations, scaling."""
