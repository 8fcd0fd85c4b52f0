# SPDX-License-Identifier: Apache-2.0
"""Which backend runs, why, and what happens where it cannot."""

import importlib.util
import logging
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from dinemo_ros.features import BACKENDS, create_extractor, selection, tensorrt_api
from dinemo_ros.features.engine_build import profiles
from dinemo_ros.features.engine_cache import EngineCache
from dinemo_ros.features.onnxruntime_backend import OnnxRuntimeExtractor
from dinemo_ros.features.parity import THRESHOLD, sample_pictures, smallest_cosine
from dinemo_ros.features.variants import network, variant_key
from dinemo_ros.model.bundle import write_bundle


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.INFO, "dinemo_ros")


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture
def no_gpu(monkeypatch):
    """As on a machine without an NVIDIA driver."""

    def missing():
        raise selection.CudaError("no NVIDIA driver is installed (libcuda.so.1 is not there)")

    monkeypatch.setattr(selection, "find_gpu", missing)


def test_auto_says_why(bundle, caplog, no_gpu):
    chosen = create_extractor(bundle)
    assert (chosen.name, chosen.precision, chosen.device) == ("onnxruntime", "fp32", "CPU")
    assert caplog.messages == ["features: onnxruntime in fp32 on CPU, because there is no GPU to use: no NVIDIA driver "
                               "is installed (libcuda.so.1 is not there)"]


@pytest.mark.parametrize("name, value", [("backend", "abacus"), ("precision", "fp8")])
def test_unknown_names(bundle, name, value):
    with pytest.raises(ValueError, match=f"{name} is '{value}'; allowed: "):
        create_extractor(bundle, **{name: value})


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name not in ("auto", "onnxruntime")])
def test_a_package_that_is_missing(bundle, backend, caplog, no_gpu, monkeypatch, tmp_path):
    """A node goes on with ONNX Runtime; the warning names the package, once."""
    monkeypatch.setattr(tensorrt_api, "_CANDIDATES", ())
    for module in ("openvino", "torch"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    chosen = create_extractor(bundle, backend, precision="bf16", cache=tmp_path)
    assert (chosen.name, chosen.precision) == ("onnxruntime", "fp32")
    (warning,) = warnings(caplog)
    assert warning.startswith(f"{backend} in bf16 cannot be used: ") and "pip install" in warning
    assert chosen.reason == warning


def test_tensorrt_without_a_gpu(bundle, caplog, no_gpu, monkeypatch, tmp_path):
    monkeypatch.setattr(tensorrt_api, "load_tensorrt", lambda: None)
    assert create_extractor(bundle, "tensorrt", cache=tmp_path).name == "onnxruntime"
    assert "no NVIDIA driver" in warnings(caplog)[0]


def test_gpu_without_anything_that_uses_it(bundle, caplog, driver, monkeypatch, tmp_path):
    """auto does not warn of what nobody asked for, and its reason tells how to get it."""
    monkeypatch.setattr(tensorrt_api, "_CANDIDATES", ())
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    chosen = create_extractor(bundle, cache=tmp_path)
    assert chosen.name == "onnxruntime" and chosen.device == "CPU"
    assert warnings(caplog) == []
    for part in ("nothing works on stand-in", "TensorRT is not installed", "ONNX Runtime has no CUDA", "pip install"):
        assert part in chosen.reason


def test_precisions_that_a_cpu_does_not_have(bundle, caplog, no_gpu, tmp_path):
    chosen = create_extractor(bundle, precision="fp16", cache=tmp_path)
    assert (chosen.name, chosen.precision) == ("onnxruntime", "fp32")
    assert warnings(caplog) == ["onnxruntime in fp16 cannot be used: ONNX Runtime has no fast fp16 on a CPU, only fp32 "
                                "and int8"]


def test_int8_that_nobody_made(bundle, caplog, no_gpu, tmp_path):
    assert create_extractor(bundle, precision="int8", cache=tmp_path).precision == "fp32"
    assert f"dinemo build-engine {bundle.path} --precision int8 --calibration PICTURES" in warnings(caplog)[0]


def test_int8_network_of_the_cache(bundle, no_gpu, tmp_path):
    """Any network under the right key is run, if its features agree."""
    EngineCache(tmp_path).store(variant_key(bundle, "int8", "cpu"), bundle.backbone_path.read_bytes())
    chosen = create_extractor(bundle, "onnxruntime", precision="int8", cache=tmp_path)
    assert (chosen.name, chosen.precision) == ("onnxruntime", "int8")


class TestInt8OfTheBundle:
    @pytest.fixture
    def brings_int8(self, bundle, no_gpu, tmp_path):
        backbone = bundle.backbone_path.read_bytes()
        return write_bundle(tmp_path / "bundle", bundle.card, backbone, bundle.mesh, backbone)

    @pytest.mark.parametrize("vnni, precision", [(True, "int8"), (False, "fp32")])
    def test_auto_takes_it_where_it_is_fast(self, brings_int8, monkeypatch, vnni, precision, tmp_path):
        monkeypatch.setattr(selection, "has_vnni", lambda: vnni)
        for backend in ("auto", "onnxruntime"):
            assert create_extractor(brings_int8, backend, cache=tmp_path).precision == precision

    def test_it_is_there_for_whoever_asks(self, brings_int8, monkeypatch, caplog, tmp_path):
        monkeypatch.setattr(selection, "has_vnni", lambda: False)
        assert create_extractor(brings_int8, precision="int8", cache=tmp_path).precision == "int8"
        assert create_extractor(brings_int8, precision="fp32", cache=tmp_path).precision == "fp32"
        assert warnings(caplog) == []

    def test_ranges_from_own_pictures_go_before_it(self, brings_int8, tmp_path):
        cache = EngineCache(tmp_path)
        assert network(brings_int8, "int8", cache) == brings_int8.int8_path.read_bytes()
        cache.store(variant_key(brings_int8, "int8", "cpu"), b"from own pictures")
        assert network(brings_int8, "int8", cache) == b"from own pictures"

    def test_damaged_one_of_the_cache(self, brings_int8, caplog, tmp_path):
        """The bundle's takes its place, and nobody is told of something that is built."""
        file = EngineCache(tmp_path).store(variant_key(brings_int8, "int8", "cpu"), b"from own pictures")
        file.write_bytes(file.read_bytes()[:-1])
        assert create_extractor(brings_int8, precision="int8", cache=tmp_path).precision == "int8"
        assert warnings(caplog) == [f"{file}: truncated (16 of 17 bytes), the bundle's own is used"]

    @pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
    def test_an_empty_one_is_not_the_network_in_fp32(self, bundle, no_gpu, backend, tmp_path, caplog):
        if backend == "openvino" and importlib.util.find_spec("openvino") is None:
            pytest.skip("OpenVINO is not installed")
        empty = write_bundle(tmp_path / "empty", bundle.card, bundle.backbone(), bundle.mesh, b"")
        assert create_extractor(empty, backend, precision="int8", cache=tmp_path).precision == "fp32"
        assert f"{backend} in int8 cannot be used: " in warnings(caplog)[0]

    @pytest.mark.parametrize("backend", ["auto", "onnxruntime"])
    def test_with_onnxruntime_gpu_where_there_is_none(self, brings_int8, monkeypatch, caplog, tmp_path, backend):
        """A robot's image with the package for GPUs, started on a laptop."""
        monkeypatch.setattr(selection, "has_vnni", lambda: True)
        monkeypatch.setattr(onnxruntime, "get_available_providers",
                            lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
        assert create_extractor(brings_int8, backend, cache=tmp_path).precision == "int8"
        assert warnings(caplog) == []

    def test_a_wrong_one_is_not_used(self, brings_int8, monkeypatch, caplog, tmp_path):
        monkeypatch.setattr(selection, "has_vnni", lambda: True)
        monkeypatch.setattr(OnnxRuntimeExtractor, "__call__", _wrong_in_int8)
        assert create_extractor(brings_int8, cache=tmp_path).precision == "fp32"
        assert "its features of car 0 are wrong" in warnings(caplog)[0]


def test_cuda_of_onnxruntime_that_does_not_start(bundle, driver, monkeypatch, caplog, tmp_path):
    """The provider is there, CUDA's libraries are not: asked for by name, it is warned of once, and the CPU works."""
    monkeypatch.setattr(onnxruntime, "get_available_providers",
                        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    chosen = create_extractor(bundle, "onnxruntime", precision="fp32", cache=tmp_path)
    assert (chosen.name, chosen.precision, chosen.device) == ("onnxruntime", "fp32", "CPU")
    assert len(warnings(caplog)) == 1 and "onnxruntime with CUDA in fp32 cannot be used" in chosen.reason


def test_int8_network_that_is_wrong(bundle, no_gpu, caplog, tmp_path, monkeypatch):
    EngineCache(tmp_path).store(variant_key(bundle, "int8", "cpu"), bundle.backbone_path.read_bytes())
    monkeypatch.setattr(OnnxRuntimeExtractor, "__call__", _wrong_in_int8)
    assert create_extractor(bundle, precision="int8", cache=tmp_path).precision == "fp32"
    assert "its features of car 0 are wrong (cosine with ONNX Runtime" in warnings(caplog)[0]


def _wrong_in_int8(extractor, images):
    features = extractor._on_cpu(images)
    return np.roll(features, 1, axis=1) if extractor.precision == "int8" else features


def test_int8_entry_that_is_no_network(bundle, no_gpu, caplog, tmp_path):
    EngineCache(tmp_path).store(variant_key(bundle, "int8", "cpu"), b"no network")
    assert create_extractor(bundle, precision="int8", cache=tmp_path).precision == "fp32"
    assert "car in another precision: ONNX Runtime" in warnings(caplog)[0] and "cannot load it" in warnings(caplog)[0]


def test_a_library_that_fails_in_its_own_way(bundle, no_gpu, caplog, tmp_path, monkeypatch):
    def load():
        raise RuntimeError("driver\nversion")

    monkeypatch.setattr(tensorrt_api, "load_tensorrt", load)
    assert create_extractor(bundle, "tensorrt", cache=tmp_path).name == "onnxruntime"
    assert warnings(caplog) == ["tensorrt in fp32 cannot be used: RuntimeError: driver"]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_batches_are_what_single_pictures_are(bundle, backend, no_gpu):
    if backend == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    chosen, size = create_extractor(bundle, backend), bundle.card.image.size
    assert chosen.name == backend
    images = np.concatenate(sample_pictures(size, batch=5)[:2])
    alone = np.concatenate([chosen(image[None]) for image in images])
    for count in (6, 5, 2):  # with two threads: rounds of one for each, and one left over for both
        together = chosen(images[:count])
        assert together.shape == (count, bundle.card.features.dim, size // 8, size // 8)
        assert together.dtype == np.float32 and np.allclose(together, alone[:count], atol=1e-5)


class TestParity:
    @pytest.fixture
    def features(self):
        features = np.random.default_rng(0).normal(size=(2, 16, 4, 4)).astype(np.float32)
        return features / np.linalg.norm(features, axis=1, keepdims=True)

    def cosine(self, expected, found):
        return smallest_cosine(lambda _: expected, lambda _: found, [None])

    def test_equal(self, features):
        assert self.cosine(features, features) == 1.0

    def test_one_cell_decides(self, features):
        other = features.copy()
        other[1, :, 2, 3] = np.roll(other[1, :, 2, 3], 1)
        expected = float(features[1, :, 2, 3] @ other[1, :, 2, 3])
        assert self.cosine(features, other) == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("spoil", [lambda f: f * 2, lambda f: f * np.nan, lambda f: f * 0, lambda f: f[:, :, :2],
                                       lambda f: -f], ids=["not of unit norm", "NaN", "zero", "shape", "sign"])
    def test_what_must_not_pass(self, features, spoil):
        assert not self.cosine(features, spoil(features)) >= min(THRESHOLD.values())

    def test_pictures_are_the_same_everywhere(self):
        first, second = sample_pictures(64), sample_pictures(64)
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
        assert [image.shape for image in first] == [(1, 64, 64, 3), (2, 64, 64, 3), (1, 128, 192, 3)]
        assert all(40 < image.std() for image in first)

    @pytest.mark.parametrize("size", [64, 224, 352, 448, 768, 1024])
    def test_pictures_fit_into_every_engine(self, bundle, size):
        """Both profiles are tried, also by bundles whose crops are nearly as large as engines go."""
        card = replace(bundle.card, image=replace(bundle.card.image, size=size))
        crops, frames = profiles(replace(bundle, card=card))
        one, two, frame = (image.shape[:3] for image in sample_pictures(size))
        assert crops.covers(one) and crops.covers(two)
        assert frames.covers(frame) and not crops.covers(frame)
