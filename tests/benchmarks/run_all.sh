#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every result of a device again, and the table of the README: some 20 minutes on two cores with nothing else to do.
#
#   bash tests/benchmarks/run_all.sh DEVICE RENDERS [TURNTABLES]
#
# DEVICE names the folder below results/; RENDERS holds renders of objects never trained on, TURNTABLES the
# sequences cx5 and subaru (evaluation only; left out where not given). PYTHON is the interpreter, by default that of
# scripts/setup.sh --train; pytorch3d (pip install easypytorch3d) adds the published rasteriser.
# Not among them: tests/benchmarks/node_start.py and tests/benchmarks/footprint.py, which need ROS and the environment of
# the runtime, and tests/benchmarks/objectron_answers.py, which needs another program.
set -euo pipefail
renders=$(realpath "${2:?usage: run_all.sh DEVICE RENDERS [TURNTABLES]}")
turntables=${3:+$(realpath "$3")}
cd "$(dirname "$0")/../.."
out=tests/benchmarks/results/$1
python=${PYTHON:-.venv-train/bin/python}
export OMP_NUM_THREADS=1 PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$out"

"$python" -m dinemo_ros.cli.main bench --startup --reference --json "$out/bench.json"
"$python" tests/benchmarks/finding.py --json "$out/finding.json"
"$python" tests/benchmarks/profile_steps.py --out "$out/steps.csv"
"$python" tests/benchmarks/run_sweeps.py --out "$out"
"$python" tests/benchmarks/plot_sweeps.py "$out"
PYTHONPATH="$PYTHONPATH:tests" "$python" tests/benchmarks/count_launches.py car > "$out/launches.txt"
"$python" tests/benchmarks/network.py --pictures "$renders/images" --synthetic "$renders" --out "$out"

rm -f "$out"/solvers_*.json # they are kept where they exist, so that a run can be resumed
comparison=("$python" tests/benchmarks/compare_solvers.py --out "$out" --synthetic "$renders" ${turntables:+--turntable "$turntables"})
"${comparison[@]}" --count 300 --variants pnp many_crops --sets synthetic synthetic_L1 synthetic_L2 synthetic_L3 demo ${turntables:+turntable}
"${comparison[@]}" --count 60 --variants published own_rasterizer --sets synthetic demo
"$python" tests/benchmarks/table.py
