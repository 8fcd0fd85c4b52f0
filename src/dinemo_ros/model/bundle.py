# SPDX-License-Identifier: Apache-2.0
"""The bundle: a folder with everything a robot needs to know about one category.

``model.yaml`` (the card), ``backbone.onnx`` (pixels to features), ``mesh.npz`` (the neural mesh), a README, and perhaps
``backbone_int8.onnx``, the same network in 8 bits for CPUs. Hashes in the card tie the files together. Nothing in a
bundle is executable: YAML is read with the safe loader, arrays without pickles.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import BundleError, DocumentError
from ..io.bounded_file import read_bounded
from ..io.files import replace_files
from ..io.quoting import shown, shown_path
from .bundle_search import bundle_folder, find_bundle, is_installed, shipped_categories
from .card import (
    FORMAT,
    FORMATS,
    CalibrationSpec,
    Card,
    FeatureSpec,
    ImageSpec,
    ScoreSpec,
    SearchSpec,
    SizePrior,
)
from .card_document import BACKBONE_FILE, CARD_FILE, INT8_FILE, MESH_FILE, card_text, parse_card, read_card
from .grasps import GraspSpec
from .mirror import counterparts
from .neural_mesh import LARGEST_MESH, NeuralMesh

__all__ = ["BACKBONE_FILE", "CARD_FILE", "FORMAT", "FORMATS", "INT8_FILE", "MESH_FILE", "Bundle", "CalibrationSpec",
           "Card", "FeatureSpec", "GraspSpec", "ImageSpec", "ScoreSpec", "SearchSpec", "SizePrior", "bundle_folder",
           "find_bundle", "is_installed", "load_bundle", "parse_card", "rewrite_card", "shipped_categories",
           "write_bundle"]

_LARGEST_NETWORK = 512 << 20  # bytes; the shipped ones have 12 million


@dataclass(frozen=True)
class Bundle:
    """A checked bundle: its folder, card and neural mesh; the backbone stays a file for the inference backend."""

    path: Path
    card: Card
    mesh: NeuralMesh

    @property
    def backbone_path(self) -> Path:
        return self.path / BACKBONE_FILE

    @property
    def int8_path(self) -> Path | None:
        """The network in int8 for CPUs, where the bundle brings it."""
        return self.path / INT8_FILE if INT8_FILE in self.card.files else None

    def backbone(self) -> bytes:
        """The network; BundleError if its file is no longer what the card says."""
        return checked_content(self.backbone_path, self.card.files[BACKBONE_FILE])

    def int8(self) -> bytes | None:
        """The network in int8 for CPUs, where the bundle brings it; BundleError as for :meth:`backbone`."""
        return checked_content(self.int8_path, self.card.files[INT8_FILE]) if self.int8_path else None


def load_bundle(path: str | Path) -> Bundle:
    """Read and check a bundle folder; every failure is a BundleError that says what is wrong with which file."""
    path = Path(path)
    if not path.is_dir():
        raise BundleError(f"bundle {shown_path(path)}: no such folder; give the folder that holds {CARD_FILE}")
    card = read_card(path / CARD_FILE)
    for name in (BACKBONE_FILE, MESH_FILE, *([INT8_FILE] if INT8_FILE in card.files else [])):
        checked_content(path / name, card.files.get(name))
    mesh = NeuralMesh.load(path / MESH_FILE)
    _check_mesh(path, card, mesh)
    return Bundle(path, card, mesh)


def write_bundle(directory: str | Path, card: Card, backbone: bytes, mesh: NeuralMesh,
                 int8: bytes | None = None) -> Bundle:
    """Write card, content of the ONNX files and mesh into ``directory``, fill in the hashes, read it back checked.

    The card is written in the format of today, whatever it was read in.
    A bundle that is there already stays what it was where the new one cannot be written.

    Raises:
        BundleError: it cannot be written, or what was written is no valid bundle.
    """
    directory = Path(directory)
    arrays = io.BytesIO()
    mesh.save(arrays)
    contents = {BACKBONE_FILE: backbone, MESH_FILE: arrays.getvalue()} | ({} if int8 is None else {INT8_FILE: int8})
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    contents[CARD_FILE] = card_text(replace(card, files=hashes)).encode()  # last: it vouches for the others
    try:
        directory.mkdir(parents=True, exist_ok=True)
        replace_files(directory, {name: content for name, content in contents.items()
                                  if not _holds(directory / name, content)})
        if int8 is None:
            (directory / INT8_FILE).unlink(missing_ok=True)  # that of another backbone
    except OSError as error:
        raise BundleError(f"bundle {directory}: cannot be written ({error.strerror}), what was there is unchanged; "
                          "make room, or write where you may") from error
    return load_bundle(directory)


def rewrite_card(bundle: Bundle, card: Card) -> Bundle:
    """The bundle's folder with another card and the networks and the mesh that it has."""
    return write_bundle(bundle.path, card, bundle.backbone(), bundle.mesh, bundle.int8())


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def checked_content(path: Path, expected: str | None) -> bytes:
    """What the file holds; BundleError unless it has the sha256 that is expected."""
    if expected is None:
        raise BundleError(f"{path.parent / CARD_FILE}: files has no sha256 of {path.name}")
    if not path.is_file():
        raise BundleError(f"{path}: missing; copy the whole bundle folder again")
    try:
        content = read_bounded(path, LARGEST_MESH if path.name == MESH_FILE else _LARGEST_NETWORK)
    except DocumentError as error:
        raise BundleError(f"{path}: {error}; copy the bundle again, or make a smaller one") from error
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise BundleError(f"{path}: truncated or changed ({len(content)} bytes, sha256 {found[:12]}..., "
                          f"expected {shown(expected[:12])}...); copy the bundle again")
    return content


def _check_mesh(path: Path, card: Card, mesh: NeuralMesh) -> None:
    if mesh.features.shape[1] != card.features.dim:
        raise BundleError(f"{path / MESH_FILE}: features have {mesh.features.shape[1]} channels, {CARD_FILE} says "
                          f"{card.features.dim}")
    # Catches another unit or swapped axes, the two ways a mesh goes wrong unnoticed.
    if not np.allclose(mesh.extent, card.size_prior.mean_m, rtol=0.15):
        raise BundleError(f"{path / MESH_FILE}: the mesh measures {np.round(mesh.extent, 3).tolist()} m (x, y, z), "
                          f"size_prior.mean_m in {CARD_FILE} says {list(card.size_prior.mean_m)}")
    if card.features.flip_tta:
        try:
            counterparts(mesh.vertices, mesh.normals)
        except BundleError as error:
            raise BundleError(f"{path / CARD_FILE}: {error}") from None
