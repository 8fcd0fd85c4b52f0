# SPDX-License-Identifier: Apache-2.0
"""Rewrites of a backbone's ONNX graph that change no number: what exporters leave behind and engines cannot take.

PyTorch's exporter writes "same" padding as arithmetic on the shape of every feature map, feeds uint8 into Transpose
(which TensorRT refuses) and expands a norm before dividing by it. Sides are multiples of 32 by contract, so all of that
is constant. Needs the ``onnx`` package, which a robot does not have: the exporter runs this once, bundles are shipped
rewritten.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from ..errors import BundleError
from ..io.quoting import shown

_PROBES = ((1, 64, 96), (2, 128, 64), (1, 96, 128))  # N, H, W: what is equal for all of them is taken as constant
_BROADCASTING = {"Add", "Sub", "Mul", "Div"}
_TOLERANCE = 1e-4  # on unit-norm features; another order of the same sums gives 1e-6


def engine_ready(model: bytes) -> bytes:
    """The same network without shape arithmetic, uint8 layers and separate padding.

    Args:
        model: ONNX bytes, ``image`` uint8 [N, H, W, 3] -> ``features`` float32 [N, D, H/8, W/8].

    Raises:
        BundleError: these bytes are no such network, or a rewrite changed what it computes.
    """
    proto = parse(model)
    graph = proto.graph
    _constants_to_initializers(graph)
    _cast_before_transpose(graph)
    _drop_expand(graph)
    _fold_shape_arithmetic(proto)
    _padding_into_convolutions(graph)
    remove_unused(graph)
    _name_output_channels(proto)
    rewritten = proto.SerializeToString()
    difference = max(np.abs(a - b).max() for a, b in zip(_probe(model), _probe(rewritten), strict=True))
    if not difference <= _TOLERANCE:
        raise BundleError(f"backbone: the rewritten graph differs from the original by {difference:.2g} (allowed "
                          f"{_TOLERANCE:g}): its padding or norms are not what the rewrites assume; ship the original")
    return rewritten


def parse(model: bytes) -> onnx.ModelProto:
    """ONNX bytes as a checked message; BundleError if they are none."""
    try:
        proto = onnx.load_model_from_string(model)
        onnx.checker.check_model(proto)
    except Exception as error:  # protobuf and the checker raise half a dozen unrelated types
        raise BundleError(f"backbone: no valid ONNX model ({shown(str(error), 300)})") from error
    return proto


def consumers(graph: GraphProto, tensor: str) -> list[NodeProto]:
    """Nodes that read ``tensor``."""
    return [node for node in graph.node if tensor in node.input]


def initializers(graph: GraphProto) -> dict[str, np.ndarray]:
    """The graph's constant tensors (weights, shapes, scales) by name, each of its own shape."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def rewire(graph: GraphProto, old: str, new: str) -> None:
    """Let every reader of tensor ``old`` read ``new``."""
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == old:
                node.input[i] = new


def _probe(model: bytes, outputs: Sequence[str] = ("features",)) -> list[np.ndarray]:
    """``outputs`` of the network for each of the probe shapes, one after the other."""
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what is wrong is told by its exceptions, cut and escaped
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    return [value for shape in _PROBES
            for value in session.run(list(outputs), {"image": rng.integers(0, 256, (*shape, 3), dtype=np.uint8)})]


def _constants_to_initializers(graph: GraphProto) -> None:
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        value = helper.get_attribute_value(node.attribute[0])
        tensor = value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value))
        tensor.name = node.output[0]
        graph.initializer.append(tensor)
        graph.node.remove(node)


def _cast_before_transpose(graph: GraphProto) -> None:
    """uint8 -> Transpose -> Cast becomes uint8 -> Cast -> Transpose: TensorRT casts uint8 inputs and nothing else."""
    for transpose in [node for node in graph.node if node.op_type == "Transpose" and node.input[0] == "image"]:
        readers = consumers(graph, transpose.output[0])
        if len(readers) == 1 and readers[0].op_type == "Cast":
            cast, planes = readers[0], readers[0].output[0]
            cast.input[0], cast.output[0] = transpose.input[0], transpose.output[0]
            transpose.input[0], transpose.output[0] = cast.output[0], planes
            position = list(graph.node).index(transpose)
            graph.node.remove(cast)
            graph.node.insert(position, cast)


def _drop_expand(graph: GraphProto) -> None:
    """An Expand whose readers broadcast by themselves does nothing."""
    for node in [node for node in graph.node if node.op_type == "Expand"]:
        if all(reader.op_type in _BROADCASTING for reader in consumers(graph, node.output[0])):
            rewire(graph, node.output[0], node.input[0])
            graph.node.remove(node)


def _fold_shape_arithmetic(proto: onnx.ModelProto) -> None:
    """Replace what is computed from shapes, and is equal for all shapes that can occur, by a constant."""
    graph = proto.graph
    constant, from_shape = set(initializers(graph)), set()
    for node in graph.node:
        if node.op_type == "Shape" or (any(name in from_shape for name in node.input) and
                                       all(name in from_shape or name in constant or not name for name in node.input)):
            from_shape.update(node.output)
    used = [name for node in graph.node if not set(node.output) & from_shape for name in node.input]
    wanted = sorted({name for name in used if name in from_shape})
    if not wanted:
        return
    probed = onnx.ModelProto()
    probed.CopyFrom(proto)
    probed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    values = _probe(probed.SerializeToString(), wanted)
    for k, name in enumerate(wanted):
        each = values[k::len(wanted)]
        if all(np.array_equal(each[0], other) for other in each[1:]):
            graph.initializer.append(numpy_helper.from_array(each[0], f"{name}_folded"))
            rewire(graph, name, f"{name}_folded")


def _padding_into_convolutions(graph: GraphProto) -> None:
    """Pad with zeros -> Conv becomes one Conv with these pads."""
    values = initializers(graph)
    for node in [node for node in graph.node if node.op_type == "Pad"]:
        pads = values.get(node.input[1])
        filled = values.get(node.input[2], np.zeros(1)) if len(node.input) > 2 else np.zeros(1)
        modes = [helper.get_attribute_value(a) for a in node.attribute if a.name == "mode"]
        readers = consumers(graph, node.output[0])
        if pads is None or pads.shape != (8,) or pads[[0, 1, 4, 5]].any() or filled.any() or (
                modes and modes[0] != b"constant") or any(reader.op_type != "Conv" for reader in readers):
            continue
        for conv in readers:
            own = [a for a in conv.attribute if a.name == "pads"]
            before = np.array(own[0].ints) if own else np.zeros(4, int)
            for attribute in own:
                conv.attribute.remove(attribute)
            conv.attribute.append(helper.make_attribute("pads", (before + pads[[2, 3, 6, 7]]).tolist()))
        rewire(graph, node.output[0], node.input[0])
        graph.node.remove(node)


def remove_unused(graph: GraphProto) -> None:
    """Drop nodes and constants that no output needs."""
    needed = {output.name for output in graph.output}
    for node in reversed(list(graph.node)):
        if needed & set(node.output):
            needed.update(node.input)
        else:
            graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in needed]:
        graph.initializer.remove(tensor)


def _name_output_channels(proto: onnx.ModelProto) -> None:
    """Write the feature length into the signature, which the exporter leaves as a symbol."""
    channels = _probe(proto.SerializeToString())[0].shape[1]
    dimension = proto.graph.output[0].type.tensor_type.shape.dim[1]
    dimension.Clear()
    dimension.dim_value = channels
