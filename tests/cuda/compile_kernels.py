# SPDX-License-Identifier: Apache-2.0
"""Every Triton kernel of the solver to machine code, for GPUs that need not be there.

    python tests/cuda/compile_kernels.py 87 90

One line of JSON per architecture: ``arch``; ``kernels``, by name ``bytes`` of machine code, ``barriers`` at which
threads wait for each other, ``again``, numbers for other values of which Triton would compile once more, and ``tf32``,
whether products are of ten bits; ``refused``, what a user would be told where Triton's assembler does not know the
architecture. Not to be imported where Triton's interpreter is on: it takes the compiler's place.
"""

import json
import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from dinemo_ros.cuda import compare_kernel, kernels, refine_kernels
from dinemo_ros.cuda.selection import remedy_for

_SIZES = {"SHIFT": 3, "SIDE": 7, "TILE": 16, "FACES": kernels._FACES, "LONGEST": 0.25, "WIDEST": 0.35, "LARGEST": 0.1,
         "TAIL": 2.0, "LEAST": 0.02,
         "CELLS": compare_kernel._CELLS, "CHANNELS": compare_kernel._CHANNELS}
_BLOCKS = {"_gather_scores": kernels._VERTICES, "_rasterise": kernels._CELLS, "_sample_crops": kernels._PIXELS,
          "_normal_equations": refine_kernels._POINTS, "_box_sides": refine_kernels._VERTICES}
_WARPS = {"_window_terms": kernels._ONE_WARP, "_stepped": kernels._ONE_WARP}
_TYPES = {
    "_gather_scores": {"evidence": "*u8", "index": "*i64", "points": "*fp32", "weight": "*fp32", "chosen": "*i64",
                       "place": "*fp32", "camera": "*fp32", "best": "*i32", "where": "*i32"},
    "_window_terms": {**dict.fromkeys(("odds", "vertices", "R", "t", "log_size", "camera", "weight", "value", "pull",
                                       "matrix"), "*fp32"), "crop": "*i64", "sigma": "fp32", "radius": "fp32"},
    "_rasterise": {"corners": "*fp32", "face": "*i64", "weights": "*fp32", "depth": "*fp32"},
    "_normal_equations": dict.fromkeys(("scaled", "R", "t", "focal", "pull", "matrix", "gradient", "normal"), "*fp32"),
    "_box_sides": {**dict.fromkeys(("vertices", "R", "t", "log_size", "box", "trust", "camera", "value", "gradient",
                                    "normal"), "*fp32"), "crop": "*i64"},
    "_compare_cells": {**dict.fromkeys(("screen", "bary", "depth", "vertices", "features", "gram", "cells",
    "background_score",
                                        "log_size", "cosine", "gamma", "scaled", "pull", "matrix"), "*fp32"),
                       **dict.fromkeys(("face", "faces", "crop"), "*i64"), "temperature": "fp32"},
    "_stepped": dict.fromkeys(("normal", "gradient", "data", "prior", "damping", "R", "t", "log_size", "new_R", "new_t",
                               "new_size"), "*fp32"),
    "_sample_crops": {"image": "*u8", "x": "*fp32", "y": "*fp32", "shrink": "*i32", "out": "*u8"},
}


def compiled(name: str, arch: int) -> dict:
    """One kernel for one architecture; see above."""
    function = next(vars(module)[name] for module in (kernels, refine_kernels, compare_kernel) if name in vars(module))
    names = function.arg_names
    constant = [argument for argument in names if function.params[names.index(argument)].is_constexpr]
    signature = {argument: "constexpr" if argument in constant else _TYPES[name].get(argument, "i32")
                 for argument in names}
    fixed = {(names.index(argument),): {**_SIZES, "BLOCK": _BLOCKS.get(name)}[argument] for argument in constant}
    result = triton.compile(ASTSource(function, signature, constexprs=fixed), target=GPUTarget("cuda", arch, 32),
                            options={"num_warps": _WARPS.get(name, 4)})
    return {"bytes": len(result.asm["cubin"]), "barriers": result.asm["ptx"].count("bar.sync"),
            "tf32": "tf32" in result.asm["ptx"],
            "again": [p.name for p in function.params if signature[p.name] == "i32" and not p.do_not_specialize]}


def main() -> None:
    for arch in map(int, sys.argv[1:]):
        line: dict = {"arch": arch, "refused": "", "kernels": {}}
        try:
            for name in _TYPES:
                line["kernels"][name] = compiled(name, arch)
        except Exception as error:  # triton.runtime.errors.PTXASError, and what other versions may have in its place
            line["refused"] = remedy_for(error)
            if not line["refused"]:
                raise
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
