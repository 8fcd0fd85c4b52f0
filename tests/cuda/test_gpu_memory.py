# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Memory of a GPU as its driver counts it, at the moments that count; on a GPU that is not there."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dinemo_ros.benchmark import gpu_memory
from dinemo_ros.benchmark.gpu_memory import GpuMemory, watched_gpu
from dinemo_ros.cli.bench import _show_gpu
from dinemo_ros.gpu.cuda_driver import CudaError

MB = 1_000_000


@pytest.fixture
def cuda(monkeypatch):
    """A GPU of 8 GB; ``free`` is what its driver says next."""
    class Cuda:
        free, asked, peak = 8000 * MB, [], 700 * MB

    calls = {"synchronize": lambda: Cuda.asked.append("wait"),
             "reset_peak_memory_stats": lambda: Cuda.asked.append("reset"),
             "mem_get_info": lambda: Cuda.asked.append("ask") or (Cuda.free, 8000 * MB),
             "max_memory_allocated": lambda: Cuda.peak, "memory_reserved": lambda: 900 * MB}
    for name, call in calls.items():
        monkeypatch.setattr(torch.cuda, name, call)
    monkeypatch.setattr(Cuda, "asked", [])
    return Cuda


def test_what_is_reported(cuda):
    """Engines and graphs are no tensors of torch's, and count; so does what others use, apart."""
    cuda.free = 7500 * MB
    memory = GpuMemory()
    for moment, free in (("warm", 6600), ("running", 6200)):
        cuda.free = free * MB
        memory.mark(moment)
    assert memory.report() == {"total": 8000, "used_before": 500, "used_warm": 1400, "used_running": 1800,
                               "added_warm": 900, "added_running": 1300, "torch_peak": 700, "torch_reserved": 900}
    assert cuda.asked == ["wait", "ask", "reset", "wait", "ask", "wait", "ask"]  # and nothing is under way when asked


def test_where_there_is_nothing_to_watch(cuda, monkeypatch):
    monkeypatch.setattr(gpu_memory, "find_gpu", lambda: None)
    assert watched_gpu("cpu") is None and watched_gpu("twins") is None
    assert isinstance(watched_gpu("cuda"), GpuMemory) and isinstance(watched_gpu("auto"), GpuMemory)

    def none():
        raise CudaError("no NVIDIA driver is installed")

    monkeypatch.setattr(gpu_memory, "find_gpu", none)
    assert watched_gpu("cuda") is None
    monkeypatch.setattr(gpu_memory, "find_gpu", lambda: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: torch._C._cuda_init_that_is_not_there)
    with pytest.raises(AttributeError):
        watched_gpu("cuda")  # a fault of ours is not taken for a missing GPU


def test_what_is_printed(capsys):
    took = {"median_ms": 4.0}
    gpu = {"name": "GPU", "features_stay_on_device": True, "follow": None, "solver": took, "hypotheses": {"per_s": 1e8},
           "kernels": [], "memory_mb": {"used_running": 1800.0, "used_before": 500.0, "added_warm": 900.0,
                                        "torch_peak": 700.0}}
    _show_gpu({"gpu": gpu, "total": took, "followed": {"total": took}})
    text = capsys.readouterr().out
    assert "memory of the GPU, all programs        1800 MB   (bar 1500 MB)" in text
    assert "before the start 500 MB (context, other programs), the start 900 MB, torch's largest 700 MB" in text
