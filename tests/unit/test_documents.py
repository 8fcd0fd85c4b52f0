# SPDX-License-Identifier: Apache-2.0
"""YAML and JSON of strangers: limited, never carried out, and refused with a sentence that does not repeat them."""

import os
import threading
import time
import tracemalloc

import pytest
import yaml
from bombs import cost

from dinemo_ros.errors import DocumentError
from dinemo_ros.io import document
from dinemo_ros.io.bounded_file import is_name, read_bounded, size_in_words
from dinemo_ros.io.document import CARD, TABLE, Limits, read_json, read_texts, read_yaml

BOMB = "x0: &x0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"x{n + 1}: &x{n + 1} [{', '.join([f'*x{n}'] * 9)}]\n" for n in range(9))
DEEP = "a: &a0 [x]\n" + "".join(f"b{n}: &a{n + 1} [*a{n}]\n" for n in range(40))


@pytest.fixture(params=["libyaml", "python"])
def loader(request, monkeypatch):
    """Both parsers of PyYAML: which one there is depends on the machine."""
    if request.param == "python":
        monkeypatch.setattr(document, "_LOADER", yaml.SafeLoader)


def file_of(folder, content):
    path = folder / "document"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(read, path, *more) -> str:
    tracemalloc.start()
    begin = time.monotonic()
    try:
        with pytest.raises(DocumentError) as caught:
            read(path, *more)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    assert time.monotonic() - begin < 10.0, "tracing takes most of it"
    message = str(caught.value)
    assert len(message) < 300 and message.isprintable(), message
    return message


@pytest.mark.parametrize(("text", "says"), [
    (BOMB, "more than 10000 values (aliases count"), ("a: &a [*a]", "alias 'a' stands for nothing"),
    ("a: *b", "alias"), (DEEP, "nested more than 16 deep"), ("[" * 5000, "nested more than 16 deep"),
    ("{a: " * 5000, "nested more than 16 deep"), ("- " * 5000, "nested more than 16 deep"),
    ("? " * 5000, "a key that is a list or a mapping"), ("[" * 16 + "[]" + "]" * 16, "nested more than 16 deep"),
    ("- 1\n" * 11_000, "more than 10000 values"), ("a: " + "x" * (65 << 10), "is larger than 64 KiB"),
    ("a: !!int ''", "'' is no int"), ("a: !!int one", "'one' is no int"), ("a: !!float ''", "'' is no float"),
    ("a: !!bool 7", "'7' is no bool"), ("a: !!timestamp ''", "the tag 'tag:yaml.org,2002:timestamp' is not read"),
    ("a: !!binary '?'", "is not read"), ("a: !!set {b}", "is not read"),
    ("a: !!python/name:os.system ''", "is not read"),
    ("a: !!python/object/apply:os.system ['touch PWNED']", "is not read"),
    ("a: !own [1]", "the tag '!own' is not read"),
    ("a: " + "9" * 6000, "a whole number of 6000 digits"), ("a: " + "9" * 400 + ".0", "a number of 402 characters"),
    ("a: 1.0e+999", "'1.0e+999' is too large a number"), ("a: 010", "'010' is not one number to all"),
    ("a: 0x1F", "'0x1F' is not one number to all"), ("a: 0b1", "not one number"),
    ("a: 1:30", "'1:30' is not one number"),
    ("a: 1:30.5", "not one number to all"), ("a: 1_000", "not one number to all"),
    ("a: 1_0.5", "not one number to all"),
    ("a: 1\nb: 2\na: 3", "line 3: key 'a' stands there twice"), ("[1]: 2", "a key that is a list or a mapping"),
    ("{a: 1}: 2", "a key that is a list"), ("a: \"\\0\"", "a text with a zero byte"),
    ("a: \0", "cannot be read as YAML"),
    (b"\xff\xfea\0:\0", "is no text (byte 0 is not UTF-8)"), (b"a: \xc3\x28", "is no text (byte 3 is not UTF-8)"),
    ("a: \x1b[31m", "cannot be read as YAML"), ("{{", "cannot be read as YAML"), ("a: 'b", "cannot be read as YAML"),
    ("%YAML 9.9\n---\na: 1", "cannot be read as YAML"), ("a: @b", "cannot be read as YAML"),
    ("a: !<tag:" + "x" * 5000 + "> 1", "is not read"), ("a: *" + "b" * 5000, "cannot be read as YAML"),
], ids=lambda value: None if isinstance(value, bytes) else value[:20])
def test_yaml_that_is_refused(tmp_path, text, says, loader, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert says in refusal(read_yaml, file_of(tmp_path, text), CARD)
    assert not (tmp_path / "PWNED").exists()


def test_yaml_that_is_read(tmp_path, loader):
    text = ("﻿a: 1\nb: [-2, +3, 0, 4.5, .5, 1.0e-3, .inf, -.INF, .nan]\nc: {d: null, e: ~, f: , g: yes, h: OFF}\n"
            "i: 2024-99-99\nj: '010'\nk: \"1:30\"\nl: !!str 7\nm: !!int 7\nn: !!float 7.5\n1: one\nnull: x\n"
            "o: &o [p]\nq: *o\nr: 1e3\ns: =\n--- second\n")
    found = read_yaml(file_of(tmp_path, text), CARD)
    assert str(found.pop("b")) == "[-2, 3, 0, 4.5, 0.5, 0.001, inf, -inf, nan]"
    assert found == {"a": 1, "c": {"d": None, "e": None, "f": None, "g": True, "h": False}, "i": "2024-99-99",
                     "j": "010", "k": "1:30", "l": "7", "m": 7, "n": 7.5, "1": "one", "null": "x", "o": ["p"],
                     "q": ["p"], "r": "1e3", "s": "="}


def test_what_safe_dump_writes_comes_back(tmp_path, loader):
    written = {"texts": ["010", "1:30", "yes", "null", "~", "1e3", "1.5", "2024-01-01", "", " a ", "x: y", "é\n€",
     "<<", "="],
               "numbers": [0, -7, 10**17, 0.1, 1e-300, 1e300, -0.0], "truth": [True, False, None], "empty": [[], {}]}
    assert read_yaml(file_of(tmp_path, yaml.safe_dump(written, allow_unicode=True)), CARD) == written


def test_merge_keys_are_keys_like_others(tmp_path, loader):
    assert read_yaml(file_of(tmp_path, "a: &a {b: 1}\nc: {<<: *a}"), CARD)["c"] == {"<<": {"b": 1}}


@pytest.mark.parametrize(("text", "says"), [
    ("[" * 5000, "nested more than 16 deep"), ('{"a":' * 500 + "1" + "}" * 500, "nested more than 16 deep"),
    ("[" * 17 + "]" * 17, "nested more than 16 deep"), ("[" + "1," * 200_000 + "1]", "more than 50000 values"),
    ("[" + "9" * 6000 + "]", "a whole number of 6000 digits"), ("[1e999]", "'1e999' is too large a number"),
    ("[" + "9" * 400 + ".0]", "is too large a number"), ('{"a": 1, "a": 2}', "has the key 'a' twice"),
    ('["\\u0000"]', "a text with a zero byte"), ('{"\\ud800": 1}', "half a character"), ("", "cannot be read as JSON"),
    ("{", "cannot be read as JSON"), ("\0", "cannot be read as JSON"), (b"\xff\xfe[\0]\0", "is no text"),
    ("'" * 5000, "cannot be read as JSON"),
], ids=lambda value: None if isinstance(value, bytes) else value[:20])
def test_json_that_is_refused(tmp_path, text, says):
    assert says in refusal(read_json, file_of(tmp_path, text), Limits(1 << 20, values=50_000))


@pytest.mark.parametrize("one", ["{}", "[]", '{"a":1}', '"ab"', "0.125", "1"])
def test_a_table_costs_no_more_than_it_may(tmp_path, one):
    """As many as are read, and more: lists and objects take the memory of several numbers."""
    file, count = tmp_path / "a.json", TABLE.values // 3 - 10 if one[0] in "{[" else TABLE.values - 10
    file.write_text("[" + f"{one}," * (count - 1) + f"{one}]")
    answer, _, megabytes = cost("from pathlib import Path\nfrom dinemo_ros.io.document import read_json",
                                "len(read_json(Path(sys.argv[1])))", str(file))
    assert answer == str(count) and megabytes < file.stat().st_size / 1e6 + 200
    file.write_text("[" + f"{one}," * (2 * TABLE.values + 1) + "1]")
    with pytest.raises(DocumentError, match="has more than|is larger than"):
        read_json(file)


def test_json_that_is_read(tmp_path):
    assert read_json(file_of(tmp_path, '﻿{"a": [1, -2.5e3, null, true, "\\u00e9"]}')) == {
        "a": [1, -2500.0, None, True, "é"]}


def test_a_file_of_forty_gigabytes(tmp_path):
    path = tmp_path / "large"
    with open(path, "wb") as file:
        file.truncate(40 << 30)
    for read, more in ((read_yaml, CARD), (read_json, TABLE)):
        assert "(40 GiB)" in refusal(read, path, more)
    assert "is larger than 1 MiB" in refusal(read_texts, path)


def test_what_is_no_file(tmp_path):
    """A pipe without a writer would keep the reader for ever."""
    os.mkfifo(tmp_path / "pipe")
    begin = time.monotonic()
    for path, says in ((tmp_path / "pipe", "it is a pipe"), ("/dev/zero", "a device"), (tmp_path, "Is a directory"),
                       (tmp_path / "none", "No such file"), ("bad\0name", "cannot be read"),
                       (tmp_path / ("x" * 5000), "File name too long")):
        assert says in refusal(read_yaml, path, CARD)
    assert time.monotonic() - begin < 2.0


def test_a_pipe_where_one_is_allowed(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(b"content",))
    writer.start()
    assert read_bounded(tmp_path / "pipe", 100, pipes=True) == b"content"
    writer.join()
    with pytest.raises(DocumentError, match="larger than 100 bytes"):
        read_bounded("/dev/zero", 100, pipes=True)


def test_sizes_and_names():
    assert [size_in_words(n) for n in (7, 64 << 10, 3 << 19, 40 << 30, 1023 << 10)] == [
        "7 bytes", "64 KiB", "1.5 MiB", "40 GiB", "1023 KiB"]
    assert all(map(is_name, ("a", "a b.jpg", "..a", "\udcff")))
    assert not any(map(is_name, ("", ".", "..", "a/b", "/", "a\0", "x" * 256)))
