# SPDX-License-Identifier: Apache-2.0
"""A TensorFlow.js graph model as an ONNX file.

    python from_tfjs.py MODEL.json OUT.onnx

Runs in an environment of its own, with the packages that ``build.sh`` installs there: TensorFlow and tf2onnx fit no
other one of this project. tensorflowjs, which would read the model, needs a dozen packages more and cannot read this
one: operators that only TensorFlow.js has are put into plain ones here.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf2onnx
from google.protobuf import json_format
from tensorflow.core.framework import graph_pb2

_STORED = {"float16": "f2", "uint8": "u1", "uint16": "u2", "float32": "f4", "int32": "i4", "bool": "?"}
_CONVOLUTION = ("T", "strides", "padding", "data_format", "dilations", "explicit_paddings")
_OPSET = 13


def read_weights(model: Path, document: dict) -> dict[str, np.ndarray]:
    """Every constant of the model by name, of its own shape; numbers stored in fewer bits are given back in float32.

    SystemExit says so where the file of weights is not whole. Pixels and all else are in the model's own units.
    """
    weights: dict[str, np.ndarray] = {}
    for group in document["weightsManifest"]:
        stored, offset = b"".join((model.parent / part).read_bytes() for part in group["paths"]), 0
        for entry in group["weights"]:
            packing = entry.get("quantization")
            kind = np.dtype(_STORED[packing["dtype"] if packing else entry["dtype"]])
            count = math.prod(entry["shape"])
            values = np.frombuffer(stored, kind, count, offset)
            offset += count * kind.itemsize
            if packing and packing["dtype"] != "float16":
                values = values * packing["scale"] + packing["min"]
            weights[entry["name"]] = values.astype(_STORED[entry["dtype"]]).reshape(entry["shape"])
        if offset != len(stored):
            raise SystemExit(f"{model}: {len(stored)} bytes of weights, of which {offset} are named; download it again")
    return weights


def plain_graph(document: dict, weights: dict[str, np.ndarray]) -> graph_pb2.GraphDef:
    """The model's graph with its ``weights``, each of its own shape, in TensorFlow's own operators."""
    source, graph = graph_pb2.GraphDef(), graph_pb2.GraphDef()
    json_format.ParseDict({"node": document["modelTopology"]["node"]}, source, ignore_unknown_fields=True)
    graph.versions.producer = 1087  # a graph without a version is read by the rules of the first one
    for node in source.node:
        if node.op == "Const":
            kind = tf.as_dtype(node.attr["dtype"].type).as_numpy_dtype  # stored integers are of fewer bits
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(weights[node.name].astype(kind)))
        if node.op in ("FusedDepthwiseConv2dNative", "_FusedConv2D"):
            graph.node.extend(unfused(node))
        else:
            graph.node.add().CopyFrom(node)
    return graph


def unfused(node: graph_pb2.NodeDef) -> list[graph_pb2.NodeDef]:
    """A convolution with what TensorFlow.js does in one go after it, one node each; the last has the name of all.

    SystemExit where that is none of what is known here.
    """
    steps = [step.decode() for step in node.attr["fused_ops"].list.s]
    names = [node.name] if not steps else [f"{node.name}/conv", *(f"{node.name}/{s}" for s in steps[:-1]), node.name]
    convolution = graph_pb2.NodeDef(name=names[0], input=node.input[:2],
                                    op="DepthwiseConv2dNative" if "Depth" in node.op else "Conv2D")
    for key in _CONVOLUTION:
        if key in node.attr:
            convolution.attr[key].CopyFrom(node.attr[key])
    parts = [convolution]
    for step, name in zip(steps, names[1:], strict=True):
        if step not in ("BiasAdd", "Relu", "Relu6"):
            raise SystemExit(f"{node.name}: step {step} after a convolution is not known here")
        part = graph_pb2.NodeDef(name=name, op=step, input=[parts[-1].name, *node.input[2:3] * (step == "BiasAdd")])
        part.attr["T"].CopyFrom(node.attr["T"])
        parts.append(part)
    return parts


def main() -> None:
    """Convert the model of the command line."""
    model, out = (Path(word) for word in sys.argv[1:3])
    document = json.loads(model.read_text())
    graph = plain_graph(document, read_weights(model, document))
    signature = document["signature"]
    names = [sorted(tensor["name"] for tensor in signature[side].values()) for side in ("inputs", "outputs")]
    inputs, outputs = ([name if ":" in name else f"{name}:0" for name in side] for side in names)
    tf2onnx.convert.from_graph_def(graph, input_names=inputs, output_names=outputs, opset=_OPSET, output_path=str(out))


if __name__ == "__main__":
    main()
