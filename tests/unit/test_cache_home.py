# SPDX-License-Identifier: Apache-2.0
"""Where kernels and engines are kept: never in a folder that depends on where a program was started."""

import pwd
from pathlib import Path

import pytest

from dinemo_ros.cache_home import default_folder
from dinemo_ros.solver.kernel_cache import base_folder


def test_the_users_variable_is_honoured(monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/somewhere")
    assert base_folder() == Path("/somewhere/dinemo_ros/kernels")


def test_otherwise_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert base_folder() == tmp_path / "dinemo_ros" / "kernels"


@pytest.mark.parametrize("home", [None, "", "relative"])
@pytest.mark.parametrize("account", [True, False])
def test_without_a_home_it_is_absolute_all_the_same(monkeypatch, home, account):
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    if not account:
        monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])
    assert default_folder().is_absolute()
    assert default_folder().name.startswith("dinemo_ros")
