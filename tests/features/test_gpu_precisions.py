# SPDX-License-Identifier: Apache-2.0
"""``precision: auto`` on a GPU: 16 bits where they are right, and a sentence where they are not.

The GPU is a stand-in, and so is what computes on it: right or wrong in each precision as a test says. What compares
and chooses is the real thing.
"""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
from features.engine_stand_in import Engine, tensorrt_with

from dinemo_ros.features import create_extractor, engines, selection, tensorrt_api, variants
from dinemo_ros.features.engines import shapes_of
from dinemo_ros.features.onnxruntime_backend import OnnxRuntimeExtractor
from dinemo_ros.features.selection import Selection
from dinemo_ros.gpu.cuda_driver import Gpu

RIGHT, WRONG, OVERFLOWN = 1.0, 2.0, float("nan")


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture
def start(bundle, driver, monkeypatch, tmp_path, caplog):
    """A start with TensorRT alone, which computes as right in each precision as it is told.

    Returns what was chosen, and the precisions of the engines that were built.
    """
    caplog.set_level(logging.INFO, "dinemo_ros")
    monkeypatch.setattr(selection, "_torch_without_cuda", lambda: True)
    monkeypatch.setattr(variants, "_half", lambda model, precision: model)  # onnx is missing on a robot

    def start(fp16=RIGHT, bf16=RIGHT, fp32=RIGHT, backend="auto", precision="auto", arch="sm89"):
        gains, built = {"fp16": fp16, "bf16": bf16, "fp32": fp32}, []

        def build(trt, model, shapes, arch, name, timings):
            built.append(name.split()[-1])
            return b"plan"

        def load():
            return tensorrt_with(Engine(bundle.backbone(), shapes_of(bundle), gain=gains[built[-1]]))

        class Late:  # an engine is right or wrong by what was built last
            ILogger = tensorrt_with(None).api.ILogger

            @staticmethod
            def Runtime(logger):
                return load().api.Runtime(logger)

        monkeypatch.setattr(tensorrt_api, "load_tensorrt",
                            lambda: tensorrt_api.TensorRt(Late, "tensorrt", "10.3.0"))
        monkeypatch.setattr(engines, "build_plan", build)
        monkeypatch.setattr(selection, "find_gpu", lambda: Gpu("stand-in", arch, 1 << 30, 24))
        return create_extractor(bundle, backend, precision=precision, cache=tmp_path), built

    return start


@pytest.mark.parametrize("backend", ["auto", "tensorrt"])
def test_fp16_where_it_is_right(start, backend, caplog):
    chosen, built = start(backend=backend)
    assert (chosen.name, chosen.precision, chosen.device) == ("tensorrt", "fp16", "stand-in") and built == ["fp16"]
    assert "in fp16 agree with ONNX Runtime" in caplog.text
    assert warnings(caplog) == []


@pytest.mark.parametrize("backend", ["auto", "tensorrt"])
@pytest.mark.parametrize("wrong", [WRONG, OVERFLOWN])
def test_bf16_where_fp16_is_wrong(start, backend, wrong, caplog):
    chosen, built = start(fp16=wrong, backend=backend)
    assert (chosen.name, chosen.precision) == ("tensorrt", "bf16") and built == ["fp16", "bf16"]
    said = "tensorrt in fp16 cannot be used: its features of car 0 are wrong (cosine with ONNX Runtime "
    assert said in caplog.text
    assert "tensorrt in fp16" in chosen.reason and "are wrong (cosine" in chosen.reason


@pytest.mark.parametrize("backend", ["auto", "tensorrt"])
def test_fp32_where_both_are_wrong(start, backend, caplog):
    chosen, built = start(fp16=OVERFLOWN, bf16=WRONG, backend=backend)
    assert (chosen.name, chosen.precision) == ("tensorrt", "fp32") and built == ["fp16", "bf16", "fp32"]
    assert "in fp16 cannot be used" in caplog.text and "in bf16 cannot be used" in caplog.text
    assert "tensorrt in bf16" in chosen.reason


def test_the_cpu_where_all_are_wrong(start, caplog):
    """Also where they are wrong in the same way, each is named."""
    chosen, built = start(fp16=OVERFLOWN, bf16=OVERFLOWN, fp32=OVERFLOWN)
    assert (chosen.name, chosen.precision, chosen.device) == ("onnxruntime", "fp32", "CPU")
    assert built == ["fp16", "bf16", "fp32"]
    for name in built:
        assert f"tensorrt in {name}: its features" in chosen.reason
        assert f"tensorrt in {name} cannot be used: its features" in caplog.text


def test_no_bf16_before_ampere(start):
    """It would be computed in fp32, with roundings."""
    chosen, built = start(fp16=WRONG, arch="sm75")
    assert chosen.precision == "fp32" and built == ["fp16", "fp32"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_asked_for_is_not_improved(start, precision):
    chosen, built = start(precision=precision)
    assert chosen.precision == precision and built == [precision]


def test_an_engine_that_is_there_is_not_built_again(start):
    assert start()[1] == ["fp16"]


@pytest.fixture
def torch_backend(driver, monkeypatch, caplog):
    """torch alone, which computes as right as ``gains`` says; the precisions that it was started in."""
    caplog.set_level(logging.INFO, "dinemo_ros")
    made, gains = [], {}

    class Extractor:
        name, device = "torch", "stand-in"

        def __init__(self, bundle, threads, precision):
            self.precision, self._run = precision, OnnxRuntimeExtractor(bundle, 1)
            made.append(precision)

        def __call__(self, images):
            return self._run(images) * np.float32(gains.get(self.precision, RIGHT))

    monkeypatch.setattr(tensorrt_api, "_CANDIDATES", ())
    monkeypatch.setattr(selection, "_torch_without_cuda", lambda: False)
    monkeypatch.setitem(__import__("sys").modules, "dinemo_ros.features.torch_backend",
                        SimpleNamespace(TorchExtractor=Extractor))
    return SimpleNamespace(made=made, gains=gains)


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_torch_falls_from_one_to_the_next(bundle, torch_backend, backend, tmp_path, caplog):
    """Without TensorRT, and where torch's fp16 is wrong."""
    torch_backend.gains["fp16"] = WRONG
    chosen = create_extractor(bundle, backend, cache=tmp_path)
    assert (chosen.name, chosen.precision) == ("torch", "bf16") and torch_backend.made == ["fp16", "bf16"]
    assert "torch in fp16" in chosen.reason and "are wrong (cosine" in chosen.reason
    (warning,) = warnings(caplog)
    assert warning.startswith("torch in fp16 cannot be used: its features of car 0 are wrong")


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_what_is_wrong_in_the_same_way_is_named_each_time(bundle, torch_backend, backend, tmp_path, caplog):
    """The same text twice: what is merely not installed is told once, a wrong precision is not."""
    torch_backend.gains.update(fp16=OVERFLOWN, bf16=OVERFLOWN)
    chosen = create_extractor(bundle, backend, cache=tmp_path)
    assert (chosen.name, chosen.precision) == ("torch", "fp32")
    assert [text.partition(" (cosine")[0] for text in warnings(caplog)] == [
        f"torch in {name} cannot be used: its features of car 0 are wrong" for name in ("fp16", "bf16")]
    assert "torch in bf16" in chosen.reason
    told = [record for record in caplog.records if record.getMessage().startswith("tensorrt in ")]
    assert len(told) == (1 if backend == "auto" else 0)


class TestWhatIsTried:
    """In which order, for a backend that was asked for by name."""

    def wanted(self, bundle, tmp_path, monkeypatch, backend, precision="auto", gpu=True, torch_on_gpu=True):
        def find():
            if not gpu:
                raise selection.CudaError("none")
            return Gpu("stand-in", "sm89", 1 << 30, 24)

        monkeypatch.setattr(selection, "find_gpu", find)
        monkeypatch.setattr(selection, "_torch_without_cuda", lambda: not torch_on_gpu)
        chooser = Selection(bundle, 1, selection.EngineCache(tmp_path))
        return [name for _, name in chooser._wanted(backend, precision)]

    def test_torch_on_a_cpu_is_in_fp32(self, bundle, tmp_path, monkeypatch):
        """Where there is no GPU, and where there is one that this build of torch cannot use."""
        for case in ({"gpu": False}, {"torch_on_gpu": False}):
            assert self.wanted(bundle, tmp_path, monkeypatch, "torch", **case) == ["fp32"]
            assert self.wanted(bundle, tmp_path, monkeypatch, "torch", "bf16", **case) == ["bf16", "fp32"]

    def test_on_a_gpu(self, bundle, tmp_path, monkeypatch):
        for backend in ("torch", "tensorrt"):
            assert self.wanted(bundle, tmp_path, monkeypatch, backend) == ["fp16", "bf16", "fp32"]

    def test_cuda_of_onnxruntime_has_no_bf16(self, bundle, tmp_path, monkeypatch):
        """Who asks for it by name is told so; auto does not try."""
        monkeypatch.setattr(selection, "_cuda_provider", lambda: True)
        assert self.wanted(bundle, tmp_path, monkeypatch, "onnxruntime")[:2] == ["fp16", "fp32"]
        chooser = Selection(bundle, 1, selection.EngineCache(tmp_path))
        cuda = "onnxruntime with CUDA"
        assert chooser._gpu_candidates("auto") == [
            *((backend, "fp16") for backend in ("tensorrt", cuda, "torch")), ("tensorrt", "bf16"), ("torch", "bf16"),
            *((backend, "fp32") for backend in ("tensorrt", cuda, "torch"))]
        assert (cuda, "bf16") in chooser._gpu_candidates("bf16")
