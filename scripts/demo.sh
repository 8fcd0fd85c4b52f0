#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# 6D poses from a real ROS 2 node, with one command on a fresh machine.
#
#   bash scripts/demo.sh                 the rendered sequence that ships with the package, checked against its truth
#   bash scripts/demo.sh PATH [options]  your folder of images, video or rosbag2
#   bash scripts/demo.sh --scene cups    a rendered mug on a table: errors of RGB alone, with the plane, with depth, both
#
# Options are those of the demo program (--help): --out, --hfov, --bundle, ...
# Overlay pictures go to demo_out/. Exit code 0 when poses came out.
set -euo pipefail
# An empty or relative entry of PYTHONPATH is the current folder to Python, before anything of ours runs.
PYTHONPATH=$(tr : '\n' <<< "${PYTHONPATH:-}" | grep ^/ | paste -sd :) || true
if [[ -n $PYTHONPATH ]]; then export PYTHONPATH; else unset PYTHONPATH; fi
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bash "$scripts/setup.sh"
set +u
source "$scripts/env.sh"
# Not python -m: that would import what lies in the current folder, numpy.py for instance, before anything else.
exec python -c 'import sys; sys.path[:] = filter(None, sys.path); from dinemo_ros.node.demo import main; sys.exit(main())' "$@"
