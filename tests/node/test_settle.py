# SPDX-License-Identifier: Apache-2.0
"""Before a signal takes the context away a transition that is under way gets a moment to end."""

import threading
import time
from types import SimpleNamespace

import pytest
from lifecycle_msgs.msg import State

from dinemo_ros.node.pose_node import PoseNode


def node_in(state: int) -> SimpleNamespace:
    return SimpleNamespace(_state_machine=SimpleNamespace(current_state=(state, "a state")))


def spent(node: SimpleNamespace, most_s: float) -> float:
    began = time.monotonic()
    PoseNode.settle(node, most_s)
    return time.monotonic() - began


@pytest.mark.parametrize("state", [State.PRIMARY_STATE_UNCONFIGURED, State.PRIMARY_STATE_INACTIVE,
                                   State.PRIMARY_STATE_ACTIVE, State.PRIMARY_STATE_FINALIZED])
def test_nothing_is_waited_for_between_transitions(state):
    assert spent(node_in(state), 30.0) < 5.0


def test_a_transition_is_let_end():
    node = node_in(State.TRANSITION_STATE_SHUTTINGDOWN)
    ends = threading.Timer(0.1, lambda: setattr(node._state_machine, "current_state",
                                                (State.PRIMARY_STATE_FINALIZED, "finalized")))
    ends.start()
    assert 0.08 < spent(node, 30.0) < 5.0


def test_one_that_does_not_end_is_not_waited_for_longer_than_said():
    assert 0.19 < spent(node_in(State.TRANSITION_STATE_CONFIGURING), 0.2) < 5.0
