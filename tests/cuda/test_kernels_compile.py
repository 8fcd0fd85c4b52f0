# SPDX-License-Identifier: Apache-2.0
"""The kernels compile to machine code for Jetson Orin (sm_87) and data-centre GPUs (sm_90).

Triton's compiler needs no GPU for that. In a process of its own: the interpreter of the other tests replaces it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("triton", reason="triton is not installed")

_COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from dinemo_ros.cuda import compare_kernel, kernels, refine_kernels

sizes = {"SHIFT": 3, "SIDE": 7, "TILE": 16, "FACES": kernels._FACES, "LONGEST": 0.25, "WIDEST": 0.35, "LARGEST": 0.1,
         "TAIL": 2.0, "LEAST": 0.02,
         "CELLS": compare_kernel._CELLS, "CHANNELS": compare_kernel._CHANNELS}
blocks = {"_gather_scores": kernels._VERTICES, "_rasterise": kernels._CELLS, "_sample_crops": kernels._PIXELS,
          "_normal_equations": refine_kernels._POINTS, "_box_sides": refine_kernels._VERTICES}
warps = {"_window_terms": kernels._ONE_WARP, "_stepped": kernels._ONE_WARP}
types = {
    "_gather_scores": {"evidence": "*u8", "index": "*i64", "points": "*fp32", "weight": "*fp32", "chosen": "*i64",
                       "place": "*fp32", "camera": "*fp32", "best": "*i32", "where": "*i32"},
    "_window_terms": {**dict.fromkeys(("odds", "vertices", "R", "t", "log_size", "camera", "weight", "value", "pull",
                                       "matrix"), "*fp32"), "crop": "*i64", "sigma": "fp32", "radius": "fp32"},
    "_rasterise": {"corners": "*fp32", "face": "*i64", "weights": "*fp32", "depth": "*fp32"},
    "_normal_equations": dict.fromkeys(("scaled", "R", "t", "focal", "pull", "matrix", "gradient", "normal"), "*fp32"),
    "_box_sides": {**dict.fromkeys(("vertices", "R", "t", "log_size", "box", "trust", "camera", "value", "gradient",
                                    "normal"), "*fp32"), "crop": "*i64"},
    "_compare_cells": {**dict.fromkeys(("screen", "bary", "depth", "vertices", "features", "gram", "cells", "rival",
                                        "log_size", "cosine", "gamma", "scaled", "pull", "matrix"), "*fp32"),
                       **dict.fromkeys(("face", "faces", "crop"), "*i64"), "temperature": "fp32"},
    "_stepped": dict.fromkeys(("normal", "gradient", "data", "prior", "damping", "R", "t", "log_size", "new_R", "new_t",
                               "new_size"), "*fp32"),
    "_sample_crops": {"image": "*u8", "x": "*fp32", "y": "*fp32", "shrink": "*i32", "out": "*u8"},
}
for name, known in types.items():
    function = next(vars(m)[name] for m in (kernels, refine_kernels, compare_kernel) if name in vars(m))
    constant = {a for a in function.arg_names if function.params[function.arg_names.index(a)].is_constexpr}
    signature = {a: "constexpr" if a in constant else known.get(a, "i32") for a in function.arg_names}
    fixed = {(function.arg_names.index(a),): {**sizes, "BLOCK": blocks.get(name)}[a] for a in constant}
    source, target = ASTSource(function, signature, constexprs=fixed), GPUTarget("cuda", int(sys.argv[1]), 32)
    compiled = triton.compile(source, target=target, options={"num_warps": warps.get(name, 4)})
    again = [p.name for p in function.params if signature[p.name] == "i32" and not p.do_not_specialize]
    # Products of float32, not of the ten bits that tensor cores take.
    assert "tf32" not in compiled.asm["ptx"], name
    print(name, len(compiled.asm["cubin"]), compiled.asm["ptx"].count("bar.sync"), *again)
"""


@pytest.mark.parametrize("architecture", [87, 90])
def test_kernels_compile(architecture, tmp_path):
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    result = subprocess.run([sys.executable, "-c", _COMPILE, str(architecture)], env=environment, capture_output=True,
                            text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]
    found = {name: numbers for name, *numbers in map(str.split, result.stdout.splitlines())}
    assert len(found) == 8 and all(int(size) > 500 for size, *_ in found.values())
    # No number makes Triton compile again in operation, e.g. the size of another camera's images.
    assert all(not again for _, _, *again in found.values()), found
    # A single warp's sums need no shared memory, so nobody waits there.
    assert found["_window_terms"][1] == "0", found
