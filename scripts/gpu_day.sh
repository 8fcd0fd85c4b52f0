#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that only a GPU can tell, in some ten minutes on one H200; with torch, Triton and the driver, no TensorRT.
#
#   bash scripts/gpu_day.sh [--dry-run]
#
# --dry-run lists the stages and does nothing. Each stage has a time limit, none begins when LIMIT_S seconds (600) are
# over, and one that fails does not keep the next from running. Results go to OUT, by default
# tests/benchmarks/results/DEVICE: gpu_day.json and gpu_day.md, and a file for what each stage printed in gpu_day/.
# PYTHON is the interpreter, by default that of scripts/setup.sh --train where it is there, else python3.
# Ends with 0 where all stages passed, 1 where one did not, 3 where there is no CUDA.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv-train/bin/python}
command -v "$python" > /dev/null || python=python3
export PYTHONPATH="src:tests${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
unset TRITON_INTERPRET # the compiler is what is to be tested
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2> /dev/null || true)
day="$python tests/benchmarks/gpu_day.py"
bench="$python -m dinemo_ros.cli.main bench --device cuda --backend torch --frames 60"

# name, limit in seconds, command; {} is the stage's own file, without its ending.
stages=(
  "doctor|60|$python -m dinemo_ros.cli.main doctor"
  "tests|200|$python -m pytest tests/cuda -q -p no:cacheprovider --ignore tests/cuda/test_kernels_compile.py --junitxml {}.xml"
  "bench_fp32|120|$bench --precision fp32 --json {}.json"
  "bench_fp16|90|$bench --precision fp16 --json {}.json"
  "replay|60|$day replay --out {}.json"
  "memory|60|$day memory --out {}.json"
  "capture|45|$day capture --out {}.json"
  "frames|60|$day frames --count 200 --out {}.json"
  "sanitizer|120|${sanitizer:-compute-sanitizer} --tool memcheck --error-exitcode 9 $python -m pytest tests/cuda/test_kernels_against_twins.py -q -x -p no:cacheprovider"
)

if [[ ${1:-} == --dry-run ]]; then
  for stage in "${stages[@]}"; do
    IFS='|' read -r name limit command <<< "$stage"
    printf '%-11s %4s s  %s\n' "$name" "$limit" "$command"
  done
  exit 0
elif (($#)); then
  echo "usage: gpu_day.sh [--dry-run]" >&2
  exit 2
fi

device=$("$python" tests/benchmarks/gpu_day.py device) || exit 3
out=${OUT:-tests/benchmarks/results/$device}
logs=$out/gpu_day
mkdir -p "$logs"
rm -f "$logs"/* "$out/gpu_day.json" "$out/gpu_day.md" # of an earlier day
began=$SECONDS
for stage in "${stages[@]}"; do
  IFS='|' read -r name limit command <<< "$stage"
  left=$((${LIMIT_S:-600} - SECONDS + began))
  result=0 began_stage=$SECONDS
  if [[ $name == sanitizer && -z $sanitizer ]]; then
    echo "compute-sanitizer is not installed" > "$logs/$name.txt"
    result=skipped
  elif ((left < 5)); then
    echo "no time was left" > "$logs/$name.txt"
    result=skipped
  else
    limit=$((limit < left ? limit : left))
    read -ra words <<< "$command"
    words=("${words[@]//\{\}/$logs/$name}")
    if [[ $name == sanitizer ]]; then export PYTORCH_NO_CUDA_MEMORY_CACHING=1; fi # each tensor with bounds of its own
    timeout -k 5 "$limit" "${words[@]}" > "$logs/$name.txt" 2>&1 < /dev/null || result=$?
  fi
  printf '%s\t%s\t%s\t%s\n' "$name" "$result" "$((SECONDS - began_stage))" "$limit" >> "$logs/stages.tsv"
  echo "$name: $result ($((SECONDS - began_stage)) s)" >&2
done
exec "$python" tests/benchmarks/gpu_day_summary.py "$out"
