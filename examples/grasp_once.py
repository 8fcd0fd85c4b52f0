#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From one request for a pose to what a motion planner is given, with the reasons where there is nothing to give.

    ros2 launch dinemo_ros demo.launch.py scene:=cups        in another terminal, or your own camera and pose_node
    python3 examples/grasp_once.py                           once its table of errors has come

Needs no robot: it prints the poses for the gripper. It asks the pose node, judges the answer (age, uncertainty), takes
the grasps of the bundle's card at the size that was found, chooses one that comes from where the arm is and fits the
jaw, and asks again where something is in the way. Exit code 0 when there is a grasp.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass

import numpy as np

from dinemo_ros.client import FoundObject, PoseClient
from dinemo_ros.errors import DinemoError
from dinemo_ros.geometry import se3, turn
from dinemo_ros.model.bundle import Card, find_bundle, load_bundle
from dinemo_ros.model.grasps import Grasp, grasp_frames
from dinemo_ros.node.conversions import quaternion_from_rotation
from dinemo_ros.pose import ObjectPose


@dataclass(frozen=True)
class Limits:
    """What this gripper and this arm can do, and how much doubt they bear."""

    opening_m: float  # that the jaw reaches
    sigma_m: float  # standard deviation of the position in its worst direction
    stale_s: float  # age of the pose; 0 takes any
    approach: np.ndarray | None  # [3] direction in which the gripper should move, frame of the answer; None guesses
    within_deg: float  # from that direction


class Refused(Exception):
    """Why there is no grasp, and what may help."""


def check(found: FoundObject, limits: Limits, now_ns: int) -> None:
    """Refused where the pose is too old or known too badly to move an arm on."""
    age_s = 1e-9 * (now_ns - found.stamp_ns)
    if limits.stale_s and age_s > limits.stale_s:
        raise Refused(f"the pose is {age_s:.1f} s old, {limits.stale_s:g} s are allowed: the object may have moved; do "
                      "the clocks of camera and computer agree?")
    sigma = math.sqrt(max(np.linalg.eigvalsh(found.covariance[:3, :3])))
    if sigma > limits.sigma_m:
        hint = ("one RGB image hardly tells the distance: give the node the table (support_frame) or a depth image"
                if found.source == "rgb" else "move the camera closer, or look from another side")
        raise Refused(f"the position of {found.id} has a standard deviation of {100 * sigma:.1f} cm (known from "
                      f"{found.source}), {100 * limits.sigma_m:g} cm are allowed: {hint}")


def choose(card: Card, found: FoundObject, limits: Limits) -> tuple[Grasp, np.ndarray]:
    """The grasp that comes nearest to the wished direction, and its frame [4, 4] in the frame of the answer.

    Raises:
        Refused: the card has none that is valid here, opens wide enough and comes from the right side.
    """
    pose = ObjectPose(found.T, found.score, found.size, category=found.category, covariance=found.covariance)
    valid = grasp_frames(card, pose)  # without those that need a turn that is not known
    if not valid:
        raise Refused(f"no grasp of a {found.category} is valid for this pose: look from a side where its handle shows")
    narrow = [grasp for grasp in valid if grasp.opening_m <= limits.opening_m]
    if not narrow:
        least = min(grasp.opening_m for grasp in valid)
        raise Refused(f"the jaw opens {100 * limits.opening_m:g} cm, and {100 * least:.1f} cm are needed at least")
    wished = limits.approach if limits.approach is not None else toward(found)
    angle, grasp, T = min(((angle_between((found.T @ T)[:3, 2], wished), grasp, found.T @ T)
                           for grasp in narrow for T in turns(grasp)), key=lambda option: option[0])
    if angle > limits.within_deg:
        raise Refused(f"the nearest grasp, {grasp.name}, comes {angle:.0f} deg from the wished direction, "
                      f"{limits.within_deg:g} are allowed: allow more (--within-deg), or go to another side")
    return grasp, T


def toward(found: FoundObject) -> np.ndarray:
    """[3] where nobody says: the way the camera looks in an optical frame, straight down in any other."""
    return found.T[:3, 3] if "optical" in found.frame else np.array([0.0, 0.0, -1.0])


def turns(grasp: Grasp) -> list[np.ndarray]:
    """Frames [4, 4] of the grasp in the object's frame: all round the axis where any turn about it is as good."""
    angles = np.linspace(0, 2 * np.pi, 36, endpoint=False) if grasp.symmetric_about_axis else [0.0]
    return [se3(turn(angle), np.zeros(3)) @ grasp.T_obj_grasp for angle in angles]


def angle_between(a: np.ndarray, b: np.ndarray) -> float:
    """Degrees between two directions [3]."""
    return math.degrees(math.acos(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1.0, 1.0)))


def plan(found: FoundObject, grasp: Grasp, T: np.ndarray) -> str:
    """What a motion planner would be given."""
    back = T @ se3(np.eye(3), np.array([0.0, 0.0, -grasp.pregrasp_m]))
    return "\n".join([
        f"{found.id}: grasp {grasp.name} in frame {found.frame}, stamp {found.stamp_ns * 1e-9:.3f}",
        f"  1 open the jaw to {100 * grasp.opening_m:.1f} cm",
        f"  2 plan to the pre-grasp pose {pose_text(back)}",
        f"  3 move straight along the gripper's z by {100 * grasp.pregrasp_m:.1f} cm, to {pose_text(T)}",
        "  4 close, and lift"])


def pose_text(T: np.ndarray) -> str:
    """Position in metres, and quaternion x, y, z, w."""
    return (f"xyz [{', '.join(f'{value:.4f}' for value in T[:3, 3])}] xyzw "
            f"[{', '.join(f'{value:.4f}' for value in quaternion_from_rotation(T[:3, :3]))}]")


def attempt(client: PoseClient, bundle: str, limits: Limits, timeout_s: float) -> str:
    """One request; the plan, or Refused."""
    answer = client.estimate(timeout_s)
    if not answer.success or answer.best is None:
        raise Refused(answer.reason)
    card = load_bundle(bundle or find_bundle(answer.best.category)).card
    reasons = []
    for found in answer.objects:  # best first
        try:
            check(found, limits, time.time_ns())
            return plan(found, *choose(card, found, limits))
        except Refused as refused:
            reasons.append(str(refused))
    raise Refused("; ".join(reasons))


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--node", default="/pose_node", help="full name of the pose node (default: %(default)s)")
    parser.add_argument("--bundle", default="", help="folder of the bundle whose card has the grasps (default: the "
                        "shipped one of the category that is answered)")
    parser.add_argument("--attempts", type=int, default=5, help="how often to ask (default: %(default)s)")
    parser.add_argument("--wait-s", type=float, default=1.0, help="between two attempts (default: %(default)s)")
    parser.add_argument("--timeout-s", type=float, default=60.0, help="for one answer (default: %(default)s)")
    parser.add_argument("--opening-cm", type=float, default=8.5, help="that the jaw reaches (default: %(default)s)")
    parser.add_argument("--max-sigma-cm", type=float, default=1.0, help="standard deviation of the position in its "
                        "worst direction that is borne (default: %(default)s)")
    parser.add_argument("--stale-s", type=float, default=2.0, help="age of a pose that is borne; 0 takes any, for bags "
                        "and simulated time (default: %(default)s)")
    parser.add_argument("--approach", type=float, nargs=3, metavar=("X", "Y", "Z"), help="direction in which the "
                        "gripper should move, in the frame of the answer (default: as the camera looks, or down in a "
                        "frame that is no optical one)")
    parser.add_argument("--within-deg", type=float, default=90.0, help="from that direction (default: %(default)s)")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """The example as a program: 0 when there is a grasp."""
    options = parse(words)
    limits = Limits(0.01 * options.opening_cm, 0.01 * options.max_sigma_cm, options.stale_s,
                    None if options.approach is None else np.array(options.approach), options.within_deg)
    with PoseClient(options.node) as client:
        for number in range(1, options.attempts + 1):
            try:
                print(attempt(client, options.bundle, limits, options.timeout_s))
                return 0
            except Refused as refused:
                # With a robot this is where the camera goes to another place: the reason says whether that helps.
                print(f"attempt {number} of {options.attempts}: {refused}", file=sys.stderr)
            except DinemoError as error:
                print(f"error: {error}", file=sys.stderr)
                return 1
            if number < options.attempts:
                time.sleep(options.wait_s)
    return 1


if __name__ == "__main__":
    sys.exit(main())
