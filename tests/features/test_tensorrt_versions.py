# SPDX-License-Identifier: Apache-2.0
"""Engines are asked for in words that every supported version of TensorRT knows: 10.3 of JetPack 6, 11, and RTX.

TensorRT 11 dropped the flags of precisions and of explicit batches; TensorRT-RTX alone builds for other GPUs.
"""

import pytest
from features.builder_stand_in import VERSIONS, tensorrt_builder

from dinemo_ros.errors import BackendError
from dinemo_ros.features.engine_build import build_plan, check_arch, profiles


@pytest.mark.parametrize("version", VERSIONS)
def test_an_engine_is_built(bundle, version):
    trt, asked = tensorrt_builder(version)
    assert build_plan(trt, b"network", profiles(bundle), "sm89", "car") == b"plan of network"
    size = bundle.card.image.size
    assert asked["network"] == 1 << 1, "strongly typed: TensorRT may not choose precisions by itself"
    assert asked["cleared"] == 6, "fp32 may not become TF32"
    assert asked["shapes"][0] == ((1, size, size, 3), (1, size, size, 3), (8, size, size, 3))
    assert asked.get("capability") == (89 if trt.flavour == "tensorrt_rtx" else None)


@pytest.mark.parametrize("version", VERSIONS)
def test_for_another_gpu_only_with_rtx(version):
    trt, _ = tensorrt_builder(version)
    if trt.flavour == "tensorrt_rtx":
        assert trt.archs == ("sm89", "sm120")
        check_arch(trt, "sm120", None)
    else:
        with pytest.raises(BackendError, match="builds only for the GPU it runs on"):
            check_arch(trt, "sm120", "sm89")
