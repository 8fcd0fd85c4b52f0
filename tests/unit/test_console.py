# SPDX-License-Identifier: Apache-2.0
"""Standard streams as commands have them: when lines leave, what is written of strange texts, which descriptors are
taken. ``tests/cli/test_streams.py`` has the same with real commands."""

import io
import subprocess
import sys

import pytest

from dinemo_ros.errors import OutputError
from dinemo_ros.process.console import StandardError, StandardOutput


class Stream(io.StringIO):
    """Counts how often it is flushed."""

    def __init__(self):
        super().__init__()
        self.flushed = 0

    def flush(self):
        self.flushed += 1


def test_every_line_leaves_at_once_and_half_a_line_waits():
    stream = Stream()
    output = StandardOutput(stream)
    assert output.write("half") == 4 and stream.flushed == 0
    assert output.write(" a line\n") == 8 and stream.flushed == 1
    output.writelines(["one\n", "two\n", "three"])
    assert stream.flushed == 3 and stream.getvalue() == "half a line\none\ntwo\nthree"


def test_controls_are_escaped_and_layout_stays():
    stream, errors = Stream(), Stream()
    assert StandardOutput(stream).write("a\tb\x1b[2J\r\n") == 9
    StandardError(errors).write("bar 10 %\r\x1b[2J")
    assert stream.getvalue() == "a\tb\\x1b[2J\\r\n" and errors.getvalue() == "bar 10 %\r\\x1b[2J"


def test_a_terminal_that_knows_ascii_alone():
    raw = io.BytesIO()
    output = StandardOutput(io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    output.write("stra\xdfe\n")
    assert raw.getvalue() == b"stra\\xdfe\n"


def test_a_full_disk_is_a_sentence_on_output_and_nothing_on_errors():
    class Full(Stream):
        def write(self, text):
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)"):
        StandardOutput(Full()).write("x")
    assert StandardError(Full()).write("x") == 1
    for closed in (None, io.StringIO()):
        if closed is not None:
            closed.close()
        assert StandardOutput(closed).closed and StandardError(None).write("xy") == 2
        with pytest.raises(OutputError, match="standard output is closed"):
            StandardOutput(closed).write("x")
        StandardOutput(closed).flush()


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (1, 2), (0, 1, 2), ()])
def test_the_next_file_is_no_standard_stream(tmp_path, closed):
    """Whatever of the three is closed, a library that prints must not print into it; children inherit them."""
    code = ("import os, sys; from dinemo_ros.process.console import _occupy_descriptors; "
            f"[os.close(k) for k in {closed}]; _occupy_descriptors(); "
            "handle = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT); "
            "os.write(handle, f'{handle} {[os.get_inheritable(k) for k in range(3)]}'.encode())")
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], check=True, timeout=60, capture_output=True)
    number, inheritable = (tmp_path / "out").read_text().split(" ", 1)
    assert int(number) > 2 and inheritable == "[True, True, True]"
