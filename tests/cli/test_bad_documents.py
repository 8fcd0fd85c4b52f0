# SPDX-License-Identifier: Apache-2.0
"""Files of strangers on the command line: exit code 1 and one sentence, whatever is in them."""

import json
import os
import random
import shutil

import numpy as np
import pytest
import yaml
from bundle_bombs import ALIASES, BOMBS, copied

from dinemo_ros.benchmark.demo import demo_entries, demo_sequence
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.cli.main import main
from dinemo_ros.errors import DinemoError
from dinemo_ros.evaluation.synthetic_labels import read_labels
from dinemo_ros.evaluation.turntable import left_out, read_turntables
from dinemo_ros.io.sources.folder import TRUTH_FILE
from dinemo_ros.model.bundle import CARD_FILE, load_bundle

from .conftest import CAMERA_INFO

DEEP = "[" * 5000
DISTORTED = CAMERA_INFO.replace("[0, 0, 0, 0, 0]", "[0.1, 0, 0, 0, 0]")
CAMERAS = {
    "aliases": ALIASES + "camera_matrix: *x9\n", "nesting": DEEP, "sixteen": CAMERA_INFO + f"x: {'[' * 5000}",
    "6000 digits": CAMERA_INFO.replace("640", "6" * 6000),
    "400-digit float": CAMERA_INFO.replace("[", f"[{'9' * 400}.5, ", 1),
    "empty int": CAMERA_INFO.replace("image_width: 640", "image_width: !!int ''"),
    "date": CAMERA_INFO.replace("image_width: 640", "image_width: 2024-99-99"), "utf-16": "﻿a: 1".encode("utf-16"),
    "zero": CAMERA_INFO.encode() + b"\0", "twice": CAMERA_INFO + CAMERA_INFO,
    "many cams": "cam" + "9" * 6000 + ": {a: 1}",
    "cams": "".join(f"cam{k}: {{a: 1}}\n" for k in range(9999)),
    "long word": DISTORTED.replace("plumb_bob", "x" * 99_999),
    "script": DISTORTED.replace("plumb_bob", '"\\e]0;x\\a"'),
    "json": '{"a":' * 5000 + "1" + "}" * 5000,
    "xml": "<a>" * 5000, "encoding": '<?xml version="1.0" encoding="nonsense"?><a></a>',
}


def said(capsys, *arguments) -> str:
    """The one sentence on standard error."""
    assert main([*map(str, arguments)]) == 1
    output = capsys.readouterr()
    lines = [line for line in output.err.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("error: ") and lines[0].isprintable() and len(lines[0]) < 1200, lines
    return lines[0]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """One picture of the demo sequence with its files."""
    folder = tmp_path_factory.mktemp("demo")
    for name in ("000.jpg", "camera_info.yaml", TRUTH_FILE):
        shutil.copy(demo_sequence() / name, folder)
    return folder


@pytest.mark.parametrize("name", ["aliases", "nesting", "empty int", "6000 digits", "400-digit float", "shape of 1e30",
                                  "encrypted", "loop", "4 TiB", "network of 40 GB", "pipe as card"])
def test_bundles(tmp_path, capsys, demo, name):
    spoil, says = BOMBS[name]
    spoil(tmp_path / "bundle")
    assert says in said(capsys, "estimate", demo / "000.jpg", "--bundle", tmp_path / "bundle", "--device", "cpu")


@pytest.mark.parametrize("name", CAMERAS)
def test_cameras(tmp_path, capsys, demo, bundle, name):
    content = CAMERAS[name]
    path = tmp_path / "camera.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert "camera.yaml" in said(capsys, "estimate", demo / "000.jpg", "--bundle", bundle, "--camera", path)


@pytest.mark.parametrize(("content", "says"), [
    (DEEP, "nested more than 16 deep"), ('{"s": {"azimuth_deg": {"000.jpg": 1e999}}}', "too large a number"),
    ('{"s": {"azimuth_deg": {"000.jpg": NaN}}}', "has no finite azimuth"), ("{", "cannot be read as JSON"),
    ('{"s": {"azimuth_deg": {"000.jpg": ' + "9" * 6000 + "}}}", "a whole number of 6000 digits"),
    ('{"s": {"azimuth_deg": {"../s/000.jpg": 1}}}', "'../s/000.jpg' is no name"), ('{"s": [1]}', "another layout"),
    ('{"%s": {"azimuth_deg": {"000.jpg": 1}}}' % ("a" * 5000), "is no name of a file"), ("[]", "another layout"),
    ('{"s\\u0000": {"azimuth_deg": {"000.jpg": 1}}}', "zero byte"), ('{"s": {"azimuth_deg": {}}}', "has no frames"),
    (b"\xff\xfe{\0}\0", "is no text"), ('{"s": 1, "s": 2}', "the key 's' twice"), (None, "is larger than 16 MiB"),
], ids=range(14))
def test_turntables(tmp_path, capsys, demo, bundle, content, says):
    (tmp_path / "s").mkdir()
    shutil.copy(demo / "000.jpg", tmp_path / "s")
    path = tmp_path / "azimuth.json"
    path.write_bytes(b"" if content is None else content if isinstance(content, bytes) else content.encode())
    if content is None:
        os.truncate(path, 40 << 30)
    assert says in said(capsys, "eval", "turntable", tmp_path, "--bundle", bundle)


@pytest.mark.parametrize(("file", "content"), [
    ("calib/000000.txt", "P2: " + "9" * 5000), ("calib/000000.txt", "P2: \x1b[31m"), ("calib/000000.txt", b"\xff"),
    ("calib/000000.txt", "P2: 1 0 0 0 0 1 0 0 0 0 1e999 0"), ("label_2/000000.txt", "Car " + "x" * 5000),
    ("label_2/000000.txt", "Car 0 0 0 1 1 60 60 1 1 1 1 1 9 1e308"),
    ("label_2/000000.txt", "Car " + "9" * 400 + " 0" * 13),
    ("label_2/000000.txt", None), ("calib/000000.txt", None)], ids=range(9))
def test_kitti(tmp_path, capsys, demo, bundle, file, content):
    for name in ("image_2", "calib", "label_2"):
        (tmp_path / name).mkdir()
    shutil.copy(demo / "000.jpg", tmp_path / "image_2" / "000000.jpg")
    (tmp_path / "calib" / "000000.txt").write_text("P2: 600 0 400 0 0 600 150 0 0 0 1 0\n")
    (tmp_path / "label_2" / "000000.txt").write_text("Car 0 0 0 1 1 60 60 1.5 1.7 4.2 1 1 9 0\n")
    path = tmp_path / file
    path.write_bytes(b"" if content is None else content if isinstance(content, bytes) else content.encode())
    if content is None:
        os.truncate(path, 40 << 30)
    assert file in said(capsys, "eval", "kitti", tmp_path, "--bundle", bundle)


def test_synthetic(tmp_path, capsys, bundle):
    (tmp_path / "images").mkdir()
    labels = {"names": np.array(["a"]), "K": np.eye(3)[None], "T_cam_obj": np.eye(4)[None], "size": np.ones((1, 3))}
    labels["T_cam_obj"][0, 2, 3] = 5.0
    for change, says in (({"names": np.array(["../../etc/passwd"])}, "is no name of a picture"),
                         ({"names": np.array(["a\nb" * 200])}, "is no name of a picture"),
                         ({"K": np.array([{}])}, "holds Python objects"),
                         ({"size": np.ones((1, 3), complex)}, "has the type"),
                         ({"K": np.full((1, 3, 3), np.inf)}, "not finite")):
        np.savez(tmp_path / "labels.npz", **labels | change)
        assert says in said(capsys, "eval", "synthetic", tmp_path, "--bundle", bundle)
    os.truncate(tmp_path / "labels.npz", 40 << 30)
    assert "is larger than 256 MiB" in said(capsys, "eval", "synthetic", tmp_path, "--bundle", bundle)


class Mutator:
    """Changes documents at random places: values for others of another kind, bytes for others."""

    VALUES = (None, True, -1, 0, 10**17, 1.5, float("nan"), float("inf"), -1e300, "", "x" * 3000, "a\nb", "~nobody/x",
              "\x1b[31m", [], [None], [[1]], {}, {"a": {"b": [1]}}, [1, 2, 3], [1e300] * 3, [0.1] * 3, ["x", "y"])
    KEYS = ("../x", "a" * 300, "<<", "\x1b", "n\0", "")

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def __call__(self, text: str) -> bytes:
        if self._random.random() < 0.6:
            document = yaml.safe_load(text)
            for _ in range(self._random.choice((1, 1, 2))):
                self._change(document)
            dump = json.dumps if text.startswith("{") else yaml.safe_dump
            return dump(document).encode()
        data = bytearray(text.encode())
        for _ in range(self._random.randint(1, 6)):
            data[self._random.randrange(len(data))] = self._random.choice(b"\0\t\n:{}[]&*!|>'\"%@`0aZ-,\xff\xfe9")
        return bytes(data)

    def _change(self, document) -> None:
        place = document
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = self._random.choice(keys)
            if not isinstance(place[key], (dict, list)) or not place[key] or self._random.random() < 0.3:
                break
            place = place[key]
        place[key] = self._random.choice(self.VALUES)
        if isinstance(place, dict) and self._random.random() < 0.1:
            place[self._random.choice(self.KEYS)] = self._random.choice(self.VALUES)


@pytest.mark.parametrize("kind", ["card", "camera", "truth", "turntables"])
def test_mutated_documents(tmp_path, demo, kind):
    """Of a few hundred each is read, or refused with one sentence."""
    folder = shutil.copytree(demo, tmp_path / "demo")
    (tmp_path / "s").mkdir()
    shutil.copy(demo / "000.jpg", tmp_path / "s")
    turntables = json.dumps({"s": {"azimuth_deg": {"000.jpg": 1.0}}, "t": {"azimuth_deg": {"1.jpg": 2}}})
    def annotated():
        return read_turntables(tmp_path), left_out(tmp_path)

    path, text, read = {
        "card": (copied(tmp_path / "bundle") / CARD_FILE, None, lambda: load_bundle(tmp_path / "bundle")),
        "camera": (folder / "camera_info.yaml", None, lambda: Camera.from_yaml(folder / "camera_info.yaml")),
        "truth": (folder / TRUTH_FILE, None, lambda: demo_entries(folder)),
        "turntables": (tmp_path / "azimuth.json", turntables, annotated)}[kind]
    text, mutator, refused = text or path.read_text(), Mutator(7), 0
    for _ in range(200):
        path.write_bytes(mutator(text))
        try:
            read()
        except DinemoError as error:
            refused += 1
            assert str(error).isprintable() and len(str(error)) < 900
    assert refused > 50


def test_mutated_labels(tmp_path):
    rng, path = np.random.default_rng(7), tmp_path / "labels.npz"
    T = np.eye(4)[None].repeat(2, 0)
    T[:, 2, 3] = 5.0
    np.savez(path, names=np.array(["a", "b"]), K=np.eye(3)[None].repeat(2, 0), T_cam_obj=T, size=np.ones((2, 3)))
    good, refused = path.read_bytes(), 0
    read_labels(path)
    for _ in range(200):
        data = bytearray(good)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            data[at] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            read_labels(path)
        except DinemoError as error:
            refused += 1
            assert str(error).isprintable() and len(str(error)) < 900
    assert refused > 50
