# SPDX-License-Identifier: Apache-2.0
"""What other libraries load again, as Triton its compiled kernels, lies in folders that nobody else can write to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_folder import ROOT
from strangers import ROOT_ONLY, given_away

from dinemo_ros.process.library_cache import set_cache


def set_triton_cache():
    return set_cache("TRITON_CACHE_DIR", "triton", "Triton's kernels")


@pytest.fixture
def place(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TRITON_CACHE_DIR", "")  # so that it is put back afterwards
    return tmp_path / "dinemo_ros" / "triton"


def test_it_is_the_users_own_folder(place, caplog):
    assert set_triton_cache() == place and place.is_dir() and os.environ["TRITON_CACHE_DIR"] == str(place)
    assert set_triton_cache() == place and not caplog.records


def test_or_what_the_user_names(place, monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "named"))
    assert set_triton_cache() == tmp_path / "named" and not place.exists()


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("foreign", [lambda path: path.chmod(0o777), lambda path: path.parent.chmod(0o777),
                                     pytest.param(given_away, marks=ROOT_ONLY)],
                         ids=["others may write", "others may write above", "foreign"])
def test_a_folder_that_others_write_to_is_not_used(place, monkeypatch, caplog, named, foreign):
    place.mkdir(parents=True)
    foreign(place)
    if named:
        monkeypatch.setenv("TRITON_CACHE_DIR", str(place))
    used = set_triton_cache()
    assert used != place and used.stat().st_mode & 0o777 == 0o700 and not os.listdir(used)
    (record,) = caplog.records
    assert str(place) in record.getMessage() and "TRITON_CACHE_DIR" in record.getMessage()
    assert set_triton_cache() == used  # and not another one for each estimator


@pytest.mark.parametrize("named", ["relative", ""])
def test_never_below_the_current_folder(monkeypatch, tmp_path, named):
    here = tmp_path / "data"
    here.mkdir()
    monkeypatch.chdir(here)
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, "relative")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("TRITON_CACHE_DIR", named)
    monkeypatch.setattr("tempfile.tempdir", None)
    assert set_triton_cache().is_relative_to(tmp_path) and Path(os.environ["TRITON_CACHE_DIR"]).is_absolute()
    assert not os.listdir(here)


def test_drawing_leaves_the_current_folder_alone_and_does_not_ask_it(tmp_path):
    """matplotlib reads ``matplotlibrc`` from there, and without a home keeps its lists below it."""
    pytest.importorskip("matplotlib", reason="training extra is not installed")
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nsavefig.dpi: 7\n")
    code = ("from dinemo_training.report.figures import plt; "
            "print(plt.rcParams['text.usetex'], plt.rcParams['savefig.dpi'])")
    left = {name: value for name, value in os.environ.items() if name not in ("XDG_CACHE_HOME", "MPLCONFIGDIR")}
    paths = os.pathsep.join(map(str, (ROOT / "src",)))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=120, capture_output=True, text=True,
                          env=left | {"HOME": "relative", "PYTHONPATH": paths})
    assert done.stdout == "False figure\n", done.stderr
    assert os.listdir(tmp_path) == ["matplotlibrc"]
