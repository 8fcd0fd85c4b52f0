# SPDX-License-Identifier: Apache-2.0
"""The solver on a GPU: everything from feature map to refined poses stays on the device.

torch does the bookkeeping, Triton the four loops that matter (``kernels.py``); every kernel has a readable twin in
torch (``twins.py``), which is also what runs where there is no GPU. Same method, same constants as the CPU's solver;
two things differ because a device does not like to branch: the coarse search looks at all views with all their
vertices, and every start is polished instead of the best three. Needs the extra ``gpu`` (torch).
"""
