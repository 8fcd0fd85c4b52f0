# SPDX-License-Identifier: Apache-2.0
"""Object-centric videos and turntables: aligned without pose labels, turned into posed templates."""
