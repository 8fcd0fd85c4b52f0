# SPDX-License-Identifier: Apache-2.0
"""Running an engine: everything but the GPU's own arithmetic, which needs a GPU.

The CUDA driver is a stand-in on host memory, and an engine computes with ONNX Runtime on the addresses that it is
given. So batches, shapes, profiles, copies and errors are tested as they are; kernels are not.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from features.engine_stand_in import Engine, tensorrt_with

from dinemo_ros.errors import BackendError
from dinemo_ros.features.engine_cache import EngineCache
from dinemo_ros.features.engines import shapes_of
from dinemo_ros.features.onnxruntime_backend import OnnxRuntimeExtractor
from dinemo_ros.features.tensorrt_backend import TensorRtExtractor
from dinemo_ros.gpu.cuda_driver import CudaOutOfMemory, CudaStream
from dinemo_ros.model.bundle import write_bundle


@pytest.fixture
def stream(driver):
    stream = CudaStream()
    yield stream
    stream.close()


@pytest.fixture
def engine(bundle):
    return Engine(bundle.backbone_path.read_bytes(), shapes_of(bundle))


def extractor(bundle, engine, stream, plan=b"plan"):
    return TensorRtExtractor(bundle, plan, shapes_of(bundle), tensorrt_with(engine), stream)


@pytest.mark.parametrize("shape", [(1, None, None), (3, None, None), (8, None, None), (1, 320, 640), (1, 1024, 32)])
def test_same_features_as_onnx_runtime(bundle, engine, stream, shape):
    size = bundle.card.image.size
    images = np.random.default_rng(0).integers(0, 256, (shape[0], shape[1] or size, shape[2] or size, 3), np.uint8)
    assert np.array_equal(extractor(bundle, engine, stream)(images), OnnxRuntimeExtractor(bundle)(images))


def test_more_pictures_than_the_engine_takes(bundle, engine, stream):
    size = bundle.card.image.size
    images = np.random.default_rng(0).integers(0, 256, (19, size, size, 3), np.uint8)
    run = extractor(bundle, engine, stream)
    engine.contexts[0].runs.clear()
    assert np.array_equal(run(images), OnnxRuntimeExtractor(bundle)(images))
    assert [shape[0] for shape in engine.contexts[0].runs] == [8, 8, 3]


class Order:
    """torch's streams as far as they are asked for: who waits for whom, and what is kept from being reused."""

    def __init__(self, monkeypatch, torch):
        self.waits, self.recorded = [], []
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: self.stream(77))
        monkeypatch.setattr(torch.cuda, "ExternalStream", lambda handle, device: self.stream(handle))
        monkeypatch.setattr(torch.Tensor, "record_stream",
                            lambda tensor, stream: self.recorded.append((tensor.dtype, stream.cuda_stream)))

    def stream(self, handle):
        return SimpleNamespace(cuda_stream=handle, wait_stream=lambda o: self.waits.append((handle, o.cuda_stream)))


def test_tensors_that_stay_where_they_are(bundle, engine, stream, monkeypatch):
    """On a stream of its own between what torch does before and after, in parts that the engine takes."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    order = Order(monkeypatch, torch)
    size = bundle.card.image.size
    images = np.random.default_rng(0).integers(0, 256, (11, size, size, 3), np.uint8)
    run, expected = extractor(bundle, engine, stream), OnnxRuntimeExtractor(bundle)(images)
    engine.contexts[0].streams.clear()
    assert np.array_equal(run.on_device(torch.from_numpy(images)).numpy(), expected)
    assert engine.contexts[0].streams == [stream.handle] * 2
    assert order.waits == [(stream.handle, 77), (77, stream.handle)]
    assert order.recorded == [(torch.uint8, stream.handle), (torch.float32, stream.handle)]
    assert np.array_equal(run(images[:2]), expected[:2]) and engine.contexts[0].streams[2:] == [stream.handle]
    engine.fails = True
    with pytest.raises(BackendError):
        run.on_device(torch.from_numpy(images))
    assert order.waits[-1] == (77, stream.handle)  # nobody overtakes what was enqueued


def test_kernels_for_a_new_batch_are_compiled_at_once(bundle, stream):
    """TensorRT-RTX's setting for shapes that change; ordinary TensorRT has none."""
    configured = []

    class Rtx(Engine):
        def create_runtime_config(self):
            return SimpleNamespace()

        def create_execution_context(self, config):
            configured.append(config.dynamic_shapes_kernel_specialization_strategy)
            return super().create_execution_context()

    trt = tensorrt_with(Rtx(bundle.backbone_path.read_bytes(), shapes_of(bundle)))
    trt.api.DynamicShapesKernelSpecializationStrategy = SimpleNamespace(LAZY=0, EAGER=1, NONE=2)
    TensorRtExtractor(bundle, b"plan", shapes_of(bundle), trt, stream)
    assert configured == [1] * len(shapes_of(bundle))


def test_several_frames_at_once(bundle, engine, stream):
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 160, 3), np.uint8)
    run = extractor(bundle, engine, stream)
    assert np.array_equal(run(images), OnnxRuntimeExtractor(bundle)(images))
    assert engine.contexts[1].runs == [(1, 96, 160, 3)] * 2


def test_features_are_the_callers_own(bundle, engine, stream):
    run, size = extractor(bundle, engine, stream), bundle.card.image.size
    first = run(np.zeros((1, size, size, 3), np.uint8))
    kept = first.copy()
    run(np.full((1, size, size, 3), 200, np.uint8))
    assert np.array_equal(first, kept)


def test_every_other_row_of_a_picture(bundle, engine, stream):
    """A view that is not contiguous is read rightly."""
    size = bundle.card.image.size
    images = np.random.default_rng(0).integers(0, 256, (1, 2 * size, size, 3), np.uint8)[:, ::2]
    assert np.array_equal(extractor(bundle, engine, stream)(images), OnnxRuntimeExtractor(bundle)(images))


def test_larger_than_the_engine(bundle, engine, stream):
    with pytest.raises(BackendError, match="the engine takes pictures of up to 1024x1024 pixels, got 1056x64"):
        extractor(bundle, engine, stream)(np.zeros((1, 64, 1056, 3), np.uint8))


def test_plan_of_another_tensorrt(bundle, engine, stream):
    with pytest.raises(BackendError, match=r"10.3.0 cannot load the engine \(Serialization assertion failed\)"):
        extractor(bundle, engine, stream, plan=b"another")


def test_no_room_for_the_engine(bundle, stream):
    cramped = Engine(bundle.backbone_path.read_bytes(), shapes_of(bundle), contexts=1)
    with pytest.raises(BackendError, match="no room for the engine on the GPU"):
        extractor(bundle, cramped, stream)


def test_no_room_for_the_buffers(bundle, engine, stream):
    stream.allocate(2 ** 30 - 1000)
    with pytest.raises(CudaOutOfMemory, match="out of memory"):
        extractor(bundle, engine, stream)


def test_engine_that_does_not_run(bundle, stream):
    broken = Engine(bundle.backbone_path.read_bytes(), shapes_of(bundle), fails=True)
    with pytest.raises(BackendError, match="could not run the engine"):
        extractor(bundle, broken, stream)


def test_a_wrong_engine_is_found_out(bundle, stream, monkeypatch, tmp_path, caplog):
    """Selected, compared, refused: ONNX Runtime takes its place, loudly."""
    from dinemo_ros.features import create_extractor, engines, tensorrt_api

    wrong = Engine(bundle.backbone_path.read_bytes(), shapes_of(bundle), gain=float("nan"))
    monkeypatch.setattr(tensorrt_api, "load_tensorrt", lambda: tensorrt_with(wrong))
    monkeypatch.setattr(engines, "build_plan", lambda *arguments: b"plan")
    chosen = create_extractor(bundle, "tensorrt", precision="fp32", cache=tmp_path)
    assert chosen.name == "onnxruntime"
    assert "tensorrt in fp32 cannot be used: its features of car 0 are wrong (cosine with ONNX Runtime nan" in (
        caplog.text)
    (noted, _), = EngineCache(tmp_path).entries()
    assert f"{noted} notes that, remove it to have the engine built again" in chosen.reason
    monkeypatch.setattr(engines, "build_plan", unexpected)
    again = create_extractor(bundle, "tensorrt", precision="fp32", cache=tmp_path)
    assert f"{noted}: the engine that was built gave wrong features; remove the file" in again.reason
    noted.unlink()
    monkeypatch.setattr(engines, "build_plan", lambda *arguments: b"plan")
    right = Engine(bundle.backbone_path.read_bytes(), shapes_of(bundle), gain=1.0001, contexts=4)
    monkeypatch.setattr(tensorrt_api, "load_tensorrt", lambda: tensorrt_with(right))
    for backend in ("auto", "tensorrt"):
        chosen = create_extractor(bundle, backend, precision="fp32", cache=tmp_path)
        assert (chosen.name, chosen.device) == ("tensorrt", "stand-in")
        assert (chosen.reason == "backend tensorrt was asked for") == (backend == "tensorrt")


def unexpected(*arguments):
    raise AssertionError("built although it was there")


class TestPlanOfAnEarlierStart:
    """Its hash is right, and TensorRT or the check at the start will not have it."""

    @pytest.fixture
    def start(self, bundle, driver, monkeypatch, tmp_path):
        from dinemo_ros.features import create_extractor, engines, tensorrt_api

        built = []

        def start(engine, plan=b"plan"):
            monkeypatch.setattr(tensorrt_api, "load_tensorrt", lambda: tensorrt_with(engine))
            monkeypatch.setattr(engines, "build_plan", lambda *arguments: built.append(plan) or plan)
            return create_extractor(bundle, "tensorrt", precision="fp32", cache=tmp_path), len(built)

        return start

    def test_refused_is_built_again_and_kept(self, bundle, start, tmp_path, caplog):
        def engine():
            return Engine(bundle.backbone(), shapes_of(bundle))

        chosen, builds = start(engine(), plan=b"of another driver")
        assert (chosen.name, builds) == ("onnxruntime", 1)
        (file, _), = EngineCache(tmp_path).entries()
        chosen, builds = start(engine())
        assert (chosen.name, builds) == ("tensorrt", 2)
        assert f"{file}: tensorrt 10.3.0 cannot load the engine (Serialization assertion failed); it is built" in (
            caplog.text)
        chosen, builds = start(engine())
        assert (chosen.name, builds) == ("tensorrt", 2)

    def test_wrong_by_now_is_built_again(self, bundle, start, tmp_path, caplog):
        """A driver was exchanged below it."""
        start(Engine(bundle.backbone(), shapes_of(bundle)))
        (file, _), = EngineCache(tmp_path).entries()
        chosen, builds = start(Engine(bundle.backbone(), shapes_of(bundle), gain=2, contexts=4))
        assert (chosen.name, builds) == ("onnxruntime", 2)
        assert f"{file}: its features of car 0 are wrong" in caplog.text

    def test_no_room_is_no_reason_to_build(self, bundle, start):
        start(Engine(bundle.backbone(), shapes_of(bundle)))
        chosen, builds = start(Engine(bundle.backbone(), shapes_of(bundle), contexts=1))
        assert (chosen.name, builds) == ("onnxruntime", 1)


def test_auto_tries_every_backend_in_fp32_before_the_cpu(bundle, driver, monkeypatch, tmp_path):
    """TensorRT has given wrong fp16 features of transformers (#4723); its fp32 is still faster than a CPU."""
    from dinemo_ros.features import create_extractor, engines, tensorrt_api

    pytest.importorskip("onnx", reason="makes a network in fp16")
    loaded = iter([Engine(bundle.backbone(), shapes_of(bundle), gain=gain) for gain in (2, 1)])
    monkeypatch.setattr(tensorrt_api, "load_tensorrt", lambda: tensorrt_with(next(loaded)))
    monkeypatch.setattr(engines, "build_plan", lambda *arguments: b"plan")
    chosen = create_extractor(bundle, precision="fp16", cache=tmp_path)
    assert (chosen.name, chosen.precision, chosen.device) == ("tensorrt", "fp32", "stand-in")
    assert "tensorrt in fp16: its features of car 0 are wrong" in chosen.reason


@pytest.mark.parametrize("size", [448, 1024])
def test_bundles_with_large_crops(bundle, driver, monkeypatch, tmp_path, size):
    """The check at the start asks for nothing that the engine was not built for."""
    from dinemo_ros.features import create_extractor, engines, tensorrt_api

    card = replace(bundle.card, image=replace(bundle.card.image, size=size))
    large = write_bundle(tmp_path / "bundle", card, bundle.backbone_path.read_bytes(), bundle.mesh)
    engine = Engine(large.backbone_path.read_bytes(), shapes_of(large))
    monkeypatch.setattr(tensorrt_api, "load_tensorrt", lambda: tensorrt_with(engine))
    monkeypatch.setattr(engines, "build_plan", lambda *arguments: b"plan")
    chosen = create_extractor(large, "tensorrt", precision="fp32", cache=tmp_path)
    assert chosen.name == "tensorrt", chosen.reason
