# SPDX-License-Identifier: Apache-2.0
"""Importing packages that need not be there, and may be there and broken."""

from __future__ import annotations

import importlib
from types import ModuleType

from ..errors import BackendError, NotInstalledError, told


def imported(module: str, purpose: str, remedy: str) -> ModuleType:
    """The module.

    Args:
        purpose: who needs it, in the plural: "networks in int8". remedy: what installs it.

    Raises:
        NotInstalledError: it is not there. BackendError: it is and cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:  # it is there, and something of its own is missing
            raise BackendError(f"{purpose} need {module}, which lacks {error.name}: {remedy}") from error
        raise NotInstalledError(f"{purpose} need {module}, which is not installed: {remedy}") from error
    except Exception as error:  # a shared library that is missing or too old raises what its loader likes
        raise BackendError(f"{purpose} need {module}, which cannot be imported ({told(error)}): {remedy}") from error
