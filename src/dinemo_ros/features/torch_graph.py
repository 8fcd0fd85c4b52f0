# SPDX-License-Identifier: Apache-2.0
"""An ONNX graph as a torch module: every operator that backbones of ours consist of, no more.

A bundle holds ONNX and nothing executable, so torch has to read that. PyTorch has no importer of its own, and
onnx2torch (the last one of its kind, 2024) refuses our convolutions' clipping. Semantics: https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from onnx import GraphProto, NodeProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import BackendError
from .onnx_graph import engine_ready, parse

_DTYPES = {1: torch.float32, 2: torch.uint8, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16}
# What autocast computes in 16 bits, and what computes in whatever it is given.
_IN_16_BITS = {"Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Mul"}


class OnnxModule(nn.Module):
    """``image`` uint8 [N, H, W, 3] -> ``features`` float32 [N, D, H/8, W/8], run node by node.

    Args:
        model: ONNX bytes.

    Raises:
        BundleError: no network of ours. BackendError: it has an operator that is not known here.
    """

    def __init__(self, model: bytes) -> None:
        super().__init__()
        graph = parse(engine_ready(model)).graph
        unknown = {node.op_type for node in graph.node} - set(_OPERATORS)
        if unknown:
            raise BackendError(f"the torch backend does not know the ONNX operators {', '.join(sorted(unknown))}")
        # Shapes, indices, scales and limits stay on the CPU: the host would wait for them to come back, and in a CUDA
        # graph it cannot.
        on_host = _read_by_host(graph)
        self._on_host: dict[str, Tensor | None] = {"": None}
        self._buffer_of: dict[str, str] = {}
        for k, tensor in enumerate(graph.initializer):
            values = torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
            if values.is_floating_point() and tensor.name not in on_host:
                self._buffer_of[tensor.name] = f"constant_{k}"
                self.register_buffer(f"constant_{k}", values)
            else:
                self._on_host[tensor.name] = values
        self._steps = [(_OPERATORS[node.op_type], list(node.input), list(node.output), _attributes(node))
                       for node in graph.node]
        elsewhere = {name for node in graph.node if node.op_type not in _IN_16_BITS for name in node.input}
        self._weights = [buffer for name, buffer in self._buffer_of.items() if name not in elsewhere]

    def weights_in(self, dtype: torch.dtype) -> OnnxModule:
        """Itself, with the weights of what autocast computes in ``dtype`` (16 bits) stored in it.

        Autocast alone would convert every one of them in every call: as many copies as there are weights and biases.
        """
        largest = torch.finfo(dtype).max
        for buffer in self._weights:
            setattr(self, buffer, getattr(self, buffer).clamp(-largest, largest).to(dtype))
        return self

    def forward(self, image: Tensor) -> Tensor:
        """Features float32 [N, D, H/8, W/8] of ``image`` uint8 [N, H, W, 3] RGB, on the buffers' device."""
        values = {name: getattr(self, buffer) for name, buffer in self._buffer_of.items()}
        values.update(self._on_host, image=image)
        for operator, inputs, outputs, attributes in self._steps:
            result = operator(attributes, *(values[name] for name in inputs))
            values.update(zip(outputs, result if isinstance(result, (tuple, list)) else (result,), strict=True))
        return values["features"]


def _read_by_host(graph: GraphProto) -> set[str]:
    """Names of what no kernel reads, but the host: scales of Resize, limits of Clip."""
    read = {name for node in graph.node if node.op_type in ("Resize", "Clip") for name in node.input[1:]}
    return read - {name for node in graph.node for k, name in enumerate(node.input)
                   if k == 0 or node.op_type not in ("Resize", "Clip")}


def _attributes(node: NodeProto) -> dict:
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def _ints(tensor: Tensor) -> list[int]:
    return [int(value) for value in tensor.tolist()]


def _conv(a: dict, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    top, left, bottom, right = a.get("pads", (0, 0, 0, 0))
    if (top, left) != (bottom, right):  # "same" padding of strided convolutions
        x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
    return F.conv2d(x, weight, bias, a.get("strides", 1), (top, left), a.get("dilations", 1), a.get("group", 1))


def _conv_transpose(a: dict, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    top, left, bottom, right = a.get("pads", (0, 0, 0, 0))
    if (top, left) != (bottom, right):
        raise BackendError("the torch backend does not know ConvTranspose with pads that differ")
    return F.conv_transpose2d(x, weight, bias, a.get("strides", 1), (top, left), a.get("output_padding", 0),
                              a.get("group", 1), a.get("dilations", 1))


def _constant_of_shape(a: dict, shape: Tensor) -> Tensor:
    value = torch.from_numpy(numpy_helper.to_array(a["value"]).copy()) if "value" in a else torch.zeros(1)
    return value.expand(_ints(shape)).to(shape.device)


def _resize(a: dict, x: Tensor, roi: Tensor | None, scales: Tensor | None = None,
            sizes: Tensor | None = None) -> Tensor:
    target = _ints(sizes)[2:] if sizes is not None and len(sizes) else [
        int(n * s) for n, s in zip(x.shape[2:], scales.tolist()[2:], strict=True)]
    mode, where = a.get("mode", "nearest"), a.get("coordinate_transformation_mode", "half_pixel")
    if mode == "nearest" and where == "asymmetric":
        return F.interpolate(x, target, mode="nearest")
    if mode in ("linear", "cubic") and where in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return F.interpolate(x, target, mode="bilinear" if mode == "linear" else "bicubic",
                             align_corners=where == "align_corners")
    raise BackendError(f"the torch backend does not know Resize with mode {mode} and {where}")


def _clip(a: dict, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    low, high = (limit.item() if limit is not None and limit.device.type == "cpu" else limit for limit in (low, high))
    return x if low is None and high is None else torch.clamp(x, low, high)


def _reshape(a: dict, x: Tensor, shape: Tensor) -> Tensor:
    return x.reshape([x.shape[k] if n == 0 else n for k, n in enumerate(_ints(shape))])


def _norm(a: dict, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.instance_norm(x, None, None, weight, bias, True, 0.0, a.get("epsilon", 1e-5))


def _layer_norm(a: dict, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.layer_norm(x, x.shape[a.get("axis", -1):], weight, bias, a.get("epsilon", 1e-5))


def _reduced(function: Callable) -> Callable:
    def run(a: dict, x: Tensor, axes: Tensor | None = None) -> Tensor:
        dims = a.get("axes") or (_ints(axes) if axes is not None else list(range(x.ndim)))
        return function(x, dims, keepdim=bool(a.get("keepdims", 1)))

    return run


def _slice(a: dict, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None,
           steps: Tensor | None = None) -> Tensor:
    index = [slice(None)] * x.ndim
    which = _ints(axes) if axes is not None else range(len(starts))
    strides = _ints(steps) if steps is not None else [1] * len(starts)
    for axis, start, end, step in zip(which, _ints(starts), _ints(ends), strides, strict=True):
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


def _unsqueeze(a: dict, x: Tensor, axes: Tensor) -> Tensor:
    rank = x.ndim + len(axes)
    for axis in sorted(n % rank for n in _ints(axes)):
        x = x.unsqueeze(axis)
    return x


def _gather(a: dict, x: Tensor, index: Tensor) -> Tensor:
    axis = a.get("axis", 0) % x.ndim
    picked = x.index_select(axis, index.reshape(-1).to(x.device))
    return picked.reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1:]))


def _split(a: dict, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = a.get("axis", 0)
    parts = _ints(sizes) if sizes is not None else x.shape[axis] // a["num_outputs"]
    return torch.split(x, parts, axis)


def _expand(a: dict, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, _ints(shape)))


_OPERATORS: dict[str, Callable] = {
    "Add": lambda a, x, y: x + y,
    "Cast": lambda a, x: x.to(_DTYPES[a["to"]]),
    "Ceil": lambda a, x: x.ceil(),
    "Clip": _clip,
    "Concat": lambda a, *parts: torch.cat(parts, a["axis"]),
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": lambda a, x, y: x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc"),
    "Equal": lambda a, x, y: x == y,
    "Erf": lambda a, x: torch.erf(x),
    "Expand": _expand,
    "Gather": _gather,
    "Gelu": lambda a, x: F.gelu(x, approximate=a.get("approximate", "none")),
    "Gemm": lambda a, x, y, z=0.0: (a.get("alpha", 1.0) * (x.T if a.get("transA") else x)
                                    @ (y.T if a.get("transB") else y) + a.get("beta", 1.0) * z),
    "Identity": lambda a, x: x,
    "InstanceNormalization": _norm,
    "LayerNormalization": _layer_norm,
    "LpNormalization": lambda a, x: F.normalize(x, p=a.get("p", 2), dim=a.get("axis", -1), eps=0.0),
    "MatMul": lambda a, x, y: x @ y,
    "Mul": lambda a, x, y: x * y,
    "Pow": lambda a, x, y: x ** y,
    "ReduceL2": _reduced(lambda x, dims, keepdim: torch.linalg.vector_norm(x, dim=dims, keepdim=keepdim)),
    "ReduceMean": _reduced(torch.mean),
    "ReduceSum": _reduced(torch.sum),
    "Relu": lambda a, x: F.relu(x),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": lambda a, x: torch.tensor(x.shape),
    "Sigmoid": lambda a, x: torch.sigmoid(x),
    "Slice": _slice,
    "Softmax": lambda a, x: torch.softmax(x, a.get("axis", -1)),
    "Split": _split,
    "Sqrt": lambda a, x: x.sqrt(),
    "Squeeze": lambda a, x, axes: torch.squeeze(x, tuple(_ints(axes))),
    "Sub": lambda a, x, y: x - y,
    "Tanh": lambda a, x: torch.tanh(x),
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Unsqueeze": _unsqueeze,
    "Where": lambda a, choose, x, y: torch.where(choose, x, y),
}
