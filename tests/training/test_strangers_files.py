# SPDX-License-Identifier: Apache-2.0
"""Recipes, weights and shapes that somebody sent: one sentence, nothing is run, no more memory than a file says."""

import io
import os
import pickle
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from cli.test_bad_documents import Mutator

from dinemo_ros.errors import DatasetError, DinemoError
from dinemo_training.models.category_shape import CategoryShape
from dinemo_training.models.checkpoint import average_checkpoints, load_student, save_checkpoint
from dinemo_training.models.neural_mesh import NeuralMeshFeatures
from dinemo_training.models.student import load_imagenet_trunk, load_tensors
from dinemo_training.models.teachers.projection import load_projections
from dinemo_training.models.weights_file import WeightsError, read_weights
from dinemo_training.run.inputs import located, sequences_of
from dinemo_training.run.recipe import CONFIGS, RecipeError, build_recipe, load_recipe, read_yaml
from dinemo_training.sequences.posed_templates import read_reference_azimuths

ALIASES = "x0: &x0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"x{n + 1}: &x{n + 1} [{', '.join([f'*x{n}'] * 9)}]\n" for n in range(9))


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("code of a checkpoint was run",))


@pytest.fixture
def recipe():
    return yaml.safe_load((CONFIGS / "car.yaml").read_text())


@pytest.mark.parametrize(("text", "says"), [
    (ALIASES, "more than 100000 values"), ("[" * 5000, "nested more than 16 deep"),
    ("category: !!int ''", "'' is no int"),
    ("seed: " + "9" * 6000, "a whole number of 6000 digits"),
    ("learning: {lr: %s.0}" % ("9" * 400), "of 402 characters"),
    ("category: 2024-99-99\nsize: 2024-99-99", "size is '2024-99-99'; allowed: list"),
    ("- 1", "is a mapping of keys"),
    ("category: !!python/object/apply:os.system ['touch PWNED']", "the tag 'tag:yaml.org,2002:python/object"),
    (b"\xff", "is no text"), ("a: 1\na: 2", "key 'a' stands there twice"), ("y" * 900 + ": 1", "unknown keys yyy"),
    ("category: car\nsize: [.inf, 1, 1]", "size is .inf, 1, 1.; allowed: finite numbers"),
    ("category: car\nsize: %s" % [0] * 1, "size is .0.; allowed: mean length"),
    ("category: car\nsize: [1, 1, 1]\nsize_log_sigma: " + str([1] * 5000), "size_log_sigma is .1, 1"),
    ("category: car\nsize: [1, 1, 1]\ncard: {features: 7}", "features must be a mapping, got 7"),
    ("category: car\nsize: [1, 1, 1]\ndata: {shape: [null]}", "data.shape is .None.; allowed: a list of texts"),
    ("category: car\nsize: [1, 1, 1]\ndata: {renders: {cad: [7]}}", "data.renders.cad is .7.; allowed: a folder"),
    ("category: car\nsize: [1, 1, 1]\nrounds: 7", "rounds must be a list, got 7"),
])
def test_recipes(tmp_path, monkeypatch, text, says):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    begin = time.monotonic()
    with pytest.raises(RecipeError, match=says) as caught:
        load_recipe(path)
    assert "recipe.yaml" in str(caught.value) and len(str(caught.value)) < 900 and str(caught.value).isprintable()
    assert time.monotonic() - begin < 5.0 and not (tmp_path / "PWNED").exists()


def test_a_recipe_of_forty_gigabytes_and_a_pipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.touch()
    os.truncate(path, 40 << 30)
    with pytest.raises(RecipeError, match="is larger than 1 MiB"):
        read_yaml(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RecipeError, match="it is a pipe"):
        read_yaml(path)


@pytest.mark.parametrize("option", ["$nothing", "$__class__", "$checked", "$data.__init__", "$size.append",
                                    "$data.shape.0"])
def test_options_stand_for_keys_alone(recipe, option):
    with pytest.raises(RecipeError, match=r"is no key of the recipe"):
        build_recipe(recipe, "car").resolved({"option": option})


@pytest.mark.parametrize("name", ["x" * 5000, "~nobody-of-this-name/x"])
def test_paths_that_cannot_be(recipe, tmp_path, name):
    with pytest.raises(RecipeError, match="data.photographs: .* is no path|does not exist"):
        located(build_recipe({**recipe, "data": {"shape": ["box:1x1x1"], "photographs": name}}, "car").data, tmp_path)


def test_mutated_recipes(tmp_path):
    mutator, path, refused = Mutator(3), tmp_path / "recipe.yaml", 0
    texts = [file.read_text() for file in sorted(CONFIGS.glob("*.yaml"))]
    for number in range(120):
        path.write_bytes(mutator(texts[number % len(texts)]))
        try:
            found = load_recipe(path)
            found.resolved(found.synthetic.options)
            located(found.adapted().data, tmp_path)
        except DinemoError as error:
            refused += 1
            assert str(error).isprintable() and len(str(error)) < 1500
    assert refused > 50


@pytest.mark.parametrize("text", ["[" * 5000, "7", "[]", "{", '{"a": 1, "a": 2}', '["a"]'])
def test_azimuths(tmp_path, text):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "000.jpg").touch()
    (tmp_path / "azimuth.json").write_text(text)
    with pytest.raises(RecipeError, match="azimuth.json"):
        sequences_of(tmp_path, None)
    with pytest.raises(DatasetError, match="has no azimuths of the frames of a"):
        read_reference_azimuths(tmp_path / "azimuth.json", "a", [Path("000.jpg")])


def test_azimuths_that_are_no_numbers(tmp_path):
    for value in ('"x"', "NaN", "[1]", "null", "1e999"):
        (tmp_path / "azimuth.json").write_text(f'{{"a": {{"azimuth_deg": {{"000.jpg": {value}}}}}}}')
        with pytest.raises(DatasetError, match="has no azimuths of the frames of a"):
            read_reference_azimuths(tmp_path / "azimuth.json", "a", [Path("000.jpg")])


# ----------------------------------------------------------------------------------------------------------- weights
def saved(value, **options) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def packed(data: bytes) -> bytes:
    """The same zip with its members compressed, as torch never writes them."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            archive.writestr(name, source.read(name))
    return stream.getvalue()


@pytest.mark.parametrize("content", [
    b"", b"PK\x03\x04", bytes(1000), saved({"a": torch.zeros(3)})[:-100], saved(Trap()), pickle.dumps(Trap()),
    saved(Trap(), _use_new_zipfile_serialization=False), saved({"a": torch.zeros(300)})[100:]],
    ids=["empty", "no zip", "zeros", "cut off", "trap", "pickle", "old trap", "begin missing"])
@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_weights_that_are_none(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    for read in (read_weights, load_tensors, load_student, lambda path: average_checkpoints([path], tmp_path / "out")):
        with pytest.raises(WeightsError) as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: cannot be read as weights") and message.isprintable() and len(message) < 500
        assert "weights_only" not in message, "no advice to switch the safety off"


def test_weights_of_forty_gigabytes(tmp_path):
    path = tmp_path / "weights.pt"
    path.touch()
    os.truncate(path, 40 << 30)
    begin = time.monotonic()
    for read in (read_weights, load_student):
        with pytest.raises(WeightsError, match=r"is larger than 8 GiB, .* .40 GiB."):
            read(path)
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(WeightsError, match="is no plain file"):
        read_weights(tmp_path / "pipe.pt")
    with pytest.raises(WeightsError, match="No such file"):
        read_weights(tmp_path / "none.pt")
    assert time.monotonic() - begin < 2.0


def test_weights_that_unpack_to_more_than_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("dinemo_training.models.weights_file._LARGEST", 1 << 20)
    path = tmp_path / "weights.pt"
    path.write_bytes(packed(saved({"a": torch.zeros(1 << 20)})))
    assert path.stat().st_size < 1 << 18
    with pytest.raises(WeightsError, match="is larger than 1 MiB"):
        read_weights(path)


@pytest.mark.parametrize("state", [[1], {"a": 1}, torch.zeros(3), {"backbone": {}, "features": {}},
                                   {"backbone": {}, "features": {"raw_vertices": 7}},
                                   {"backbone": {}, "features": {"raw_vertices": torch.zeros(3, 8),
                                                                 "raw_clutter": torch.zeros(2, 8)}}])
def test_checkpoints_of_something_else(tmp_path, state):
    path = tmp_path / "student.pt"
    path.write_bytes(saved(state))
    with pytest.raises(WeightsError, match="student.pt: "):
        load_student(path)
    with pytest.raises(WeightsError, match="student.pt: "):
        load_imagenet_trunk(torch.nn.Module(), path)


def test_a_good_checkpoint_is_read(tmp_path):
    features = NeuralMeshFeatures(3, 8, 2)
    save_checkpoint(tmp_path / "student.pt", torch.nn.Linear(2, 2), features)
    assert read_weights(tmp_path / "student.pt")["step"] == 0


def test_projections(tmp_path):
    path = tmp_path / "fitted.npz"
    for arrays in ({"layer.mean": np.zeros(3)}, {"setting.side": np.array(["x"])}, {"setting.side": np.zeros(2)},
                   {"layer.mean": np.array([Trap()]), "layer.components": np.eye(3)}):
        np.savez(path, **arrays)
        with pytest.raises(WeightsError, match="holds no projections"):
            load_projections(path)
    np.savez(path, **{"layer.mean": np.zeros(3), "layer.components": np.eye(3), "setting.side": np.array(7)})
    projections, settings = load_projections(path)
    assert list(projections) == ["layer"] and settings == {"side": 7}


# ------------------------------------------------------------------------------------------------------------ shapes
def test_shapes(tmp_path):
    path, good = tmp_path / "shape.npz", {"vertices": np.eye(3), "faces": np.array([[0, 1, 2]]), "normals": np.eye(3)}
    np.savez(path, **good)
    assert CategoryShape.load(path).places is None
    for change, says in (({"faces": np.array([[0, 1, 3]])}, "is no mesh"), ({"faces": np.eye(3)}, "is no mesh"),
                         ({"vertices": np.eye(3) * np.nan}, "is no mesh"), ({"normals": np.eye(2)}, "is no mesh"),
                         ({"places": np.eye(2)}, "is no mesh"), ({"vertices": np.array([Trap()])}, "Python objects"),
                         ({"vertices": np.array(["x"])}, "is no mesh"),
                         ({"faces": np.zeros((0, 3), int)}, "is no mesh")):
        np.savez(path, **good | change)
        with pytest.raises(DatasetError, match=says):
            CategoryShape.load(path)
    os.truncate(path, 40 << 30)
    with pytest.raises(DatasetError, match="is larger than 64 MiB"):
        CategoryShape.load(path)
