# SPDX-License-Identifier: Apache-2.0
"""Size of the frames in AV1 code (AV1 Bitstream & Decoding Process Specification, 5.3 to 5.5): an AVIF picture's boxes
may say another."""

from __future__ import annotations

_SEQUENCE_HEADER = 1
_OBUS = 1000  # units of a picture that are looked at; a picture has a handful


def largest_frame(code: bytes) -> tuple[int, int] | None:
    """The largest (width, height) in pixels that a sequence header in ``code`` allows, None if there is none."""
    sizes, at = [], 0
    for _ in range(_OBUS):
        if at >= len(code) or code[at] & 0x80:
            break
        head = code[at]
        start = at + (2 if head & 4 else 1)
        size, begin = _leb128(code, start) if head & 2 else (len(code) - start, start)
        if begin is None:
            break
        if head >> 3 & 15 == _SEQUENCE_HEADER:
            sizes.append(_of_sequence(_Bits(code[begin:begin + min(size, 1024)])))
        at = begin + size
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _leb128(data: bytes, at: int) -> tuple[int, int | None]:
    """A number of seven bits a byte and where it ends; None where it does not."""
    value = 0
    for k in range(8):
        if at + k >= len(data):
            break
        value |= (data[at + k] & 0x7F) << 7 * k
        if data[at + k] < 0x80:
            return value, at + k + 1
    return 0, None


class _Bits:
    """Numbers of any length, the highest bit first; beyond the end :class:`IndexError`."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise IndexError(count)
        return self._value >> self._left & ((1 << count) - 1)


def _of_sequence(bits: _Bits) -> tuple[int, int]:
    bits.take(4)  # profile, still picture
    if bits.take(1):  # reduced header
        bits.take(5)
    else:
        delay_bits = 0
        if bits.take(1):  # timing
            bits.take(64)
            if bits.take(1):
                _skip_uvlc(bits)
            if bits.take(1):  # decoder model
                delay_bits = bits.take(5) + 1
                bits.take(42)
        display_delay = bits.take(1)
        for _ in range(bits.take(5) + 1):  # operating points
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if delay_bits and bits.take(1):
                bits.take(2 * delay_bits + 1)
            if display_delay and bits.take(1):
                bits.take(4)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(width_bits) + 1, bits.take(height_bits) + 1


def _skip_uvlc(bits: _Bits) -> None:
    zeros = 0
    while not bits.take(1):
        zeros += 1
    if zeros < 32:
        bits.take(zeros)
