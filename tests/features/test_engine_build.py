# SPDX-License-Identifier: Apache-2.0
"""Real TensorRT-RTX engines from every shipped bundle, on a machine without a GPU.

Building needs no GPU, running does: what runs is tested with a stand-in in test_tensorrt_backend.py.
"""

import importlib.util
import logging
import os
import subprocess
import sys

import pytest
from shared_data import ROOT

if importlib.util.find_spec("tensorrt_rtx_bindings") is None:  # it is loaded with its libraries, not imported
    pytest.skip("TensorRT-RTX is not installed", allow_module_level=True)
pytest.importorskip("onnx", reason="the onnx package is not installed, as on a robot")

from features.networks import SHIPPED, network_bytes

from dinemo_ros.errors import BackendError
from dinemo_ros.features.engine_build import build_plan, check_arch, profiles
from dinemo_ros.features.engine_cache import EngineCache
from dinemo_ros.features.engines import CachedEngine, shapes_of
from dinemo_ros.features.parity import sample_pictures
from dinemo_ros.features.precision import half_precision, quantize
from dinemo_ros.features.tensorrt_api import load_tensorrt
from dinemo_ros.features.tensorrt_backend import TensorRtExtractor
from dinemo_ros.features.variants import quantized, variant_key
from dinemo_ros.gpu.cuda_driver import CudaError, CudaStream, find_gpu
from dinemo_ros.model.bundle import load_bundle


@pytest.fixture(scope="module")
def trt():
    return load_tensorrt()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return EngineCache(tmp_path_factory.mktemp("engines"))


def unexpected(*arguments):
    raise AssertionError("built although it was there")


@pytest.mark.parametrize("category", SHIPPED)
def test_engine_of_every_shipped_bundle(trt, cache, category, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "dinemo_ros")
    bundle = load_bundle(ROOT / "engines" / category)
    plan = CachedEngine(bundle, trt, "sm89", "fp32", cache).plan()
    assert len(plan) > 0.9 * bundle.backbone_path.stat().st_size
    assert f"{category} {bundle.card.version} fp32: building an engine with tensorrt_rtx" in caplog.text
    assert "MB built in" in caplog.text
    monkeypatch.setattr("dinemo_ros.features.engines.build_plan", unexpected)
    assert CachedEngine(bundle, trt, "sm89", "fp32", cache).plan() == plan


@pytest.mark.parametrize("network, precision", [*((name, "fp16") for name in SHIPPED),
                                                ("transformer", "bf16"), ("transformer", "int8")])
def test_engine_in_other_precisions(trt, network, precision):
    model = network_bytes(network)
    if precision == "int8":
        model = quantize(model, sample_pictures(224)[:1], symmetric=True)
    else:
        model = half_precision(model, precision)
    assert build_plan(trt, model, profiles(load_bundle(ROOT / "engines" / SHIPPED[0])), "sm86", network)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_engine_of_a_bundle_in_every_other_precision(trt, precision, tmp_path):
    """The way of the node and of build-engine, from the bundle to the plan."""
    bundle, cache = load_bundle(ROOT / "engines" / "car"), EngineCache(tmp_path)
    if precision == "int8":
        cache.store(variant_key(bundle, "int8", "gpu"), quantized(bundle, sample_pictures(224)[:1], "gpu"))
    plan = CachedEngine(bundle, trt, "sm89", precision, cache).plan()
    assert cache.load(CachedEngine(bundle, trt, "sm89", precision, cache).key) == plan


def test_int8_from_other_pictures_is_another_engine(trt, bundle, tmp_path, monkeypatch):
    cache, built = EngineCache(tmp_path), []
    monkeypatch.setattr("dinemo_ros.features.engines.build_plan",
                        lambda trt, model, *rest: built.append(model) or model)
    for model in (b"yesterday's ranges", b"today's ranges"):
        cache.store(variant_key(bundle, "int8", "gpu"), model)
        assert CachedEngine(bundle, trt, "sm89", "int8", cache).plan() == model
    assert built == [b"yesterday's ranges", b"today's ranges"]


def test_truncated_plan_is_built_again(trt, cache, caplog):
    bundle = load_bundle(ROOT / "engines" / SHIPPED[0])
    plan = CachedEngine(bundle, trt, "sm89", "fp32", cache).plan()
    path = cache.path(CachedEngine(bundle, trt, "sm89", "fp32", cache).key)
    path.write_bytes(path.read_bytes()[:-4096])
    again = CachedEngine(bundle, trt, "sm89", "fp32", cache).plan()
    assert len(again) == pytest.approx(len(plan), rel=0.01)
    assert "truncated" in caplog.text and "it is built again" in caplog.text


@pytest.mark.parametrize("spoil, reason", [(lambda plan: plan[:len(plan) // 2], "header.size == blobSize"),
                                           (lambda plan: b"another file" * 100, "Trying to load an engine")])
def test_tensorrt_refuses_what_is_no_plan(trt, cache, driver, spoil, reason):
    """TensorRT's own check, behind ours."""
    bundle = load_bundle(ROOT / "engines" / SHIPPED[0])
    plan = CachedEngine(bundle, trt, "sm89", "fp32", cache).plan()
    with pytest.raises(BackendError, match=f"tensorrt_rtx .* cannot load the engine .*{reason}"):
        TensorRtExtractor(bundle, spoil(plan), shapes_of(bundle), trt, CudaStream())


def test_plan_without_a_gpu(trt, cache, driver):
    """An intact plan where CUDA does not run: one sentence."""
    try:
        find_gpu_for_real()
    except CudaError:
        bundle = load_bundle(ROOT / "engines" / SHIPPED[0])
        plan = CachedEngine(bundle, trt, "sm89", "fp32", cache).plan()
        with pytest.raises(BackendError, match="cannot load the engine .*Cuda"):
            TensorRtExtractor(bundle, plan, shapes_of(bundle), trt, CudaStream())
    else:
        pytest.skip("there is a GPU")


def find_gpu_for_real():
    """Not the stand-in's: whether this machine has a driver at all."""
    import ctypes

    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise CudaError("none") from error


def test_network_that_tensorrt_does_not_take(trt, bundle):
    with pytest.raises(BackendError, match="tensorrt_rtx .* cannot read the network"):
        build_plan(trt, b"no network", shapes_of(bundle), "sm89", "car")


def test_architectures(trt):
    assert "sm89" in trt.archs
    with pytest.raises(BackendError, match="tensorrt_rtx .* builds no engines for sm90; it can for sm75, "):
        check_arch(trt, "sm90", None)
    ordinary = type(trt)(object(), "tensorrt", "10.3.0")
    check_arch(ordinary, "sm87", "sm87")
    with pytest.raises(BackendError, match=r"builds only for the GPU it runs on \(here none\), not for sm87"):
        check_arch(ordinary, "sm87", None)


def build_engine(*arguments):
    return subprocess.run([sys.executable, "-m", "dinemo_ros.cli.main", "build-engine", *map(str, arguments)],
                          text=True, capture_output=True, timeout=120,
                          env=os.environ | {"PYTHONPATH": str(ROOT / "src")})


class TestCommand:
    def test_ahead_of_time(self, trt, bundle, tmp_path):
        """In the precision that the node tries first; the onnx package is there."""
        result = build_engine(bundle.path, "--for-arch", "8.9", "--for-arch", "sm120", "--cache", tmp_path)
        assert result.returncode == 0, result.stderr
        assert "sm89-fp16" in result.stdout and "sm120-fp16" in result.stdout
        for arch in ("sm89", "sm120"):
            cache = EngineCache(tmp_path)
            assert cache.load(CachedEngine(bundle, trt, arch, "fp16", cache).key)

    def test_int8_for_cpu_and_gpu(self, tmp_path):
        """The demo's pictures serve as photographs; the network is used from then on."""
        from dinemo_ros.features import create_extractor

        car = ROOT / "engines" / "car"
        result = build_engine(car, "--precision", "int8", "--calibration", ROOT / "config" / "demo_sequence", "--cache",
                              tmp_path, "--for-arch", "sm89")
        assert result.returncode == 0, result.stderr
        assert "sm89-int8" in result.stdout
        assert "features of onnxruntime in int8 agree with ONNX Runtime" in result.stderr
        assert create_extractor(load_bundle(car), precision="int8", cache=tmp_path).precision == "int8"

    def test_only_what_was_asked_for_is_listed(self, trt, bundle, tmp_path):
        EngineCache(tmp_path).store(variant_key(bundle, "int8", "cpu"), b"of another day")
        result = build_engine(bundle.path, "--for-arch", "sm89", "--cache", tmp_path)
        assert result.returncode == 0 and len(result.stdout.splitlines()) == 1, result.stdout

    def test_engine_that_could_not_be_kept(self, trt, bundle, tmp_path):
        (tmp_path / "file").write_text("")
        result = build_engine(bundle.path, "--for-arch", "sm89", "--cache", tmp_path / "file" / "engines")
        assert result.returncode == 1 and result.stdout == ""
        assert "engines/probe: cannot be written" in result.stderr.splitlines()[-1]

    @pytest.mark.parametrize("arguments, says", [
        (["--for-arch", "sm90"], "builds no engines for sm90"),
        (["--calibration", "x"], "--calibration is for int8, the precision is auto"),
        (["--precision", "int8", "--calibration", "{tmp}"], "no JPEG or PNG to calibrate with"),
        (["--ship"], "--ship writes an int8 network: give --precision int8 and --calibration"),
        (["--precision", "int8", "--for-arch", "sm89"], "there is no int8 network of car")])
    def test_what_cannot_be_done(self, bundle, tmp_path, arguments, says):
        result = build_engine(bundle.path, "--cache", tmp_path, *(text.format(tmp=tmp_path) for text in arguments))
        assert result.returncode == 1 and says in result.stderr.splitlines()[-1], result.stderr
        assert "Traceback" not in result.stderr

    def test_no_gpu_and_none_named(self, bundle, tmp_path):
        try:
            find_gpu()
        except CudaError:
            result = build_engine(bundle.path, "--cache", tmp_path)
            assert result.returncode == 1 and "name one with --for-arch, tensorrt_rtx" in result.stderr
        else:
            pytest.skip("there is a GPU")
