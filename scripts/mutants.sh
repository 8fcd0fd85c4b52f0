#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Break the code in one place at a time and see whether the tests notice.
#
#   bash scripts/mutants.sh [--only FILE ...] [--named] [--sampled] [--again survived] [--report] [--processes 1|2] [--seed N]
#
# Judges the named mutants (tests/mutation/named.py) and a sample drawn with a fixed seed (tests/mutation/targets.py:
# how many of which file, and the tests that judge them) in copies of the tree under the temporary folder; the checkout
# is not edited. Each outcome goes into tests/mutation/outcomes.jsonl at once, and a second run judges what is missing
# there: after new tests with `--again survived`, after a change of the code with the file deleted. The table goes to
# standard output and to tests/mutation/RESULTS.md, where each survivor stands with what tests/mutation/judgements.json
# says about it. About half an hour on two idle cores. Exit status 1: a named mutant lives, or less than 85 % of the
# sampled ones, or of those inside kernels, were noticed.
#
# A kernel cache is kept per copy; a mutant begins without the kernels whose file is broken or imports, by however many
# steps, the broken one, and so never runs code that was compiled before it was broken.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ -z ${VIRTUAL_ENV:-} ]]; then
  set +u
  source scripts/env.sh
  set -u
fi
PYTHONPATH=$PWD/tests${PYTHONPATH:+:$PYTHONPATH} exec python -m mutation "$@"
