# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""A frozen transformer: its tokens are computed once, survive a kill, and teach its read-out what a bundle holds."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")
for _module in ("timm", "accelerate", "numba", "onnx"):
    pytest.importorskip(_module, reason="training extra is not installed")

from posed_car import car_shape, posed_crop, random_pose

from dinemo_ros.model.bundle import load_bundle
from dinemo_training.data import feature_cache
from dinemo_training.data.augmentation import AugmentConfig
from dinemo_training.data.batches import BatchConfig, CorrespondenceSampler
from dinemo_training.data.example_stream import ExampleStream
from dinemo_training.data.feature_cache import CachedFeatures, write_features
from dinemo_training.data.posed_crops import save_labels, save_picture
from dinemo_training.export import bundle_export as export
from dinemo_training.models.checkpoint import load_student
from dinemo_training.models.contrastive import TrainConfig, train
from dinemo_training.models.contrastive import main as training_command
from dinemo_training.models.student import create_student
from dinemo_training.run.plan import stages_of
from dinemo_training.run.recipe import Data, Learning, Recipe, RecipeError, Round
from dinemo_training.run.run_folder import RunFolder
from dinemo_training.run.stages import Work
from dinemo_training.synthetic.shape.mean_mesh import save_shape

VIEWS = 10
SMALL = "test_vit"  # timm's transformer for tests: 0.3 M parameters
RECIPE = Recipe("car", [4.0, 1.8, 1.5], data=Data(shape=["x.obj"], renders={"cad": ["x.obj"]}),
                learning=Learning(backbone=SMALL, batch=4, crop=64, lr=0.002, workers=0, freeze=True, views=VIEWS),
                rounds=[Round({"synthetic": 1.0}, 3)], average=1)


def transformer(seed: int = 0):
    torch.manual_seed(seed)
    return create_student(SMALL, freeze=True).eval()


@pytest.fixture(scope="module")
def crops():
    rng = np.random.default_rng(0)
    return [posed_crop(random_pose(rng), str(i), side=96) for i in range(6)]


@pytest.fixture(scope="module")
def stream(crops):
    views = AugmentConfig(size=64, occlude=0.0, neighbour=0.0)  # every view shows the car
    sampler = CorrespondenceSampler(car_shape(), views, BatchConfig(48, 32))
    return ExampleStream([(crops, 1.0)], sampler, 3, 0, VIEWS)


@pytest.fixture(scope="module")
def stored(stream, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    assert write_features(folder, stream, transformer()) == VIEWS
    return folder


def examples(stream):
    return [stream[i] for i in range(len(stream))]


def arrays(folder):
    return {path.name: np.load(path) for path in folder.glob("*.npy")}


def test_stored_tokens_give_the_features_of_the_picture(stored, stream):
    """Through the read-out, up to float16; and the links are those of the same view."""
    model, pictures = transformer(), examples(stream)
    with torch.inference_mode():
        expected = [model(torch.from_numpy(e["image"]).permute(2, 0, 1)[None].float())[0] for e in pictures]
        for example in examples(CachedFeatures(stored, 7, 0, VIEWS)):
            found = model.read_out(torch.from_numpy(example["tokens"])[None].float())[0]
            view = int(np.argmin([float((found - e).abs().max()) for e in expected]))
            assert (found * expected[view]).sum(0).min() > 0.9999
            links, own = ({(v, *at) for v, at, w in zip(e["vertex_ids"], map(tuple, e["pixels"]), e["weights"],
                                                        strict=True) if w} for e in (example, pictures[view]))
            assert links == own and len(own) > 20


def test_a_view_that_comes_again_has_other_links(stored):
    def drawn(turn):
        stream = CachedFeatures(stored, 7, turn * VIEWS, VIEWS, BatchConfig(16, 8))
        return {e["tokens"].tobytes(): e for e in examples(stream)}

    first, second = drawn(0), drawn(1)
    for example in first.values():
        assert len(example["vertex_ids"]) == 16 == len(set(example["vertex_ids"])) and (example["weights"] > 0).all()
        assert len(example["background"]) == 8 == len(example["background_weight"])
    assert any(set(first[k]["vertex_ids"]) != set(second[k]["vertex_ids"]) for k in first)


def test_every_turn_goes_once_through_all_views_and_can_be_entered_anywhere(stored):
    whole = [e["tokens"].tobytes() for e in examples(CachedFeatures(stored, 7, 0, 3 * VIEWS))]
    turns = [whole[i : i + VIEWS] for i in range(0, len(whole), VIEWS)]
    assert all(len(set(turn)) == VIEWS and set(turn) == set(turns[0]) for turn in turns)
    assert turns[0] != turns[1]
    assert [e["tokens"].tobytes() for e in examples(CachedFeatures(stored, 7, 13, 5))] == whole[13:18]


def test_a_killed_store_goes_on_where_it_was(stored, stream, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_cache, "_BATCH", 4)
    model, asked = transformer(), []
    honest = model.tokens

    def tokens(pictures):
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(len(pictures))
        return honest(pictures)

    model.tokens = tokens
    with pytest.raises(KeyboardInterrupt):
        write_features(tmp_path, stream, model)
    assert CachedFeatures(tmp_path, 0, 0, 1).views == 8  # what is whole can be used already
    model.tokens = lambda pictures: asked.append(len(pictures)) or honest(pictures)
    assert write_features(tmp_path, stream, model) == VIEWS
    assert asked == [4, 4, 2]
    for name, expected in arrays(stored).items():
        found = np.load(tmp_path / name)
        if name == "tokens.npy":  # batches of another size are summed in another order
            np.testing.assert_allclose(found, expected, atol=0.01)
        else:
            np.testing.assert_array_equal(found, expected)


def test_tokens_of_another_transformer_or_stream_are_refused(stored, stream, tmp_path):
    other = ExampleStream(stream.pools, stream.sampler, stream.seed + 1, 0, VIEWS)
    for changed, model in ((stream, transformer(seed=1)), (other, transformer())):
        with pytest.raises(ValueError, match="tokens of other examples or of another transformer; remove the folder"):
            write_features(stored, changed, model)
    with pytest.raises(ValueError, match="holds no tokens; write them first"):
        CachedFeatures(tmp_path, 0, 0, 1)


def test_the_read_out_learns_from_tokens_and_the_transformer_stays(stored, tmp_path):
    torch.save(transformer().trunk.state_dict(), tmp_path / "trunk.pt")
    config = TrainConfig(steps=30, batch=5, lr=3e-3, architecture=SMALL, freeze=True)
    torch.set_num_threads(1)
    train([], car_shape(), tmp_path / "start", replace(config, steps=1), weights=tmp_path / "trunk.pt",
          feature_cache=stored, workers=0)
    final = train([], car_shape(), tmp_path, config, weights=tmp_path / "trunk.pt", feature_cache=stored, workers=0)
    start, end = (json.loads((folder / "metrics.jsonl").read_text()) for folder in (tmp_path / "start", tmp_path))
    assert end["vertex"] < start["vertex"] - 0.2 and end["clutter"] < 0.8 * start["clutter"]  # running means
    model, _ = load_student(final)
    before = transformer().trunk.state_dict()
    assert all(torch.equal(value, before[key]) for key, value in model.trunk.state_dict().items())
    with pytest.raises(ValueError, match="hold only while the transformer is frozen"):
        train([], car_shape(), tmp_path, replace(config, freeze=False), feature_cache=stored)


def test_a_frozen_run_goes_on_with_blocks_that_learn(stored, stream, tmp_path):
    torch.save(transformer().trunk.state_dict(), tmp_path / "trunk.pt")
    config = TrainConfig(steps=2, batch=2, architecture=SMALL, freeze=True, augmentation=AugmentConfig(size=64))
    frozen = train([], car_shape(), tmp_path, config, weights=tmp_path / "trunk.pt", feature_cache=stored, workers=0)
    free = train(stream.pools, car_shape(), tmp_path / "free", replace(config, freeze=False), init=frozen, workers=0)
    before, after = (load_student(path)[0].trunk.state_dict() for path in (frozen, free))
    changed = {key.split(".")[1] for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"2", "3", "4", "5"}  # the last four of six


def test_the_commands_make_a_bundle_of_it(stored, tmp_path, monkeypatch):
    """dinemo_training.models.contrastive and dinemo_training.export.bundle_export as a person calls them; parity is
    checked by the export."""
    shape = car_shape()
    save_shape(tmp_path / "shape.npz", shape.vertices, shape.faces)
    torch.save(transformer().trunk.state_dict(), tmp_path / "trunk.pt")

    def call(command, *options):
        monkeypatch.setattr("sys.argv", ["command", "--shape", *map(str, (tmp_path / "shape.npz", *options))])
        command()

    call(training_command, "--backbone", SMALL, "--weights", tmp_path / "trunk.pt", "--freeze", "--feature-cache",
         stored, "--out", tmp_path, "--steps", 2, "--batch", 2, "--workers", 0, "--temperature", 0.06)
    call(export.main, "--checkpoint", tmp_path / "student.pt", "--category", "car", "--out", tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.card.features.temperature == 0.06 and bundle.card.image.stride == 8
    assert len(bundle.mesh.features) == len(shape.vertices)
    assert export.largest_bundle(SMALL) > export.largest_bundle("tf_efficientnet_lite0")


def test_a_recipe_computes_tokens_before_it_trains_on_them(crops, tmp_path):
    pool, shape = tmp_path / "synthetic", car_shape()
    for crop in crops:
        save_picture(pool, crop.name, crop.image(), crop.foreground())
    save_labels(pool, [c.name for c in crops], *(np.stack([getattr(c, k) for c in crops])
                                                 for k in ("K", "T_cam_obj", "size")))
    save_shape(tmp_path / "shape.npz", shape.vertices, shape.faces)
    torch.save(transformer().trunk.state_dict(), tmp_path / "trunk.pt")
    recipe = replace(RECIPE, learning=replace(RECIPE.learning, weights=str(tmp_path / "trunk.pt")))
    stages = {stage.name: stage for stage in stages_of(recipe, RunFolder(tmp_path), tmp_path / "out")}
    assert "features0" in stages["train0"].needs and "features0" not in {
        s.name for s in stages_of(replace(recipe, learning=Learning()), RunFolder(tmp_path), tmp_path / "out")}
    work = Work(recipe, tmp_path)
    assert work.features(0) == {"views": VIEWS}
    assert work.train(0)["step"] == 3


def test_only_a_transformer_is_frozen():
    with pytest.raises(RecipeError, match="learning.freeze is True; allowed: false for tf_efficientnet_lite0"):
        Learning(freeze=True)
    with pytest.raises(RecipeError, match="learning.views is 5; allowed: 0, or with freeze: true"):
        Learning(backbone=SMALL, views=5)
    with pytest.raises(ValueError, match="tf_efficientnet_lite0 cannot be frozen"):
        create_student(freeze=True)
