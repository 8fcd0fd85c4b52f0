# SPDX-License-Identifier: Apache-2.0
"""A backbone with the signature of a bundle's: one random 8x8 convolution, written as ONNX by hand."""

from __future__ import annotations

import numpy as np


def toy_backbone(dim: int = 64, dtype: str = "UINT8", output: str = "features") -> bytes:
    """ONNX bytes: ``image`` [N, H, W, 3] -> ``output`` float32 [N, dim, H/8, W/8], unit norm over dim."""
    import onnx  # comes with the training extra only
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).normal(size=(dim, 3, 8, 8)).astype(np.float32)
    nodes = [helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
             helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
             helper.make_node("Conv", ["planes", "weight"], ["raw"], strides=[8, 8]),
             helper.make_node("LpNormalization", ["raw"], [output], axis=1, p=2)]
    kind = TensorProto.DataType.Value(dtype)
    graph = helper.make_graph(nodes, "toy", [helper.make_tensor_value_info("image", kind, ["n", "h", "w", 3])],
                              [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", dim, "fh", "fw"])],
                              [numpy_helper.from_array(weight, "weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model.SerializeToString()
