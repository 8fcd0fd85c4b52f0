# SPDX-License-Identifier: Apache-2.0
"""What scripts/gpu_day.sh found, as one JSON file and one table, with the device named.

    python tests/benchmarks/gpu_day_summary.py FOLDER

FOLDER holds gpu_day/stages.tsv (name, exit status or "skipped", seconds, limit) and what the stages wrote beside it;
gpu_day.json and gpu_day.md are written into it. Ends with 1 where a stage did not pass.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from dinemo_ros.benchmark.device import cpu_name, versions

_TIMED_OUT = ("124", "137")


def stages(logs: Path) -> list[dict]:
    """One row per stage, in their order."""
    rows = []
    for line in (logs / "stages.tsv").read_text().splitlines():
        name, status, seconds, limit = line.split("\t")
        outcome = {"0": "passed", "skipped": "skipped"}.get(
            status, f"stopped after {limit} s" if status in _TIMED_OUT else f"failed ({status})")
        rows.append({"name": name, "outcome": outcome, "seconds": int(seconds), "limit_s": int(limit),
                     "last_line": _last_line(logs / f"{name}.txt"), "result": _result(logs, name)})
    return rows


def _last_line(file: Path) -> str:
    lines = file.read_text(errors="replace").split("\n") if file.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _result(logs: Path, name: str) -> dict | None:
    """What a stage measured; None where it measures nothing, or did not come that far."""
    try:
        if (logs / f"{name}.json").is_file():
            return json.loads((logs / f"{name}.json").read_text())
        if (logs / f"{name}.xml").is_file():
            suite = ElementTree.parse(logs / f"{name}.xml").getroot()[0]  # written by pytest a moment ago
            return {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
    except (ValueError, IndexError, ElementTree.ParseError):
        return None
    return None


def device() -> dict:
    """What it ran on."""
    import torch

    found = {"cpu": cpu_name(), "versions": versions(("torch", "triton")), "commit": _asked("git", "rev-parse", "HEAD"),
             "driver": _asked("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")}
    if torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        gpu = torch.cuda.get_device_properties(0)
        found |= {"gpu": gpu.name, "capability": f"sm{major}{minor}", "cuda": torch.version.cuda,
                  "memory_mb": gpu.total_memory / 1e6, "processors": gpu.multi_processor_count}
    return found


def _asked(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def numbers(rows: list[dict]) -> list[tuple[str, str]]:
    """The lines that one looks for, of what was measured: a name and its value."""
    found = {row["name"]: row["result"] or {} for row in rows}
    lines = []
    for name in ("bench_fp32", "bench_fp16"):
        lines += [(f"{name}: image in to pose out", _ms(found.get(name, {}), "total", "median_ms")),
                  (f"{name}: tracked", _ms(found.get(name, {}), "followed", "total", "median_ms"))]
    for name in ("solve", "follow", "network"):
        graph = found.get("replay", {}).get(name)
        if graph and graph["kernels"]:
            lines.append((f"replay of {name}", f"{graph['replay_us']:.0f} us, {graph['kernels']} kernels of "
                          f"{graph['kernel_sum_us']:.0f} us in all, {graph['us_per_node']:.2f} us per node beside"))
    used, ran = found.get("memory", {}), found.get("frames", {})
    if "added_warm_mb" in used:
        lines.append(("memory", f"{used['used_before_mb']:.0f} MB before the start, "
                      f"{used['added_warm_mb']:.0f} MB by it"))
    if "p50_ms" in ran:
        lines.append((f"{ran['frames']} frames", f"median {ran['p50_ms']:.2f} ms, 99 % {ran['p99_ms']:.2f} ms, reserve "
                      f"grew by {ran['reserved_grew_mb']:.1f} MB"))
    return [(name, value) for name, value in lines if value]


def _ms(result: dict, *keys: str) -> str:
    value: object = result
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return f"{value:.2f} ms" if isinstance(value, (int, float)) else ""


def markdown(where: dict, rows: list[dict]) -> str:
    """The same to read."""
    software = {"CUDA": where.get("cuda"), **where["versions"]}
    packages = ", ".join(f"{name} {number}" for name, number in software.items())
    text = [f"# {where.get('gpu', 'no GPU')}", "",
            f"{where['cpu']}, driver {where['driver']}, {packages}, commit {where['commit']}.",
            "", "| stage | | seconds | last line |", "|---|---|---|---|"]
    text += [f"| {row['name']} | {row['outcome']} | {row['seconds']} | {row['last_line'][:120].replace('|', '/')} |"
             for row in rows]
    return "\n".join([*text, "", "| measured | |", "|---|---|", *(f"| {a} | {b} |" for a, b in numbers(rows)), ""])


def main() -> int:
    out = Path(sys.argv[1])
    where, rows = device(), stages(out / "gpu_day")
    (out / "gpu_day.json").write_text(json.dumps({"device": where, "stages": rows}, indent=1) + "\n")
    (out / "gpu_day.md").write_text(markdown(where, rows))
    print(markdown(where, rows))
    return 0 if all(row["outcome"] in ("passed", "skipped") for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
