# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a student: tensors and a few strings only, so that they load without pickled code."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from dinemo_ros.files import completed

from .neural_mesh import NeuralMeshFeatures
from .student import CNN, create_student


def save_checkpoint(path: Path, backbone: nn.Module, features: nn.Module, step: int = 0, **extra) -> None:
    """Atomic: a kill during the write leaves the previous checkpoint. ``extra``: further state dicts (optimiser)."""
    with completed(path) as part:
        torch.save({"architecture": getattr(backbone, "architecture", CNN), "backbone": backbone.state_dict(),
                    "features": features.state_dict(), "step": step, **extra}, part)


def load_checkpoint(path: Path, backbone: nn.Module, features: nn.Module) -> dict:
    """Load weights into given modules; returns the whole checkpoint.

    Raises:
        ValueError: the checkpoint is of another backbone.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    expected, found = getattr(backbone, "architecture", CNN), state.get("architecture", CNN)
    if found != expected:
        raise ValueError(f"{path}: holds a {found}, but a {expected} was to be loaded; give the same backbone as in "
                         "the run that wrote it")
    backbone.load_state_dict(state["backbone"])
    features.load_state_dict(state["features"])
    return state


def load_student(path: Path) -> tuple[nn.Module, NeuralMeshFeatures]:
    """Backbone and vertex features of a checkpoint, built as it says, in evaluation mode."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    places, dim = state["features"]["raw_vertices"].shape
    features = NeuralMeshFeatures(places, dim, len(state["features"]["raw_clutter"]), state["features"].get("place"))
    backbone = create_student(state.get("architecture", CNN), dim)
    load_checkpoint(path, backbone, features)
    return backbone.eval(), features


def average_checkpoints(paths: list[Path], out: Path) -> Path:
    """Mean weights of several rounds that started from each other (a model soup): steadier than the last alone."""
    states = [torch.load(path, map_location="cpu", weights_only=True) for path in paths]
    mean = {part: {name: torch.stack([s[part][name] for s in states]).mean(0) if value.is_floating_point() else value
                   for name, value in states[-1][part].items()} for part in ("backbone", "features")}
    with completed(out) as part:
        torch.save({**states[-1], **mean}, part)
    return out
