# SPDX-License-Identifier: Apache-2.0
"""Every way of strangers' text into a sentence: out comes one printable line of bounded length."""

import io
import json
import logging
import os

import pytest
import yaml

from dinemo_ros.camera.distortion import read_distortion
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.cli import options
from dinemo_ros.errors import DinemoError, told
from dinemo_ros.io.image_codec import decode_compressed, decode_image
from dinemo_ros.io.quoting import harmless, named, one_line, quoted, shown
from dinemo_ros.io.sources import open_source
from dinemo_ros.io.sources.bag_topics import ImageTopic, choose
from dinemo_ros.model.bundle import find_bundle, load_bundle, parse_card
from dinemo_ros.process.console import StandardError, StandardOutput

TEXTS = {
    "escape sequence": "\x1b]0;owned\x07\x1b[2J\x1b[31m", "line break": "a\n[ERROR] forged\r\nb\x85c\u2028d",
    "turned round": "a\u202egnp.exe\u2066\u200f", "not Unicode": os.fsdecode(b"\xff\xfe\x1b"),
    "lone surrogate": "a\ud800b", "private and tags": "\ue000\U000e0041\ufeff\x00", "quotes": "'\"'; x='",
    "half a megabyte": "\x1b[2Jx" * 100_000, "long and plain": "x" * 500_000,
}
# Of what a file system takes for a name.
NAMES = {name: text.replace("\0", "").replace("/", "")[:60] for name, text in TEXTS.items() if name != "lone surrogate"}
LONGEST = 8000


def assert_harmless(sentence: str, longest: int = LONGEST) -> None:
    assert sentence.isprintable(), [c for c in sentence if not c.isprintable()][:5]
    assert 0 < len(sentence) < longest
    sentence.encode()


def image_of(encoding):
    decode_image(encoding, 8, 8, 24, bytes(192))


def picture_of(text):
    decode_compressed(text, b"")


def depth_of(text):
    decode_compressed(f"16UC1; compressedDepth {text}", b"abc")


def padded_encoding(text):
    """One that is known but for what the standard's spelling leaves out."""
    decode_image("rgb8" + "\0" * len(text), 8, 8, 1, bytes(192))


def lens(text):
    read_distortion(text + "?", [0.1])


def other_lens(text):
    """Punctuation is left out where names of models are compared."""
    read_distortion("ds" + "".join(c for c in text if not c.isalnum()), [0.1])


def lens_length(text):
    read_distortion("equi" + "".join(c for c in text if not c.isalnum()), [0.1])


def key_of_card(text):
    parse_card({"category": "car", text: 1})


def value_of_card(text):
    parse_card({"category": text, "version": "1", "size_prior": {"mean_m": [1, 1, 1], "log_sigma": [0.1, 0.1, 0.1]}})


def file_of_card(text):
    parse_card({"category": "car", "version": "1", "files": {text: text},
                "size_prior": {"mean_m": [1, 1, 1], "log_sigma": [0.1, 0.1, 0.1]}})


def shipped(text):
    find_bundle(text)


def wanted_topic(text):
    choose("bag", [ImageTopic(text, "rgb8", (8, 8), text, True)] * 30, [], {}, text + "x")


def depth_topic(text):
    choose("bag", [ImageTopic(text, "16UC1", (8, 8), text, True)] * 30, [], {text: "sensor_msgs/msg/PointCloud2"}, None)


def of_a_library(text):
    raise DinemoError(told(RuntimeError(text)), text)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("route", [image_of, picture_of, depth_of, padded_encoding, lens, other_lens, lens_length,
                                   key_of_card, value_of_card, file_of_card, shipped, wanted_topic, depth_topic,
                                   of_a_library], ids=lambda route: route.__name__)
def test_errors(route, text):
    with pytest.raises(DinemoError) as error:
        route(text)
    for word in error.value.args:
        assert_harmless(word)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_notes(text):
    for zeros in ([], [0.0] * 4):
        for note in read_distortion(text + "?", zeros)[2]:
            assert_harmless(note, 400)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_files(tmp_path, name):
    folder = tmp_path / name
    with pytest.raises(DinemoError) as error:
        open_source(folder)
    assert_harmless(str(error.value))
    folder.mkdir()
    (folder / f"{name}.png").write_bytes(b"no picture")
    source = open_source(folder)
    assert not list(source) and len(source.skipped) == 1
    for sentence in (source.description, *source.skipped):
        assert_harmless(sentence)
    for read in (load_bundle, Camera.from_yaml):
        with pytest.raises(DinemoError) as error:
            read(folder / f"{name}.png")
        assert_harmless(str(error.value))


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("fields", [{"camera_model": "@"}, {"camera_model": "pinhole", "intrinsics": ["@"] * 4},
                                    {"camera_model": "pinhole", "intrinsics": [500, 500, 320, 240],
                                     "resolution": [640, 480], "distortion_model": "mine @",
                                     "distortion_coeffs": [0.1] * 4}])
@pytest.mark.parametrize("form", ["json", "yaml"])
def test_calibrations(tmp_path, fields, text, form):
    document = json.loads(json.dumps({"cam0": fields}).replace("@", json.dumps(text)[1:-1]))
    written = json.dumps(document) if form == "json" else yaml.safe_dump(document, allow_unicode=False)
    (tmp_path / "c.yaml").write_text(written)
    with pytest.raises(DinemoError) as error:
        Camera.from_yaml(tmp_path / "c.yaml")
    assert_harmless(str(error.value), 1200)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_terminals(text):
    """What is printed raw all the same, by argparse for instance, keeps its lines and loses its controls."""
    for stream, layout in ((StandardOutput, "\n\t"), (StandardError, "\n\t\r")):
        terminal = io.StringIO()
        stream(terminal).write(f"first\n{text}\tlast\n")
        written = terminal.getvalue()
        assert written.startswith("first\n") and written.endswith("\tlast\n")
        assert all(c.isprintable() or c in layout for c in written)
        written.encode()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_log_of_commands(text, capsys):
    kept = logging.getLogger("dinemo_ros").handlers[:]
    try:
        options.log_to_stderr()
        logging.getLogger("dinemo_ros.anything").warning("%s: no", text)
    finally:
        logging.getLogger("dinemo_ros").handlers[:] = kept
        logging.getLogger("dinemo_ros").propagate = True
    line, rest = capsys.readouterr().err.split("\n")
    assert_harmless(line, 1200)
    assert not rest


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_quotes(text):
    assert_harmless(quoted(text), 90)
    assert_harmless(shown(text), 130)
    assert_harmless(named([text] * 50, 3), 150)
    assert_harmless(one_line(text * 2), 12_000)
    assert harmless(harmless(text)) == harmless(text) and shown(shown(text), 1000) == shown(text)


def test_a_quote_does_not_end_where_its_writer_says():
    assert quoted("a'b") == r"'a\'b'" and quoted("a\\") == r"'a\\'"
    assert quoted("\x1b" * 100, 10) == r"'\x1b\x1b'..."
    assert named(["a", "b"], 2) == "'a', 'b'" and named(["a", "b", "c"], 2) == "'a', 'b', ..."


def test_both_ends_of_a_long_error_are_kept():
    error = DinemoError("model.yaml: " + "x" * 500_000 + "; copy it again")
    assert str(error).startswith("model.yaml: x") and str(error).endswith("x; copy it again")
    assert len(str(error)) < LONGEST
