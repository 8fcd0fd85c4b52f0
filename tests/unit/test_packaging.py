# SPDX-License-Identifier: Apache-2.0
"""What pip, colcon and a source archive make of the tree: both packages, their data, and no other name at the top.

``src/dinemo_training`` is a link to ``training/``; every way of installing has to follow it, and one that cannot has to
say so. Everything is built in a folder of its own, from small stand-ins of the networks, without an index of packages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from shared_data import ROOT

from dinemo_ros.model import bundle_search

NEEDED = ("setup.py", "setup.cfg", "pyproject.toml", "package.xml", "LICENSE", "README.md")
FOLDERS = ("src", "training", "resource", "config", "launch", "engines", "examples")
NETWORKS = "*.onnx"  # 50 MB that packing would only carry about
LIBRARY = {"dinemo_ros", "dinemo_training"}
DATA = {"dinemo_ros/py.typed", "dinemo_training/report/page.html",
        *(f"dinemo_training/configs/{name}.yaml" for name in (
            "car", "bottle", "cup", "chair", "vessels/cup", "vessels/bottle", "fleets/car"))}
SHARE = {"package.xml", "config/pose.yaml", "config/fastdds.xml", "launch/pose.launch.py", "examples/grasp_once.py",
         "examples/moveit_pick.py", "examples/README.md", "launch/demo.launch.py",
         *(f"engines/{name}/model.yaml" for name in ("car", "bottle", "cup", "chair"))}


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A checkout without history, tests and networks; links stay links."""
    to = tmp_path_factory.mktemp("packaging") / "tree"
    to.mkdir()
    for name in NEEDED:
        shutil.copy2(ROOT / name, to)
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info", NETWORKS)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, to / name, symlinks=True, ignore=left_out)
    return to


def run(folder: Path, *command: str) -> subprocess.CompletedProcess:
    """Python in ``folder``, with the interpreter of the tests and no path of theirs."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "AMENT_PREFIX_PATH")}
    return subprocess.run([sys.executable, *command], cwd=folder, env=clean, capture_output=True,
                          text=True, timeout=120)


def built(folder: Path, *command: str) -> None:
    done = run(folder, *command)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def wheel_of(folder: Path, to: Path) -> set[str]:
    """Names of the files in the wheel that pip builds of ``folder``."""
    built(folder, "-m", "pip", "wheel", "-q", "--no-index", "--no-deps", "--no-build-isolation", "-w", str(to), ".")
    with zipfile.ZipFile(next(to.glob("*.whl"))) as wheel:
        return set(wheel.namelist())


def copied(tree: Path, to: Path) -> Path:
    return Path(shutil.copytree(tree, to / "tree", symlinks=True))


@pytest.fixture(scope="module")
def wheel(tree, tmp_path_factory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    return wheel_of(copied(tree, folder), folder / "out")


def test_a_wheel_has_two_names_at_the_top(wheel):
    """Both packages; nothing called "training", which could be anybody's."""
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.startswith("dinemo_ros-")} == LIBRARY
    assert not any("__pycache__" in name or name.endswith(".pyc") for name in wheel)


def test_a_wheel_has_every_module_and_its_data(wheel, tree):
    folders = {"dinemo_ros": tree / "src/dinemo_ros", "dinemo_training": tree / "training"}
    modules = {f"{package}/{file.relative_to(folder)}" for package, folder in folders.items()
               for file in folder.rglob("*.py")}
    assert len(modules) > 300 and modules <= wheel, sorted(modules - wheel)
    assert DATA <= wheel
    share = {name.split("/data/share/dinemo_ros/")[1] for name in wheel if "/data/share/dinemo_ros/" in name}
    assert SHARE <= share, SHARE - share
    sources = {str(file.relative_to(tree)) for folder in ("engines", "config", "launch", "examples")
               for file in (tree / folder).rglob("*") if file.is_file()}
    assert share == sources | {"package.xml"}


def test_a_source_archive_makes_the_same_wheel(wheel, tree, tmp_path):
    """The archive has files in the place of the link, so that it builds where links are unknown."""
    source = copied(tree, tmp_path)
    built(source, "setup.py", "-q", "sdist", "-d", str(tmp_path / "dist"))
    with tarfile.open(next((tmp_path / "dist").glob("*.tar.gz"))) as archive:
        assert not [member.name for member in archive if member.issym() or member.islnk()]
        archive.extractall(tmp_path / "unpacked")  # our own; filters came with 3.11.4
    again = wheel_of(next((tmp_path / "unpacked").iterdir()), tmp_path / "out")
    assert Counter(again) == Counter(wheel)


def test_what_colcon_calls_installs_the_same(wheel, tree, tmp_path):
    """colcon runs setup.py install; with a new setuptools for --symlink-install as well."""
    source, prefix = copied(tree, tmp_path), tmp_path / "install"
    built(source, "setup.py", "-q", "install", "--prefix", str(prefix), "--record", str(tmp_path / "record"),
          "--single-version-externally-managed")
    site = next(prefix.glob("lib/python3*/site-packages"))
    assert {entry.name for entry in site.iterdir() if "egg-info" not in entry.name} == LIBRARY
    assert DATA <= {str(file.relative_to(site)) for file in site.rglob("*")}
    executables = {file.name for file in (prefix / "lib/dinemo_ros").iterdir()}
    assert executables == {"pose_node", "image_source_node", "scene_node", "rviz_view", "yolo_boxes", "dinemo"}
    assert all(os.access(file, os.X_OK) for file in (prefix / "lib/dinemo_ros").iterdir())
    done = run(tmp_path, "-c", f"import sys; sys.path.insert(0, {str(site)!r}); import dinemo_training, dinemo_ros; "
               "from dinemo_ros import find_bundle; print(find_bundle('car')); print(dinemo_training.__file__)")
    assert done.stdout.split() == [str(prefix / "share/dinemo_ros/engines/car"),
                                   str(site / "dinemo_training/__init__.py")], done.stderr


@pytest.mark.parametrize("instead", ["a file", "nothing", "an empty folder"])
def test_a_checkout_without_links_is_told(tree, tmp_path, instead):
    """Git without symbolic links writes a text file; half a package would be installed without a word."""
    source = copied(tree, tmp_path)
    link = source / "src/dinemo_training"
    link.unlink()
    if instead == "a file":
        link.write_text("../training", encoding="utf-8")
    elif instead == "an empty folder":
        link.mkdir()
    done = run(source, "setup.py", "--version")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "src/dinemo_training is no link to training/" in done.stderr and "core.symlinks=true" in done.stderr


def test_a_copy_in_the_place_of_the_link_will_do(tree, tmp_path):
    source = copied(tree, tmp_path)
    (source / "src/dinemo_training").unlink()
    shutil.copytree(source / "training", source / "src/dinemo_training")
    done = run(source, "setup.py", "--version")
    assert done.returncode == 0, done.stderr


def test_git_and_its_archives_keep_the_link():
    if not (ROOT / ".git").exists():
        pytest.skip("no history here: this is an archive itself")
    mode = subprocess.run(["git", "ls-files", "-s", "src/dinemo_training"], cwd=ROOT, capture_output=True, text=True,
                          check=True).stdout.split()[0]
    assert mode == "120000"  # a link, and what git clone and git archive write
    assert os.readlink(ROOT / "src/dinemo_training") == "../training"


@pytest.mark.parametrize("site", ["usr/local/lib/python3.10/dist-packages", "me/.local/lib/python3.11/site-packages"])
def test_bundles_are_found_beside_the_libraries(site, tmp_path, monkeypatch):
    """pip install --user, and pip as root on Debian and Ubuntu, install outside of sys.prefix."""
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    module = tmp_path / site / "dinemo_ros/model/bundle_search.py"
    card = tmp_path / site / "../../../share/dinemo_ros/engines/teapot/model.yaml"
    for file in (module, card.resolve()):
        file.parent.mkdir(parents=True)
        file.write_text("", encoding="utf-8")
    monkeypatch.setattr(bundle_search, "__file__", str(module))
    assert bundle_search.find_bundle("teapot") == card.resolve().parent
