# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime on tensors, and what its CUDA provider is told.

Addresses of torch's tensors are bound for real, on the CPU. For the GPU the driver is a stand-in and the session the
CPU's; what CUDA computes is not tested here.
"""

from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from dinemo_ros.errors import BackendError
from dinemo_ros.features import onnxruntime_backend
from dinemo_ros.features.onnxruntime_backend import OnnxRuntimeExtractor, cuda_options, equal_parts
from dinemo_ros.gpu.cuda_driver import CudaStream


def pictures(bundle, count):
    size = bundle.card.image.size
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_every_thread_gets_as_many_pictures(threads):
    for count in range(30):
        parts = equal_parts(count, threads)
        taken = [k for part in parts for k in range(*part.indices(count))]
        assert taken == list(range(count - count % threads))
        sizes = [part.stop - part.start for part in parts]
        assert set(sizes) <= {1, 2} and sizes.count(1) < 2 * threads and sizes.count(2) % threads == 0


def test_features_of_several_pictures_are_those_of_each(bundle):
    extractor = OnnxRuntimeExtractor(bundle, threads=2)
    images = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), np.uint8)
    each = np.concatenate([extractor(images[k:k + 1]) for k in range(7)])
    for count in range(1, 8):  # alone, in pairs, and what is left over
        np.testing.assert_allclose(extractor(images[:count]), each[:count], atol=1e-5)


def test_tensors_are_bound_by_their_addresses(bundle):
    """Also views that are not contiguous, and frames."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    run = OnnxRuntimeExtractor(bundle, 1)
    images = pictures(bundle, 4)
    for picked in (images, images[:1], images[::2], images[:, :96, :64]):
        features = run.on_device(torch.from_numpy(picked))
        assert features.dtype == torch.float32
        assert np.array_equal(features.numpy(), run(np.ascontiguousarray(picked)))
    kept = run.on_device(torch.from_numpy(images[:1]))
    before = kept.clone()
    run.on_device(torch.from_numpy(images[1:2]))
    assert torch.equal(kept, before)
    assert run.tensor_device == ""  # crops that OpenCV made are better off as arrays here


class OnGpu(onnxruntime.InferenceSession):
    """The CPU's session under the name of the GPU's; what it was made with stands in ``asked``."""

    asked = []

    def __init__(self, model, options, providers):
        OnGpu.asked.append(providers)
        super().__init__(model, options, providers=["CPUExecutionProvider"])

    def get_providers(self):
        return ["CUDAExecutionProvider"]

    def io_binding(self):
        binding = super().io_binding()
        bound = binding.bind_output
        binding.bind_output = lambda name, device, *rest: bound(name, device.replace("cuda", "cpu"), *rest)
        return binding


@pytest.fixture
def gpu(bundle, driver, monkeypatch):
    """An extractor on the stand-in's GPU."""
    OnGpu.asked.clear()
    preloaded = []
    monkeypatch.setattr(onnxruntime_backend.ort, "InferenceSession", OnGpu)
    monkeypatch.setattr(onnxruntime_backend.ort, "preload_dlls", lambda: preloaded.append(len(OnGpu.asked)),
                        raising=False)
    run = OnnxRuntimeExtractor(bundle, 2, cuda=True)
    assert preloaded == [0]  # before the session
    yield run
    run._stream.close()


def test_what_the_gpu_is_asked_for(gpu):
    (((name, options),),) = OnGpu.asked
    assert name == "CUDAExecutionProvider" and options["user_compute_stream"] == str(gpu._stream.handle)
    assert options["cudnn_conv_algo_search"] == "HEURISTIC" and options["use_tf32"] == "0"
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert all(isinstance(value, str) for value in options.values())
    assert gpu.tensor_device == "cuda"


def test_an_older_one_is_not_asked_for_what_it_refuses(monkeypatch):
    monkeypatch.setattr(onnxruntime_backend.ort, "__version__", "1.16.3")
    assert "use_tf32" not in cuda_options(SimpleNamespace(handle=7))


def test_on_a_stream_between_what_torch_does_before_and_after(bundle, gpu, monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    waits, own = [], gpu._stream.handle

    def stream(handle):
        return SimpleNamespace(cuda_stream=handle, wait_stream=lambda other: waits.append((handle, other.cuda_stream)))

    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream(77))
    monkeypatch.setattr(torch.cuda, "ExternalStream", lambda handle, device: stream(handle))
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)
    images = pictures(bundle, 3)
    expected = OnnxRuntimeExtractor.__call__(gpu, images)
    assert np.array_equal(gpu.on_device(torch.from_numpy(images)).numpy(), expected)
    assert waits == [(own, 77), (77, own)]

    def broken(binding, options=None):
        raise RuntimeError("CUDNN_STATUS_EXECUTION_FAILED\nmore")

    monkeypatch.setattr(gpu._session, "run_with_iobinding", broken)
    with pytest.raises(BackendError, match="ONNX Runtime on the GPU: CUDNN_STATUS_EXECUTION_FAILED"):
        gpu.on_device(torch.from_numpy(images))


def test_without_the_provider(bundle, driver):
    """This ONNX Runtime has none: said, and nothing is kept of the GPU."""
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("it has one")
    with pytest.raises(BackendError, match="cannot use CUDA: pip install onnxruntime-gpu"):
        OnnxRuntimeExtractor(bundle, 1, cuda=True)
    assert CudaStream().handle
