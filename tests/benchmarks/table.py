# SPDX-License-Identifier: Apache-2.0
"""Write the table of benchmarks from the committed results.

    python tests/benchmarks/table.py            # rewrites docs/speed.md between its markers
    python tests/benchmarks/table.py --check    # says whether docs/speed.md is up to date, for the tests

Of every device, the folder of ``results/`` holds ``bench.json`` (``dinemo bench --startup --reference --json``) and
``solvers_SET_GROUP.json`` (``compare_solvers.py``). Nothing is typed in by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

RESULTS = Path(__file__).with_name("results")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "speed.md"
BEGIN, END = "<!-- benchmark table -->", "<!-- end of benchmark table -->"
SETS = {"synthetic": "held-out renders", "synthetic_L1": "20 to 40 % hidden", "synthetic_L2": "40 to 60 % hidden",
        "synthetic_L3": "60 to 80 % hidden", "demo": "demo sequence", "turntable": "turntables cx5, subaru"}
GROUPS = ("published", "many_crops", "pnp")  # of compare_solvers.py; its other variants stay in the results


def device_table(folder: Path) -> list[str]:
    """Lines about one device."""
    bench = json.loads((folder / "bench.json").read_text())
    lines = [f"**{bench['device']}**, load {bench['load']:g} while measured; `dinemo bench --startup --reference`", "",
             "| what | wall clock, median (smallest) | CPU time, all threads | bar |", "|---|---|---|---|"]
    total, objects = bench["total"], bench["objects"]
    lines.append(row("one object with its box, image in to pose out, median", wall(total),
                     ms(total["cpu_median_ms"]), "50 ms"))
    if "flip_tta" in bench:
        augmented = bench["flip_tta"]["total"]
        lines.append(row("the same at low confidence: with flip test-time augmentation", wall(augmented),
                         ms(augmented["cpu_median_ms"]), ""))
    followed = bench["followed"]["total"]
    lines.append(row("the same object followed, no search", wall(followed), ms(followed["cpu_median_ms"]),
                     "25 ms"))
    auto = bench["auto"]["total"]
    lines.append(row("the same frame without a box: objects are looked for", wall(auto), ms(auto["cpu_median_ms"]), ""))
    lines.append(row("solver alone, features to pose", ms(bench["solver_ms"]), "", "15 ms"))
    lines.append(row(f"{objects['objects']} objects in one frame; against one",
                     f"{ms(objects['median_ms'])}, {objects['ratio']:.2f} x ({objects['smallest_ratio']:.2f} x)",
                     f"{objects['cpu_ratio']:.2f} x", "2.5 x"))
    lines.append(row("pose hypotheses of the coarse search", f"{bench['hypotheses_per_s']:.1e} /s", "", ""))
    for name, start in bench.get("startup", {}).items():
        lines.append(row(f"new process to first pose, kernels {'compiled' if name == 'cold' else 'cached'}",
                         f"{start['to_first_pose_s']:.1f} s", f"{start['cpu_s']:.1f} s",
                         "5 s" if name == "warm" else ""))
        lines.append(row("its peak memory", f"{start['peak_memory_mb']:.0f} MB", "", ""))
    return lines


def solvers_table(folder: Path) -> list[str]:
    """Lines about the solvers on identical features; our own row stands above those it was measured with."""
    lines = ["| solver, on the same features, mesh and crops | set | time against ours, CPU (wall clock) | "
             "Acc@30 / Acc@10 | median error |", "|---|---|---|---|---|"]
    for name, title in SETS.items():
        for file in (folder / f"solvers_{name}_{group}.json" for group in GROUPS):
            for entry in json.loads(file.read_text())["rows"] if file.is_file() else []:
                speed = "1" if entry["solver"] == "dinemo_ros" else (f"{entry['times_slower_cpu']:.3g} "
                                                                      f"({entry['times_slower']:.3g})")
                line = row(entry["solver"], f"{title} ({entry['n']})", speed,
                           f"{entry['acc30']:.1%} / {entry['acc10']:.1%}", f"{entry['median_deg']:.1f}°")
                if line not in lines:  # our own row of another group of the same crops
                    lines.append(line)
    return lines


def table() -> str:
    """Everything between the markers."""
    parts = []
    for folder in sorted(path.parent for path in RESULTS.glob("*/bench.json")):
        parts.append("\n".join(device_table(folder)))
        if any(folder.glob("solvers_*.json")):
            parts.append("\n".join(solvers_table(folder)))
    return "\n\n".join(parts)


def replaced(text: str) -> str:
    """``text`` with the table between its markers renewed; ValueError where it has none."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} ... {END}")
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def wall(spread: dict[str, float]) -> str:
    return f"{spread['median_ms']:.1f} ms ({spread['min_ms']:.1f} ms)"


def ms(value: float) -> str:
    return f"{value:.1f} ms"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--page", type=Path, default=PAGE)
    args = parser.parse_args()
    text = args.page.read_text(encoding="utf-8")
    new = replaced(text)
    if args.check:
        if new != text:
            print(f"{args.page.name}: the benchmark table is out of date; run python tests/benchmarks/table.py")
        return int(new != text)
    args.page.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
