# SPDX-License-Identifier: Apache-2.0
"""Bundles that somebody sent to bring a robot down: each a copy of the car's with one file exchanged.

The card's hashes are right, as whoever makes such a bundle would have them: each bomb gets where it can do harm.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bad_networks import constant_of_shape, integers, network, subgraph
from painted_car import _node

from dinemo_ros.model.bundle import BACKBONE_FILE, CARD_FILE, MESH_FILE, find_bundle

ALIASES = "x0: &x0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"x{n + 1}: &x{n + 1} [{', '.join([f'*x{n}'] * 9)}]\n" for n in range(9))


def copied(folder: Path) -> Path:
    shutil.copytree(find_bundle("car"), folder)
    return folder


def with_file(folder: Path, name: str, content: bytes) -> None:
    path = copied(folder) / name
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(content)
    card = folder / CARD_FILE
    card.write_text(card.read_text().replace(old, hashlib.sha256(content).hexdigest()))


def with_text(old: str, new: str) -> Callable[[Path], None]:
    """The card with one text for another."""
    def spoil(folder: Path) -> None:
        card = copied(folder) / CARD_FILE
        assert old in card.read_text()
        card.write_text(card.read_text().replace(old, new))
    return spoil


def with_arrays(**changes: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        with np.load(find_bundle("car") / MESH_FILE) as archive:
            arrays = dict(archive)
        stream = io.BytesIO()
        np.savez_compressed(stream, **arrays | {name: change(arrays[name]) for name, change in changes.items()})
        with_file(folder, MESH_FILE, stream.getvalue())
    return spoil


def with_header(shape: str) -> Callable[[Path], None]:
    """Faces whose header says this shape."""
    def spoil(folder: Path) -> None:
        stream = io.BytesIO()
        with zipfile.ZipFile(find_bundle("car") / MESH_FILE) as source, zipfile.ZipFile(stream, "w") as archive:
            for member in source.namelist():
                content = source.read(member)
                if member == "faces.npy":
                    text = f"{{'descr': '<i4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
                    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
                archive.writestr(member, content)
        with_file(folder, MESH_FILE, stream.getvalue())
    return spoil


def encrypted(folder: Path) -> None:
    data = bytearray((find_bundle("car") / MESH_FILE).read_bytes())
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 8] |= 1
        at = data.find(b"PK\x01\x02", at + 1)
    with_file(folder, MESH_FILE, bytes(data))


def forty_gigabytes(name: str) -> Callable[[Path], None]:
    return lambda folder: os.truncate(copied(folder) / name, 40 << 30)


def pipe(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (copied(folder) / name).unlink()
        os.mkfifo(folder / name)
    return spoil


def loop(folder: Path) -> None:
    with_file(folder, BACKBONE_FILE, network([_node("Loop", ["n"], "extra", subgraph("body"))],
                                             [integers("n", [1 << 62])]))


def unit_rows(count: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda rows: np.repeat(rows[:1], count, axis=0)


_SIZE = "mean_m: [4.15, 1.7, 1.48]"
#: Name -> how it is made, and a part of the sentence that refuses it.
BOMBS: dict[str, tuple[Callable[[Path], None], str]] = {
    "aliases": (with_text("search:", ALIASES + "search:"), "more than 10000 values (aliases count as what they"),
    "nesting": (with_text("symmetry: none", "symmetry: " + "[" * 5000), "nested more than 16 deep"),
    "empty int": (with_text("size: 224", "size: !!int ''"), "'' is no int"),
    "bad date": (with_text("version: '1.7'", "version: 2024-99-99\nnonsense: 1"), "unknown key 'nonsense'"),
    "6000 digits": (with_text("size: 224", "size: " + "9" * 6000), "a whole number of 6000 digits"),
    "400-digit float": (with_text("margin: 1.15", "margin: " + "9" * 400 + ".0"), "a number of 402 characters"),
    "long text": (with_text(_SIZE, f"mean_m: {'x' * 50_000}"), "size_prior.mean_m must be a list of numbers, got 'xxx"),
    "many views": (with_text("theta_deg: [-8.0, 0.0, 8.0]", f"theta_deg: {[0.5 * k for k in range(64)]}"),
                   "search is '76800 poses'"),
    "card of 40 GB": (forty_gigabytes(CARD_FILE), "model.yaml: is larger than 64 KiB"),
    "network of 40 GB": (forty_gigabytes(BACKBONE_FILE), "backbone.onnx: is larger than 512 MiB"),
    "mesh of 40 GB": (forty_gigabytes(MESH_FILE), "mesh.npz: is larger than 128 MiB"),
    "pipe as card": (pipe(CARD_FILE), "not a bundle, it has no model.yaml"),
    "pipe as network": (pipe(BACKBONE_FILE), "backbone.onnx: missing"),
    "faces": (with_arrays(faces=unit_rows(11_000_000)), "faces has 11000000 rows, which is more than the 10000"),
    "clutter": (with_arrays(clutter=unit_rows(2_000_000)), "clutter has 2000000 rows, which is more than the 1024"),
    "wide features": (with_header("(10000, 1000000)"), "faces has the shape [10000, 1000000], which is more than"),
    "faces out of range": (with_arrays(faces=lambda faces: faces + 1), "mesh faces name vertices"),
    "pickle": (with_arrays(faces=lambda faces: np.array([{}], object)), "faces holds Python objects"),
    "shape of 1e30": (with_header("(" + "1" + "0" * 30 + ", 3)"), "faces has the impossible shape"),
    "encrypted": (encrypted, "is encrypted"),
    "loop": (loop, "operator 'Loop', which may repeat"),
    "4 TiB": (lambda folder: with_file(folder, BACKBONE_FILE, constant_of_shape(1 << 40)), "needs more than 1 GiB"),
}
