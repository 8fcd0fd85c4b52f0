# SPDX-License-Identifier: Apache-2.0
"""What a second model adds, on frames counted by hand."""

import json
import os

import pytest

from dinemo_ros.errors import DatasetError
from dinemo_training.evaluation import model_complementarity


def frame(model, file, error, score, level="L0"):
    return {"model": model, "occlusion": level, "group": "car", "file": file, "error_deg": error, "score": score}


FRAMES = [frame("a", "0", 5.0, 0.6), frame("b", "0", 4.0, 0.5),      # both
          frame("a", "1", 175.0, 0.3), frame("b", "1", 9.0, 0.5),    # only b, and it is surer
          frame("a", "2", 12.0, 0.4), frame("b", "2", 170.0, 0.45),  # only a, b is surer all the same
          frame("a", "3", 90.0, 0.4), frame("b", "3", None, None),   # neither
          frame("a", "0", 5.0, 0.6, "L3"), frame("b", "0", 50.0, 0.1, "L3")]


def test_shares_of_each_alone_and_of_both(tmp_path, monkeypatch, capsys):
    clean, hidden = model_complementarity.compare(FRAMES)
    assert clean == {"level": "L0", "n": 4, "a": 0.5, "b": 0.5, "only a": 0.25, "only b": 0.25, "higher score": 0.5,
                     "either": 0.75}
    assert hidden["n"] == 1 and hidden["only a"] == hidden["higher score"] == 1.0
    assert model_complementarity.compare(FRAMES, 8.0)[0]["only a"] == 0.0
    (tmp_path / "report.json").write_text(json.dumps({"frames": FRAMES}))
    monkeypatch.setattr("sys.argv", ["model_complementarity", str(tmp_path / "report.json")])
    model_complementarity.main()
    assert "| L0 | 4 | 50.0 % | 50.0 % | 25.0 % | 25.0 % | 50.0 % | 75.0 % |" in capsys.readouterr().out


def test_one_model_cannot_be_compared():
    with pytest.raises(DatasetError, match=r"1 models \('a'\); compare two with --compare"):
        model_complementarity.compare([f for f in FRAMES if f["model"] == "a"])


@pytest.mark.parametrize("text", ["", "[" * 5000, "7", "{}", '{"frames": []}', '{"frames": [7]}', '{"frames": 3}',
                                  '{"frames": [{"model": "a"}]}', "9" * 6000, None])
def test_a_report_that_is_none_is_one_sentence(tmp_path, text):
    report = tmp_path / "report.json"
    if text is None:
        os.mkfifo(report)
    else:
        report.write_text(text)
    with pytest.raises(DatasetError, match=r"report\.json: .*; give the --json of dinemo eval with --compare"):
        model_complementarity.read_frames(report)
