# SPDX-License-Identifier: Apache-2.0
"""Networks of a few hundred bytes that ask for all memory or for years, written as protobuf by hand."""

import struct

import numpy as np
import painted_car
from painted_car import _bytes, _integer, _node, _tensor, _value, _varint_field

INT64, FLOAT = 7, 1
DIM = 64
ONE = _tensor("one", np.ones(1))


def integers(name: str, values) -> bytes:
    """An initializer of int64."""
    raw = struct.pack(f"<{len(values)}q", *values)
    return _varint_field(1, len(values)) + _varint_field(2, INT64) + _bytes(8, name.encode()) + _bytes(9, raw)


def scalar(name: str, value: int) -> bytes:
    return _varint_field(2, INT64) + _bytes(8, name.encode()) + _bytes(9, struct.pack("<q", value))


def subgraph(name: str, number: int = 6) -> bytes:
    """An attribute with a graph in it."""
    return _bytes(1, name.encode()) + _bytes(number, _bytes(2, b"body")) + _varint_field(20, 5)


def network(nodes=(), initializers=(), before: bytes = b"", graph_fields: bytes = b"", ends: str = "extra") -> bytes:
    """The painted car's network, to which a scalar called ``ends`` is added, whatever ``nodes`` take to get there."""
    rng = np.random.default_rng(0)
    plain = painted_car.colour_backbone(rng.normal(size=(DIM, 3)), rng.normal(size=DIM))
    if not nodes:
        return plain
    kernel = np.zeros((DIM, 3, 8, 8))
    body = [_node("Cast", ["image"], "float", _integer("to", FLOAT)),
            _node("Transpose", ["float"], "planes", painted_car._integers("perm", [0, 3, 1, 2])),
            _node("Conv", ["planes", "weights"], "raw", painted_car._integers("strides", [8, 8])), *nodes,
            _node("ReduceMax", [ends], "most", _integer("keepdims", 0)),
            _node("Add", ["raw", "most"], "sum"),
            _node("LpNormalization", ["sum"], "features", _integer("axis", 1), _integer("p", 2))]
    tensors = [_tensor("weights", kernel), *initializers]
    graph = b"".join([*(_bytes(1, n) for n in body), *(_bytes(5, t) for t in tensors)]) + _bytes(
        11, _value("image", 2, ["N", "H", "W", 3])) + _bytes(12, _value("features", 1, ["N", DIM, "h", "w"]))
    return before + _varint_field(1, 9) + _bytes(7, graph + graph_fields) + _bytes(8, _varint_field(2, 17))


def constant_of_shape(size: int) -> bytes:
    return network([_node("ConstantOfShape", ["sides"], "extra")], [integers("sides", [size])])


def chain(operator: str, steps: int, *attributes: bytes) -> bytes:
    """Each step makes two of what was there."""
    nodes = [_node(operator, [f"t{k}", f"t{k}"], f"t{k + 1}", *attributes) for k in range(steps)]
    return network(nodes, [_tensor("t0", np.ones(1024))], ends=f"t{steps}")


def products(side: int, count: int) -> bytes:
    """Little memory, much work: side^3 products, ``count`` times, of what is not known while it loads."""
    nodes = [_node("ReduceMax", ["raw"], "seed", _integer("keepdims", 0)), _node("Expand", ["seed", "sides"], "t0"),
             *(_node("MatMul", [f"t{k}", f"t{k}"], f"t{k + 1}") for k in range(count))]
    return network(nodes, [integers("sides", [side, side])], ends=f"t{count}")
