# SPDX-License-Identifier: Apache-2.0
"""The launch files, unmodified: resolved, checked, and their processes started for real."""

import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from ros_support.launch_stand_in import Launch
from ros_support.processes import NodeProcess

from dinemo_ros.node import launch_arguments, parameters

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "launch").glob("*.launch.py"))


@pytest.fixture
def started(tmp_path):
    """Starts a resolved launch file; everything is interrupted at the end and must end with 0."""
    processes: list[NodeProcess] = []

    def start(launch: Launch) -> list[NodeProcess]:
        for index, (command, env) in enumerate(launch.commands(tmp_path)):
            processes.append(NodeProcess(command, tmp_path / f"{index}.log", env))
        return processes

    yield start
    codes = [process.interrupt() for process in processes]
    assert not any(codes), [process.output for process in processes]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_every_argument_is_described(file):
    launch = Launch(file)
    for argument in launch.arguments.values():
        assert argument.description and argument.description.endswith(".")
        if argument.default_value in ("true", "false"):
            assert argument.choices == ["true", "false", "True", "False"]
    assert {"namespace", "rviz", "params_file", "use_sim_time"} <= set(launch.arguments)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_every_parameter_is_an_argument(file, tmp_path):
    """With its own default and choices, and what is given reaches the node in its type."""
    launch = Launch(file)
    for p in parameters.POSE_NODE:
        given = launch.arguments[p.name]
        assert type(p.default)(yaml.safe_load(given.default_value or '""')) == p.default, p.name
        assert not p.choices or given.choices == list(p.choices)
        assert p.description in given.description
    others = {a.name for a in launch.arguments.values()} - {p.name for p in parameters.POSE_NODE}
    assert len(launch.arguments) == len(others) + len(parameters.POSE_NODE), "a name has two meanings"
    chosen = {"tracking": "True", "min_score": "0", "max_objects": "3", "child_frame_prefix": "2", "rois": "proposals",
              "use_sim_time": "true", "categories": "[cup, 'bottle']", "class_map": "41=cup, 39=bottle"}
    assert passed(Launch(file, rviz="false", **chosen), tmp_path).items() >= {
        "tracking": True, "min_score": 0.0, "max_objects": 3, "child_frame_prefix": "2", "rois": "proposals",
        "use_sim_time": True, "publish_tf": True, "categories": ["cup", "bottle"],
        "class_map": ["41=cup", "39=bottle"], "bundles": [""]}.items()


@pytest.mark.parametrize(("text", "entries"), [
    ("cup", ["cup"]), (" cup , bottle ", ["cup", "bottle"]), ("'cup','bottle'", ["cup", "bottle"]),
    ("[cup,bottle]", ["cup", "bottle"]), ("['a, b=cup', \"it's=bottle\"]", ["a, b=cup", "it's=bottle"]),
    ("[41, yes]", ["41", "yes"]), ("[]", [""]), ("", [""]), ("[a[0]=cup]", None), ("[cup, bottle", None),
    ("[cup] bottle", None), ("[{a: b}]", None), ("[[cup]]", None), ("[cup]\n---\n[cup]", None)])
def test_a_list_as_an_argument(text, entries):
    """Whatever YAML makes of a word, an entry is the text that was written."""
    if entries is None:
        with pytest.raises(parameters.ParameterError, match=r"argument categories:=.* must be a list like cup,bottle"):
            launch_arguments.values({"categories": text})
    else:
        assert launch_arguments.values({"categories": text}) == {"categories": entries}


def passed(launch: Launch, folder: Path) -> dict:
    """The parameters that the pose node is started with, without those of a file."""
    index = [node.executable for node in launch.nodes].index("pose_node")
    command, _ = launch.commands(folder)[index]
    content = yaml.safe_load(Path(command[command.index("--params-file") + 1]).read_text())
    (block,) = content.values()
    return block["ros__parameters"]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_an_argument_that_is_none_is_told(file):
    """ros2 launch takes it in silence: the launch ends before a node is started."""
    with pytest.raises(RuntimeError, match=rf"{file.name} has no argument 'min_scroe' \(is min_score meant\?\): ros2"):
        Launch(file, min_scroe="0.3")
    Launch(file, included=True, something_of_the_robot="1")  # of the file that includes this one


@pytest.mark.parametrize(("name", "value", "words"), [
    ("threads", "many", "threads:='many' must be an integer"),
    ("min_score", "high", "min_score:='high' must be a number"),
    ("default_hfov_deg", "0.5", "'default_hfov_deg' is 0.5; allowed: 0 or 1 to 170")])
def test_a_value_that_is_none_is_told(name, value, words):
    with pytest.raises(parameters.ParameterError, match=re.escape(words)):
        Launch(ROOT / "launch/pose.launch.py", **{name: value})


def test_what_a_file_sets_wins_and_is_told(tmp_path):
    """An argument that was given and does not count is named, one that was not given is not."""
    file = tmp_path / "mine.yaml"
    file.write_text("/**: {ros__parameters: {min_score: 0.2, tracking: true, rois: detections, max_objects: 5}}\n"
                    "image_source_node: {ros__parameters: {category: bottle}}\n")
    launch = Launch(ROOT / "launch/pose.launch.py", params_file=str(file), min_score="0.3", tracking="false",
                    max_objects="5", category="cup")
    assert launch.told == [
        f"min_score:=0.3 is not used: {file} sets min_score to 0.2, and what the file sets wins; take it out there",
        f"tracking:=false is not used: {file} sets tracking to true, and what the file sets wins; take it out there"]
    assert launch.nodes[0].parameters[-1] == str(file), "the last one wins"
    with pytest.raises(parameters.ParameterError, match="params_file '/no/such.yaml': cannot be read"):
        Launch(ROOT / "launch/pose.launch.py", params_file="/no/such.yaml")


def test_pose_has_the_topics_as_arguments():
    launch = Launch(ROOT / "launch/pose.launch.py", image="/cam/image_raw", camera_info="/cam/camera_info")
    node, = launch.nodes
    assert [launch.values["image"], launch.values["camera_info"]] == ["/cam/image_raw", "/cam/camera_info"]
    assert {source for source, _ in node.remappings} == {"image", "camera_info", "detections_2d", "depth/image",
                                                         "depth/camera_info"}
    assert launch.values["depth_image"] == "depth/image"


def installed(monkeypatch, *packages: str) -> None:
    """``packages`` are, beside what is."""
    here = launching_prefix()
    monkeypatch.setattr("ament_index_python.packages.get_package_prefix",
                        lambda name: "/opt/ros" if name in packages else here(name))


def launching_prefix():
    from ament_index_python import packages

    return packages.get_package_prefix


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_rviz_is_optional(monkeypatch, file):
    """Off, on, and asked for where it is not installed: a sentence, and all the rest."""
    def executables(**given):
        launch = Launch(file, **given)
        return [node.executable for node in launch.nodes], launch.told

    rest, told = executables(rviz="false")
    assert "rviz_view" not in rest and not told
    assert executables(rviz="true")[0] == rest
    assert executables(rviz="true")[1][0].startswith("RViz is not installed and is left out")
    installed(monkeypatch, "rviz2")
    assert executables(rviz="true") == ([*rest, "rviz_view"], [])
    assert ("rviz_view" in executables()[0]) == (file.stem == "demo.launch")


def test_nothing_waits_for_a_node_that_has_ended():
    """The demo ends with its pose node, and with a source that cannot play; not with one that has played."""
    launch = Launch(ROOT / "launch/demo.launch.py", rviz="false")
    source, estimator = launch.nodes
    assert [a.reason for a in launch.after(estimator, 0)] == ["pose_node has ended"]
    assert [a.reason for a in launch.after(source, 1)] == ["image_source_node has ended"]
    assert launch.after(source, 0) == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_nodes_end_with_the_launch_that_started_them(tmp_path, how):
    """However it ends. Its place is taken by a process that does nothing."""
    launcher = subprocess.Popen(["sleep", "600"])
    launch = Launch(ROOT / "launch/demo.launch.py", rviz="false", namespace="orphans", autostart="false")
    nodes = [NodeProcess(command, tmp_path / f"{index}.log", {**env, "DINEMO_LAUNCHED_BY": str(launcher.pid)})
             for index, (command, env) in enumerate(launch.commands(tmp_path))]
    assert launch.environment(launch.nodes[0])["DINEMO_LAUNCHED_BY"] == str(os.getpid())
    time.sleep(4.0)
    assert [node.process.poll() for node in nodes] == [None, None], [node.output for node in nodes]
    launcher.send_signal(how)
    launcher.wait(5)
    assert [node.process.wait(5) for node in nodes] == [0, 0]
    assert not any("Traceback" in node.output for node in nodes)


def test_unknown_choices_are_refused():
    with pytest.raises(ValueError, match="backend"):
        Launch(ROOT / "launch/pose.launch.py", backend="abacus")


PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
@pytest.mark.parametrize(("package", "read", "left"), [("fastdds", *PROFILES), ("fastrtps", *reversed(PROFILES))])
def test_environment_names_the_profile_for_this_generation(monkeypatch, file, package, read, left):
    """And no other: Fast DDS warns about a name that is not its own, once per node."""
    for name in PROFILES:
        monkeypatch.delenv(name, raising=False)

    def share(name):
        if name == "dinemo_ros":
            return get_package_share_directory(name)
        if name != package:
            raise PackageNotFoundError(name)
        return f"/opt/ros/share/{name}"

    monkeypatch.setattr("ament_index_python.packages.get_package_share_directory", share)
    launch = Launch(file)
    for node in launch.nodes:
        env = launch.environment(node)
        if node.package == "dinemo_ros":
            assert Path(env[read]).is_file() and left not in env
            size = ElementTree.parse(env[read]).find(".//{http://www.eprosima.com}segment_size")
            assert int(size.text) == 64 * 1024 * 1024


@pytest.mark.parametrize("name", PROFILES)
def test_profile_of_the_user_is_kept(monkeypatch, name):
    for other in PROFILES:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "/my/own.xml")
    launch = Launch(ROOT / "launch/pose.launch.py")
    env = launch.environment(launch.nodes[0])
    assert {other: env[other] for other in PROFILES if other in env} == {name: "/my/own.xml"}


def test_pose_launch_runs(started, make_probe, demo_frames):
    """Under a namespace, with remapped topics: active by itself, parameters of the YAML in force, a pose comes out."""
    launch = Launch(ROOT / "launch/pose.launch.py", namespace="robot1", image="front/image",
                    camera_info="front/camera_info")
    process, = started(launch)
    process.wait_for_output("active: images from /robot1/front/image, camera from /robot1/front/camera_info")
    probe = make_probe("/robot1/front", outputs=())
    listener = make_probe("/robot1", outputs=("detections",))
    probe.wait(lambda: probe.images.get_subscription_count() > 0, "the node to subscribe")
    listener.spin(1.0)
    header = probe.send(demo_frames[0].image, demo_frames[0].camera)
    assert listener.answer("detections", header).detections


def test_file_wins_over_argument_defaults(started, tmp_path):
    """What a user's YAML says is not overridden by an argument that was not given."""
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": {"autostart": False, "category": "unicorn"}}}))
    process, = started(Launch(ROOT / "launch/pose.launch.py", params_file=str(file)))
    time.sleep(6.0)
    assert "configure" not in process.output, process.output


def test_argument_reaches_the_node(started):
    process, = started(Launch(ROOT / "launch/pose.launch.py", category="unicorn"))
    process.wait_for_output("no bundle for category 'unicorn'")


def test_what_computes_is_an_argument(started, make_probe, tmp_path):
    """Each of them reaches the node, and the diagnostics say what became of it."""
    process, = started(Launch(ROOT / "launch/pose.launch.py", namespace="chosen", backend="onnxruntime",
                              precision="fp16", device="cpu", threads="1", engine_cache=str(tmp_path / "engines")))
    process.wait_for_output("active: images from")
    assert "solver: on the CPU, because device cpu was asked for" in process.output
    values = make_probe("/chosen", outputs=("/diagnostics",)).diagnosis()
    assert [values[name] for name in ("backend", "precision", "network_device", "solver_device")] == [
        "onnxruntime", "fp32", "CPU", "CPU"]
    assert values["backend_reason"].startswith("onnxruntime in fp16 cannot be used: ")


def test_demo_launch_runs(started, make_probe):
    """The image source and the node find each other, by default on the sequence that ships."""
    processes = started(Launch(ROOT / "launch/demo.launch.py", rviz="false", namespace="show"))
    listener = make_probe("/show", outputs=("detections", "overlay"))
    listener.wait(lambda: any(m.detections for m in listener.received["detections"]), "a pose", 60.0)
    listener.wait(lambda: listener.received["overlay"], "an overlay")
    assert len(processes) == 2


def test_scene_takes_the_place_of_the_pictures():
    """And of the category; without one everything is as it was."""
    file = ROOT / "launch/demo.launch.py"
    assert [n.executable for n in Launch(file).nodes] == ["image_source_node", "pose_node"]
    scene = Launch(file, scene="cups", rviz="false", category="bottle")
    assert [n.executable for n in scene.nodes] == ["scene_node", "pose_node"]
    assert scene.nodes[1].parameters[0]["category"] == "cup"
    plain = Launch(file, category="bottle").nodes[1].parameters[0]["category"]
    assert plain.perform({"category": "bottle"}) == "bottle"
    with pytest.raises(ValueError, match="scene:=teapots is not one of"):
        Launch(file, scene="teapots")


def test_scene_launch_prints_errors_and_answers_the_example(started):
    """Over DDS, under a namespace: the plane and depth bring the mug from more than 5 cm to less than 2, and
    examples/grasp_once.py then has a grasp as it is called."""
    player, _ = started(Launch(ROOT / "launch/demo.launch.py", scene="cups", rviz="false", namespace="show"))
    player.wait_for_output("playing on with plane and depth", 120.0)
    rows = {row[:15].strip(): row for row in player.output.splitlines() if " deg  " in row}
    middle = {given: float(row[31:].split(" cm")[0]) for given, row in rows.items()}
    assert middle["RGB alone"] > 5.0
    assert max(middle["with the plane"], middle["with depth"], middle["with both"]) < 2.0
    assert [row.split(" deg  ")[1] for row in rows.values()] == [
        "12 rgb", "12 support", "12 depth", "12 support+depth"]
    done = subprocess.run([sys.executable, str(ROOT / "examples/grasp_once.py"), "--node", "/show/pose_node"],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    assert done.returncode == 0 and "grasp " in done.stdout and "in frame table" in done.stdout, done.stdout
