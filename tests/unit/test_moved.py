# SPDX-License-Identifier: Apache-2.0
"""Modules under the names that they had in version 0.1."""

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from dinemo_ros.moved import MOVED

WITHOUT_TORCH = sorted(name for name in MOVED if not name.startswith(("cuda.", "benchmark.", "features.")))


@pytest.mark.parametrize("name", WITHOUT_TORCH)
def test_an_old_name_is_found_with_a_warning(name):
    sys.modules.pop(f"dinemo_ros.{name}", None)
    today = f"dinemo_ros.{MOVED[name]}"
    with pytest.warns(DeprecationWarning, match=f"dinemo_ros.{name} is now {today}; the old name goes with"):
        old = importlib.import_module(f"dinemo_ros.{name}")
    now = importlib.import_module(today)
    names = [key for key in vars(now) if not key.startswith("_")]
    assert names and all(getattr(old, key) is getattr(now, key) for key in names)
    assert now.__spec__.name == today and now.__name__ == today, "the module of today stays what it is"


@pytest.mark.parametrize("name", sorted(MOVED))
def test_every_module_is_where_it_is_said_to_be(name):
    today = f"dinemo_ros.{MOVED[name]}"
    folder, _, leaf = today.rpartition(".")
    place = importlib.import_module(folder.replace("dinemo_ros.cuda", "dinemo_ros")).__path__[0]
    path = Path(place, *(["cuda"] if folder == "dinemo_ros.cuda" else []), leaf)
    assert path.is_dir() or path.with_suffix(".py").is_file()


def test_names_of_an_old_module():
    for name in ("bundle", "sources", "sources.folder"):
        sys.modules.pop(f"dinemo_ros.{name}", None)
    with pytest.warns(DeprecationWarning):
        from dinemo_ros.bundle import load_bundle
    with pytest.warns(DeprecationWarning):
        from dinemo_ros.sources.folder import CAMERA_FILE
    with pytest.warns(DeprecationWarning, match="dinemo_ros.camera.Camera is now dinemo_ros.camera.pinhole.Camera"):
        from dinemo_ros.camera import Camera
    from dinemo_ros.camera.pinhole import Camera as camera_of_today
    from dinemo_ros.io.sources.folder import CAMERA_FILE as file_of_today
    from dinemo_ros.model.bundle import load_bundle as loader_of_today

    assert (Camera, CAMERA_FILE, load_bundle) == (camera_of_today, file_of_today, loader_of_today)


@pytest.mark.parametrize("name", ["nothing", "camera_files", "sources_of_mine", "bundle.nothing"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_never_was_is_not_found(name):
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"dinemo_ros.{name}")
    assert find_spec("dinemo_ros.nothing") is None
