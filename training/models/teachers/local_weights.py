# SPDX-License-Identifier: Apache-2.0
"""Weights of a timm model from a local file, all of them or none."""

from __future__ import annotations

from pathlib import Path

import timm


def local_weights(name: str, checkpoint: str | Path) -> dict:
    """timm configuration that loads a file strictly.

    timm drops strictness when the number of classes differs from its own, and a wrong file would then leave random
    weights unnoticed; so the classifier is taken out here and the rest has to fit.
    """
    state = timm.models.load_state_dict(str(checkpoint), device="cpu", weights_only=True)
    classifier = timm.models.get_pretrained_cfg(name).classifier
    classifiers = (classifier,) if isinstance(classifier, str) else tuple(classifier or ())
    state = {key: value for key, value in state.items() if key.rpartition(".")[0] not in classifiers}
    return {"state_dict": state, "num_classes": 0}
