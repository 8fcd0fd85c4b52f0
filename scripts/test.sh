#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Set up and run every test.
#
#   bash scripts/test.sh [--no-train] [pytest arguments]
#
# The runtime's tests run in .venv without torch, as on a robot; the training half's in .venv-train with torch, which
# --no-train leaves out (5 GB). With pytest arguments only the runtime's run is done, with these.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
train=1
if [[ ${1:-} == --no-train ]]; then train=0; shift; fi
if (($#)); then train=0; fi
if ((train)); then bash scripts/setup.sh --test --train; else bash scripts/setup.sh --test; fi
set +u
source scripts/env.sh
set -u
export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST PYTHONDONTWRITEBYTECODE=1
if (($#)); then exec python -m pytest "$@"; fi

result=0
rm -f .coverage .coverage.*
echo "== runtime and ROS (.venv, no torch)"
COVERAGE_FILE=$PWD/.coverage.runtime python -m pytest tests --ignore=tests/training --ignore=tests/reference --cov --cov-report= || result=1
if ((train)); then
  echo "== training, and what needs its packages (.venv-train)"
  env -u LD_LIBRARY_PATH -u _ROS_WHEELS_BOOTSTRAP_COMPLETE -u PYTHONPATH COVERAGE_FILE=$PWD/.coverage.training \
    .venv-train/bin/python -m pytest tests/training tests/reference tests/benchmarks tests/cuda tests/unit/test_estimator.py tests/evaluation/test_pascal3d.py \
    tests/features/test_onnx_graph.py tests/features/test_integer_stem.py tests/features/test_engine_build.py tests/features/test_selection.py tests/features/test_signature.py tests/features/test_tensorrt_backend.py \
    --cov --cov-report= || result=1
fi
python -m coverage combine --quiet
python -m coverage report --format=total | sed 's/^/coverage in percent, lines and branches: /'
python -m coverage report --skip-covered
exit $result
