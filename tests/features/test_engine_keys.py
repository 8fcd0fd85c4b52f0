# SPDX-License-Identifier: Apache-2.0
"""For which GPU an engine is: what changes its kernels changes its key; and what was measured while it was built."""

import hashlib
import json
from dataclasses import replace

import pytest
from features.builder_stand_in import tensorrt_builder

from dinemo_ros.features.engine_cache import EngineCache, EngineKey
from dinemo_ros.features.engines import CachedEngine
from dinemo_ros.features.variants import variant_key
from dinemo_ros.gpu.cuda_driver import Gpu

NANO = Gpu("Orin", "sm87", 8 << 30, 8)
AGX = Gpu("Orin", "sm87", 64 << 30, 16)


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "engines")


def engine(bundle, cache, gpu=NANO, version="10.3.0", refuses=()):
    trt, asked = tensorrt_builder(version, refuses)
    return CachedEngine(bundle, trt, gpu.arch, "fp32", cache, gpu), asked


@pytest.mark.parametrize("other", [replace(NANO, name="Thor"), replace(NANO, processors=4), AGX,
                                   replace(NANO, memory=16 << 30)])
def test_each_gpu_has_its_own_engine(bundle, cache, other):
    """The Orins are all sm87: kernels chosen on 16 multiprocessors are not the fastest on 8, or find no room."""
    one, asked = engine(bundle, cache)
    one.plan()
    another, asked_there = engine(bundle, cache, other)
    assert another.key != one.key
    another.plan()
    assert (asked["builds"], asked_there["builds"]) == (1, 1)
    again, asked_again = engine(bundle, cache)
    assert again.plan() == one.plan() and "builds" not in asked_again
    assert "8 SMs, 8 GiB" in again.key.gpu


def test_engines_of_rtx_are_for_the_architecture(bundle, cache):
    """They are finished on the card at first use, and can be built where there is none."""
    card = Gpu("RTX 4090", "sm89", 24 << 30, 128)
    one, asked = engine(bundle, cache, card, "rtx 1.7.1")
    elsewhere = CachedEngine(bundle, tensorrt_builder("rtx 1.7.1")[0], "sm89", "fp32", cache)
    assert one.key == elsewhere.key and one.key.gpu == ""
    one.plan()
    assert "given" not in asked, "nothing is measured, so there are no times to keep"
    assert [path.name for path, _ in cache.entries()] == [one.key.file]


def test_what_holds_on_every_gpu_keeps_its_name():
    """An int8 network from a user's own pictures cannot be made again: it has to be found under its old name."""
    onnx = hashlib.sha256(b"onnx").hexdigest()
    assert EngineKey("car", onnx, "network 2", "cpu", "int8", "any").file == (
        "car-network_2-cpu-int8-b324f34d1e45.engine")
    assert EngineKey("car", onnx, "tensorrt 10.3.0", "sm87", "fp16", "1x224x224").file == (
        "car-tensorrt_10.3.0-sm87-fp16-c721801979ea.engine")


def test_engines_of_before_are_swept(bundle, cache, caplog):
    """Those whose keys name no GPU, of this architecture and TensorRT; everything else stays."""
    caplog.set_level("INFO", "dinemo_ros")
    one, _ = engine(bundle, cache)
    old = replace(one.key, gpu="")
    stay = [replace(old, arch="sm89"), replace(old, builder="tensorrt_rtx 1.7.1 recipe 1"),
            variant_key(bundle, "int8", "gpu"), replace(one.key, gpu=AGX.model)]
    for key in (old, replace(old, precision="fp16", onnx="another"), *stay):
        cache.store(key, b"content")
    (cache.folder / "foreign.engine").write_bytes(b"dinemo-engine/1\n[]")
    one.plan()
    left = {path.name for path, _ in cache.entries()}
    assert left == {"foreign.engine", one.key.file, one._timings.key.file, *(key.file for key in stay)}
    assert "removed 2 engines that do not say which GPU they are for" in caplog.text


class TestTimingCache:
    def test_the_next_build_starts_from_it(self, bundle, cache):
        first, asked = engine(bundle, cache)
        first.plan()
        assert asked["given"] == [b""]
        cache.remove(first.key)
        again, asked = engine(bundle, cache)
        again.plan()
        assert asked["given"] == [b" +measured"]
        assert cache.load(again._timings.key) == b" +measured +measured"

    def test_each_gpu_and_version_has_its_own(self, bundle, cache):
        engine(bundle, cache)[0].plan()
        for gpu, version in ((AGX, "10.3.0"), (NANO, "10.16.1")):
            other, asked = engine(bundle, cache, gpu, version)
            other.plan()
            assert asked["given"] == [b""]

    def test_times_that_tensorrt_refuses(self, bundle, cache):
        """Another driver, say: it measures again, and the new times take their place."""
        first, _ = engine(bundle, cache)
        cache.store(first._timings.key, b"of another driver")
        again, asked = engine(bundle, cache, refuses=(b"of another driver",))
        again.plan()
        assert asked["given"] == [b"of another driver", b""]
        assert cache.load(again._timings.key) == b" +measured"

    def test_damaged_times_are_measured_again(self, bundle, cache, caplog):
        first, _ = engine(bundle, cache)
        path = cache.store(first._timings.key, b"times")
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        again, asked = engine(bundle, cache)
        again.plan()
        assert asked["given"] == [b""] and "times are measured again" in caplog.text

    def test_no_disk_to_keep_them(self, bundle, tmp_path, caplog):
        """One warning, of the engine."""
        (tmp_path / "file").write_text("")
        lost, _ = engine(bundle, EngineCache(tmp_path / "file" / "engines"))
        assert lost.plan().startswith(b"plan of")
        assert caplog.text.count("cannot be kept") == 1 and lost.key.file in caplog.text

    def test_a_wrong_engine_is_not_chosen_again_by_its_times(self, bundle, cache):
        from dinemo_ros.errors import WrongFeaturesError

        def wrong(plan):
            raise WrongFeaturesError("its features are wrong")

        first, _ = engine(bundle, cache)
        first.plan()
        again, asked = engine(bundle, cache)
        with pytest.raises(Exception, match="its features are wrong"):
            again.used(wrong)
        assert asked["given"] == [b""]
        assert cache.load(again._timings.key) is None


def test_a_header_without_a_key_is_no_reason_to_fail(cache):
    cache.folder.mkdir()
    for k, header in enumerate((b"{}", b"[]", json.dumps({"key": 3}).encode(), b"\xff", b"")):
        (cache.folder / f"{k}.engine").write_bytes(b"dinemo-engine/1\n" + header + b"\n")
    assert cache.sweep_keys(lambda key: key["builder"] == "x") == []
    assert len(cache.entries()) == 5
