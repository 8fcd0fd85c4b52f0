# SPDX-License-Identifier: Apache-2.0
"""Settings that must stand before any test module is imported."""

import importlib.util
import os


def _cuda_is_there() -> bool:
    """As torch sees it: a container may have a GPU and no nvidia-smi, or nvidia-smi and a torch that is for CPUs."""
    if importlib.util.find_spec("torch") is None:
        return False
    try:
        import torch

        return torch.cuda.is_available()
    except Exception:  # a broken installation raises what it likes, and tests that need none shall run
        return False


# Triton chooses between compiler and interpreter when it is imported, which torch leaves to others.
if not _cuda_is_there():
    os.environ.setdefault("TRITON_INTERPRET", "1")
