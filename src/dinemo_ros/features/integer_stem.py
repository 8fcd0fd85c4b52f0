# SPDX-License-Identifier: Apache-2.0
"""The first convolution of an int8 network for CPUs, on the bytes of the picture.

A network of ours begins with: bytes to floats, minus the mean, over the deviation, a convolution of three channels in
fp32, eight bits. Here this is one integer convolution. The picture's bytes are exact activations already; mean and
deviation go into weights and bias. Two things make it worth while:

Pixels in groups. An integer convolution gathers the window of every pixel piece by piece, and pieces of three channels
take longer to gather than to multiply. So four pixels side by side are read as one of twelve channels (a reshape), and
one output of several pixels side by side is split up again (another one).

Rounding by what pictures look like. The errors of rounded weights should cancel where neighbouring pixels are nearly
equal, so weights are rounded up or down together, such that the outputs on pictures change least, and not each for
itself (Nagel et al., ICML 2020, arXiv:2004.10568; here by coordinate descent, as the error of one layer is a quadratic
form of its weights' errors).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, NodeProto, helper, numpy_helper

from .onnx_graph import consumers, initializers, rewire

_GROUP = 4  # pixels that are read as one; sides of pictures are multiples of 32
_LARGEST = 127
_BEGINS = ["Cast", "Transpose", "Sub", "Div", "Conv"]
_LIMITS = {"Clip", "Relu"}
_PREFIX = "integer_stem_"


@dataclass(frozen=True)
class _Stem:
    """How a network begins.

    Attributes:
        weights: [O, 3, k, k] of bytes, not of normalised ones; bias: [O] for bytes less ``zero``.
        zero: the byte that padding shows.
        stride: pixels; pads: (top, left, bottom, right) pixels.
        nodes: all of it, the last one is the QuantizeLinear that ends it.
    """

    weights: np.ndarray
    bias: np.ndarray
    zero: int
    stride: int
    pads: tuple[int, int, int, int]
    nodes: list[NodeProto]


def make_stem_integer(graph: GraphProto, pictures: Sequence[np.ndarray]) -> bool:
    """Replace how ``graph``, a network with QuantizeLinear/DequantizeLinear pairs, begins.

    Args:
        pictures: uint8 [N, H, W, 3] each, of what the network will see.

    Returns:
        Whether it begins as described above and was changed; other networks stay as they are.
    """
    stem = _find(graph)
    if stem is None:
        return False
    values, scales = round_together(stem.weights, _second_moments(pictures, stem))
    grouped, left, right = _grouped(values, stem)
    outputs = len(grouped) // len(values)
    constants = {
        "weights": grouped, "scales": np.tile(scales, outputs), "zeros": np.zeros(len(grouped), np.int8),
        "bias": np.tile(stem.bias, outputs).astype(np.float32), "one": np.float32(1.0), "zero": np.uint8(stem.zero),
        "pixels": np.array([0, 0, -1, 3 * _GROUP]), "split": np.array([0, 0, -1, len(values)])}
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), _PREFIX + name)
                             for name, value in constants.items())
    pads = [stem.pads[0], left, stem.pads[2], right]
    first = list(graph.node).index(stem.nodes[0])
    new = _nodes(stem, grouped.shape[2:], pads)
    for node in stem.nodes:
        graph.node.remove(node)
    rewire(graph, stem.nodes[-1].output[0], new[-1].output[0])
    for node in reversed(new):
        graph.node.insert(first, node)
    return True


def round_together(weights: np.ndarray, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 weights [O, ...] and their scales [O] float32 that change a layer's outputs least.

    weights: [O, ...] with n entries each. moments: [n, n], mean of x x^T over the layer's inputs x.
    """
    rows = weights.reshape(len(weights), -1).astype(np.float64)
    scales = np.maximum(np.abs(rows).max(axis=1), 1e-12) / _LARGEST
    exact = rows / scales[:, None]
    values = np.round(exact)
    for row, wanted in zip(values, exact, strict=True):
        while True:
            slope = moments @ (row - wanted)
            # What a step up or down adds to the error; [2, n].
            change = np.array([2 * slope, -2 * slope]) + np.diag(moments)
            change[np.abs(row + np.array([[1], [-1]])) > _LARGEST] = np.inf
            best = np.unravel_index(change.argmin(), change.shape)
            if change[best] >= -1e-9 * np.trace(moments):
                break
            row[best[1]] += 1 - 2 * best[0]
    return values.astype(np.int8).reshape(weights.shape), scales.astype(np.float32)


def _find(graph: GraphProto) -> _Stem | None:
    """The start of ``graph``; None if it is another one."""
    nodes, constant = _first_nodes(graph), initializers(graph)
    kinds = [node.op_type for node in nodes]
    if kinds[:5] != _BEGINS or kinds[-1] != "QuantizeLinear" or not _LIMITS.issuperset(kinds[5:-1]):
        return None
    subtract, divide, convolve = nodes[2:5]
    names = [subtract.input[1], divide.input[1], *convolve.input[1:]]
    if len(names) != 4 or any(name not in constant for name in names):
        return None
    mean, deviation, weights, bias = (constant[name].astype(np.float64) for name in names)
    settings: dict = {"strides": [1, 1], "pads": [0] * 4, "group": 1, "dilations": [1, 1], "auto_pad": b"NOTSET"}
    settings |= {a.name: helper.get_attribute_value(a) for a in convolve.attribute}
    (down, stride), pads, width = settings["strides"], settings["pads"], weights.shape[3]
    if (mean.size, deviation.size, weights.shape[1]) != (3, 3, 3) or settings["group"] != 1 or \
            any(d != 1 for d in settings["dilations"]) or settings["auto_pad"] != b"NOTSET" or down != stride or \
            _GROUP % stride or (pads[1] + pads[3] - width) // stride != -1:  # as many outputs as steps in the picture
        return None
    mean, weights = mean.reshape(1, 3, 1, 1), weights / deviation.reshape(1, 3, 1, 1)
    zero = round(float(mean.mean()))
    bias = bias + (weights * (zero - mean)).sum(axis=(1, 2, 3))
    return _Stem(weights, bias, zero, stride, tuple(pads), nodes)


def _first_nodes(graph: GraphProto) -> list[NodeProto]:
    """What follows one another from the picture to the first QuantizeLinear, or to where the graph branches."""
    nodes: list[NodeProto] = []
    tensor = "image"
    while not nodes or nodes[-1].op_type != "QuantizeLinear":
        readers = consumers(graph, tensor)
        if len(readers) != 1 or readers[0].input[0] != tensor:
            break
        nodes.append(readers[0])
        tensor = readers[0].output[0]
    return nodes


def _second_moments(pictures: Sequence[np.ndarray], stem: _Stem) -> np.ndarray:
    """[n, n] mean of x x^T over the windows x [n] of ``pictures``, in the order of one output's weights."""
    k, total, count = stem.weights.shape[2:], np.zeros(()), 0
    for batch in pictures:
        shifted = batch.astype(np.float32) - stem.zero
        windows = np.lib.stride_tricks.sliding_window_view(shifted, k, axis=(1, 2))[:, ::_GROUP, ::_GROUP]
        x = windows.reshape(-1, stem.weights[0].size).astype(np.float64)
        total, count = total + x.T @ x, count + len(x)
    return total / count


def _grouped(values: np.ndarray, stem: _Stem) -> tuple[np.ndarray, int, int]:
    """Weights between groups of pixels [outputs * O, channels, k, groups]; padding left and right in groups."""
    filters, _, height, width = values.shape
    outputs = _GROUP // stem.stride
    columns = stem.stride * np.arange(outputs)[:, None] + np.arange(width) - stem.pads[1]  # pixels that outputs see
    left, right = -(int(columns.min()) // _GROUP), max(int(columns.max()) // _GROUP, 0)
    grouped = np.zeros((outputs, filters, _GROUP, 3, height, left + 1 + right), np.int8)
    for output, column in np.ndindex(columns.shape):
        group, pixel = divmod(int(columns[output, column]), _GROUP)
        grouped[output, :, pixel, :, :, group + left] = values[:, :, :, column]
    return grouped.reshape(outputs * filters, 3 * _GROUP, height, -1), left, right


def _nodes(stem: _Stem, window: tuple[int, int], pads: list[int]) -> list[NodeProto]:
    """Picture to 8 bits, as the stem's nodes do."""
    name, make = _PREFIX, helper.make_node
    *limits, quantize = stem.nodes[5:]
    nodes = [
        make("Reshape", ["image", f"{name}pixels"], [f"{name}groups"]),
        make("Transpose", [f"{name}groups"], [f"{name}planes"], perm=[0, 3, 1, 2]),
        make("DequantizeLinear", [f"{name}planes", f"{name}one", f"{name}zero"], [f"{name}exact"]),
        make("DequantizeLinear", [f"{name}weights", f"{name}scales", f"{name}zeros"], [f"{name}kernel"], axis=0),
        make("Conv", [f"{name}exact", f"{name}kernel", f"{name}bias"], [f"{name}sums"], kernel_shape=list(window),
             pads=pads, strides=[stem.stride, 1]),
        *(make(limit.op_type, [f"{name}sums", *limit.input[1:]], [f"{name}limited"]) for limit in limits),
        make("QuantizeLinear", [f"{name}limited" if limits else f"{name}sums", *quantize.input[1:]],
             [f"{name}bytes"]),
        make("Transpose", [f"{name}bytes"], [f"{name}rows"], perm=[0, 2, 3, 1]),
        make("Reshape", [f"{name}rows", f"{name}split"], [f"{name}pixels_apart"]),
        make("Transpose", [f"{name}pixels_apart"], [f"{name}output"], perm=[0, 3, 1, 2])]
    for node in nodes:
        node.name = node.output[0]
    return nodes
