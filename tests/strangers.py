# SPDX-License-Identifier: Apache-2.0
"""Files and links of another user, which only root can make."""

import os

import pytest

STRANGER = 12345
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")


def given_away(path):
    """``path``, not what it may link to, as another user's."""
    os.chown(path, STRANGER, STRANGER, follow_symlinks=False)
    return path
