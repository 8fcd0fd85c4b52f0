#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Set up and run every test.
#
#   bash scripts/test.sh [--fast] [--no-train] [pytest arguments]
#
# The runtime's tests run in .venv without torch, as on a robot; the training half's in .venv-train with torch, which
# --no-train leaves out (5 GB). The tests of nodes and of single parts run at the same time; what they say follows.
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
result=0

# Nodes mostly wait: their tests run beside the others, and those of single parts behind them, so that two cores end
# about together. What they say follows at the end.
node_log=$(mktemp) node_tests=
trap '[[ -z $node_tests ]] || kill -- "-$node_tests" 2> /dev/null; rm -f "$node_log"' EXIT
beside() {
  local failed=0
  COVERAGE_FILE=$PWD/.coverage.node python -m pytest "${options[@]}" tests/node tests/launch \
    --ignore=tests/node/test_client.py || failed=1
  # In a process of its own: it ends contexts of rclpy, which the tests after it would then be without.
  COVERAGE_FILE=$PWD/.coverage.client python -m pytest "${options[@]}" tests/node/test_client.py || failed=1
  COVERAGE_FILE=$PWD/.coverage.unit python -m pytest "${options[@]}" tests/unit || failed=1
  return $failed
}
set -m # a process group of its own, so that all of it can be ended
beside > "$node_log" 2>&1 &
node_tests=$!
set +m

if ((train)); then
  echo "== training, and what needs its packages (.venv-train)"
  # The tests that only torch's environment can run, and those that see more there than on a robot.
  env -u LD_LIBRARY_PATH -u _ROS_WHEELS_BOOTSTRAP_COMPLETE -u PYTHONPATH COVERAGE_FILE="$PWD/.coverage.training" \
    .venv-train/bin/python -m pytest "${options[@]}" \
    tests/training tests/reference tests/benchmarks tests/cuda tests/unit/test_estimator.py \
    tests/evaluation/test_pascal3d.py tests/features/test_onnx_graph.py tests/features/test_integer_stem.py \
    tests/features/test_engine_build.py tests/features/test_selection.py tests/features/test_signature.py \
    tests/features/test_tensorrt_backend.py || result=1
fi
echo "== runtime (.venv, no torch)"
COVERAGE_FILE=$PWD/.coverage.runtime python -m pytest "${options[@]}" tests --ignore=tests/training \
  --ignore=tests/reference --ignore=tests/node --ignore=tests/launch --ignore=tests/unit || result=1
echo "== nodes and launch files, over real DDS, then single parts (.venv)"
tail --follow=descriptor --lines=+1 --sleep-interval=2 --pid="$node_tests" "$node_log"
wait "$node_tests" || result=1
node_tests=
if ((!fast)); then
  python -m coverage combine --quiet
  python -m coverage report --format=total | sed 's/^/coverage in percent, lines and branches: /'
  python -m coverage report --skip-covered
fi
exit $result
