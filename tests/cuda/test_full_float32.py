# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Solver, warp and the network compute without TF32, whatever the process allows, and leave its choice alone."""

from contextlib import contextmanager

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from shared_data import ROOT
from torch.utils._python_dispatch import TorchDispatchMode
from unit.planted import car_card, car_mesh
from unit.scenes import planted_scene

from dinemo_ros.camera.crop import crop_camera
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.cuda import twins
from dinemo_ros.cuda.solver import DeviceSolver
from dinemo_ros.cuda.warp import warp_crops
from dinemo_ros.gpu.full_float32 import full_float32
from dinemo_ros.model.bundle import load_bundle
from dinemo_ros.solver import prepare_category

PRODUCTS = ("matmul", "mm", "bmm", "einsum", "conv2d", "convolution")  # inference mode shows the former of each kind


def allowed() -> tuple[bool, bool]:
    """Whether matrix products and convolutions may be in TF32."""
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


class Products(TorchDispatchMode):
    """Under which setting each product of matrices or pictures is asked for."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        if function._schema.name.split("::")[1] in PRODUCTS:
            self.seen.add(allowed())
        return function(*arguments, **(keywords or {}))


@contextmanager
def tf32_allowed():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def seen(call) -> set:
    with tf32_allowed(), Products() as products:
        call()
        assert allowed() == (True, True)
    return products.seen


def test_it_is_forbidden_inside_and_allowed_again_afterwards():
    with tf32_allowed(), pytest.raises(ZeroDivisionError), full_float32():
        assert allowed() == (False, False)
        raise ZeroDivisionError
    with tf32_allowed():
        with full_float32(), full_float32():
            pass
        assert allowed() == (True, True)


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="torch before 2.9")
def test_where_the_process_uses_the_newer_setting():
    """The older one cannot be read then; it must not be asked, nor the newer one be lost."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    try:
        with full_float32():
            assert matmul.fp32_precision == "ieee"
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


def test_solver_and_warp():
    torch.set_num_threads(1)
    scene, solver = planted_scene(20.0, 14.0), DeviceSolver(prepare_category(car_mesh(), car_card()), "cpu")
    assert seen(lambda: solver.solve(scene.features, scene.target)) == {(False, False)}
    pinhole = Camera.from_hfov(320, 240, 60.0)
    lens = Camera(320, 240, pinhole.K, "plumb_bob", (-0.3, 0.1, 0.001, -0.002, 0.0))
    crops = [crop_camera(lens, np.array([100.0, 60, 180, 120]), 64, 1.15)]
    image = torch.zeros(240, 320, 3, dtype=torch.uint8)
    assert seen(lambda: warp_crops(image, lens, crops, twins)) == {(False, False)}


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_network(precision):
    """Also in 16 bits: what is left in fp32 there, norms and the like, is left in it to be exact."""
    pytest.importorskip("onnx", reason="backend torch reads networks with onnx")
    from dinemo_ros.features.torch_backend import TorchExtractor

    bundle = load_bundle(ROOT / "engines" / "car")
    extractor = TorchExtractor(bundle, 1, precision)
    images = torch.zeros(1, 64, 64, 3, dtype=torch.uint8, device=extractor.tensor_device)
    assert seen(lambda: extractor.on_device(images)) == {(False, False)}
