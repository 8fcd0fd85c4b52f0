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


def pytest_addoption(parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out what slow_tests.txt lists, for daily work")


def pytest_collection_modifyitems(config, items) -> None:
    if not config.getoption("--fast"):
        return
    from fast_run import is_slow, slow_tests

    beginnings = slow_tests()
    left_out = [item for item in items if is_slow(item.nodeid, beginnings)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not is_slow(item.nodeid, beginnings)]
