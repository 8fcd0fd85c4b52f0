# SPDX-License-Identifier: Apache-2.0
"""scripts/gpu_day.sh on a machine without a GPU: it says so. With a script in Python's place: what it does with stages
that pass, fail, hang and find no time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from benchmarks import gpu_day, gpu_day_summary

ROOT = Path(__file__).resolve().parents[2]
STAGES = ["doctor", "tests", "bench_fp32", "bench_fp16", "replay", "memory", "capture", "frames", "sanitizer"]


def day(*arguments, python=sys.executable, **environment):
    return subprocess.run(["bash", ROOT / "scripts" / "gpu_day.sh", *arguments], capture_output=True, text=True,
                          timeout=300, env=os.environ | {"PYTHON": str(python)} | environment)


def cuda_is_there() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def test_without_a_gpu_it_ends_at_once(tmp_path):
    if cuda_is_there():
        pytest.skip("there is a GPU")
    result = day(OUT=str(tmp_path / "out"))
    assert result.returncode == 3 and result.stdout == "" and not (tmp_path / "out").exists()
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("gpu_day needs ")


def test_dry_run_lists_the_stages(tmp_path):
    """Without a GPU as well, and nothing is written."""
    before = set((ROOT / "tests" / "benchmarks" / "results").iterdir())
    result = day("--dry-run", OUT=str(tmp_path / "out"))
    assert result.returncode == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[0] for row in rows] == STAGES
    assert all(row[2] == "s" and int(row[1]) <= 200 for row in rows)
    assert not (tmp_path / "out").exists()
    assert set((ROOT / "tests" / "benchmarks" / "results").iterdir()) == before
    for part in ("pytest tests/cuda", "--precision fp32", "--precision fp16", "memcheck", "--count 200"):
        assert part in result.stdout
    assert day("--dryrun").returncode == 2


@pytest.fixture
def interpreter(tmp_path):
    """In Python's place: the first stage passes, the tests fail, the first benchmark hangs, others write a result."""
    pytest.importorskip("torch", reason="torch is not installed")  # of which the summary asks what it ran on
    script = tmp_path / "python"
    script.write_text(f"""#!/bin/bash
for word in "$@"; do if [[ $word == *.json ]]; then out=$word; fi; done
case "$*" in
  *"gpu_day.py device") echo some_gpu ;;
  *gpu_day_summary*) exec {sys.executable} "$@" ;;
  *doctor) echo "solver: device auto takes Some GPU" ;;
  *"-m pytest"*) echo "1 failed | 3 passed"; exit 1 ;;
  *"--precision fp32"*) echo "began"; sleep 60 ;;
  *"--precision fp16"*) echo '{{"total": {{"median_ms": 4.25}}}}' > "$out" ;;
  *replay*) echo '{{"solve": {{"replay_us": 5e3, "kernels": 2000, "kernel_sum_us": 1e3, "us_per_node": 2}}}}' > "$out";;
  *frames*) echo "not JSON" > "$out" ;;
  *) [[ -z ${{TRITON_INTERPRET:-}} ]] || exit 5 ;;
esac
""")
    script.chmod(0o755)
    return script


def test_a_stage_that_fails_or_hangs_keeps_no_other_from_running(interpreter, tmp_path):
    limits = (ROOT / "scripts" / "gpu_day.sh").read_text().replace("bench_fp32|120", "bench_fp32|2")
    short = tmp_path / "scripts" / "gpu_day.sh"
    short.parent.mkdir()
    short.write_text(limits.replace("$(dirname \"${BASH_SOURCE[0]}\")/..", str(ROOT)))
    out = tmp_path / "a folder with spaces"
    environment = os.environ | {"PYTHON": str(interpreter), "OUT": str(out), "TRITON_INTERPRET": "1"}
    for _ in range(2):  # a second day takes the place of the first
        result = subprocess.run(["bash", short], capture_output=True, text=True, timeout=120, env=environment)
    assert result.returncode == 1, result.stderr
    report = json.loads((out / "gpu_day.json").read_text())
    outcome = {stage["name"]: stage["outcome"] for stage in report["stages"]}
    assert list(outcome) == STAGES
    assert outcome["doctor"] == "passed" and outcome["tests"] == "failed (1)"
    assert outcome["bench_fp32"] == "stopped after 2 s" and outcome["sanitizer"] != "passed"
    assert {outcome[name] for name in ("bench_fp16", "replay", "memory", "capture", "frames")} == {"passed"}
    results = {stage["name"]: stage["result"] for stage in report["stages"]}
    assert results["bench_fp16"]["total"]["median_ms"] == 4.25 and results["frames"] is None
    assert report["device"]["versions"]["torch"] and report["device"]["commit"]
    text = (out / "gpu_day.md").read_text()
    assert text == result.stdout.removesuffix("\n") and "| tests | failed (1) |" in text
    assert "| bench_fp16: image in to pose out | 4.25 ms |" in text and "2.00 us per node beside" in text
    assert "solver: device auto takes Some GPU" in text and "1 failed / 3 passed" in text


def test_when_the_time_is_over_nothing_begins(interpreter, tmp_path):
    result = day(python=interpreter, OUT=str(tmp_path / "out"), LIMIT_S="1")
    report = json.loads((tmp_path / "out" / "gpu_day.json").read_text())
    assert {stage["outcome"] for stage in report["stages"]} == {"skipped"} and result.returncode == 0
    assert report["stages"][0]["last_line"] == "no time was left"


def test_what_a_replay_costs_beside_its_kernels():
    """5 ms for 2000 kernels of 1 ms in all."""
    graph = SimpleNamespace(replay=lambda: None)
    found = gpu_day.graph_times(graph, lambda call: (2000, 1000.0), lambda call, device: 5.0)
    assert found == {"replay_us": 5000, "kernels": 2000, "kernel_sum_us": 1000, "us_per_node": 2.0,
                     "replay_us_per_node": 2.5}
    assert gpu_day.graph_times(graph, lambda call: (0, 0.0), lambda call, device: 5.0)["us_per_node"] is None


def test_replay_finds_the_graphs_of_one_crop(monkeypatch):
    """Of solver, following and network, captured on the stand-in; what was not captured is said to be missing."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if cuda_is_there():
        pytest.skip("of the stand-in")
    from cuda.graph_stand_in import cuda_graphs, recorded

    from dinemo_ros.benchmark import gpu
    from dinemo_ros.gpu.graph import GraphCache

    def summed(x):
        return recorded(summed, (x,), x.sum(1))

    replayed = []
    monkeypatch.setattr(gpu, "_device_clock", lambda call, device: replayed.append(call()) or 5.0)
    monkeypatch.setattr(gpu_day, "profiled_kernels", lambda call: (2000, 1000.0))
    with cuda_graphs(monkeypatch):
        solve, follow, network = (GraphCache(summed) for _ in range(3))
        for cache in (solve, follow, network):
            for count in (2, 1, 4):
                cache(torch.ones(count, 3))
        solver = SimpleNamespace(_solve=solve, _follow=follow)
        estimator = SimpleNamespace(pipeline=SimpleNamespace(first=SimpleNamespace(solver=solver)),
                                    extractor=SimpleNamespace(_active=SimpleNamespace(_captured=network)))
        report = {}
        assert gpu_day.replay(estimator, report) and len(replayed) == 3 * 50
        assert {report[name]["us_per_node"] for name in ("solve", "follow", "network")} == {2.0}
        estimator.extractor = SimpleNamespace(_captured=summed)  # a network that could not be captured
        assert not gpu_day.replay(estimator, report) and report["network"] is None and report["solve"]


@pytest.mark.parametrize("grows", [0.0, 0.5])
def test_frames(grows):
    """Each demo frame in turn; what is reserved may settle in the first ones, and must not grow later."""
    seen, reserved = [], iter(range(1000))
    estimator = SimpleNamespace(estimate=lambda image, camera, rois: seen.append(image[:1].tobytes()),
                                pipeline=SimpleNamespace(failed=False, device="Some GPU"))
    report = {}
    assert gpu_day.frames(estimator, report, 20, lambda: 900 + grows * next(reserved)) == (grows == 0)
    assert len(seen) == report["frames"] == 20 and len(set(seen)) > 5
    assert report["reserved_grew_mb"] == pytest.approx(grows * 9, abs=grows * 10) and report["solver"] == "Some GPU"
    assert 0 <= report["p50_ms"] <= report["p99_ms"] <= report["slowest_ms"]
    estimator.pipeline.failed = True
    assert not gpu_day.frames(estimator, {}, 4, lambda: 900.0)


def test_memory_before_and_after_the_start():
    asked = []
    watch = SimpleNamespace(mark=lambda moment: asked.append(moment), report=lambda: {"used_warm": 1400.0})
    report = {}
    assert gpu_day.memory(lambda: asked.append("start"), report, lambda: asked.append("before") or watch)
    assert asked == ["before", "start", "warm"] and report == {"used_warm_mb": 1400.0}


def test_a_capture_that_fails_then_others(monkeypatch):
    """On the stand-in for CUDA graphs, as the test of the graphs themselves."""
    pytest.importorskip("torch", reason="torch is not installed")
    if cuda_is_there():
        pytest.skip("of the stand-in")
    from cuda.graph_stand_in import cuda_graphs, recorded

    from dinemo_ros.gpu import capture, graph

    def recording(self, function):
        plain(self, lambda x: recorded(function, (x,), function(x)))

    plain = graph.GraphCache.__init__
    monkeypatch.setattr(graph.GraphCache, "__init__", recording)
    report = {}
    with cuda_graphs(monkeypatch):
        assert gpu_day.capture(report, "cpu", lambda: True)
    assert report == {"before": True, "failed": "operation not permitted when stream is capturing", "after": True,
                      "graph_of_before": True, "memory_comes_back": True}
    with cuda_graphs(monkeypatch):
        assert not gpu_day.capture({}, "cpu", lambda: False)
    monkeypatch.setattr(capture, "_give_up", lambda pool, device: None)
    with cuda_graphs(monkeypatch), pytest.raises(RuntimeError, match="INTERNAL ASSERT"):
        gpu_day.capture({}, "cpu", lambda: True)


def test_the_table_survives_what_is_missing():
    rows = [{"name": "replay", "outcome": "failed (1)", "seconds": 3, "limit_s": 60, "last_line": "a | b",
             "result": {"solve": None}}, {"name": "frames", "outcome": "skipped", "seconds": 0, "limit_s": 60,
                                          "last_line": "", "result": None}]
    where = {"cpu": "CPU", "driver": None, "versions": {"torch": "2.12"}, "commit": None}
    text = gpu_day_summary.markdown(where, rows)
    assert "# no GPU" in text and "a / b" in text and "us per node" not in text
