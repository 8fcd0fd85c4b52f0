# SPDX-License-Identifier: Apache-2.0
"""Backends on the command line: options, fallback, and what doctor says about them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dinemo_ros.cli import doctor_backends
from dinemo_ros.cuda import selection
from dinemo_ros.features import tensorrt_api
from dinemo_ros.features.engine_cache import EngineCache, EngineKey
from dinemo_ros.gpu import cuda_driver

ROOT = Path(__file__).resolve().parents[2]


def dinemo(*arguments):
    return subprocess.run([sys.executable, "-m", "dinemo_ros.cli.main", *map(str, arguments)], text=True, timeout=120,
                          capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")})


def test_estimate_goes_on_where_a_backend_cannot(bundle, scenes, tmp_path):
    """An engine that nobody made: one warning, and the poses of ONNX Runtime in fp32."""
    folder, truth = scenes
    results = {}
    for name, options in (("plain", []), ("int8", ["--precision", "int8", "--cache", tmp_path / "cache"])):
        result = dinemo("estimate", folder / "a.png", "--camera", folder / "camera_info.yaml", "--bundle", bundle,
                        "--json", tmp_path / f"{name}.jsonl", *options)
        assert result.returncode == 0, result.stderr
        results[name] = result.stderr
        assert "features: onnxruntime in fp32 on CPU, because" in result.stderr
    assert "there is no int8 network of car" in results["int8"]
    plain, int8 = (json.loads((tmp_path / f"{name}.jsonl").read_text()) for name in results)
    assert plain["objects"] == int8["objects"] and len(plain["objects"]) == 1


@pytest.mark.parametrize("option, value", [("--backend", "abacus"), ("--precision", "fp8"), ("--device", "tpu")])
def test_unknown_names_are_wrong_usage(option, value):
    result = dinemo("estimate", "x.jpg", option, value)
    assert result.returncode == 2 and f"invalid choice: '{value}'" in result.stderr


class TestDoctor:
    def test_cache_with_entries(self, tmp_path):
        EngineCache(tmp_path).store(EngineKey("car", "0", "tensorrt 10.3.0", "sm87", "fp16", "any"), bytes(2_000_000))
        finding = doctor_backends.engine_cache(str(tmp_path))
        assert finding.level == "ok" and finding.text == f"1 entries, 2.0 MB in {tmp_path}"

    def test_cache_that_does_not_exist_yet(self, tmp_path):
        assert doctor_backends.engine_cache(str(tmp_path / "a" / "b")).level == "ok"

    def test_cache_that_cannot_be(self, tmp_path):
        (tmp_path / "file").write_text("")
        finding = doctor_backends.engine_cache(str(tmp_path / "file" / "engines"))
        assert finding.level == "--" and "every start builds its engines again: name another folder" in finding.text

    def test_cache_without_room(self, tmp_path, monkeypatch):
        full = os.statvfs(tmp_path)
        monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((*full[:4], 10, *full[5:])))
        finding = doctor_backends.engine_cache(str(tmp_path))
        assert finding.level == "--" and "MB are free there" in finding.text and "make room" in finding.text

    def test_every_missing_part_says_what_to_do(self, monkeypatch):
        """A machine with nothing but ONNX Runtime."""

        def no_driver():
            raise cuda_driver.CudaError("no NVIDIA driver is installed (libcuda.so.1 is not there)")

        monkeypatch.setattr(cuda_driver, "find_gpu", no_driver)
        monkeypatch.setattr(selection, "find_gpu", no_driver)
        monkeypatch.setattr(tensorrt_api, "_CANDIDATES", ())
        monkeypatch.setattr(doctor_backends, "installed", lambda module: False)
        found = {finding.subject: finding for finding in doctor_backends.backends()}
        assert {name: f.level for name, f in found.items()} == {
            "GPU": "--", "solver": "--", "onnxruntime": "ok", "TensorRT": "--", "OpenVINO": "--", "torch": "--",
            "onnx": "--"}
        assert "pip install tensorrt" in found["TensorRT"].text and "JetPack" in found["TensorRT"].text
        assert found["solver"].text.startswith("device auto takes the CPU: there is no GPU to use: no NVIDIA driver")
        assert "pip install openvino" in found["OpenVINO"].text and "pip install onnx" in found["onnx"].text

    @pytest.mark.parametrize("raised, told", [
        ("ImportError('libnvinfer.so.10: cannot open')", "ImportError: libnvinfer.so.10: cannot open"),
        ("ImportError()", "ImportError: no text")])
    def test_broken_tensorrt_is_told_from_a_missing_one(self, tmp_path, monkeypatch, raised, told):
        (tmp_path / "broken_tensorrt.py").write_text(f"raise {raised}")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(tensorrt_api, "_CANDIDATES", (("broken_tensorrt", "tensorrt", ()),))
        (finding,) = [f for f in doctor_backends.backends() if f.subject == "TensorRT"]
        assert finding.text == f"TensorRT is installed and cannot be used: broken_tensorrt: {told}"

    @pytest.mark.parametrize("subject, module, raised", [
        ("OpenVINO", "openvino", "RuntimeError('no plugin')"), ("torch", "torch", "OSError('libcudart.so.12')"),
        ("onnx", "onnx", "TypeError('Descriptors cannot be created')"),
        ("onnxruntime", "onnxruntime", "ImportError('libonnxruntime.so')")])
    def test_broken_packages_are_a_line_of_the_report(self, tmp_path, subject, module, raised):
        """In a process of its own: here the real ones are loaded."""
        (tmp_path / f"{module}.py").write_text(f"__version__ = '10.3'\nraise {raised}")
        report = subprocess.run(
            [sys.executable, "-c", "from dinemo_ros.cli.doctor_backends import backends\n"
             "for f in backends(): print(f.level, f.subject, f.text, sep='|')"], text=True, capture_output=True,
            timeout=120, env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT / 'src'}"})
        assert report.returncode == 0, report.stderr
        lines = {line.split("|")[1]: line for line in report.stdout.splitlines()}
        assert len(lines) == 7 and lines[subject].startswith("!!" if subject == "onnxruntime" else "--")
        assert raised.split("(")[0] in lines[subject]

    def test_tensorrt_that_is_too_old(self, tmp_path, monkeypatch):
        (tmp_path / "old_tensorrt.py").write_text("__version__ = '8.6.1'")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(tensorrt_api, "_CANDIDATES", (("old_tensorrt", "tensorrt", ()),))
        (finding,) = [f for f in doctor_backends.backends() if f.subject == "TensorRT"]
        assert "tensorrt 8.6.1 is older than 10.0 (JetPack 6 brings 10.3)" in finding.text
