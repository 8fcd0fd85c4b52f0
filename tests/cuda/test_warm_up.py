# SPDX-License-Identifier: Apache-2.0
"""What a GPU is asked for at the start: all that a frame may ask for later."""

from types import SimpleNamespace

import numpy as np
import pytest
from shared_data import ROOT

pytest.importorskip("torch", reason="torch is not installed")

from dinemo_ros.cuda.warm_up import warm_up
from dinemo_ros.model.bundle import load_bundle


def test_every_number_of_crops_is_solved_followed_and_seen():
    solved, followed, seen = ([], []), ([], []), []

    def solve_features(features, targets, starts, flip_tta):
        assert len(features) == len(targets) and features.shape[1] == (128 if flip_tta else 64)
        (solved if starts is None else followed)[flip_tta].append(len(targets if starts is None else starts))
        return [[SimpleNamespace(T_crop_obj=np.eye(4), size=np.ones(3))] for _ in targets]

    def features(image, camera, crops):
        assert image.shape == (camera.height, camera.width, 3)
        seen.append(len(crops))

    warm_up(load_bundle(ROOT / "engines" / "car"), SimpleNamespace(solve_features=solve_features, features=features))
    for flip_tta in (False, True):  # flip test-time augmentation's solver, too
        assert solved[flip_tta][1:] == followed[flip_tta] == [1, 2, 4, 8]
    assert seen == [1, 2, 4, 8]


def test_only_where_there_is_something_to_capture(monkeypatch):
    from dinemo_ros.cuda import inference as pipeline
    from dinemo_ros.cuda import selection
    from dinemo_ros.cuda import warm_up as module

    warmed = []
    monkeypatch.setattr(pipeline, "TorchPipeline", lambda bundle, extractor, device, evidence: device)
    monkeypatch.setattr(module, "warm_up", lambda bundle, one: warmed.append(one))
    for name in ("check", "check_features"):
        monkeypatch.setattr(selection, name, lambda *arguments: None)
    for device in ("cpu", "cuda"):
        selection._on_gpu(load_bundle(ROOT / "engines" / "car"), None, None, device, "clutter")
    assert warmed == ["cuda"]
