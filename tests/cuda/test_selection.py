# SPDX-License-Identifier: Apache-2.0
"""Which device the solver takes, why, and what happens when a GPU fails. No GPU is needed, and without torch most run.

The GPU's pipeline is the real one on torch's CPU (device "twins"); what fails in it is put there.
"""

import json
import logging
from dataclasses import replace
from subprocess import CalledProcessError
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from shared_data import ROOT

from dinemo_ros.camera.crop import _footprint
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.cli import doctor_backends
from dinemo_ros.cuda import selection
from dinemo_ros.cuda.parity import check, check_features, own_crops, own_views
from dinemo_ros.cuda.selection import SolverWithFallback, create_pipeline, usable_gpu
from dinemo_ros.errors import BackendError
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.features import create_extractor
from dinemo_ros.geometry import rotation_angle
from dinemo_ros.gpu.cuda_driver import CudaError, Gpu
from dinemo_ros.inference import CpuPipeline
from dinemo_ros.model.bundle import load_bundle
from dinemo_ros.scene.support_plane import SupportPlane
from dinemo_ros.solver import Start

DEMO = ROOT / "config" / "demo_sequence"
GPU = Gpu("Some GPU", "sm90", 8 << 30)


@pytest.fixture(scope="module")
def bundle():
    return load_bundle(ROOT / "engines" / "car")


@pytest.fixture(scope="module")
def extractor(bundle):
    return create_extractor(bundle, "onnxruntime", 1, "fp32")


@pytest.fixture(scope="module")
def cpu(bundle, extractor):
    return CpuPipeline(bundle, extractor, threads=1)


@pytest.fixture(scope="module")
def frame():
    """Image, camera and the car's region of a demo frame."""
    name, truth = next(iter(json.loads((DEMO / "ground_truth.json").read_text())["frames"].items()))
    image = np.ascontiguousarray(cv2.imread(str(DEMO / name))[..., ::-1])
    return image, Camera.from_yaml(DEMO / "camera_info.yaml"), tuple(truth["roi"])


@pytest.fixture(scope="module")
def estimators(bundle):
    """One on the CPU and one by the GPU's twins, with a network that takes tensors and one that does not."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("onnx", reason="backend torch reads networks with onnx")
    torch.set_num_threads(1)
    return [PoseEstimator(bundle, 1, backend, precision="fp32", device=device)
            for backend, device in (("onnxruntime", "cpu"), ("torch", "twins"))]


def test_without_a_gpu_auto_takes_the_cpu_and_says_why(bundle, extractor, monkeypatch, caplog):
    def none():
        raise CudaError("no NVIDIA driver is installed")

    monkeypatch.setattr(selection, "find_gpu", none)
    with caplog.at_level(logging.INFO, logger="dinemo_ros"):  # --quiet of another test may have set it
        assert isinstance(create_pipeline(bundle, extractor, "auto", 1), CpuPipeline)
        assert isinstance(create_pipeline(bundle, extractor, "cuda", 1), CpuPipeline)
    assert {record.getMessage() for record in caplog.records} == {
        "solver: on the CPU, because there is no GPU to use: no NVIDIA driver is installed"}
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]  # the second was asked for by name


def test_device_cpu_asks_no_gpu(bundle, extractor, monkeypatch):
    monkeypatch.setattr(selection, "find_gpu", None)
    assert isinstance(create_pipeline(bundle, extractor, "cpu", 1), CpuPipeline)


def test_unknown_device(bundle, extractor):
    with pytest.raises(ValueError, match="device is 'tpu'; allowed: auto, cpu, cuda"):
        create_pipeline(bundle, extractor, "tpu")


@pytest.mark.parametrize("module", ["torch", "triton"])
def test_a_gpu_without_torch_or_triton(monkeypatch, module):
    monkeypatch.setattr(selection, "find_gpu", lambda: GPU)
    monkeypatch.setattr(selection.importlib.util, "find_spec", lambda name: None if name == module else object())
    with pytest.raises(BackendError, match=f"Some GPU is there, but {module} is not installed.*pip install {module}"):
        usable_gpu()


def test_torch_that_does_not_see_the_gpu(monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("triton", reason="triton is not installed")
    monkeypatch.setattr(selection, "find_gpu", lambda: GPU)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match="cannot use Some GPU: it was built without CUDA, or for a newer driver"):
        usable_gpu()


@pytest.mark.parametrize("error, remedy", [
    (RuntimeError("Failed to find C compiler. Please specify via CC environment variable"), "apt install gcc"),
    (FileNotFoundError(2, "No such file or directory", "/usr/bin/cc"), "apt install gcc"),
    (CalledProcessError(1, ["gcc", "main.c"]), "apt install python3-dev"),
    (PermissionError(13, "Permission denied", "/home/robot/.triton/cache"), "TRITON_CACHE_DIR names another one"),
    (RuntimeError("CUDA error: no kernel image is available for execution on the device"), "on the device"),
    (None, "")])
def test_a_gpu_on_which_triton_cannot_launch_anything(monkeypatch, error, remedy):
    """Without a C compiler, Python.h or a cache, importing Triton still works. Then one that computes nonsense."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("triton", reason="triton is not installed")
    from dinemo_ros.cuda import probe

    def doubled():
        if error is not None:
            raise error
        return [0.0, 0.0, 0.0, 0.0]

    monkeypatch.setattr(selection, "find_gpu", lambda: GPU)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(probe, "doubled", doubled)
    told = "torch and Triton cannot use Some GPU: " if error is not None else r"Some GPU computes 2 x \(0, 1, 2, 3\) = "
    with pytest.raises(BackendError, match=f"{told}.*{remedy}"):
        usable_gpu()
    if error is not None:
        return
    monkeypatch.setattr(probe, "doubled", lambda: [0.0, 2.0, 4.0, 6.0])
    assert usable_gpu() == "Some GPU"


def test_the_kernel_that_tries_triton_out():
    """In Triton's interpreter where there is no GPU."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("triton", reason="triton is not installed")
    from dinemo_ros.cuda.probe import doubled

    assert doubled("cuda" if torch.cuda.is_available() else "cpu") == [0.0, 2.0, 4.0, 6.0]


def test_doctor_tells_what_would_be_taken(monkeypatch):
    finding = doctor_backends._solver()
    assert finding.subject == "solver" and finding.text.startswith("device auto takes ")
    monkeypatch.setattr(selection, "usable_gpu", lambda: "Some GPU")
    assert doctor_backends._solver().text == "device auto takes Some GPU" and doctor_backends._solver().level == "ok"


class Failing:
    """A GPU's pipeline that works a given number of times."""

    device, timings, terms = "Some GPU", {"solve": 0.0}, frozenset()

    def __init__(self, cpu, good, error):
        self._cpu, self.left, self._error = cpu, good, error

    def solve_features(self, features, targets, starts=None, flip_tta=False):
        self.left -= 1
        if self.left < 0:
            raise self._error
        return self._cpu.solve_features(features, targets)


@pytest.mark.parametrize("error, told", [
    (RuntimeError("CUDA error: an illegal memory access was encountered\nmore"), "RuntimeError: CUDA error: an illegal "
     "memory access was encountered"), (BackendError("the engine is gone"), "the engine is gone")])
def test_a_gpu_that_fails_later_loses_no_frame(bundle, cpu, caplog, error, told):
    features, targets = own_views(bundle)
    expected = cpu.solve_features(features, targets)
    first = Failing(cpu, 1, error)
    both = SolverWithFallback(first, cpu)
    for _ in range(3):
        found = both.solve_features(features, targets)
        assert all(np.array_equal(a[0].T_crop_obj, b[0].T_crop_obj) for a, b in zip(found, expected, strict=True))
    assert first.left == -1 and both.device == "CPU"  # asked once more, and never again
    warning, = (record.getMessage() for record in caplog.records)
    assert warning.startswith(f"the solver goes on on the CPU, because the GPU's failed: {told}")
    assert "\n" not in warning


class Full(Failing):
    """Works, then has no memory for a number of calls, then works again."""

    def solve_features(self, features, targets, starts=None, flip_tta=False):
        self.left -= 1
        if self.left in self._error:
            raise RuntimeError("Triton Error [CUDA]: out of memory")
        return self._cpu.solve_features(features, targets)


def test_memory_that_is_full_once_costs_no_more_than_a_second_try(bundle, cpu, monkeypatch, caplog):
    freed = []
    monkeypatch.setattr(selection, "free_memory", lambda: freed.append(1))
    features, targets = own_views(bundle)
    both = SolverWithFallback(Full(cpu, 3, {1}), cpu)
    for _ in range(2):
        assert len(both.solve_features(features, targets)) == len(targets)
    assert both.device == "Some GPU" and both.first.left == 0 and freed == [1]
    both = SolverWithFallback(Full(cpu, 3, {1, 0}), cpu)
    for _ in range(2):
        both.solve_features(features, targets)
    assert both.device == "CPU" and freed == [1, 1]
    assert "goes on on the CPU, because the GPU's failed: RuntimeError: Triton Error [CUDA]: out of mem" in caplog.text


class TestOtherPoses:
    """A GPU that computes something else is found out at the start."""

    def turned(self, cpu, angle=0.0, farther=1.0, nothing=False):
        def solve(features, targets, starts=None, flip_tta=False):
            solved = cpu.solve_features(features, targets, starts)
            c, s = np.cos(angle), np.sin(angle)
            for poses in solved:
                poses[0].T_crop_obj[:3, :3] @= np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
                poses[0].T_crop_obj[:3, 3] *= farther
            return [[] for _ in solved] if nothing else solved

        return SimpleNamespace(solve_features=solve)

    def test_only_following_is_wrong(self, bundle, cpu):
        wrong = self.turned(cpu, 0.1)

        def solve(features, targets, starts, flip_tta):
            return (cpu if starts is None else wrong).solve_features(features, targets, starts, flip_tta)

        with pytest.raises(BackendError, match=r"5\.7 degrees"):
            check(bundle, cpu, SimpleNamespace(solve_features=solve))

    def test_the_same(self, bundle, cpu):
        check(bundle, cpu, self.turned(cpu, 0.01, 1.005))

    @pytest.mark.parametrize("wrong, told", [({"angle": 0.1}, "5.7 degrees"), ({"farther": 1.1}, "10.0 %"),
                                             ({"nothing": True}, "finds nothing"), ({"farther": np.nan}, "nan")])
    def test_another(self, bundle, cpu, wrong, told):
        with pytest.raises(BackendError, match=told):
            check(bundle, cpu, self.turned(cpu, **wrong))

    def test_goes_on_on_the_cpu(self, bundle, extractor, monkeypatch, caplog):
        def broken(*arguments):
            raise BackendError("the GPU's solver finds other poses than the CPU's")

        pytest.importorskip("torch", reason="torch is not installed")
        monkeypatch.setattr(selection, "check", broken)
        assert isinstance(create_pipeline(bundle, extractor, "twins", 1), CpuPipeline)
        assert "solver: on the CPU, because the GPU's solver finds other poses" in caplog.text


def test_own_views_show_the_object(bundle, cpu):
    """The check would be worth nothing if nothing were found in its pictures."""
    solved = cpu.solve_features(*own_views(bundle))
    assert all(poses[0].score > 0.3 and poses[0].visible > 0.8 for poses in solved)


class TestOtherCrops:
    """A device that makes other crops than OpenCV, or whose network sees something else in them, is found out."""

    def changed(self, estimators, change):
        def features(image, camera, crops):
            return change(estimators[1].pipeline.first.features(image, camera, crops), camera)

        return SimpleNamespace(features=features)

    def test_the_same(self, bundle, estimators):
        """Each camera shows its picture as it is, and averaged over two pixels."""
        assert [[int(_footprint(camera, crop)) for crop in crops] for camera, crops, _ in own_crops(bundle)] == [
            [1, 2], [1, 2]]
        same = self.changed(estimators, lambda features, camera: features)
        check_features(bundle, estimators[0].extractor, same)

    @pytest.mark.parametrize("lens", [False, True])
    def test_another_order(self, bundle, estimators, lens):
        wrong = self.changed(estimators, lambda features, camera: features.flip(0) if lens == bool(camera.distortion)
                             else features)
        told = f"a camera {'with' if lens else 'without'} distortion have other features than the CPU's"
        with pytest.raises(BackendError, match=told):
            check_features(bundle, estimators[0].extractor, wrong)

    @pytest.mark.parametrize("wrong", [lambda features, _: features * np.nan, lambda features, _: features[:1],
                                       lambda features, _: features.roll(1, 3)])
    def test_no_numbers_too_few_shifted(self, bundle, estimators, wrong):
        with pytest.raises(BackendError, match="other features"):
            check_features(bundle, estimators[0].extractor, self.changed(estimators, wrong))

    def test_goes_on_on_the_cpu(self, bundle, estimators, monkeypatch, caplog):
        from dinemo_ros.cuda import inference as pipeline

        right = pipeline.warp_crops
        monkeypatch.setattr(pipeline, "warp_crops", lambda *arguments: right(*arguments).flip(2))
        wrong = create_pipeline(bundle, estimators[1].extractor, "twins", 1)
        assert isinstance(wrong, CpuPipeline)
        assert "solver: on the CPU, because the GPU's crops of a camera without distortion have other" in caplog.text


def test_image_to_pose_on_the_device(estimators, frame):
    """Warp, network and solver by the twins, features as tensors: within what the warp's rounding does to a pose."""
    image, camera, roi = frame
    (expected,), (found,) = (estimator.estimate(image, camera, [roi]) for estimator in estimators)
    apart = rotation_angle(expected.T_cam_obj[:3, :3], found.T_cam_obj[:3, :3])
    assert np.degrees(apart) < 3 and found.score == pytest.approx(expected.score, abs=0.02)
    assert np.linalg.norm(expected.T_cam_obj[:3, 3] - found.T_cam_obj[:3, 3]) < 0.04 * expected.T_cam_obj[2, 3]
    assert {"crop", "features", "solve", "total"} == set(estimators[1].timings)
    expected, found = (estimator.follow(image, camera, [expected])[0] for estimator in estimators)
    assert np.degrees(rotation_angle(expected.T_cam_obj[:3, :3], found.T_cam_obj[:3, :3])) < 3


def test_a_second_look_at_a_frame_takes_the_first_ones_copy(estimators, frame, monkeypatch):
    """But not the next call, for which a driver may have filled the same memory with the next image."""
    image, camera, _ = frame
    pipeline = estimators[1].pipeline.first
    uploaded, looks, upload, warp = [], [], pipeline.solver.staging.upload, pipeline._warped

    def counted(name, array):
        uploaded.append(name)
        return upload(name, array)

    def looked(*arguments):
        looks.append(1)
        return warp(*arguments)

    monkeypatch.setattr(pipeline.solver.staging, "upload", counted)
    monkeypatch.setattr(pipeline, "_warped", looked)
    whole = (0.0, 0.0, float(camera.width), float(camera.height))
    for k in (1, 2):
        assert estimators[1].estimate(image, camera, [whole])
        assert len(looks) == 2 * k and uploaded.count("frame") == k
    assert pipeline._frame is None


def test_a_frame_that_the_gpu_fails_on_is_solved(estimators, frame, monkeypatch, caplog):
    image, camera, roi = frame
    torch = pytest.importorskip("torch")
    estimator, first = estimators[1], estimators[1].pipeline.first

    def full(*arguments):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(first.solver, "solved", full)
    monkeypatch.setattr(estimator, "pipeline", SolverWithFallback(first, estimator.pipeline.fallback))
    pose, = estimator.estimate(image, camera, [roi])
    assert "goes on on the CPU, because the GPU's failed: OutOfMemoryError: CUDA out of memory." in caplog.text
    assert pose.score > estimator.bundle.card.score.accept and {"similarity", "refine"} <= set(estimator.timings)


def test_features_that_are_no_numbers_on_the_device(bundle, frame, monkeypatch, caplog):
    """fp16 overflowed: solver and network go on on the CPU, with the same frame."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("onnx", reason="backend torch reads networks with onnx")
    from dinemo_ros import estimator as module
    from dinemo_ros.features.fallback import FallbackExtractor
    from dinemo_ros.features.onnxruntime_backend import OnnxRuntimeExtractor
    from dinemo_ros.features.torch_backend import TorchExtractor

    network = FallbackExtractor(TorchExtractor(bundle, 1), OnnxRuntimeExtractor(bundle, 1))
    monkeypatch.setattr(module, "create_extractor", lambda *arguments: network)
    estimator, (image, camera, roi) = PoseEstimator(bundle, 1, device="twins"), frame
    (expected,) = estimator.estimate(image, camera, [roi])
    run = TorchExtractor._with_room  # of tensors and of arrays
    monkeypatch.setattr(TorchExtractor, "_with_room", lambda self, *arguments: run(self, *arguments) * torch.nan)
    (found,) = estimator.estimate(image, camera, [roi])
    assert np.degrees(rotation_angle(expected.T_cam_obj[:3, :3], found.T_cam_obj[:3, :3])) < 1.0
    assert (estimator.pipeline.device, network.name) == ("CPU", "onnxruntime")
    assert "the solver goes on on the CPU, because the GPU's failed: the network's features are not all finite" in (
        caplog.text)
    assert "its features in fp32 are not all finite" in caplog.text


class Plain(Failing):
    """A GPU's pipeline that works and has no term for what is known beside the picture."""

    presences = ["first's"]

    def solve_features(self, features, targets, starts=None, flip_tta=False):
        self.left += 1
        return [["first"]] * len(targets)


def test_a_device_whose_solver_lacks_a_term_is_left_out_while_the_term_is_in_use(bundle, cpu, caplog):
    """In solve and follow; told by the device's text, and over as soon as the plane and the depth are gone."""
    features, targets = own_views(bundle)
    first = Plain(cpu, 0, None)
    solver = SolverWithFallback(first, cpu)
    plane = SupportPlane(np.array([0.0, -1.0, 0.0]), -1.5)
    standing = [replace(target, support=plane) for target in targets]
    measured = [replace(target, depth=np.full(features.shape[2:], 8.0)) for target in targets]
    caplog.set_level(logging.INFO, "dinemo_ros.cuda")
    for known, words in ((standing, "support"), (measured, "depth")):
        solved = solver.solve_features(features, known)
        assert first.left == 0 and solved[0][0].T_crop_obj.shape == (4, 4) and not solver.failed
        assert solver.device == f"CPU, because the solver of Some GPU cannot use {words}"
        assert solver.presences is cpu.presences and solver.timings is cpu.timings
        assert f"on the CPU while there is {words}" in caplog.text
        starts = [Start(poses[0].T_crop_obj, poses[0].size) for poses in solved]
        solver.solve_features(features, known, starts)
        assert first.left == 0
    assert solver.solve_features(features, targets) == [["first"]] * len(targets)
    assert first.left == 1 and solver.device == "Some GPU" and solver.presences == ["first's"]
    assert solver.terms == {"support", "depth"}
