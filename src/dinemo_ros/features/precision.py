# SPDX-License-Identifier: Apache-2.0
"""Networks in other precisions, as ONNX files made from a bundle's ``backbone.onnx``. Needs the ``onnx`` package.

fp16 and bf16: convolutions, matrix products and what stands between them compute in 16 bits; normalisation of the
picture, norms over cells and the final unit norm stay in fp32, where a small difference of large numbers would be lost.

int8: post-training quantisation with ranges measured on pictures (Jacob et al. 2018, arXiv:1712.05877): 8-bit
activations, int8 weights with one scale per output channel. Written as QuantizeLinear/DequantizeLinear pairs, which
ONNX Runtime, OpenVINO and TensorRT all read.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, TensorProto, helper, numpy_helper

from .integer_stem import make_stem_integer
from .onnx_graph import engine_ready, parse, remove_unused, rewire

_HALF = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
# Operators that compute in 16 bits, and which of their inputs do (a Resize takes its scales in fp32).
_HALF_INPUTS = {"Conv": 3, "MatMul": 2, "Gemm": 3, "Add": 2, "Mul": 2, "Clip": 3, "Relu": 1, "Gelu": 1, "Erf": 1,
                "Sigmoid": 1, "Resize": 1, "Transpose": 1, "Reshape": 1}
_QUANTIZED = ["Conv", "MatMul", "Gemm", "Add", "Clip", "Relu"]


def half_precision(model: bytes, precision: str) -> bytes:
    """The network in "fp16" or "bf16"; what goes in and comes out keeps its type.

    Raises:
        BundleError: ``model`` is no network of ours.
    """
    proto = parse(engine_ready(model))
    graph, half = proto.graph, _HALF[precision]
    floating = _floating_tensors(proto)
    for node in list(graph.node):
        inputs = [name for name in node.input[:_HALF_INPUTS.get(node.op_type, 0)] if name in floating]
        if not inputs or node.output[0] not in floating or node.output[0] == "features":
            continue
        position = list(graph.node).index(node)
        for i, name in enumerate(node.input):
            if name in inputs:
                node.input[i] = f"{name}_{precision}"
        for name in dict.fromkeys(inputs):
            graph.node.insert(position, helper.make_node("Cast", [name], [f"{name}_{precision}"], to=half))
        output = node.output[0]
        node.output[0] = f"{output}_computed"
        position = list(graph.node).index(node) + 1
        graph.node.insert(position, helper.make_node("Cast", [node.output[0]], [output], to=TensorProto.FLOAT))
    _join_casts(graph, half)
    _convert_constants(graph, half)
    remove_unused(graph)
    del graph.value_info[:]
    return proto.SerializeToString()


def quantize(model: bytes, pictures: Sequence[np.ndarray], symmetric: bool = False) -> bytes:
    """The network in int8, but for its last convolution, whose errors are the features' errors.

    The first one, in which pictures are still exact, is the least forgiving after it: it stays in fp32, too, unless
    :mod:`.integer_stem` can do it with the picture's own bytes.

    Args:
        pictures: uint8 [N, H, W, 3] each, of what the network will see; some 50 suffice.
        symmetric: int8 activations with 0 in the middle, the only kind TensorRT takes, instead of uint8, which CPUs
            multiply twice as fast.

    Raises:
        BundleError: ``model`` is no network of ours.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    proto = engine_ready(model)
    with tempfile.TemporaryDirectory() as folder:
        plain, prepared, quantized = (Path(folder) / f"{name}.onnx" for name in ("plain", "prepared", "quantized"))
        plain.write_bytes(proto)
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        graph = onnx.load(prepared).graph
        convolutions = [node.name for node in graph.node if node.op_type == "Conv"]
        constants = {tensor.name for tensor in graph.initializer}
        biases = [node.name for node in graph.node if node.op_type == "Add" and constants & set(node.input)]
        kind = quantization.QuantType.QInt8 if symmetric else quantization.QuantType.QUInt8
        logger = logging.getLogger()
        level = logger.level
        logger.setLevel(logging.ERROR)  # it warns of every bias that it clips, about channels that are dead anyway
        try:
            quantization.quantize_static(
                str(prepared), str(quantized), _Calibration(pictures), quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=_QUANTIZED, per_channel=True, activation_type=kind,
                weight_type=quantization.QuantType.QInt8, calibrate_method=quantization.CalibrationMethod.MinMax,
                nodes_to_exclude=[convolutions[0], convolutions[-1], *biases],
                # TensorRT adds biases in fp32 and refuses them in int32; for CPUs it makes no difference.
                extra_options={"ActivationSymmetric": symmetric, "QuantizeBias": False})
        finally:
            logger.setLevel(level)
        proto = onnx.load(quantized)
    if not symmetric:
        make_stem_integer(proto.graph, pictures)
        remove_unused(proto.graph)
    return proto.SerializeToString()


class _Calibration:
    """Pictures in the form that ONNX Runtime's quantiser asks for them."""

    def __init__(self, pictures: Sequence[np.ndarray]) -> None:
        self._pictures = iter(pictures)

    def get_next(self) -> dict | None:
        images = next(self._pictures, None)
        return None if images is None else {"image": images}

    def __iter__(self) -> Iterator[dict]:
        return iter(self.get_next, None)


def _floating_tensors(proto: onnx.ModelProto) -> set[str]:
    """Names of all fp32 tensors."""
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    infos = [*inferred.value_info, *inferred.input, *inferred.output]
    return {info.name for info in infos if info.type.tensor_type.elem_type == TensorProto.FLOAT} | {
        tensor.name for tensor in proto.graph.initializer if tensor.data_type == TensorProto.FLOAT}


def _join_casts(graph: GraphProto, half: int) -> None:
    """16 bits -> fp32 -> 16 bits is nothing; and a tensor is rounded once, not once per reader."""
    made = {node.output[0]: node for node in graph.node}
    first: dict[str, str] = {}
    for node in [node for node in graph.node if node.op_type == "Cast" and node.attribute[0].i == half]:
        source = made.get(node.input[0])
        if source is not None and source.op_type == "Cast" and source.attribute[0].i == TensorProto.FLOAT and \
                source.input[0].endswith("_computed"):
            rewire(graph, node.output[0], source.input[0])
            graph.node.remove(node)
        elif node.input[0] in first:
            rewire(graph, node.output[0], first[node.input[0]])
            graph.node.remove(node)
        else:
            first[node.input[0]] = node.output[0]


def _convert_constants(graph: GraphProto, half: int) -> None:
    """Weights are stored in 16 bits instead of being rounded at run time."""
    values = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Cast" and node.input[0] in values]:
        array = numpy_helper.to_array(values[node.input[0]])
        dtype = helper.tensor_dtype_to_np_dtype(half)
        largest = float(np.finfo(np.float16).max) if half == TensorProto.FLOAT16 else np.inf
        graph.initializer.append(numpy_helper.from_array(np.clip(array, -largest, largest).astype(dtype),
                                                         node.output[0]))
        graph.node.remove(node)
