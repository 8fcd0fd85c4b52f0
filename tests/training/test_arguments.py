# SPDX-License-Identifier: Apache-2.0
"""Commands of the training half: what they write is nothing that they read, and they end in one sentence."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dinemo_ros.errors import OutputError
from dinemo_training.run.arguments import parsed

ROOT = Path(__file__).resolve().parents[2]


def parser():
    made = argparse.ArgumentParser()
    made.add_argument("--cad", type=Path, nargs="+")
    made.add_argument("--out", type=Path)
    made.add_argument("--json", type=Path)
    return made


@pytest.mark.parametrize("words", [["--cad", "b.obj", "a.obj", "--out", "a.obj"], ["--cad", ".", "--out", "link"],
                                   ["--cad", ".", "--json", "deep/c.obj"]])
def test_no_input_is_written(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    for name in ("a.obj", "b.obj", "deep/c.obj"):
        (tmp_path / name).touch()
    os.link("a.obj", "link")
    with pytest.raises(OutputError, match="is read by this command and would be overwritten"):
        parsed(parser(), words)
    assert parsed(parser(), ["--cad", ".", "--out", "new", "--json", "newer"]).out == Path("new")


def test_names_without_ending(tmp_path):
    (tmp_path / "a.json").touch()
    with pytest.raises(OutputError, match="--out .json .*a.json is read"):
        parsed(parser(), ["--cad", str(tmp_path / "a.json"), "--out", str(tmp_path / "a")], (".json", ".md"))
    parsed(parser(), ["--cad", str(tmp_path / "a.json"), "--out", str(tmp_path / "a")])


def shell(redirection, module, *words):
    command = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.run(["bash", "-c", f'"$@" {redirection}', "bash", *command], text=True, capture_output=True,
                          timeout=240, env=os.environ | {"PYTHONPATH": str(ROOT / "src")})


MEAN_MESH = "dinemo_training.synthetic.shape.mean_mesh"


def test_a_command_of_its_own_ends_in_one_sentence(tmp_path):
    pytest.importorskip("trimesh", reason="training extra is not installed")
    (tmp_path / "a.obj").write_text("v 0 -3 0\nv 2 0 0\nv 0 0 1\nf 1 2 3\n")
    for redirection, words, says in (
            (">&-", ["--box", "1x1x1", "--out", tmp_path / "m.npz"], "error: standard output is closed; redirect"),
            (">/dev/full", ["--box", "1x1x1", "--out", tmp_path / "m.npz"], "error: standard output cannot be written"),
            ("", ["--cad", tmp_path / "a.obj", "--out", tmp_path / "a.obj"], "error: --out "),
            ("", ["--box", "1x1x1", "--out", tmp_path], f"error: {tmp_path}: is a folder; give the name")):
        result = shell(redirection, MEAN_MESH, *words)
        assert result.returncode == 1 and len(result.stderr.splitlines()) == 1, result.stderr
        assert result.stderr.startswith(says)
    result = shell("2>&-", MEAN_MESH, "--box", "1x1x1", "--out", tmp_path / "m.npz")
    assert result.returncode == 0 and "m.npz: " in result.stdout
