# SPDX-License-Identifier: Apache-2.0
"""Bundles that would bring a robot down, given to a running node: it refuses, answers meanwhile, takes a good one."""

import shutil
import time

from bundle_bombs import BOMBS, copied
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from ros_support.processes import start_node

_ANSWER_S, _BUSY_MACHINE_S = 0.5, 1.0  # the latter more, for a test that shares its cores
_CHOSEN = ("aliases", "clutter", "loop", "4 TiB", "network of 40 GB")
_NAMESPACE = "/bombs_test"


def configure(probe, service) -> tuple[bool, float, float]:
    """Success, seconds until the answer, and the longest that get_state took meanwhile."""
    client = probe.create_client(ChangeState, "pose_node/change_state")
    assert client.wait_for_service(30.0)
    request = ChangeState.Request()
    request.transition.id = Transition.TRANSITION_CONFIGURE
    begin, slowest = time.monotonic(), 0.0
    future = client.call_async(request)
    while not future.done() and time.monotonic() - begin < 60.0:
        asked = time.monotonic()
        state = service.call_async(GetState.Request())
        probe.wait(state.done, "the state", 20.0)
        slowest = max(slowest, time.monotonic() - asked)
    probe.wait(future.done, "the transition", 20.0)
    return future.result().success, time.monotonic() - begin, slowest


def test_bombs_then_a_good_bundle(tmp_path, make_probe):
    """One after the other in the folder that the node was started with, as a supplier would put them there."""
    bundle = tmp_path / "bundle"
    node = start_node("pose_node", tmp_path / "log", _NAMESPACE, bundle=str(bundle), autostart=False, threads=1,
                      diagnostics_period_s=0.2)
    probe = make_probe(_NAMESPACE, outputs=("/diagnostics",))
    assert probe.state() == "unconfigured"
    service = probe.create_client(GetState, "pose_node/get_state")
    assert service.wait_for_service(30.0)
    for number, name in enumerate(_CHOSEN):
        spoil, says = BOMBS[name]
        shutil.rmtree(bundle, ignore_errors=True)
        spoil(bundle)
        success, seconds, slowest = configure(probe, service)
        assert not success and probe.state() == "unconfigured", name
        assert seconds < 5.0 + _BUSY_MACHINE_S and slowest < _ANSWER_S + _BUSY_MACHINE_S, (name, seconds, slowest)
        probe.received["/diagnostics"].clear()
        values = probe.diagnosis()
        assert values["level"] == 2 and says in values["message"] and str(bundle) in values["message"], name
        said = [line for line in node.output.splitlines() if "cannot configure" in line and str(bundle) in line]
        assert len(said) == number + 1 and says in said[-1] and len(said[-1]) < 1200
    assert node.process.poll() is None and "Traceback" not in node.output
    shutil.rmtree(bundle)
    copied(bundle)
    assert probe.change_state(Transition.TRANSITION_CONFIGURE)
    assert probe.state() == "inactive"
    refused = probe.set_parameter("bundle", str(tmp_path / "other"))
    assert not refused.successful and "'bundle' is fixed at the start" in refused.reason, "not while it is in use"
    assert probe.change_state(Transition.TRANSITION_ACTIVATE)
    assert not probe.set_parameter("bundle", str(tmp_path / "other")).successful, "nor while it is active"
    assert node.interrupt() == 0
