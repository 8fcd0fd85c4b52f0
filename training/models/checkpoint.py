# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a student: tensors and a few strings only, so that they load without pickled code."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from dinemo_ros.io.files import completed
from dinemo_ros.io.quoting import shown

from .neural_mesh import NeuralMeshFeatures
from .student import CNN, create_student
from .weights_file import WeightsError, read_weights


def save_checkpoint(path: Path, backbone: nn.Module, features: nn.Module, step: int = 0, **extra: dict) -> None:
    """Atomic: a kill during the write leaves the previous checkpoint. ``extra``: further state dicts (optimiser)."""
    with completed(path) as part:
        torch.save({"architecture": getattr(backbone, "architecture", CNN), "backbone": backbone.state_dict(),
                    "features": features.state_dict(), "step": step, **extra}, part)


def load_checkpoint(path: Path, backbone: nn.Module, features: nn.Module) -> dict:
    """Load weights into given modules; returns the whole checkpoint.

    Raises:
        WeightsError: the file is no checkpoint, or one of another backbone.
    """
    state = _read(path)
    expected, found = getattr(backbone, "architecture", CNN), state.get("architecture", CNN)
    if found != expected:
        raise WeightsError(f"{path}: holds a {shown(found)}, but a {expected} was to be loaded; give the same "
                           "backbone as in the run that wrote it")
    try:
        backbone.load_state_dict(state["backbone"])
        features.load_state_dict(state["features"])
    except (RuntimeError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path}: its tensors are not those of a {expected} with these vertices "
                           f"({shown(' '.join(str(error).split()))}); give the checkpoint of this run") from error
    return state


def load_student(path: Path) -> tuple[nn.Module, NeuralMeshFeatures]:
    """Backbone and vertex features of a checkpoint, built as it says, in evaluation mode.

    Raises:
        WeightsError: the file is no checkpoint of a student.
    """
    state = _read(path)
    try:
        places, dim = state["features"]["raw_vertices"].shape
        clutter = len(state["features"]["raw_clutter"])
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: is no checkpoint of a student, its features lack vertices and clutter; give a "
                           "checkpoint that training wrote") from error
    features = NeuralMeshFeatures(places, dim, clutter, state["features"].get("place"))
    backbone = create_student(state.get("architecture", CNN), dim)
    load_checkpoint(path, backbone, features)
    return backbone.eval(), features


def _read(path: Path) -> dict:
    state = read_weights(path)
    if not isinstance(state, dict) or not all(isinstance(state.get(part), dict) for part in ("backbone", "features")):
        raise WeightsError(f"{path}: is no checkpoint of a student, it lacks backbone and features; give a checkpoint "
                           "that training wrote")
    return state


def average_checkpoints(paths: list[Path], out: Path) -> Path:
    """Mean weights of several rounds that started from each other (a model soup): steadier than the last alone."""
    states = [_read(path) for path in paths]
    mean = {part: {name: torch.stack([s[part][name] for s in states]).mean(0) if value.is_floating_point() else value
                   for name, value in states[-1][part].items()} for part in ("backbone", "features")}
    with completed(out) as part:
        torch.save({**states[-1], **mean}, part)
    return out
