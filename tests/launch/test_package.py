# SPDX-License-Identifier: Apache-2.0
"""Metadata and installed files: what colcon, rosdep and a robot rely on."""

import re
import runpy
from pathlib import Path

import pytest
import yaml
from ament_index_python.packages import get_package_prefix, get_package_share_path
from catkin_pkg.package import parse_package

import dinemo_ros

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def package():
    return parse_package(str(ROOT / "package.xml"))


def test_package_xml_is_valid(package):
    package.validate()
    assert package.package_format == 3 and package.name == "dinemo_ros"
    assert re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", package.maintainers[0].email)
    assert package.get_build_type() == "ament_python"
    files = {str(license): license.file for license in package.licenses}
    assert files == {"Apache-2.0": "LICENSE", "LicenseRef-dinemo-weights": "engines/WEIGHTS.md"}
    assert all((ROOT / file).is_file() for file in files.values())


def test_versions_agree(package, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = {}
    monkeypatch.setattr("setuptools.setup", lambda **given: arguments.update(given))
    runpy.run_path(str(ROOT / "setup.py"))
    assert package.version == arguments["version"] == dinemo_ros.__version__
    assert package.maintainers[0].email == arguments["maintainer_email"]
    assert "torch" not in " ".join(arguments["install_requires"])
    head = re.search(r"^(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.rst").read_text(), re.M)
    assert head and head[1] == package.version


def test_every_imported_ros_package_is_a_dependency(package):
    """Python imports of the node and the launch files against package.xml."""
    declared = {d.name for d in package.exec_depends} | {"dinemo_ros"}
    provided_by = {"tf2_ros": "tf2_ros_py"}  # the Python module has a package of its own
    ros_module = re.compile(r"^\s*(?:from|import) ((?:\w+_(?:msgs|interfaces|ros|index_python))|rclpy|launch)\b", re.M)
    for file in [*(ROOT / "src/dinemo_ros/node").glob("*.py"), *(ROOT / "launch").glob("*.py")]:
        for module in ros_module.findall(file.read_text()):
            assert provided_by.get(module, module) in declared, f"{file.name} imports {module}"


def test_what_is_installed():
    share, prefix = get_package_share_path("dinemo_ros"), Path(get_package_prefix("dinemo_ros"))
    for name in ("package.xml", "launch/pose.launch.py", "launch/demo.launch.py", "config/pose.yaml",
                 "config/fastdds.xml", "config/dinemo.rviz", "config/demo_sequence/ground_truth.json",
                 "config/demo_scene_cups/objects.json", "config/demo_scene_cups/000000/scene_support.json",
                 "config/demo_scene_cups/000000/depth/000011.png",
                 "engines/car/model.yaml", "engines/car/backbone.onnx", "engines/car/mesh.npz"):
        assert (share / name).is_file(), name
    for name in ("pose_node", "image_source_node"):
        assert (prefix / "lib/dinemo_ros" / name).is_file()


def test_runtime_does_not_import_torch_or_training():
    runtime = ROOT / "src/dinemo_ros"
    # Parts that are loaded only where somebody asks for torch, a GPU or the reference solver.
    with_torch = {"reference", "cuda", "gpu", "features/torch_graph.py", "features/torch_backend.py",
                  "cli/doctor_backends.py", "features/tensorrt_backend.py", "features/onnxruntime_backend.py",
                  "features/torch_order.py", "features/fallback.py", "features/flip_tta.py", "benchmark/gpu.py",
                  "benchmark/gpu_memory.py"}
    for file in runtime.rglob("*.py"):
        text, name = file.read_text(), file.relative_to(runtime)
        if str(name) != "cli/train.py":  # loads it once asked to
            assert not re.search(r"^\s*(?:from|import) dinemo_training\b", text, re.M), file
        if not with_torch & {str(name), name.parts[0]}:
            assert not re.search(r"^\s*(?:from|import) torch\b", text, re.M), file


def test_only_the_node_imports_ros():
    for file in (ROOT / "src/dinemo_ros").rglob("*.py"):
        if "node" not in file.parts:
            assert not re.search(r"^(?:from|import) (?:rclpy|\w+_msgs)\b", file.read_text(), re.M), file


def test_rviz_layout_shows_our_topics():
    displays = yaml.safe_load((ROOT / "config/dinemo.rviz").read_text())["Visualization Manager"]["Displays"]
    topics = {d["Class"].split("/")[1]: d["Topic"]["Value"] for d in displays if "Topic" in d}
    assert topics == {"Image": "overlay", "MarkerArray": "markers"}
