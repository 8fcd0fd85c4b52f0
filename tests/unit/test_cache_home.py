# SPDX-License-Identifier: Apache-2.0
"""Where kernels and engines are kept: never in a folder that depends on where a program was started."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_folder import ROOT
from strangers import ROOT_ONLY, STRANGER

from dinemo_ros.errors import BackendError
from dinemo_ros.process.cache_home import default_folder, given_folder
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


@pytest.fixture
def homeless(monkeypatch):
    for name in ("XDG_CACHE_HOME", "HOME", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])


@pytest.mark.parametrize("temporary", [None, "", "relative", "/none/of/these"])
def test_without_any_home_it_is_never_below_the_current_folder(homeless, monkeypatch, tmp_path, temporary):
    """A folder of data that somebody has sent may hold a folder of that name."""
    monkeypatch.chdir(tmp_path)
    if temporary is not None:
        monkeypatch.setenv("TMPDIR", temporary)
    assert default_folder() == Path(f"/tmp/dinemo_ros-{os.geteuid()}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert default_folder() == tmp_path / f"dinemo_ros-{os.geteuid()}"


@pytest.mark.parametrize("home", ["/", "/home/robot"])
def test_folders_that_somebody_names(monkeypatch, tmp_path, home):
    monkeypatch.setenv("HOME", home)
    assert given_folder("~/engines") == Path(home) / "engines" and given_folder("~") == Path(home)
    assert given_folder("/some/engines") == Path("/some/engines")
    monkeypatch.chdir(tmp_path)
    assert given_folder("engines") == tmp_path / "engines" and given_folder("a~b/~") == tmp_path / "a~b" / "~"


@pytest.mark.parametrize("name", ["~", "~/engines", "~nobody_of_this_name/engines"])
def test_a_home_that_is_not_there_is_one_sentence(homeless, monkeypatch, name):
    with pytest.raises(BackendError, match=f"{name}: there is no home folder .* give an absolute path"):
        given_folder(name)
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(BackendError, match="give an absolute path"):
        given_folder(name)


def _kernels_of_a_start(folder: Path, **environment: str) -> str:
    """What is said while the solver's kernels are looked for by a process that stands in ``folder``."""
    code = ("from dinemo_ros.solver.kernel_cache import KERNEL_FOLDER; "
            "print(KERNEL_FOLDER.store is not None, KERNEL_FOLDER.folder)")
    left = {name: value for name, value in os.environ.items()
            if name not in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "TMPDIR")}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=left | {"PYTHONPATH": str(ROOT / "src")} |
                          environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("environment", [{"HOME": "relative", "XDG_CACHE_HOME": "relative"},
                                         {"NUMBA_CACHE_DIR": "relative"}])
def test_nothing_is_ever_made_below_the_current_folder(tmp_path, environment):
    said = _kernels_of_a_start(tmp_path, **{"TMPDIR": str(tmp_path / "temporary"), **environment})
    assert not os.listdir(tmp_path)
    if "NUMBA_CACHE_DIR" in environment:
        assert said.startswith("False") and "is no absolute path" in said and "NUMBA_CACHE_DIR names" in said


@ROOT_ONLY
def test_a_folder_made_beforehand_among_temporary_files_is_not_believed(tmp_path):
    """HOME=relative stands for an account without a home."""
    place = tmp_path / f"dinemo_ros-{os.geteuid()}"
    place.mkdir()
    tmp_path.chmod(0o1777)
    os.chown(place, STRANGER, STRANGER)
    said = _kernels_of_a_start(tmp_path, HOME="relative", TMPDIR=str(tmp_path))
    assert said.startswith("False") and f"lies in {place}, which belongs to another user ({STRANGER})" in said
    assert not os.listdir(place)
