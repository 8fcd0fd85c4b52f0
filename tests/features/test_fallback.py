# SPDX-License-Identifier: Apache-2.0
"""A network on a GPU that fails later on: the CPU's goes on, with the call it failed on."""

import numpy as np
import pytest

from dinemo_ros import features
from dinemo_ros.errors import BackendError, PictureSizeError
from dinemo_ros.features.fallback import FallbackExtractor
from dinemo_ros.features.onnxruntime_backend import OnnxRuntimeExtractor
from dinemo_ros.features.selection import Selection
from dinemo_ros.gpu.cuda_driver import CudaOutOfMemory


class OnGpu:
    """The CPU's network under another name, which fails after some calls."""

    name, precision, device, reason, tensor_device = "tensorrt", "fp16", "Some GPU", "it is fast", "cpu"

    def __init__(self, bundle, error, good=1):
        self._inner, self._error, self._left = OnnxRuntimeExtractor(bundle, 1), error, good

    def __call__(self, images):
        self._left -= 1
        if self._left < 0:
            raise self._error
        return self._inner(images)

    def on_device(self, images):
        torch = pytest.importorskip("torch", reason="torch is not installed")
        return torch.from_numpy(self(images.numpy()))


@pytest.fixture
def images(bundle):
    return np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)


@pytest.mark.parametrize("error, told", [
    (CudaOutOfMemory("the GPU is out of memory (cuMemAlloc_v2)"), "the GPU is out of memory (cuMemAlloc_v2)"),
    (RuntimeError("CUDA error: an illegal memory access\nmore"), "CUDA error: an illegal memory access"),
    (RuntimeError(), "RuntimeError")])
def test_goes_on_on_the_cpu(bundle, images, caplog, error, told):
    fallback = OnnxRuntimeExtractor(bundle, 1)
    extractor = FallbackExtractor(OnGpu(bundle, error), fallback)
    assert (extractor.name, extractor.precision, extractor.device) == ("tensorrt", "fp16", "Some GPU")
    for _ in range(3):
        assert np.array_equal(extractor(images), fallback(images))
    message, = (record.getMessage() for record in caplog.records)
    assert message == f"features: onnxruntime goes on on the CPU, because tensorrt on Some GPU failed: {told}"
    assert extractor.device == "CPU" and extractor.tensor_device == "" and told in extractor.reason


def test_pictures_too_large_for_the_gpu_are_the_cpus_once(bundle, images, caplog):
    """Nothing is broken: the next ones run on the GPU again."""
    gpu = OnGpu(bundle, PictureSizeError("the engine takes pictures of up to 1024x1024 pixels"), good=0)
    extractor = FallbackExtractor(gpu, OnnxRuntimeExtractor(bundle, 1))
    for _ in range(2):
        assert np.array_equal(extractor(images), OnnxRuntimeExtractor(bundle, 1)(images))
        assert extractor.device == "Some GPU"
    assert caplog.messages == []


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_features_that_are_no_numbers(bundle, images, caplog, wrong):
    """fp16 overflows at 65504."""

    class Overflowing(OnGpu):
        def __call__(self, images):
            features = super().__call__(images)
            features[0, 3, 2, 1] = wrong
            return features

    fallback = OnnxRuntimeExtractor(bundle, 1)
    extractor = FallbackExtractor(Overflowing(bundle, BackendError("no")), fallback)
    assert np.array_equal(extractor(images), fallback(images)) and extractor.device == "CPU"
    assert caplog.messages == ["features: onnxruntime goes on on the CPU, because tensorrt on Some GPU failed: its "
                               "features in fp16 are not all finite"]


def test_tensors_come_back_as_tensors(bundle, images):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    extractor = FallbackExtractor(OnGpu(bundle, BackendError("no"), good=0), OnnxRuntimeExtractor(bundle, 1))
    found = extractor.on_device(torch.from_numpy(images))
    assert np.array_equal(found.numpy(), OnnxRuntimeExtractor(bundle, 1)(images)) and extractor.device == "CPU"


def test_only_a_gpu_needs_a_fallback(bundle, monkeypatch):
    assert not isinstance(features.create_extractor(bundle, "onnxruntime", 1, "fp32"), FallbackExtractor)
    monkeypatch.setattr(Selection, "choose", lambda self, backend, precision: OnGpu(bundle, RuntimeError()))
    assert isinstance(features.create_extractor(bundle, "onnxruntime", 1, "fp32"), FallbackExtractor)
