# SPDX-License-Identifier: Apache-2.0
"""npz files of strangers: what a header claims is checked before memory is taken for it."""

import io
import os
import re
import time
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

from dinemo_ros.errors import DocumentError
from dinemo_ros.io.array_file import read_arrays

GOOD = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(["x", "yz"])}


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def headed(header: str, content: bytes = b"", version: bytes = b"\x01\x00", name: str = "a.npy") -> bytes:
    """An npz whose member has this header."""
    text = header.encode()
    size = len(text).to_bytes(2 if version[0] == 1 else 4, "little")
    return zipped({name: b"\x93NUMPY" + version + size + text + content})


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def array_header(shape: str, descr: str = "'<f4'", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def refusal(folder, content: bytes) -> str:
    path = folder / "arrays.npz"
    path.write_bytes(content)
    begin = time.monotonic()
    tracemalloc.start()
    try:
        with pytest.raises(DocumentError) as caught:
            read_arrays(path, ["a"], largest=1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert time.monotonic() - begin < 3.0 and len(message) < 300 and message.isprintable(), message
    return message


def test_what_is_read(tmp_path):
    path = tmp_path / "arrays.npz"
    more = {"f": np.asfortranarray(GOOD["a"]), "none": np.zeros((0, 3)), "scalar": np.array(7),
     "flag": np.array([True])}
    path.write_bytes(npz(**GOOD, **more))
    found = read_arrays(path, ["a", "b"], ["f", "none", "scalar", "flag", "absent"])
    assert found.keys() == {*GOOD, *more}
    for name, array in {**GOOD, **more}.items():
        assert np.array_equal(found[name], array) and found[name].dtype == array.dtype, name
    assert found["a"].flags.writeable and found["f"].flags.f_contiguous
    np.savez(path, **GOOD)
    assert np.array_equal(read_arrays(path, ["a"])["a"], GOOD["a"])


@pytest.mark.parametrize(("content", "says"), [
    (npz(b=GOOD["b"]), "lacks a"), (b"", "cannot be read as npz"), (b"PK\x03\x04 rest", "cannot be read as npz"),
    (npz(**GOOD)[:-30], "cannot be read as npz"), (npz(**GOOD)[40:], "cannot be read as npz|damaged|is cut off"),
    (npz(a=np.array([{}])), "holds Python objects"), (npz(a=np.zeros(3, [("x", "f4")])), "has the type"),
    (npz(a=np.array(["2020"], "M8[D]")), "has the type"), (npz(a=np.zeros(2, complex)), "has the type"),
    (npz(a=np.zeros(1, "U5000")), "has the type"),
    (npz(a=np.zeros(1 << 20)), r"has the shape \[1048576\], which is more"),
    (headed(array_header("(" + "1" + "0" * 30 + ",)")), "impossible shape"),
    (headed(array_header("(" + "9" * 2000 + ",)")), "impossible shape"),
    (headed(array_header("(-1,)")), "impossible shape"),
    (headed(array_header("(1e30,)")), "cannot be read as npz"),
    (headed(array_header("(2.0,)")), "cannot be read as npz"),
    (headed(array_header("(True,)")), "impossible shape"), (headed(array_header("(1,)*9")), "cannot be read as npz"),
    (headed(array_header(str((1,) * 9))), "impossible shape"),
    (headed(array_header("(0, 9223372036854775807, 9223372036854775807)")), "impossible shape"),
    (headed(array_header("(4611686018427387904, 4)")), "impossible shape"),
    (headed(array_header("(1 << 40,)")), "cannot be read as npz"),
    (headed(array_header("(1099511627776,)")), "more than"),
    (headed(array_header("(4,)"), b"1234"), "a is cut off: 4 of 16 bytes"),
    (headed(array_header("(4,)"), bytes(17)), "has more bytes than its header says"),
    (headed(array_header("(4,)", "'|O'")), "holds Python objects"),
    (headed(array_header("(4,)", "'|V8'")), "has the type"),
    (headed(array_header("(4,)", "('<f4', (1000000,))")), "has the type|cannot be read"),
    (headed(array_header("(4,)", "'<f99'")), "cannot be read as npz"),
    (headed(array_header("(4,)", "'|S0'")), "a is cut off"),
    (headed("(" * 3000), "cannot be read"), (headed("[" * 100 + "]" * 100), "cannot be read"),
    (headed("x" * 60_000), "a has a header of 60000 bytes, more than the 4096 that are read"),
    (headed(array_header("(4,)"), version=b"\x02\x00"), "header of version 2.0"),
    (headed(array_header("(4,)"), version=b"\x09\x00"), "header of version 9.0"),
    (headed(array_header("(__import__('os').system('true'),)")), "cannot be read as npz"),
    (zipped({"a.npy": b"no array at all"}), "cannot be read as npz"), (zipped({"a.npy": b""}), "cannot be read as npz"),
    (zipped({"a.npy": bytes(100 << 20)}), "cannot be read as npz"),
    (zipped({"a.npy": npz(**GOOD)}, zipfile.ZIP_LZMA), "packed in a way"),
    (zipped({f"m{k}": b"" for k in range(65)}), "more than 64 members"),
    (zipped({"a" * 60_000: b"", "b" * 60_000: b""}), "more than 64 members"),
])
def test_what_is_refused(tmp_path, content, says):
    assert re.search(says, refusal(tmp_path, content))


def test_encrypted_and_a_wrong_checksum(tmp_path):
    plain = bytearray(zipped({"a.npy": b"\x93NUMPY"}))
    local, central = plain.find(b"PK\x03\x04"), plain.find(b"PK\x01\x02")
    plain[local + 6] |= 1
    plain[central + 8] |= 1
    assert "a is encrypted" in refusal(tmp_path, bytes(plain))
    stored = io.BytesIO()
    np.savez(stored, a=np.arange(100.0))
    damaged = bytearray(stored.getvalue())
    damaged[300] ^= 255
    assert "a is damaged" in refusal(tmp_path, bytes(damaged))


def test_a_bomb_in_a_member_that_nobody_wants_is_left_alone(tmp_path):
    path = tmp_path / "arrays.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        array = io.BytesIO()
        np.save(array, GOOD["a"])
        archive.writestr("a.npy", array.getvalue())
        archive.writestr("bomb.npy", bytes(200 << 20))
    tracemalloc.start()
    assert np.array_equal(read_arrays(path, ["a"])["a"], GOOD["a"])
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_forty_gigabytes_and_a_pipe(tmp_path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(40 << 30)
    os.mkfifo(tmp_path / "pipe")
    for name, says in (("large", "larger than 256 MiB"), ("pipe", "is a pipe"), ("none", "No such file")):
        with pytest.raises(DocumentError, match=says):
            read_arrays(tmp_path / name, ["a"])


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files(tmp_path, seed):
    """Bytes changed anywhere: read as they are, or one sentence."""
    rng, path = np.random.default_rng(seed), tmp_path / "arrays.npz"
    stream = io.BytesIO()
    (np.savez if seed % 2 else np.savez_compressed)(stream, a=np.arange(12.0).reshape(4, 3), b=np.array(["x", "yz"]))
    for _ in range(150):
        data = bytearray(stream.getvalue())
        for at in rng.integers(0, len(data), rng.integers(1, 5)):
            data[at] = rng.integers(0, 256)
        path.write_bytes(data[:rng.integers(1, len(data))] if rng.random() < 0.2 else data)
        try:
            read_arrays(path, ["a"], ["b"], largest=1 << 20)
        except DocumentError as error:
            assert len(str(error)) < 300 and str(error).isprintable()
