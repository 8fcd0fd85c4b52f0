# SPDX-License-Identifier: Apache-2.0
"""Other people's text in our sentences."""

import os

import pytest

from dinemo_ros.io.quoting import quoted, shown, shown_path


@pytest.mark.parametrize(("text", "expected"), [
    ("car 1.png", "car 1.png"), ("Größe.png", "Größe.png"), ("a\nb", r"a\nb"), ("\x1b[31mred", r"\x1b[31mred"),
    (os.fsdecode(b"Gr\xf6\xdfe.png"), r"Gr\xf6\xdfe.png"), ("a\u202egnp", r"a\u202egnp"), ("", ""),
    ("\0\r\t", r"\x00\r\t")])
def test_what_cannot_be_printed_is_escaped(text, expected):
    assert shown(text) == expected
    assert quoted(text) == f"'{expected}'"
    assert shown(text).isprintable()


def test_long_text_is_cut():
    assert quoted("x" * 500_000) == f"'{'x' * 80}'..."
    assert shown("x" * 121) == "x" * 120 + "..."
    assert quoted("x" * 80) == f"'{'x' * 80}'"
    assert len(shown("\0" * 500_000)) < 600
    assert shown_path("/" + "d" * 200) == "/" + "d" * 200
