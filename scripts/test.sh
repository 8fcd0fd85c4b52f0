#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Set up and run every test.
#
#   bash scripts/test.sh [--fast] [--no-train] [pytest arguments]
#
# The runtime's tests run in .venv without torch, as on a robot; the training half's in .venv-train with torch, which
# --no-train leaves out (5 GB). Both run at the same time; what the training half says follows when it has ended.
# --fast, for daily work, leaves out what tests/slow_tests.txt lists and measures no coverage.
# With pytest arguments only the runtime's run is done, with these.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
train=1 fast=0
while [[ ${1:-} == --fast || ${1:-} == --no-train ]]; do
  if [[ $1 == --fast ]]; then fast=1; else train=0; fi
  shift
done
if (($#)); then train=0; fi
if ((train)); then bash scripts/setup.sh --test --train; else bash scripts/setup.sh --test; fi
set +u
source scripts/env.sh
set -u
export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST PYTHONDONTWRITEBYTECODE=1
options=()
if ((fast)); then options+=(--fast); fi
if (($#)); then exec python -m pytest "${options[@]}" "$@"; fi
if ((!fast)); then options+=(--cov --cov-report=); fi

rm -f .coverage .coverage.*
training_log=$(mktemp) training=
trap '[[ -z $training ]] || kill "$training" 2> /dev/null; rm -f "$training_log"' EXIT
if ((train)); then
  # What only torch's environment can run, and the tests that see more there than on a robot.
  env -u LD_LIBRARY_PATH -u _ROS_WHEELS_BOOTSTRAP_COMPLETE -u PYTHONPATH COVERAGE_FILE="$PWD/.coverage.training" \
    .venv-train/bin/python -m pytest "${options[@]}" \
    tests/training tests/reference tests/benchmarks tests/cuda tests/unit/test_estimator.py \
    tests/evaluation/test_pascal3d.py tests/features/test_onnx_graph.py tests/features/test_integer_stem.py \
    tests/features/test_engine_build.py tests/features/test_selection.py tests/features/test_signature.py \
    tests/features/test_tensorrt_backend.py > "$training_log" 2>&1 &
  training=$!
fi
result=0
echo "== runtime and ROS (.venv, no torch)"
COVERAGE_FILE=$PWD/.coverage.runtime python -m pytest "${options[@]}" tests --ignore=tests/training \
  --ignore=tests/reference || result=1
if ((train)); then
  echo "== training, and what needs its packages (.venv-train)"
  tail --follow=descriptor --lines=+1 --sleep-interval=2 --pid="$training" "$training_log"
  wait "$training" || result=1
  training=
fi
if ((!fast)); then
  python -m coverage combine --quiet
  python -m coverage report --format=total | sed 's/^/coverage in percent, lines and branches: /'
  python -m coverage report --skip-covered
fi
exit $result
