# SPDX-License-Identifier: Apache-2.0
"""Names under which a device for the solver is asked for."""

#: Values of ``device``: auto takes a GPU where one can be used.
DEVICES = ("auto", "cpu", "cuda")

#: One more, for tests and for trying the GPU's code where there is none: its readable twins in torch on the CPU. Slow.
TWINS = "twins"
