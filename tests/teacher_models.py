# SPDX-License-Identifier: Apache-2.0
"""Skips with a reason where a network that the training half takes from a Python package is not installed."""

import pytest

from dinemo_training.data.foreground import find_saliency_model
from dinemo_training.models.student import find_imagenet_checkpoint


def require_imagenet() -> None:
    """Skip without the ImageNet weights of the student's trunk."""
    _require(find_imagenet_checkpoint)


def require_models() -> None:
    """Skip without the ImageNet weights or without the saliency model."""
    require_imagenet()
    _require(find_saliency_model)


def _require(find) -> None:
    try:
        find()
    except FileNotFoundError as error:
        pytest.skip(str(error))
