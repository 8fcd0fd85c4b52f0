# SPDX-License-Identifier: Apache-2.0
"""Standard output that is closed, full or left by its reader, standard error likewise, and signals: real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLOSED = "error: standard output is closed; redirect it to a file, or to /dev/null where nobody wants it"
FULL = "error: standard output cannot be written (No space left on device)"


def shell(redirection, *words, module="dinemo_ros.cli.main"):
    """A command under bash with this redirection; exit code and what came out."""
    command = [sys.executable, "-m", module, *map(str, words)]
    paths = str(ROOT / "src")
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # as for a user
    return subprocess.run(["bash", "-c", f'"$@" {redirection}', "bash", *command], text=True, capture_output=True,
                          timeout=240, env=buffered | {"PYTHONPATH": paths})


def assert_one_line(result, sentence):
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.splitlines()[-1] == sentence
    assert "Traceback" not in result.stderr and "Exception ignored" not in result.stderr


@pytest.mark.parametrize("words", [["estimate", "{a}"], ["estimate", "--help"], ["--version"], ["doctor"],
                                   ["bench", "{a}"], ["build-engine", "car"], ["eval", "turntable", "{a}"],
                                   ["train", "--category", "mug"]])
def test_closed_output_is_told_before_the_work(scenes, words):
    result = shell(">&-", *(word.format(a=scenes[0] / "a.png") for word in words))
    assert_one_line(result, CLOSED)
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [["estimate", "--help"], ["--version"], ["doctor"],
                                   ["estimate", "{a}", "--bundle", "{b}"]])
def test_full_output_is_one_sentence(scenes, bundle, words):
    assert_one_line(shell(">/dev/full", *(word.format(a=scenes[0] / "a.png", b=bundle) for word in words)), FULL)


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_without_standard_error_the_work_goes_on(scenes, bundle, redirection):
    result = shell(redirection, "estimate", scenes[0], "--bundle", bundle)
    assert result.returncode == 0
    entries = [json.loads(line) for line in result.stdout.splitlines()]  # and nothing of it ends here
    assert [entry["file"] for entry in entries] == ["a.png", "b.png", "c.png"]


def test_with_json_nothing_else_is_needed(scenes, bundle, tmp_path):
    """The next file that is opened must not become descriptor 1 or 2, for libraries print there."""
    result = shell("<&- >&- 2>&-", "estimate", scenes[0] / "a.png", "--bundle", bundle, "--json", tmp_path / "p.jsonl")
    assert result.returncode == 0
    assert json.loads((tmp_path / "p.jsonl").read_text())["file"] == "a.png"


def test_a_reader_that_goes_away_is_no_error(scenes, bundle):
    result = shell("| head -1; exit ${PIPESTATUS[0]}", "estimate", scenes[0], "--bundle", bundle)
    assert result.returncode == 0 and len(result.stdout.splitlines()) == 1
    assert "Traceback" not in result.stderr and "Broken" not in result.stderr


def test_a_name_that_the_terminal_cannot_show(scenes, bundle, tmp_path):
    """A file name in Latin-1: strict JSON, from which the name can be had back."""
    name = b"Gr\xf6\xdfe.png"
    (tmp_path / os.fsdecode(name)).write_bytes((scenes[0] / "a.png").read_bytes())
    result = shell("", "estimate", tmp_path, "--bundle", bundle, "--hfov", "60", "--out", tmp_path / "out")
    entry = json.loads(result.stdout)
    result.stdout.encode()  # no lone surrogate, also none in an escape:
    json.dumps(entry, ensure_ascii=False).encode()
    assert entry["file"] == r"Gr\xf6\xdfe.png" and bytes.fromhex(entry["file_bytes"]) == name
    assert os.listdir(os.fsencode(tmp_path / "out")) == [b"Gr\xf6\xdfe_pose.png"]


@pytest.fixture
def many(scenes, tmp_path):
    """A folder that takes minutes."""
    folder = tmp_path / "many"
    folder.mkdir()
    (folder / "camera_info.yaml").write_bytes((scenes[0] / "camera_info.yaml").read_bytes())
    for k in range(3000):
        os.link(scenes[0] / "a.png", folder / f"{k}.png")
    return folder


def started(words, lines, count=3, hangup=signal.SIG_DFL):
    """A process that has written so many lines into the file ``lines``."""
    def signals():  # whatever the tests run under, a background job for instance
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, hangup)

    process = subprocess.Popen([sys.executable, "-m", "dinemo_ros.cli.main", *map(str, words)], text=True,
                               stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
                               preexec_fn=signals)
    deadline = time.monotonic() + 240
    while not lines.exists() or lines.read_text().count("\n") < count:
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(("number", "says"), [(signal.SIGTERM, "ended by SIGTERM"), (signal.SIGHUP, "ended by SIGHUP"),
                                              (signal.SIGINT, "interrupted"), (signal.SIGKILL, "")])
def test_every_finished_line_survives_a_signal(many, bundle, tmp_path, number, says):
    result, part = tmp_path / "p.jsonl", tmp_path / "p.jsonl.part"
    result.write_text("of an earlier run")
    process = started(["estimate", many, "--bundle", bundle, "--json", result], part)
    process.send_signal(number)
    error = process.communicate(timeout=60)[1]
    entries = [json.loads(line) for line in part.read_text().splitlines()]
    assert [entry["file"] for entry in entries] == [f"{k}.png" for k in range(len(entries))] and len(entries) >= 3
    assert result.read_text() == "of an earlier run" and "Traceback" not in error
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert error.splitlines()[-1] == says
        assert f"{result} is not complete; what was finished is in {part}" in error


def test_a_hangup_that_is_ignored_stays_ignored(many, bundle, tmp_path):
    """Under nohup."""
    lines = tmp_path / "p.jsonl.part"
    process = started(["estimate", many, "--bundle", bundle, "--json", tmp_path / "p.jsonl"], lines,
                      hangup=signal.SIG_IGN)
    process.send_signal(signal.SIGHUP)
    before = lines.read_text().count("\n")
    while lines.read_text().count("\n") < before + 3:
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert process.communicate(timeout=60)[1].splitlines()[-1] == "ended by SIGTERM"


def test_what_computes_is_one_line_or_none(scenes, bundle, capsys):
    from dinemo_ros.cli.main import main

    words = ["estimate", str(scenes[0] / "a.png"), "--bundle", str(bundle), "--hfov", "60"]
    assert main(words) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[0].startswith("features: onnxruntime in ") and "; solver: on CPU" in lines[0]
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err.splitlines() == ["1 images, 1 car poses"]


def test_a_name_of_closed_output_is_told_before_the_work(scenes, bundle):
    """What holds its descriptor so that no file gets it must not swallow the poses."""
    result = shell(">&-", "estimate", scenes[0] / "a.png", "--bundle", bundle, "--json", "/dev/stdout")
    assert_one_line(result, "error: /dev/stdout: is closed; redirect it to a file")
    assert len(result.stderr.splitlines()) == 1
