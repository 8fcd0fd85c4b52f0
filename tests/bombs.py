# SPDX-License-Identifier: Apache-2.0
"""Small files and messages that unpack to huge ones, and what one of them costs a process."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np

PNG = b"\x89PNG\r\n\x1a\n"
#: Seconds of the processor and megabytes that nothing may cost, and what is added where tests share their cores.
SECONDS, MEGABYTES, BUSY_MACHINE_S = 1.0, 200.0, 1.0

_MEASURE = """
import json, re, sys, time
import cv2, numpy
def peak_kib():  # not ru_maxrss, which begins with that of whoever started this process
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
cv2.imdecode(numpy.frombuffer(cv2.imencode(".png", numpy.zeros((8, 8, 3), numpy.uint8))[1], numpy.uint8), 1)
{setup}
before, began = peak_kib(), time.process_time()
try:
    answer = repr({call})
except Exception as error:
    answer = f"{{type(error).__name__}}: {{error}}"
seconds = time.process_time() - began
peak = (peak_kib() - before) * 1024 / 1e6
print(json.dumps([answer, seconds, peak]))
"""


def cost(setup: str, call: str, *arguments: str) -> tuple[str, float, float]:
    """What ``call`` answers (or raises) in a process of its own, its seconds (of the processor, for others may share
    it), and by how many megabytes it grew.

    setup: statements before it, whose cost does not count; ``sys.argv[1:]`` are the arguments.
    """
    run = subprocess.run([sys.executable, "-c", _MEASURE.format(setup=setup, call=call), *arguments], text=True,
                         capture_output=True, timeout=120)
    assert run.returncode == 0, f"ended with {run.returncode}: {run.stderr[-2000:]}"
    answer, seconds, megabytes = json.loads(run.stdout.splitlines()[-1])
    return answer, seconds, megabytes


def assert_cheap(seconds: float, megabytes: float, declared_mb: float = 0.0) -> None:
    """Within the bars, above what the input says that it is."""
    assert megabytes < declared_mb + MEGABYTES, f"{megabytes:.0f} MB"
    assert seconds < SECONDS + BUSY_MACHINE_S, f"{seconds:.1f} s"


def chunk(name: bytes, content: bytes = b"") -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def packed_zeros(size: int) -> bytes:
    """A zlib stream of ``size`` zeros, made in no time: the same packed megabyte again and again."""
    packer, block = zlib.compressobj(9), 1 << 20
    head = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    if size < 2 * block:
        return zlib.compress(bytes(size), 9)
    count, rest = divmod(size - block, block)
    tail = zlib.compressobj(9, wbits=-15)
    end = tail.compress(bytes(rest)) + tail.flush()
    return head + again * count + end + struct.pack(">I", (size % 65521) << 16 | 1)  # Adler-32 of zeros


def black_png(width: int, height: int, before: bytes = b"") -> bytes:
    """Grey, all of it there; ``before``: chunks ahead of the pixels."""
    return (PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) + before
            + chunk(b"IDAT", packed_zeros((width + 1) * height)) + chunk(b"IEND"))


def jpeg_of_many_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    picture = np.full((height, width, 3), 100, np.uint8)
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    return data[:-2] + data[data.rindex(b"\xff\xda"):-2] * scans + b"\xff\xd9"


def _record(kind: int, content: bytes) -> bytes:
    return struct.pack("<BQ", kind, len(content)) + content


def _string(text: bytes) -> bytes:
    return struct.pack("<I", len(text)) + text


def mcap(chunks: list[tuple[bytes, bytes, int]], indexed: bool = True, stated: int | None = None) -> bytes:
    """An mcap bag of one topic of compressed images, /image.

    chunks: kind of packing, packed records, their size unpacked. stated: another size that all of them state.
    """
    definitions = (_record(3, struct.pack("<H", 1) + _string(b"sensor_msgs/msg/CompressedImage") + _string(b"ros2msg")
                           + _string(b""))
                   + _record(4, struct.pack("<HH", 1, 1) + _string(b"/image") + _string(b"cdr") + _string(b"")))
    out, index = b"\x89MCAP0\r\n" + _record(1, _string(b"ros2") + _string(b"")) + definitions, b""
    for packing, packed, size in chunks:
        size, start = size if stated is None else stated, len(out)
        out += _record(6, struct.pack("<QQQI", 0, 10**9, size, 0) + _string(packing) + struct.pack("<Q", len(packed))
                       + packed)
        length = len(out) - start
        out += _record(7, struct.pack("<HI", 1, 16) + bytes(16))
        index += _record(8, struct.pack("<QQQQ", 0, 10**9, start, length) + struct.pack("<IHQ", 10, 1, start + length)
                         + struct.pack("<Q", len(out) - start - length) + _string(packing)
                         + struct.pack("<QQ", len(packed), size))
    summary = len(out)
    if indexed:
        out += definitions + index
    return out + _record(2, struct.pack("<QQI", summary if indexed else 0, 0, 0)) + b"\x89MCAP0\r\n"


def message_record(data: bytes, stamp_ns: int = 0) -> bytes:
    """Of an mcap's only channel."""
    return _record(5, struct.pack("<HIQQ", 1, 0, stamp_ns, stamp_ns) + data)
