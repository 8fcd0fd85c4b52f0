# SPDX-License-Identifier: Apache-2.0
"""Teachers by one line of text, for command lines and recipes."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

from dinemo_training.run.recipe import RecipeError

from .cached import CachedTeacher
from .convolutional import CnnTeacher, TimmCnnTeacher
from .fused import FusedTeacher
from .protocol import Teacher
from .trained_student import StudentTeacher
from .vision_transformer import TimmTeacher

GRAMMAR = """a teacher is one of
  cnn                        EfficientNet-lite0 with ImageNet weights of an installed package
  cnn:NAME[@FILE]            any convolutional network of timm, from the hub or from a local file
  vit[:NAME][#BLOCK][@FILE]  a vision transformer of timm, DINOv2 ViT-S/14 by default; BLOCK counts from the last (-1)
  equivariant:FILE@WEIGHTS   the same, fine-tuned for several views (python -m dinemo_training.equivariance.finetune)
  sd[:FOLDER_OR_NAME]@PCA    Stable Diffusion features with a frozen projection (python -m
                             dinemo_training.models.teachers.diffusion)
  student:FILE               a checkpoint of dinemo_training.models.contrastive
  fused:ALPHA(A|B)           teachers A and B side by side with weights ALPHA and 1 - ALPHA"""

_PACKAGES = {"equivariant": "safetensors", "sd": "diffusers"}  # of these teachers alone


def create_teacher(text: str, cache: str | Path | None = None, device: str = "cpu") -> Teacher:
    """The teacher that ``text`` names, see :data:`GRAMMAR`.

    Args:
        cache: folder for its features; None computes them every time.

    Raises:
        ValueError: not a teacher. FileNotFoundError: a file of it is missing.
    """
    if text.startswith("fused:"):
        alpha, first, second = _fused_parts(text)
        # The parts are cached rather than the sum: another alpha costs nothing.
        return FusedTeacher(create_teacher(first, cache, device), create_teacher(second, cache, device), alpha)
    teacher = _single(text, device)
    return teacher if cache is None else CachedTeacher(teacher, cache, identity_of(text))


def require_teacher(text: str) -> None:
    """Before the work: everything that :func:`create_teacher` will want from this machine, but for weights of the hub.

    Raises:
        RecipeError: not a teacher, or a file or a package of it is missing.
    """
    try:
        if text.startswith("fused:"):
            for part in _fused_parts(text)[1:]:
                require_teacher(part)
            return
        head, _, file = text.partition("@")
        kind, _, name = head.partition("#")[0].partition(":")
        if kind not in ("cnn", "vit", "student", "equivariant", "sd") or (kind in _PACKAGES and not file) or (
                kind in ("student", "equivariant") and not name):
            raise ValueError(f"{text!r} is no teacher; {GRAMMAR}")
        for path in (file, name if kind in ("student", "equivariant") else ""):
            if path:
                _existing(path, text)
    except (ValueError, FileNotFoundError) as error:
        raise RecipeError(f"teacher: {error}") from error
    package = _PACKAGES.get(kind)
    if package and importlib.util.find_spec(package) is None:
        raise RecipeError(f"teacher {text!r} needs {package}, which is not installed: pip install {package}")


def identity_of(text: str) -> str:
    """``text`` with the content of its files: the same name with other weights is another teacher."""
    head, _, file = text.partition("@")
    files = [Path(path) for path in (file, head.partition(":")[2]) if path and Path(path).is_file()]
    return " ".join([text, *(hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in files)])


def _single(text: str, device: str) -> Teacher:
    head, _, file = text.partition("@")
    head, _, block = head.partition("#")
    kind, _, name = head.partition(":")
    checkpoint = _existing(file, text) if file else None
    if kind == "cnn":
        return TimmCnnTeacher(name, checkpoint, device=device) if name else CnnTeacher(checkpoint, device)
    if kind == "vit":
        return TimmTeacher(name or "vit_small_patch14_dinov2.lvd142m", checkpoint, int(block or -1), device)
    if kind == "student" and name:
        return StudentTeacher(_existing(name, text), device)
    if kind == "equivariant" and name:
        from dinemo_training.equivariance.model import EquivariantTeacher, EquivariantTransformer  # needs safetensors

        model = EquivariantTransformer(weights=checkpoint)
        model.load(_existing(name, text))
        return EquivariantTeacher(model)
    if kind == "sd" and checkpoint:
        from .diffusion import STABLE_DIFFUSION, diffusion_teacher  # diffusers is an extra of its own

        return diffusion_teacher(name or STABLE_DIFFUSION, checkpoint, device=device)
    raise ValueError(f"{text!r} is no teacher; {GRAMMAR}")


def _fused_parts(text: str) -> tuple[float, str, str]:
    parts = re.fullmatch(r"fused:([0-9.]+)\(([^|()]+)\|([^|()]+)\)", text)
    if not parts:
        raise ValueError(f"{text!r}: expected fused:ALPHA(A|B), for example 'fused:0.5(sd@pca.npz|vit)'")
    return float(parts[1]), parts[2], parts[3]


def _existing(path: str, text: str) -> Path:
    if not Path(path).is_file():
        raise FileNotFoundError(f"teacher {text!r}: there is no file {path}")
    return Path(path)
