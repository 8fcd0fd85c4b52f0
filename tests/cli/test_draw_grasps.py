# SPDX-License-Identifier: Apache-2.0
"""``dinemo estimate --draw-grasps`` draws into the pictures of ``--out`` what the card has for the pose."""

import cv2
import numpy as np
from shared_data import ROOT

from dinemo_ros.cli.main import main
from dinemo_ros.evaluation.synthetic import read_synthetic, synthetic_entries


def test_grasps_are_drawn_where_they_are_asked_for(tmp_path):
    sample = synthetic_entries(read_synthetic(ROOT / "tests" / "unit" / "vessels" / "cup"))[2].load()
    picture = tmp_path / "cup.png"
    cv2.imwrite(str(picture), sample.image[..., ::-1])
    drawn = []
    for more in ([], ["--draw-grasps"]):
        out = tmp_path / f"out{len(drawn)}"
        words = ["estimate", str(picture), "--bundle", str(ROOT / "engines" / "cup"), "--hfov", "40", "--out", str(out),
                 "--roi", ",".join(f"{edge:g}" for edge in sample.roi), "--json", str(tmp_path / f"{len(drawn)}.jsonl")]
        assert main([*words, *more]) == 0
        drawn.append(cv2.imread(str(out / "cup_pose.png")).astype(int))
    other = np.any(np.abs(drawn[1] - drawn[0]) > 40, axis=2)
    assert 100 < other.sum() < 0.3 * other.size
