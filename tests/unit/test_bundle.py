# SPDX-License-Identifier: Apache-2.0
"""A bundle that is not right is refused with a sentence that says what is wrong."""

import multiprocessing
import os
import resource
from dataclasses import replace

import numpy as np
import pytest
import yaml
from unit.planted import car_card, car_mesh

from dinemo_ros.errors import BundleError
from dinemo_ros.model.bundle import (
    BACKBONE_FILE,
    CARD_FILE,
    INT8_FILE,
    MESH_FILE,
    SizePrior,
    find_bundle,
    load_bundle,
    rewrite_card,
    write_bundle,
)
from dinemo_ros.model.neural_mesh import NeuralMesh


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "car", car_card(description="planted"), b"not a network, only bytes", car_mesh())


def edit(bundle, **changes):
    """Rewrite keys of model.yaml; a value of None removes the key."""
    path = bundle.path / CARD_FILE
    document = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        document.pop(key, None)
        if value is not None:
            document[key] = value
    path.write_text(yaml.safe_dump(document))


def test_round_trip(bundle):
    again = load_bundle(bundle.path)
    assert again.card == bundle.card and again.card.description == "planted"
    assert again.backbone_path.read_bytes() == b"not a network, only bytes"
    for name in ("vertices", "faces", "normals", "features", "clutter"):
        assert np.array_equal(getattr(again.mesh, name), getattr(car_mesh(), name)), name


def _write_with_little_room(folder, bundle, result):
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    try:
        write_bundle(folder, bundle.card, bundle.backbone(), bundle.mesh, bytes(100_000))
    except BundleError as error:
        result.put(str(error))


def test_full_disk_leaves_the_bundle_as_it_was(bundle):
    """A second network does not fit: one sentence, no file changed, none left behind."""
    before = {path.name: (path.read_bytes(), path.stat().st_ino) for path in bundle.path.iterdir()}
    context = multiprocessing.get_context("fork")
    result = context.Queue()
    process = context.Process(target=_write_with_little_room, args=(bundle.path, bundle, result))
    process.start()
    message = result.get(timeout=20)
    process.join()
    assert message.startswith(f"bundle {bundle.path}: cannot be written (File too large), what was there is unchanged")
    assert {path.name: (path.read_bytes(), path.stat().st_ino) for path in bundle.path.iterdir()} == before


def test_only_what_changed_is_written(bundle):
    before = {path.name: path.stat().st_ino for path in bundle.path.iterdir()}
    write_bundle(bundle.path, bundle.card, bundle.backbone(), bundle.mesh, b"int8")
    after = {path.name: path.stat().st_ino for path in bundle.path.iterdir()}
    assert {name for name in before if after[name] != before[name]} == {CARD_FILE} and INT8_FILE in after


def test_killed_before_the_card_is_the_old_bundle(bundle, monkeypatch):
    """The card is the last to be replaced: until then an additional network is not part of the bundle."""
    replaced = os.replace

    def dies_at_the_card(part, path):
        if path.name == CARD_FILE:
            raise KeyboardInterrupt
        replaced(part, path)

    monkeypatch.setattr(os, "replace", dies_at_the_card)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(bundle.path, bundle.card, bundle.backbone(), bundle.mesh, b"int8")
    assert load_bundle(bundle.path).card == bundle.card


def test_a_file_in_the_folders_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match=r"file/car: cannot be written \(Not a directory\)"):
        write_bundle(tmp_path / "file" / "car", car_card(), b"fp32", car_mesh())


def test_network_that_was_exchanged_since(bundle):
    """Training publishes a new bundle while an old one is in use: its card does not vouch for the new network."""
    bundle.backbone_path.write_bytes(b"another network")
    with pytest.raises(BundleError, match=f"{BACKBONE_FILE}: truncated or changed"):
        bundle.backbone()


class TestInt8Network:
    @pytest.fixture
    def bundle(self, tmp_path):
        return write_bundle(tmp_path / "car", car_card(), b"fp32", car_mesh(), b"int8")

    def test_is_read_back_and_survives_another_card(self, bundle):
        again = rewrite_card(bundle, replace(bundle.card, version="2"))
        assert again.card.version == "2" and again.int8_path.read_bytes() == b"int8"

    def test_does_not_outlive_its_backbone(self, bundle):
        again = write_bundle(bundle.path, bundle.card, b"another network", bundle.mesh)
        assert again.int8_path is None and not (bundle.path / INT8_FILE).exists()

    def test_truncated_and_missing(self, bundle):
        bundle.int8_path.write_bytes(b"int")
        with pytest.raises(BundleError, match=f"{INT8_FILE}: truncated or changed"):
            load_bundle(bundle.path)
        bundle.int8_path.unlink()
        with pytest.raises(BundleError, match=f"{INT8_FILE}: missing; copy the whole bundle"):
            load_bundle(bundle.path)


def test_defaults_stand_in_for_absent_sections(bundle):
    edit(bundle, image=None, search=None, score=None, description=None)
    card = load_bundle(bundle.path).card
    assert card.image.size == 256 and card.search.azimuth == 48 and card.score.accept == 0.2


def test_missing_folder(tmp_path):
    with pytest.raises(BundleError, match="no such folder; give the folder that holds model.yaml"):
        load_bundle(tmp_path / "nowhere")


def test_folder_without_a_card(tmp_path):
    with pytest.raises(BundleError, match="not a bundle, it has no model.yaml"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", [BACKBONE_FILE, MESH_FILE])
def test_missing_file(bundle, name):
    (bundle.path / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: missing; copy the whole bundle"):
        load_bundle(bundle.path)


@pytest.mark.parametrize("name", [BACKBONE_FILE, MESH_FILE])
def test_truncated_file(bundle, name):
    content = (bundle.path / name).read_bytes()
    (bundle.path / name).write_bytes(content[:len(content) // 2])
    with pytest.raises(BundleError, match=rf"{name}: truncated or changed .*sha256.*copy the bundle again"):
        load_bundle(bundle.path)


@pytest.mark.parametrize("text, reason", [
    ("format: dinemo-bundle/3\ncategory: car\n", "is dinemo-bundle/3, this version reads "
     "dinemo-bundle/1 and dinemo-bundle/2: upgrade"),
    ("format: yolo\n", "not a dinemo bundle"), ("- 1\n- 2\n", "not a dinemo bundle"), ("", "not a dinemo bundle"),
    ("{{", "cannot be read as YAML"), ("!!python/object/apply:os.system [true]\n", "cannot be read as YAML")])
def test_foreign_card(bundle, text, reason):
    (bundle.path / CARD_FILE).write_text(text)
    with pytest.raises(BundleError, match=reason):
        load_bundle(bundle.path)


def test_binary_card(bundle):
    (bundle.path / CARD_FILE).write_bytes(bytes(range(256)))
    with pytest.raises(BundleError, match="is no text .byte 128 is not UTF-8"):
        load_bundle(bundle.path)


@pytest.mark.parametrize("changes, reason", [
    ({"colour": "red"}, r"unknown key 'colour'; allowed: category, version, .*files"),
    ({"image": {"size": 256, "width": 3}}, r"unknown key 'image.width'; allowed: size, margin, stride"),
    ({"category": None}, "key 'category' is missing"),
    ({"size_prior": None}, "key 'size_prior' is missing"),
    ({"size_prior": {"mean_m": [4.4, 1.8, 1.5]}}, "key 'size_prior.log_sigma' is missing"),
    ({"size_prior": {"mean_m": [4.4, -1.8, 1.5], "log_sigma": [0.1, 0.1, 0.1]}}, "mean_m is .* three positive"),
    ({"size_prior": {"mean_m": "large", "log_sigma": [0.1, 0.1, 0.1]}}, "size_prior.mean_m must be a list of numbers"),
    ({"image": {"size": "256"}}, "image.size must be a whole number, got '256'"),
    ({"image": {"size": True}}, "image.size must be a whole number, got True"),
    ({"image": {"size": 250}}, "image.size is 250; allowed: a multiple of 32"),
    ({"image": 256}, "image must be a mapping, got 256"),
    ({"features": {"temperature": float("nan")}}, "features.temperature must be a finite number, got nan"),
    ({"score": {"accept": 2}}, "score.accept is 2.0; allowed: 0 to 1"),
    ({"search": {"elevation_deg": []}}, r"search.elevation_deg is \(\)"),
    ({"symmetry": "round"}, "symmetry is 'round'; allowed: 'none' or {axis: z, order: n}"),
    ({"symmetry": {"axis": "x", "order": 0}}, "symmetry is .*'x'.*; allowed: 'none' or"),
    ({"symmetry": {"axis": "z"}}, "symmetry is .*; allowed: 'none' or"),
    ({"symmetry": {"axis": "z", "order": -1}}, "symmetry is .*order: -1.*; allowed: 'none' or"),
    ({"symmetry": {"axis": "z", "order": True}}, "symmetry is .*order: True.*; allowed: 'none' or"),
    ({"category": "../car"}, "category is '../car'; allowed: lower-case"),
    ({"files": {"../../etc/passwd": "0"}}, r"unknown key 'files.../../etc/passwd'; allowed: backbone.onnx, mesh.npz"),
    ({"files": {}}, "files has no sha256 of backbone.onnx"), ({"files": [1]}, "files must map file names"),
    ({"features": {"dim": 32}}, "features have 64 channels, model.yaml says 32"),
    ({"size_prior": {"mean_m": [4400, 1800, 1500], "log_sigma": [0.1, 0.1, 0.1]}}, "the mesh measures .* m"),
    ({"size_prior": {"mean_m": [1.8, 4.4, 1.5], "log_sigma": [0.1, 0.1, 0.1]}}, "the mesh measures .* m")])
def test_wrong_card(bundle, changes, reason):
    edit(bundle, **changes)
    with pytest.raises(BundleError, match=reason):
        load_bundle(bundle.path)


@pytest.mark.parametrize(("section", "old", "new", "value"),
                         [("features", "mirrored", "flip_tta", True), ("score", "sure", "tta_threshold", 0.25)])
class TestKeysOfOlderCards:
    """``mirrored`` and ``sure`` are what format 1 called them at first."""

    def test_an_older_card_is_the_same_card_and_is_written_with_the_new_key(self, bundle, section, old, new, value):
        content = yaml.safe_load((bundle.path / CARD_FILE).read_text())[section]
        edit(bundle, **{section: content | {new: value}})
        card = load_bundle(bundle.path).card
        del content[new]
        edit(bundle, **{section: content | {old: value}})
        older = load_bundle(bundle.path)
        assert older.card == card and getattr(getattr(card, section), new) == value
        rewrite_card(older, older.card)
        written = yaml.safe_load((bundle.path / CARD_FILE).read_text())[section]
        assert written[new] == value and old not in written

    def test_both_names_are_one_too_many(self, bundle, section, old, new, value):
        content = yaml.safe_load((bundle.path / CARD_FILE).read_text())[section]
        edit(bundle, **{section: content | {old: value}})
        with pytest.raises(BundleError, match=rf"model.yaml: {section}.{old} is the old name of {section}.{new}: "
                                              rf"give only {section}.{new}$"):
            load_bundle(bundle.path)

    def test_a_wrong_value_is_told_under_the_new_name(self, bundle, section, old, new, value):
        content = yaml.safe_load((bundle.path / CARD_FILE).read_text())[section]
        del content[new]
        edit(bundle, **{section: content | {old: "perhaps"}})
        with pytest.raises(BundleError, match=rf"{section}.{new} must be .* got 'perhaps'"):
            load_bundle(bundle.path)


def test_a_card_names_its_file(bundle):
    edit(bundle, colour="red")
    with pytest.raises(BundleError, match=str(bundle.path / CARD_FILE)):
        load_bundle(bundle.path)


def test_find_bundle_looks_in_sourced_workspaces_first(bundle, monkeypatch, tmp_path):
    home = tmp_path / "install" / "share" / "dinemo_ros" / "engines"
    home.mkdir(parents=True)
    bundle.path.rename(home / "teapot")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'other'}:{tmp_path / 'install'}")
    assert find_bundle("teapot") == home / "teapot"


def test_find_bundle_names_what_there_is(bundle, monkeypatch, tmp_path):
    home = tmp_path / "share" / "dinemo_ros" / "engines"
    home.mkdir(parents=True)
    bundle.path.rename(home / "teapot")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    with pytest.raises(BundleError, match=r"no bundle for category 'boat' is installed \(found: .*teapot.*\)"):
        find_bundle("boat")


def broken(**changes):
    mesh = car_mesh()
    return lambda: replace(mesh, **{name: change(getattr(mesh, name)) for name, change in changes.items()})


@pytest.mark.parametrize("make, reason", [
    (broken(vertices=lambda x: x[:-1]), "faces name vertices"),
    (broken(vertices=lambda x: x * np.nan), "vertices holds numbers that are not finite"),
    (broken(vertices=lambda x: x[:, :2]), "must both be"),
    (broken(vertices=lambda x: x.astype(int)), "vertices must be a non-empty matrix of floats"),
    (broken(faces=lambda x: x.astype(float)), "faces must be integers"),
    (broken(faces=lambda x: x[:0]), "faces must be integers"),
    (broken(faces=lambda x: x - 1), "faces name vertices -1"),
    (broken(normals=lambda x: 2 * x), "normals must have unit norm, found norms from 2 to 2"),
    (broken(clutter=lambda x: np.repeat(x[:1], 1025, axis=0)), "clutter has 1025 rows, allowed are 1024; make"),
    (broken(features=lambda x: x[:-1]), "one row per vertex"),
    (broken(clutter=lambda x: x[:, :-1]), "the same columns"),
    (broken(clutter=lambda x: 0 * x), "clutter must have unit norm")])
def test_wrong_mesh(make, reason):
    with pytest.raises(BundleError, match=reason):
        make()


def test_mesh_file_that_is_none(tmp_path):
    path = tmp_path / "mesh.npz"
    for content in (b"", b"PK\x03\x04 rest of a zip", b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(BundleError, match="mesh.npz: cannot be read as a neural mesh"):
            NeuralMesh.load(path)


def test_mesh_file_that_lacks_an_array(tmp_path):
    np.savez(tmp_path / "mesh.npz", vertices=np.zeros((3, 3)), faces=np.zeros((1, 3), int))
    with pytest.raises(BundleError, match="it lacks normals, features, clutter"):
        NeuralMesh.load(tmp_path / "mesh.npz")


def test_pickles_in_a_mesh_file_are_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was run",))

    names = ("vertices", "faces", "normals", "features", "clutter")
    np.savez(tmp_path / "mesh.npz", **{name: np.array([Trap()], dtype=object) for name in names})
    with pytest.raises(BundleError, match="cannot be read as a neural mesh"):
        NeuralMesh.load(tmp_path / "mesh.npz")


def test_size_prior_needs_a_spread():
    with pytest.raises(BundleError, match="size_prior.log_sigma"):
        SizePrior((4.0, 2.0, 1.5), (0.1, 0.0, 0.1))
