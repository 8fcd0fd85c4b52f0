# SPDX-License-Identifier: Apache-2.0
"""The bundle: a folder with everything a robot needs to know about one category.

``model.yaml`` (the card), ``backbone.onnx`` (pixels to features), ``mesh.npz`` (the neural mesh), a README, and perhaps
``backbone_int8.onnx``, the same network in 8 bits for CPUs. Hashes in the card tie the files together. Nothing in a
bundle is executable: YAML is read with the safe loader, arrays without pickles.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import sys
import types
import typing
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from ..errors import BundleError, DocumentError
from ..io.bounded_file import read_bounded
from ..io.document import CARD, read_yaml
from ..io.files import replace_files
from ..io.quoting import quoted, shown, shown_path
from ..uncertainty import UncertaintySpec
from ..verification.spec import PresenceSpec
from .mirror import counterparts
from .neural_mesh import LARGEST_MESH, NeuralMesh
from .symmetry import Symmetry

if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance

FORMAT = "dinemo-bundle/1"
CARD_FILE, BACKBONE_FILE, MESH_FILE, INT8_FILE = "model.yaml", "backbone.onnx", "mesh.npz", "backbone_int8.onnx"
_LARGEST_NETWORK = 512 << 20  # bytes; the shipped ones have 12 million
_MOST_VIEWS = 50_000  # of the coarse search; the shipped cards ask for 3,600
# Keys of older cards of this format, which still load; cards are written with the new ones.
_RENAMED = {"features.mirrored": "flip_tta", "score.sure": "tta_threshold"}
_LONGEST = {"category": 64, "version": 64, "description": 2000, "license": 2000}  # characters


@dataclass(frozen=True)
class SizePrior:
    """Category size: mean length, width, height (object x, y, z) in metres, spread of their logarithms."""

    mean_m: tuple[float, ...]
    log_sigma: tuple[float, ...]

    def __post_init__(self) -> None:
        _require(len(self.mean_m) == 3 and min(self.mean_m) > 0, "size_prior.mean_m", self.mean_m,
                 "three positive lengths in metres")
        _require(len(self.log_sigma) == 3 and 0 < min(self.log_sigma) <= max(self.log_sigma) < 1,
                 "size_prior.log_sigma", self.log_sigma, "three numbers in (0, 1)")


@dataclass(frozen=True)
class ImageSpec:
    """Crop side in pixels, how much wider than the ROI it is, and pixels per feature cell."""

    size: int = 256
    margin: float = 1.15
    stride: int = 8

    def __post_init__(self) -> None:
        _require(self.size % 32 == 0 and 64 <= self.size <= 1024, "image.size", self.size,
                 "a multiple of 32 from 64 to 1024")
        _require(1.0 <= self.margin <= 3.0, "image.margin", self.margin, "1 to 3")
        _require(self.stride == 8, "image.stride", self.stride, "8")


@dataclass(frozen=True)
class FeatureSpec:
    """Feature length, and the softmax temperature that the features were trained with.

    flip_tta: flip test-time augmentation: where the pose of a crop has low confidence (``score.tta_threshold``), its
    mirror image is used, too, see ``mirror.py``.
    """

    dim: int = 64
    temperature: float = 0.07
    flip_tta: bool = False

    def __post_init__(self) -> None:
        _require(1 <= self.dim <= 2048, "features.dim", self.dim, "1 to 2048")
        _require(0.005 <= self.temperature <= 1.0, "features.temperature", self.temperature, "0.005 to 1")


@dataclass(frozen=True)
class ScoreSpec:
    """How far to trust a pose.

    accept: poses whose score is below are not reported.
    tta_threshold: scores below are of low confidence: they ask for ``features.flip_tta``, where the bundle has it.
    covariance_scale: how much larger the variance of poses is than independent noise in the cells explains, measured on
    held-out data (a network displaces whole parts of an object alike). The spread along the ray is not scaled.
    """

    accept: float = 0.2
    tta_threshold: float = 1.0
    covariance_scale: float = 20.0

    def __post_init__(self) -> None:
        _require(0.0 <= self.accept <= 1.0, "score.accept", self.accept, "0 to 1")
        _require(0.0 <= self.tta_threshold <= 1.0, "score.tta_threshold", self.tta_threshold, "0 to 1")
        _require(0.01 <= self.covariance_scale <= 1000.0, "score.covariance_scale", self.covariance_scale,
                 "0.01 to 1000")


@dataclass(frozen=True)
class CalibrationSpec:
    """What was measured on renders with exact poses, see ``dinemo_training.export.calibrate``.

    depth_scale: true over estimated distance. Features at an outline mix object and background, so the fitted mesh lies
    a little inside the object and seems farther away.
    """

    depth_scale: float = 1.0

    def __post_init__(self) -> None:
        _require(0.5 <= self.depth_scale <= 2.0, "calibration.depth_scale", self.depth_scale, "0.5 to 2")


@dataclass(frozen=True)
class SearchSpec:
    """Coarse search grid: number of azimuths, elevations and thetas in degrees, distances relative to the ROI's."""

    azimuth: int = 48
    elevation_deg: tuple[float, ...] = (-5.0, 0.0, 8.0, 18.0, 30.0)
    theta_deg: tuple[float, ...] = (-8.0, 0.0, 8.0)
    scale: tuple[float, ...] = (0.8, 0.9, 1.0, 1.12, 1.25)

    def __post_init__(self) -> None:
        _require(4 <= self.azimuth <= 360, "search.azimuth", self.azimuth, "4 to 360 steps")
        for name, low, high in (("elevation_deg", -90, 90), ("theta_deg", -180, 180), ("scale", 0.1, 10)):
            values = getattr(self, name)
            _require(1 <= len(values) <= 64 and low <= min(values) <= max(values) <= high, f"search.{name}", values,
                     f"1 to 64 numbers from {low} to {high}")
        views = self.azimuth * len(self.elevation_deg) * len(self.theta_deg) * len(self.scale)
        _require(views <= _MOST_VIEWS, "search", f"{views} poses", f"up to {_MOST_VIEWS} (azimuth times the numbers of "
                 "elevation_deg, theta_deg and scale)")


@dataclass(frozen=True)
class Card:
    """``model.yaml``: who the bundle is for, how to feed it, and the hashes of its files."""

    category: str
    version: str
    size_prior: SizePrior
    format: str = FORMAT
    description: str = ""
    license: str = ""
    symmetry: Symmetry = field(default_factory=Symmetry)
    image: ImageSpec = field(default_factory=ImageSpec)
    features: FeatureSpec = field(default_factory=FeatureSpec)
    score: ScoreSpec = field(default_factory=ScoreSpec)
    calibration: CalibrationSpec = field(default_factory=CalibrationSpec)
    uncertainty: UncertaintySpec = field(default_factory=UncertaintySpec)
    presence: PresenceSpec = field(default_factory=PresenceSpec)
    search: SearchSpec = field(default_factory=SearchSpec)
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(re.fullmatch(r"[a-z0-9_]+", self.category) is not None, "category", self.category,
                 "lower-case letters, digits and underscores")
        for name, longest in _LONGEST.items():
            value = getattr(self, name)
            _require(len(value) <= longest and (name not in ("category", "version") or value.isprintable()), name,
                     value, f"up to {longest} characters that can be printed")
        self.presence.require_dim(self.features.dim)


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
        return _checked_content(self.backbone_path, self.card.files[BACKBONE_FILE])

    def int8(self) -> bytes | None:
        """The network in int8 for CPUs, where the bundle brings it; BundleError as for :meth:`backbone`."""
        return _checked_content(self.int8_path, self.card.files[INT8_FILE]) if self.int8_path else None


def find_bundle(category: str) -> Path:
    """Folder of the bundle shipped for ``category``: sourced ROS workspaces, this Python's share, the source tree.

    Raises:
        BundleError: no bundle of that name is installed; the message lists those that are.
    """
    found = shipped_categories()
    for root in _roots() if category in found else ():  # a name, never a way to another folder
        if (root / "engines" / category / CARD_FILE).is_file():
            return root / "engines" / category
    known = ", ".join(found) or "none"
    raise BundleError(f"no bundle for category {quoted(category)} is installed (found: {known}); name one of these, "
                      "or give the folder of a bundle")


def bundle_folder(name: str) -> Path:
    """A shipped category's folder if ``name`` is a bare name, else the folder itself."""
    is_bare = os.sep not in name and not Path(name).is_dir()
    return find_bundle(name) if is_bare else Path(name)


def shipped_categories() -> list[str]:
    """Every name that :func:`find_bundle` finds."""
    return sorted({card.parent.name for root in _roots() for card in root.glob(f"engines/*/{CARD_FILE}")})


def is_installed(path: Path) -> bool:
    """Whether the bundle at ``path`` lies where :func:`find_bundle` looks: it came with what else is run here."""
    return path.resolve().parent in [(root / "engines").resolve() for root in _roots()]


def _roots() -> list[Path]:
    """Folders in which engines/CATEGORY may be.

    pip puts data beside the libraries, which is not always below ``sys.prefix``: with ``--user`` both go to
    ``~/.local``, as root on Debian and Ubuntu to ``/usr/local``. PREFIX/lib/pythonX.Y/site-packages/dinemo_ros tells.
    """
    prefixes = [Path(prefix) for prefix in (*os.environ.get("AMENT_PREFIX_PATH", "").split(":"), sys.prefix) if prefix]
    package = Path(__file__).resolve().parents[1]
    if package.parent.name in ("site-packages", "dist-packages"):
        prefixes += package.parents[3:4]
    return [*(prefix / "share" / "dinemo_ros" for prefix in prefixes), package.parents[1]]


def load_bundle(path: str | Path) -> Bundle:
    """Read and check a bundle folder; every failure is a BundleError that says what is wrong with which file."""
    path = Path(path)
    if not path.is_dir():
        raise BundleError(f"bundle {shown_path(path)}: no such folder; give the folder that holds {CARD_FILE}")
    card = _read_card(path / CARD_FILE)
    for name in (BACKBONE_FILE, MESH_FILE, *([INT8_FILE] if INT8_FILE in card.files else [])):
        _checked_content(path / name, card.files.get(name))
    mesh = NeuralMesh.load(path / MESH_FILE)
    _check_mesh(path, card, mesh)
    return Bundle(path, card, mesh)


def write_bundle(directory: str | Path, card: Card, backbone: bytes, mesh: NeuralMesh,
                 int8: bytes | None = None) -> Bundle:
    """Write card, content of the ONNX files and mesh into ``directory``, fill in the hashes, read it back checked.

    A bundle that is there already stays what it was where the new one cannot be written.

    Raises:
        BundleError: it cannot be written, or what was written is no valid bundle.
    """
    directory = Path(directory)
    arrays = io.BytesIO()
    mesh.save(arrays)
    contents = {BACKBONE_FILE: backbone, MESH_FILE: arrays.getvalue()} | ({} if int8 is None else {INT8_FILE: int8})
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    contents[CARD_FILE] = _card_text(replace(card, files=hashes)).encode()  # last: it vouches for the others
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


def _card_text(card: Card) -> str:
    document = _plain(asdict(card)) | {"symmetry": card.symmetry.document()}
    for key in ("uncertainty", "presence"):
        if not getattr(card, key):
            del document[key]  # versions that do not know the key read the card, too
    order = ["format"] + [name for name in document if name != "format"]
    return yaml.safe_dump({name: document[name] for name in order}, sort_keys=False, default_flow_style=None, width=110)


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _read_card(path: Path) -> Card:
    if not path.is_file():
        raise BundleError(f"{path.parent}: not a bundle, it has no {CARD_FILE}")
    try:
        document = read_yaml(path, CARD)
    except DocumentError as error:
        raise BundleError(f"{path}: {error}; engines/README.md has a card, key by key") from error
    found = document.get("format") if isinstance(document, dict) else None
    if not isinstance(found, str) or not re.fullmatch(r"dinemo-bundle/[0-9]{1,9}", found):
        raise BundleError(f"{path}: not a dinemo bundle (format is {_told(found)}, expected {FORMAT!r})")
    if found != FORMAT:
        raise BundleError(f"{path}: format is {found}, this version reads {FORMAT}: upgrade dinemo_ros or take a "
                          "bundle of that format")
    try:
        return parse_card(document)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None


def parse_card(document: dict) -> Card:
    """The card that a mapping with the keys of ``model.yaml`` stands for; BundleError names the key that is wrong."""
    return _parse(Card, document, "")


def _checked_content(path: Path, expected: str | None) -> bytes:
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


Schema = typing.TypeVar("Schema", bound="DataclassInstance")


def _require(condition: bool, key: str, value: object, allowed: str) -> None:
    if not condition:
        raise BundleError(f"{key} is {_told(value)}; allowed: {allowed}")


def _told(value: object) -> str:
    """A value of somebody's card in a sentence."""
    return shown(repr(value), 200)


def _plain(value: typing.Any) -> typing.Any:
    """Tuples to lists, so that the safe YAML dumper writes them as sequences."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _parse(schema: type[Schema], document: object, where: str) -> Schema:
    """Build the dataclass ``schema`` from a YAML mapping, refusing unknown keys and wrong types."""
    if not isinstance(document, dict):
        raise BundleError(f"{where or 'the file'} must be a mapping, got {_told(document)}")
    types_of, document = typing.get_type_hints(schema), _with_new_names(document, where)
    for key in document:
        if key not in types_of:
            raise BundleError(f"unknown key {quoted(_join(where, key))}; allowed: {', '.join(types_of)}")
    for item in fields(schema):
        if item.name not in document and item.default is MISSING and item.default_factory is MISSING:
            raise BundleError(f"key {_join(where, item.name)!r} is missing")
    return schema(**{key: _convert(types_of[key], value, _join(where, key)) for key, value in document.items()})


def _with_new_names(document: dict, where: str) -> dict:
    """``document`` with the keys of today; BundleError where it has one under both names."""
    found = {}
    for key, value in document.items():
        name = _RENAMED.get(_join(where, key), key)
        if name != key and name in document:
            raise BundleError(f"{_join(where, key)} is the old name of {_join(where, name)}: give only "
                              f"{_join(where, name)}")
        found[name] = value
    return found


def _convert(kind: typing.Any, value: typing.Any, where: str) -> object:
    if kind is Symmetry:
        try:
            return Symmetry.parse(value)
        except ValueError as error:
            raise BundleError(str(error)) from None
    if isinstance(kind, type) and is_dataclass(kind):
        return _parse(kind, value, where)
    if isinstance(kind, types.GenericAlias) and kind.__origin__ is tuple:
        if not isinstance(value, list):
            raise BundleError(f"{where} must be a list of numbers, got {_told(value)}")
        return tuple(_convert(float, item, where) for item in value)
    if isinstance(kind, types.GenericAlias):  # files: name -> sha256
        if not isinstance(value, dict) or not all(isinstance(x, str) for pair in value.items() for x in pair):
            raise BundleError(f"{where} must map file names to sha256 sums, got {_told(value)}")
        known = (BACKBONE_FILE, MESH_FILE, INT8_FILE)
        unknown = set(value) - set(known)
        if unknown:
            raise BundleError(f"unknown key {quoted(_join(where, min(unknown)))}; allowed: {', '.join(known)}")
        return dict(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    right = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)  # Python takes true for a number
    if not right or (kind is float and not np.isfinite(value)):
        allowed = {float: "a finite number", bool: "true or false", int: "a whole number"}
        raise BundleError(f"{where} must be {allowed.get(kind, f'a {kind.__name__}')}, got {_told(value)}")
    return value


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)
