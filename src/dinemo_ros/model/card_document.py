# SPDX-License-Identifier: Apache-2.0
"""Between the YAML of a card and :class:`~dinemo_ros.model.card.Card`: unknown keys and wrong types are refused."""

from __future__ import annotations

import re
import types
import typing
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path

import numpy as np
import yaml

from ..errors import BundleError, DocumentError
from ..io.document import CARD, Document, read_yaml
from ..io.quoting import quoted
from .allowed import told
from .card import FORMAT, FORMATS, SOURCES, Card
from .symmetry import Symmetry

if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance

CARD_FILE, BACKBONE_FILE, MESH_FILE, INT8_FILE = "model.yaml", "backbone.onnx", "mesh.npz", "backbone_int8.onnx"
BUNDLE_FILES = (CARD_FILE, BACKBONE_FILE, MESH_FILE, INT8_FILE, "README.md", "LICENSE", "LICENSE.txt")  # and no others
# Keys of older cards, which still load; cards are written with the new ones.
RENAMED = {"features.mirrored": "flip_tta", "score.sure": "tta_threshold"}
# Of mappings whose keys are no names of Python.
_KEYS = {"files": (BACKBONE_FILE, MESH_FILE, INT8_FILE), "uncertainty_by_source": SOURCES}


def read_card(path: Path) -> Card:
    """The card of the file ``path``; BundleError says what is wrong with it."""
    document, found = read_with_format(path, "bundle", "engines/README.md")
    if not isinstance(found, str) or not re.fullmatch(r"dinemo-bundle/[0-9]{1,9}", found):
        raise BundleError(f"{path}: not a dinemo bundle (format is {told(found)}, expected {FORMAT!r})")
    if found not in FORMATS:
        raise BundleError(f"{path}: format is {found}, this version reads {' and '.join(FORMATS)}: upgrade dinemo_ros "
                          "or take a bundle of that format")
    try:
        return parse_card(document)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None


def read_with_format(path: Path, what: str, page: str) -> tuple[Document, object]:
    """The YAML of a card, and its ``format``, None where it has none; whose it is, is for the caller to say.

    Args:
        what: that the card's folder should be. page: of the documentation, which shows such a card.

    Raises:
        BundleError: there is no such file, or no YAML in it.
    """
    if not path.is_file():
        raise BundleError(f"{path.parent}: not a {what}, it has no {path.name}")
    try:
        document = read_yaml(path, CARD)
    except DocumentError as error:
        raise BundleError(f"{path}: {error}; {page} has a card, key by key") from error
    return document, document.get("format") if isinstance(document, dict) else None


def parse_card(document: dict) -> Card:
    """The card that a mapping with the keys of ``model.yaml`` stands for; BundleError names the key that is wrong."""
    return parse_schema(Card, document)


def card_mapping(card: Card) -> dict:
    """What the YAML of the card says, in the format of today; what is optional and empty is left out."""
    document = {"format": FORMAT} | _plain(asdict(card)) | {"format": FORMAT, "symmetry": card.symmetry.document()}
    empty = {item.name for item in fields(card) if item.metadata.get("optional") and not getattr(card, item.name)}
    return {name: value for name, value in document.items() if name not in empty}


def card_text(card: Card) -> str:
    """:func:`card_mapping` as YAML."""
    return yaml.safe_dump(card_mapping(card), sort_keys=False, default_flow_style=None, width=110)


Schema = typing.TypeVar("Schema", bound="DataclassInstance")


def _plain(value: typing.Any) -> typing.Any:
    """Tuples to lists, so that the safe YAML dumper writes them as sequences."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def parse_schema(schema: type[Schema], document: object, where: str = "") -> Schema:
    """The dataclass ``schema`` from a YAML mapping; BundleError for unknown keys and wrong types.

    where: the mapping's own key, which stands before those in it.
    """
    if not isinstance(document, dict):
        raise BundleError(f"{where or 'the file'} must be a mapping, got {told(document)}")
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
        name = RENAMED.get(_join(where, key), key)
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
        return parse_schema(kind, value, where)
    if isinstance(kind, types.GenericAlias):
        return _converted_items(kind, value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    right = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)  # Python takes true for a number
    if not right or (kind is float and not np.isfinite(value)):
        allowed = {float: "a finite number", bool: "true or false", int: "a whole number"}
        raise BundleError(f"{where} must be {allowed.get(kind, f'a {kind.__name__}')}, got {told(value)}")
    return value


def _converted_items(kind: types.GenericAlias, value: typing.Any, where: str) -> tuple | dict:
    """A list as a tuple, a mapping as a dictionary, with each item of the kind that ``kind`` names."""
    inner = kind.__args__[1 if kind.__origin__ is dict else 0]
    if kind.__origin__ is tuple:
        if not isinstance(value, list):
            what = {float: "numbers", int: "whole numbers", str: "texts"}.get(inner, "mappings")
            raise BundleError(f"{where} must be a list of {what}, got {told(value)}")
        return tuple(_convert(inner, item, where) for item in value)
    if inner is str and (not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values())):
        raise BundleError(f"{where} must map file names to sha256 sums, got {told(value)}")
    if not isinstance(value, dict):
        raise BundleError(f"{where} must be a mapping, got {told(value)}")
    known = _KEYS[where]
    unknown = set(value) - set(known)
    if unknown:
        raise BundleError(f"unknown key {quoted(_join(where, min(unknown, key=str)))}; allowed: {', '.join(known)}")
    return {key: _convert(inner, item, _join(where, key)) for key, item in value.items()}


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)
