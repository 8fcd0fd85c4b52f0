# SPDX-License-Identifier: Apache-2.0
"""examples/grasp_once.py: what it refuses and why, which grasp it takes, and once against the running node."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from ros_support.processes import running_node
from shared_data import ROOT

from dinemo_ros.client import FoundObject, PoseAnswer
from dinemo_ros.evaluation.synthetic import read_synthetic, synthetic_entries
from dinemo_ros.geometry import rotation_from_viewpoint, se3
from dinemo_ros.model.bundle import find_bundle, load_bundle

EXAMPLES = ROOT / "examples"
NOW = 1_000_000_000_000


def loaded(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


example = loaded("grasp_once")
CUP, BOTTLE = (load_bundle(find_bundle(name)).card for name in ("cup", "bottle"))
LIMITS = example.Limits(0.085, 0.01, 2.0, None, 75.0)
T_CUP = se3(rotation_from_viewpoint(*np.radians([40.0, 35.0, 0.0])), np.array([0.02, 0.03, 0.6]))


def found(category="cup", covariance=None, **fields) -> FoundObject:
    size = {"cup": [0.11, 0.08, 0.10], "bottle": [0.06, 0.06, 0.24]}[category]
    values = {"id": f"{category}_0", "category": category, "frame": "camera_optical_frame", "stamp_ns": NOW, "T": T_CUP,
              "covariance": 1e-6 * np.eye(6) if covariance is None else covariance, "size": np.array(size),
              "score": 0.4, "probability": None, "source": "support", "used": 5, "dropped": 0}
    return FoundObject(**{**values, **fields})


def test_an_old_pose_is_refused_and_a_fresh_one_is_not():
    example.check(found(), LIMITS, NOW + 1_900_000_000)
    with pytest.raises(example.Refused, match=r"2\.1 s old, 2 s are allowed"):
        example.check(found(), LIMITS, NOW + 2_100_000_000)
    example.check(found(), replace(LIMITS, stale_s=0.0), NOW + 10**15)


def test_a_position_that_is_hardly_known_in_one_direction_is_refused_with_what_may_help():
    """4 cm along the ray, as one RGB image has it."""
    vague = np.diag([1e-6, 1e-6, 0.04**2, 1e-4, 1e-4, 1e-4])
    with pytest.raises(example.Refused, match=r"4\.0 cm \(known from rgb\), 1 cm are allowed: .*support_frame"):
        example.check(found(covariance=vague, source="rgb"), LIMITS, NOW)
    with pytest.raises(example.Refused, match="move the camera closer"):
        example.check(found(covariance=vague, source="depth"), LIMITS, NOW)
    example.check(found(covariance=vague), replace(LIMITS, sigma_m=0.05), NOW)


def test_the_grasp_comes_from_where_the_arm_is():
    """From above in base_link a cup is taken by its rim; along x, with the handle before the arm, by that."""
    upright = found(frame="base_link", T=se3(np.eye(3), np.array([0.5, 0.0, 0.05])))
    grasp, T = example.choose(CUP, upright, LIMITS)
    assert grasp.name.startswith("rim") and T[:3, 2] == pytest.approx([0, 0, -1])
    grasp, _ = example.choose(CUP, upright, replace(LIMITS, approach=np.array([-1.0, 0, 0.0])))
    assert grasp.name == "handle"
    with pytest.raises(example.Refused, match=r"rim_\d, comes 90 deg|handle, comes 90 deg"):
        example.choose(CUP, upright, replace(LIMITS, approach=np.array([0, 1.0, 0.0])))


def test_a_bottle_is_taken_from_the_side_that_is_wished_whatever_its_frame_says():
    for wished in ([1.0, 0, 0], [0, 1.0, 0], [-0.6, 0.8, 0]):
        standing = found("bottle", frame="base_link", T=se3(np.eye(3), np.array([0.5, 0.0, 0.12])))
        grasp, T = example.choose(BOTTLE, standing, replace(LIMITS, approach=np.array(wished)))
        assert grasp.name in ("body", "neck")
        assert example.angle_between(T[:3, 2], np.array(wished)) < 5.1  # half a step of the turns


def test_in_an_optical_frame_the_gripper_comes_from_the_camera_s_side():
    grasp, T = example.choose(CUP, found(), LIMITS)
    assert T[:3, 2] @ T_CUP[:3, 3] > 0


def test_what_does_not_fit_the_jaw_or_is_not_known_is_refused():
    with pytest.raises(example.Refused, match=r"the jaw opens 3 cm, and 4\.0 cm are needed"):
        example.choose(CUP, found(), replace(LIMITS, opening_m=0.03))
    bare = replace(CUP, grasps=tuple(spec for spec in CUP.grasps if spec.name == "handle"))
    blind = found(covariance=np.diag([1e-6] * 3 + [3.0] * 3))
    with pytest.raises(example.Refused, match="look from a side where its handle shows"):
        example.choose(bare, blind, LIMITS)


class Scripted:
    """A client that answers what it is told, one after the other."""

    answers: list[PoseAnswer] = []

    def __init__(self, node: str) -> None:
        self.asked = 0

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        pass

    def estimate(self, timeout_s: float) -> PoseAnswer:
        return self.answers.pop(0)


def test_it_asks_again_with_the_reason_until_there_is_a_grasp(monkeypatch, capsys):
    fresh = found(stamp_ns=time.time_ns())
    vague = replace(fresh, covariance=1e-2 * np.eye(6), source="rgb")
    Scripted.answers = [PoseAnswer(False, "no cup was seen in 5 images"), PoseAnswer(True, "1 cup", (vague,)),
                        PoseAnswer(True, "2 cups", (vague, fresh)), PoseAnswer(False, "never asked")]
    monkeypatch.setattr(example, "PoseClient", Scripted)
    assert example.main(["--wait-s", "0"]) == 0
    out, err = capsys.readouterr()
    assert [line.split(":")[0] for line in err.splitlines()] == ["attempt 1 of 5", "attempt 2 of 5"]
    assert "no cup was seen in 5 images" in err and "standard deviation of 10.0 cm" in err
    assert out.startswith("cup_0: grasp ") and "plan to the pre-grasp pose" in out and len(Scripted.answers) == 1


def test_it_gives_up_after_as_many_attempts_as_it_is_told(monkeypatch, capsys):
    Scripted.answers = 3 * [PoseAnswer(False, "no service")]
    monkeypatch.setattr(example, "PoseClient", Scripted)
    assert example.main(["--wait-s", "0", "--attempts", "2"]) == 1
    assert len(Scripted.answers) == 1 and capsys.readouterr().err.count("no service") == 2


def test_the_plan_goes_back_along_the_approach():
    grasp, T = example.choose(CUP, found(), LIMITS)
    text = example.plan(found(), grasp, T)
    back, to = (np.array(line.split("xyz [")[1].split("]")[0].split(","), float)
                for line in text.splitlines() if "xyz [" in line)
    np.testing.assert_allclose(to - back, grasp.pregrasp_m * T[:3, 2], atol=2e-4)


def test_end_to_end_against_the_running_node(tmp_path, make_probe):
    """The program as a user starts it, rendered cups before the camera; a distance from one RGB image is refused."""
    namespace = "/example_test"
    sample = synthetic_entries(read_synthetic(ROOT / "tests" / "unit" / "vessels" / "cup"))[2].load()
    with running_node(tmp_path, namespace, category="cup", precision="fp32"):
        probe = make_probe(namespace, outputs=("detections",))
        probe.wait_for_node()
        probe.start_detector()
        command = [sys.executable, str(EXAMPLES / "grasp_once.py"), "--node", f"{namespace}/pose_node", "--stale-s",
                   "0", "--wait-s", "0", "--opening-cm", "12"]
        done: list[subprocess.CompletedProcess] = []

        def ask(*more: str) -> subprocess.CompletedProcess:
            thread = threading.Thread(target=lambda: done.append(subprocess.run(
                [*command, *more], capture_output=True, text=True, timeout=120)))
            thread.start()
            while thread.is_alive():
                header = probe.send(sample.image, sample.camera, probe.header(frame_id="camera_optical_frame"))
                probe.send_boxes(header, [sample.roi])
                probe.spin(0.15)
            return done.pop()

        taken = ask("--max-sigma-cm", "50")
        assert taken.returncode == 0, taken.stderr
        assert taken.stdout.startswith("example_test/cup_0: grasp ") and taken.stdout.count("xyzw") == 2
        refused = ask("--max-sigma-cm", "0.1", "--attempts", "1")
        assert refused.returncode == 1 and "give the node the table (support_frame) or a depth image" in refused.stderr
        assert "Traceback" not in taken.stderr + refused.stderr


def test_the_pattern_for_moveit_can_be_parsed_and_says_that_it_is_not_run():
    """MoveIt is not here: what can be known is that Python reads it and that nobody takes it for tested."""
    text = (EXAMPLES / "moveit_pick.py").read_text()
    assert "NOT run" in ast.get_docstring(ast.parse(text))
