# SPDX-License-Identifier: Apache-2.0
"""A small bundle, and a stand-in for the CUDA driver where there is no GPU."""

import ctypes
import gc
import shutil
import subprocess
from pathlib import Path

import pytest
from painted_car import write_painted_bundle
from shared_data import ROOT

from dinemo_ros.gpu import cuda_driver
from dinemo_ros.model.bundle import load_bundle

SHIPPED = sorted(card.parent.name for card in (ROOT / "engines").glob("*/model.yaml"))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """The painted car's: one convolution, written without the onnx package."""
    return load_bundle(write_painted_bundle(tmp_path_factory.mktemp("painted") / "bundle"))


@pytest.fixture(scope="session")
def _driver(tmp_path_factory):
    compiler = shutil.which("cc") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C compiler for the stand-in of the CUDA driver")
    library = tmp_path_factory.mktemp("cuda") / "libcuda.so.1"
    source = Path(__file__).with_name("cuda_stand_in.c")
    subprocess.run([compiler, "-x", "c", "-shared", "-fPIC", "-Wall", "-Werror", source, "-o", library], check=True)
    return ctypes.CDLL(str(library))


@pytest.fixture
def driver(_driver, monkeypatch):
    """libcuda on host memory, in place of the machine's; everything must be freed at the end."""
    monkeypatch.setattr(cuda_driver, "_library", lambda: _driver)
    yield _driver
    gc.collect()
    assert _driver.stand_in_live() == 0, "memory, streams or contexts were not given back"
