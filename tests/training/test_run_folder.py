# SPDX-License-Identifier: Apache-2.0
"""The run folder: what is done and unchanged is kept, everything else is done again, and a kill loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dinemo_training.run.run_folder import RunError, RunFolder, Stage

ROOT = Path(__file__).resolve().parents[2]


class Log(list):
    """A stage's work that says when it is done."""

    def stage(self, folder, name="a", **changes):
        def work():
            self.append(name)
            (folder.path / f"{name}.txt").write_text("made")
            return {"figure": len(self)}

        return replace(Stage(name, "", work, {"x": 1}, outputs=(folder.path / f"{name}.txt",)), **changes)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def test_a_finished_stage_is_skipped_by_the_next_start(folder):
    log = Log()
    assert folder.execute(log.stage(folder)) and not folder.execute(log.stage(folder))
    again = RunFolder(folder.path)
    assert not again.execute(log.stage(again)) and log == ["a"]
    assert again.metrics() == {"a": {"figure": 1}}
    assert [e["event"] for e in again.events()] == ["start", "done"]


def test_looking_leaves_no_folder_behind(folder):
    """--dry-run and refused commands only look."""
    assert folder.state(Log().stage(folder)) == "new" and not folder.in_use() and not folder.path.exists()


def test_settings_that_change_start_over_and_so_does_what_builds_on_them(folder):
    log = Log()

    def both(**changes):
        again = RunFolder(folder.path)
        first = log.stage(again, "a", **changes)
        return [again.execute(first), again.execute(log.stage(again, "b", needs=("a",)))]

    assert both() == [True, True] and both() == [False, False]
    (folder.path / "a.txt").write_text("touched by hand")
    assert both(settings={"x": 2}) == [True, True]
    assert (folder.path / "a.txt").read_text() == "made"


def test_an_input_that_changes_starts_over(folder, tmp_path):
    log, pictures = Log(), tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "0.jpg").write_text("0")

    def done():
        again = RunFolder(folder.path)
        return again.execute(log.stage(again, inputs=(pictures,)))

    assert done() and not done()
    (pictures / "1.jpg").write_text("1")
    assert done() and not done()
    os.utime(pictures / "0.jpg", ns=(1, 1))
    assert done()


def test_a_result_that_was_deleted_is_made_again(folder):
    log = Log()
    folder.execute(log.stage(folder))
    (folder.path / "a.txt").unlink()
    assert folder.execute(log.stage(folder)) and (folder.path / "a.txt").is_file()


def test_outputs_outside_of_the_run_folder_are_never_removed(folder, tmp_path):
    log, precious = Log(), tmp_path / "precious.txt"
    precious.write_text("mine")
    folder.execute(log.stage(folder, outputs=(precious,)))
    again = RunFolder(folder.path)
    again.execute(log.stage(again, outputs=(precious,), settings={"x": 2}))
    assert precious.read_text() == "mine"


def test_a_foreseen_failure_is_its_sentence_and_a_bug_says_where_its_trace_is(folder):
    def foreseen():
        raise ValueError("the pictures\nare missing")

    def bug():
        raise KeyError("x")

    with pytest.raises(RunError, match="^stage a: the pictures are missing$"):
        folder.execute(Stage("a", "", foreseen, {}))
    with pytest.raises(RunError, match="stage b failed .KeyError: 'x'.; the trace is in .*b.error.txt"):
        folder.execute(Stage("b", "", bug, {}))
    assert "in bug" in (folder.path / "stages" / "b.error.txt").read_text()
    assert folder.stamp("a")["state"] == "running" and "a" not in folder.metrics()


def test_two_runs_in_one_folder_are_refused(folder):
    with folder.locked():
        with pytest.raises(RunError, match="another run is at work there"), RunFolder(folder.path).locked():
            pass
    with RunFolder(folder.path).locked():
        pass


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError, match="cannot be a run folder"), RunFolder(tmp_path / "run").locked():
        pass


PROGRAM = """
import sys, time
from pathlib import Path
from dinemo_training.run.run_folder import RunFolder, Stage
folder = RunFolder(Path(sys.argv[1]))
def work():
    for k in range(int(sys.argv[2])):
        if not (folder.path / str(k)).exists():
            (folder.path / str(k)).write_text("")
            time.sleep(0.02)
with folder.locked():
    folder.execute(Stage("a", "", work, {}, outputs=(folder.path / "0",)))
"""


def test_a_killed_stage_goes_on_where_it_was(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    killed = subprocess.Popen([*command, "100000"], env=environment)
    while not (tmp_path / "3").exists():
        assert killed.poll() is None
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert json.loads((tmp_path / "stages" / "a.json").read_text())["state"] == "running"
    written = (tmp_path / "0").stat().st_mtime_ns
    subprocess.run([*command, "5"], env=environment, check=True)  # the dead process's lock is gone
    assert (tmp_path / "0").stat().st_mtime_ns == written, "it started over"
    assert json.loads((tmp_path / "stages" / "a.json").read_text())["state"] == "done"
