# SPDX-License-Identifier: Apache-2.0
"""What the services of a pose node may do to it: nothing but this."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace

from std_msgs.msg import Header

from ..model.symmetry import Symmetry
from ..pose import ObjectPose


@dataclass(frozen=True)
class Hooks:
    """Ways into the node.

    Attributes:
        work: held while an image, a transition or a change is worked on.
        state: label of the lifecycle's state. settings: the present parameters.
        adapt: wake or rest, as switch, requests and state want it now; raises what loading a model raises.
        forget: tracks, gates and stamps; returns how many tracks there were.
        symmetries: of the categories by name, while configured.
        publish: (header, fused poses, parameters) publishes and latches what a request came to; the ids of the poses.
        image_topic: full name of where images come from.
        sentence: an error as something to tell.
    """

    work: threading.RLock
    state: Callable[[], str]
    settings: Callable[[], SimpleNamespace]
    adapt: Callable[[], None]
    forget: Callable[[], int]
    symmetries: Callable[[], Mapping[str, Symmetry]]
    publish: Callable[[Header, list[ObjectPose], SimpleNamespace], list[str]]
    image_topic: Callable[[], str]
    sentence: Callable[[Exception], Exception]
