# SPDX-License-Identifier: Apache-2.0
"""What an ONNX file asks for, looked at before ONNX Runtime is: a backbone is a straight line of operators.

ONNX Runtime carries out what is constant while it loads a network, so a loop of 2^62 turns keeps a start from ever
ending. Refused are operators that repeat or choose, functions, sparse tensors and tensors that are larger than their
bytes. The file is read by hand, because the onnx package is no part of the runtime half; onnx.proto of the ONNX project
names the field numbers, https://protobuf.dev/programming-guides/encoding the encoding. What a network computes is tried
elsewhere (``trial.py``).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import BundleError
from ..io.quoting import quoted

_CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")
_MOST_FIELDS = 300_000  # of all messages together; the shipped networks have 5,000
_ORT_FORMAT = b"ORTM"  # ONNX Runtime's own files, which it takes whatever the rest looks like
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Field numbers. A field of a message that stands there several times is put together, so all of them count.
_GRAPH, _TRAINING, _FUNCTIONS = 7, 20, 25  # of ModelProto
_NODE, _INITIALIZER, _SPARSE_INITIALIZER = 1, 5, 15  # of GraphProto
_OP_TYPE, _ATTRIBUTE = 4, 5  # of NodeProto
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS, _SPARSE, _SPARSES = 5, 6, 10, 11, 22, 23  # of AttributeProto
_DIMS, _EXTERNAL, _LOCATION = 1, 13, 14  # of TensorProto


def check_onnx(model: bytes) -> None:
    """BundleError, without the path, unless ``model`` is an ONNX file of plain operators."""
    if model[4:8] == _ORT_FORMAT:
        raise BundleError("is a file in ONNX Runtime's own format; give the ONNX file that it was made of")
    try:
        _Reader(model).check()
    except _DamagedError as error:
        raise BundleError(f"is no ONNX file, or is cut off ({error})") from None


class _DamagedError(Exception):
    pass


class _Reader:
    """Walks through the messages of one file; counts their fields."""

    def __init__(self, data: bytes) -> None:
        self._data, self._fields = data, 0

    def check(self) -> None:
        graphs = 0
        for number, begin, end in self._messages(0, len(self._data)):
            if number in (_TRAINING, _FUNCTIONS):
                raise BundleError("has functions or training steps of its own, which a backbone does not need; export "
                                  "it as plain operators")
            if number == _GRAPH:
                graphs += 1
                self._check_graph(begin, end)
        if not graphs:
            raise _DamagedError("there is no graph in it")

    def _check_graph(self, begin: int, end: int) -> None:
        for number, first, last in self._messages(begin, end):
            if number == _NODE:
                self._check_node(first, last)
            elif number == _INITIALIZER:
                self._check_tensor(first, last)
            elif number == _SPARSE_INITIALIZER:
                raise _sparse()

    def _check_node(self, begin: int, end: int) -> None:
        for number, first, last in self._messages(begin, end):
            if number == _OP_TYPE:
                name = self._data[first:last].decode("utf-8", "replace")
                if name in _CONTROL_FLOW:
                    raise _repeats(name)
            elif number == _ATTRIBUTE:
                self._check_attribute(first, last)

    def _check_attribute(self, begin: int, end: int) -> None:
        for number, first, last in self._messages(begin, end):
            if number in (_SUBGRAPH, _SUBGRAPHS):
                raise _repeats("with a graph in it")
            if number in (_SPARSE, _SPARSES):
                raise _sparse()
            if number in (_TENSOR, _TENSORS):
                self._check_tensor(first, last)

    def _check_tensor(self, begin: int, end: int) -> None:
        """Types of four bits, the smallest, put two numbers into a byte."""
        count, size = 1, end - begin
        if any(number == _EXTERNAL or (number == _LOCATION and first) for number, _, first, _ in self._all(begin, end)):
            raise BundleError("keeps weights in another file (external data), which the card does not vouch for and "
                              "which is not read; export it as one file")
        for side in self._sides(begin, end):
            count *= side
            if side >= 1 << 63 or count > 2 * size:
                raise BundleError(f"has a tensor with more numbers than its {size} bytes can hold; export it again")

    def _sides(self, begin: int, end: int) -> Iterator[int]:
        for number, kind, first, last in self._all(begin, end):
            if number == _DIMS and kind == _VARINT:
                yield first
            elif number == _DIMS and kind == _BYTES:  # packed
                while first < last:
                    side, first = self._varint(first, last)
                    yield side

    def _messages(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Number, begin and end of the fields that hold bytes: messages and texts."""
        return ((number, first, last) for number, kind, first, last in self._all(begin, end) if kind == _BYTES)

    def _all(self, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Number and kind of each field between two places; of one with bytes begin and end, of a number its value."""
        while at < end:
            self._fields += 1
            if self._fields > _MOST_FIELDS:
                raise BundleError(f"has more than {_MOST_FIELDS} fields, which is the most that is read")
            key, at = self._varint(at, end)
            number, kind = key >> 3, key & 7
            if not 0 < number < 1 << 29:
                raise _DamagedError(f"field {number} at byte {at}")
            first = at
            if kind == _VARINT:
                first, at = self._varint(at, end)
            elif kind == _BYTES:
                size, first = self._varint(at, end)
                at = first + size
            elif kind in (_FIXED64, _FIXED32):
                at += 8 if kind == _FIXED64 else 4
            else:
                raise _DamagedError(f"kind {kind} at byte {at}")
            if at > end:
                raise _DamagedError(f"byte {at} of {len(self._data)} is missing")
            yield number, kind, first, at

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                raise _DamagedError(f"it ends at byte {at}")
            byte = self._data[at]
            value, at = value | (byte & 127) << shift, at + 1
            if byte < 128:
                return value & (1 << 64) - 1, at
        raise _DamagedError(f"a number at byte {at}")


def _repeats(operator: str) -> BundleError:
    return BundleError(f"has an operator {quoted(operator, 40)}, which may repeat without an end; export it without "
                       "loops and branches")


def _sparse() -> BundleError:
    return BundleError("has sparse tensors, which take any amount of memory; export it with plain ones")
