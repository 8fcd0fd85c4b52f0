# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Teachers named by a line of text: any network of timm, trained students, fused pairs, features kept on disk."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training extra is not installed")
timm = pytest.importorskip("timm", reason="training extra is not installed")

from posed_car import draw, look_at

from dinemo_training.models.checkpoint import save_checkpoint
from dinemo_training.models.neural_mesh import NeuralMeshFeatures
from dinemo_training.models.student import StudentBackbone
from dinemo_training.models.teachers import CachedTeacher, FusedTeacher, TimmCnnTeacher, create_teacher, prepare_picture
from dinemo_training.models.teachers.specification import identity_of, require_teacher
from dinemo_training.run.recipe import RecipeError

CNN, VIT = "test_resnet", "test_vit"  # timm's own test models


def car(side=160):
    return torch.from_numpy(draw(look_at(60), side)[0]).permute(2, 0, 1)[None].float()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Randomly initialised weights of a CNN and a transformer of timm, and of a student."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for name in (CNN, VIT):
        torch.save(timm.create_model(name).state_dict(), folder / f"{name}.pth")
    save_checkpoint(folder / "student.pt", StudentBackbone(), NeuralMeshFeatures(50))
    return folder


def unit(maps):
    torch.testing.assert_close(maps.norm(dim=1), torch.ones(maps.shape[0], *maps.shape[2:]))
    return maps


def test_any_convolutional_network(files):
    """Its two coarsest stages on the grid of the finer one, and its file's weights, not random ones."""
    teacher = create_teacher(f"cnn:{CNN}@{files / CNN}.pth")
    whole = timm.create_model(CNN, num_classes=0)
    state = torch.load(files / f"{CNN}.pth", weights_only=True)
    whole.load_state_dict({key: value for key, value in state.items() if not key.startswith("fc")})
    x = (car() - teacher.mean) / teacher.std
    with torch.inference_mode():
        fine, coarse = whole.eval().forward_intermediates(x, intermediates_only=True)[-2:]
    maps = unit(teacher(car()))
    assert maps.shape[2:] == fine.shape[2:] and maps.shape[1] == fine.shape[1] + coarse.shape[1]
    cosine = torch.nn.functional.cosine_similarity(maps[:, : fine.shape[1]], fine, dim=1)
    torch.testing.assert_close(cosine, torch.ones_like(cosine), atol=1e-4, rtol=0)


def test_other_stages_can_be_chosen(files):
    maps = unit(TimmCnnTeacher(CNN, files / f"{CNN}.pth", stages=(-3,))(car()))
    assert maps.shape[2] == 2 * create_teacher(f"cnn:{CNN}@{files / CNN}.pth")(car()).shape[2]


@pytest.mark.parametrize("name", ["test_efficientnet", "test_convnext"])
def test_feature_extractors_with_other_key_names_load_completely(name):
    model = timm.create_model(name, num_classes=0)
    trunk = TimmCnnTeacher.load_stages(name, model).eval()
    with torch.inference_mode():
        expected = model.eval().forward_intermediates(car(), intermediates_only=True)[-1]
        torch.testing.assert_close(trunk(car())[-1], expected)


def test_a_block_of_a_transformer(files):
    maps = unit(create_teacher(f"vit:{VIT}#2@{files / VIT}.pth")(car()))
    assert maps.shape == (1, 64, 10, 10)
    last = create_teacher(f"vit:{VIT}@{files / VIT}.pth")(car())
    assert (maps - last).abs().max() > 0.05


def test_a_student_teaches_and_tells_the_foreground(files):
    teacher = create_teacher(f"student:{files}/student.pt")
    maps = unit(teacher(car()))
    assert maps.shape == (1, 64, 20, 20)
    foreground = teacher.foreground(maps[0])
    assert foreground.shape == (20, 20) and 0 <= foreground.min() <= foreground.max() <= 1
    mine = maps[0].clone()
    mine[:, 3, 4], mine[:, 5, 6] = teacher.vertices[7], teacher.clutter[2]
    foreground = teacher.foreground(mine)
    assert foreground[3, 4] > 0.99 > 0.01 > foreground[5, 6]


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_fused_cosine_is_the_weighted_mean_of_the_parts(files, alpha):
    first, second = f"vit:{VIT}@{files / VIT}.pth", f"student:{files}/student.pt"
    fused = unit(create_teacher(f"fused:{alpha}({first}|{second})")(car()))
    a, b = create_teacher(first)(car()), create_teacher(second)(car())
    assert b.shape[2:] == fused.shape[2:] and a.shape[2] < b.shape[2]  # the finer grid of the two
    a = torch.nn.functional.normalize(torch.nn.functional.interpolate(a, b.shape[2:], mode="bilinear"), dim=1)
    cosines = [(m[..., 2, 3] * m[..., 7, 5]).sum() for m in (fused, a, b)]
    weight = np.array([alpha**2, (1 - alpha) ** 2])
    assert float(cosines[0]) == pytest.approx(float(np.average(cosines[1:], weights=weight)), abs=1e-4)


def test_alpha_is_a_share():
    with pytest.raises(ValueError, match="0 to 1"):
        FusedTeacher(None, None, 1.5)


class Counting:
    """A teacher that counts the pictures it is asked for."""

    calls = 0

    def __call__(self, images):
        self.calls += len(images)
        return torch.nn.functional.normalize(images[:, :, ::8, ::8] + 1, dim=1)


def test_features_are_computed_once(tmp_path):
    counting = Counting()
    teacher = CachedTeacher(counting, tmp_path, "counting")
    pictures = torch.cat([car(), car().flip(3), car()])
    first = teacher(pictures)
    assert counting.calls == 2  # the third is the first again
    torch.testing.assert_close(first, counting(pictures), atol=1e-3, rtol=0)
    counting.calls = 0
    assert torch.equal(CachedTeacher(counting, tmp_path, "counting")(pictures), first) and counting.calls == 0
    CachedTeacher(counting, tmp_path, "other weights")(pictures)
    assert counting.calls == 2
    teacher(car(168))
    assert counting.calls == 3


def test_the_same_name_with_other_weights_is_another_teacher(files, tmp_path):
    text = f"student:{tmp_path}/student.pt"
    assert identity_of("cnn") == "cnn"
    identities = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        save_checkpoint(tmp_path / "student.pt", StudentBackbone(), NeuralMeshFeatures(50))
        identities.add(identity_of(text))
    assert len(identities) == 2 and all(i.startswith(text) for i in identities)
    cached = create_teacher(f"fused:0.5({text}|vit:{VIT}@{files / VIT}.pth)", cache=tmp_path / "cache")
    cached(car())
    assert len(list((tmp_path / "cache").glob("*/*.npy"))) == 2  # each part by itself


@pytest.mark.parametrize("text", ["", "dino", "student", "sd", "sd:model", "fused:0.5", "fused:half(cnn|vit)",
                                  "fused:0.5(cnn)"])
def test_what_is_no_teacher_is_told_what_one_looks_like(text):
    with pytest.raises(ValueError, match="a teacher is one of|expected fused"):
        create_teacher(text)


@pytest.mark.parametrize("text", ["student:missing.pt", "vit@missing.pth", "sd@missing.npz", "cnn:resnet18@missing"])
def test_a_missing_file_is_named(text):
    with pytest.raises(FileNotFoundError, match="missing"):
        create_teacher(text)


def test_pictures_are_brought_to_size():
    image = draw(look_at(60), 160)[0]
    small, same, large = (prepare_picture(image, side) for side in (80, 160, 320))
    assert small.shape == (1, 3, 80, 80) and large.shape == (1, 3, 320, 320)
    np.testing.assert_array_equal(same[0].permute(1, 2, 0).numpy(), image)
    block = image[10:12, 20:22].astype(float).mean((0, 1))
    np.testing.assert_allclose(small[0, :, 5, 10], block, atol=1)


def test_what_a_teacher_needs_is_asked_before_the_work(files, monkeypatch):
    """Its stage may come after hours of rendering."""
    for good in ("cnn", f"cnn:{CNN}@{files}/{CNN}.pth", "vit", f"vit:{VIT}#1@{files}/{VIT}.pth",
                 f"student:{files}/student.pt", f"fused:0.5(cnn|vit:{VIT}@{files}/{VIT}.pth)"):
        require_teacher(good)
    for wrong, says in {"owl": "is no teacher", "student": "is no teacher", "sd": "is no teacher",
                        f"cnn@{files}/none": "there is no file", f"fused:0.5(cnn|student:{files}/none)": "no file",
                        "fused:x(a|b)": "expected fused:ALPHA"}.items():
        with pytest.raises(RecipeError, match=says):
            require_teacher(wrong)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RecipeError, match="needs diffusers, which is not installed: pip install diffusers"):
        require_teacher(f"sd@{files}/student.pt")
