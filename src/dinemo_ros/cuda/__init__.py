# SPDX-License-Identifier: Apache-2.0
"""The solver on a GPU: everything from feature map to refined poses stays on the device.

torch does the bookkeeping, Triton the loops that matter (``kernels.py``); every kernel has a readable twin in torch
(``twins.py``), which is also what runs where there is no GPU. Same method, same constants, same poses as the CPU's
solver. ``selection`` decides between the two and imports nothing heavy. Needs the extra ``gpu`` (torch).
"""
