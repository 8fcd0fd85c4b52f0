# SPDX-License-Identifier: Apache-2.0
"""Whatever a bundle holds, it is refused with one sentence, soon, and within the memory that its files say."""

import subprocess
import sys
import time

import pytest
import yaml
from bundle_bombs import BOMBS, copied

from dinemo_ros.errors import BundleError
from dinemo_ros.features import create_extractor
from dinemo_ros.model.bundle import CARD_FILE, load_bundle

_STARTS = """
import sys, time
from dinemo_ros.benchmark.device import peak_memory_mb
from dinemo_ros.model.bundle import load_bundle
from dinemo_ros.errors import BundleError
from dinemo_ros.features.onnxruntime_backend import OnnxRuntimeExtractor
before = peak_memory_mb()
begin = time.monotonic()
try:
    OnnxRuntimeExtractor(load_bundle(sys.argv[1]), 1)
except BundleError:
    print(time.monotonic() - begin, peak_memory_mb() - before)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_one_sentence(tmp_path, name):
    spoil, says = BOMBS[name]
    spoil(tmp_path / "bundle")
    begin = time.monotonic()
    with pytest.raises(BundleError) as caught:
        create_extractor(load_bundle(tmp_path / "bundle"), "onnxruntime", 1, "fp32")
    message = str(caught.value)
    assert says in message and str(tmp_path / "bundle") in message
    assert len(message) < 900 and message.isprintable()
    assert time.monotonic() - begin < 5.0


@pytest.mark.parametrize("name", ["aliases", "faces", "clutter", "shape of 1e30", "loop", "4 TiB", "network of 40 GB"])
def test_time_and_memory(tmp_path, name):
    """A process of its own, because memory that was used once stays in the figure."""
    BOMBS[name][0](tmp_path / "bundle")
    command = [sys.executable, "-c", _STARTS, tmp_path / "bundle"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    seconds, grown_mb = map(float, done.stdout.split())
    assert grown_mb < 200 and seconds < 4.0, (seconds, grown_mb)


def test_unchanged_it_is_taken(tmp_path):
    assert create_extractor(load_bundle(copied(tmp_path / "bundle")), "onnxruntime", 1, "fp32").name == "onnxruntime"


@pytest.mark.parametrize(("key", "value", "says"), [
    ("version", "1\n2", "version is '1.n2'; allowed: up to 64"), ("version", "x" * 65, "version is 'xxx"),
    ("version", "\x1b[31m", "version is '.x1b"), ("category", "a" * 65, "category is 'aaa"),
    ("description", "x" * 2001, "description is 'xxx"), ("license", "x" * 2001, "license is 'xxx"),
    ("y" * 3000, 1, "unknown key 'yyy"), ("\x1b]0;x", 1, r"unknown key '.x1b\]0;x'"),
    ("uncertainty", {"probability": [1e300] * 6, "knots": [0.5], **dict.fromkeys(
        ("turn", "tilt", "across", "along", "size"), [1.0]), "floor": [0.0] * 5}, "coefficients beyond 1e.06")])
def test_texts_and_numbers_of_a_card(tmp_path, key, value, says):
    card = copied(tmp_path / "bundle") / CARD_FILE
    card.write_text(yaml.safe_dump(yaml.safe_load(card.read_text()) | {key: value}))
    with pytest.raises(BundleError, match=says) as caught:
        load_bundle(tmp_path / "bundle")
    assert len(str(caught.value)) < 600 and str(caught.value).isprintable()
