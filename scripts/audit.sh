#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Look whether what scripts/setup.sh installs has known holes.
#
#   bash scripts/audit.sh [--offline] [--strict] [LOCK ...]
#
# Without LOCK all of scripts/locks/*.txt. pip-audit, in a throw-away environment, asks its network database; beside it,
# and instead where the database cannot be reached or with --offline, scripts/advisories.yaml is used, which is kept by
# hand. The output says which. PYTHON is the interpreter, by default that of scripts/setup.sh.
# Ends with 0 where no hole is known but those that advisories.yaml accepts, 1 where there is one, 2 where a lock cannot
# be read, 3 with --strict where no database could be asked.
set -euo pipefail
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
options=() locks=()
for argument in "$@"; do
  case $argument in
    -*) options+=("$argument") ;;
    /*) locks+=("$argument") ;;
    *) locks+=("$PWD/$argument") ;;
  esac
done
if ((${#locks[@]} == 0)); then locks=("$scripts"/locks/{tools,run,test,train}.txt); fi
python=${PYTHON:-$scripts/../.venv/bin/python}
python=$(type -P "$python") || python=python3
[[ $python != */* || $python == /* ]] || python=$PWD/$python
# python -m imports what lies in the current folder, numpy.py for instance, and so does an empty entry of PYTHONPATH.
unset PYTHONPATH
cd "$scripts/.."
if [[ " ${options[*]} " != *" --offline "* ]]; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  "$python" -m venv "$scratch"
  if "$scratch/bin/python" -m pip install -qq --disable-pip-version-check pip-audit PyYAML packaging; then
    python=$scratch/bin/python
  else
    echo "pip-audit cannot be installed here" >&2
    options+=(--offline)
  fi
fi
"$python" "$scripts/audit.py" "${options[@]}" "${locks[@]}"
