# SPDX-License-Identifier: Apache-2.0
r"""What a second model adds: how often each of two is right alone, from the frames of one ``dinemo eval`` report.

    dinemo eval synthetic HELDOUT --bundle A --compare B --occlusion all --json report.json
    python -m dinemo_training.evaluation.model_complementarity report.json

``higher score`` takes of both poses the one with the higher score; ``either`` is what a perfect choice would reach.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dinemo_ros.errors import DatasetError, DocumentError
from dinemo_ros.evaluation.checked import mapping
from dinemo_ros.evaluation.metrics import RIGHT_DEG
from dinemo_ros.io.document import Limits, read_json
from dinemo_ros.io.quoting import named, shown_path
from dinemo_ros.process.console import command_main

_LIMITS = Limits(256 << 20, values=20_000_000)  # hundreds of thousands of frames
_KEYS = ("model", "occlusion", "group", "file", "error_deg", "score")


def read_frames(path: Path) -> list[dict]:
    """The frames of a report.

    Raises:
        DatasetError: it is none with frames of single models.
    """
    try:
        frames = mapping(read_json(path, _LIMITS), "the report", ["frames"])["frames"]
        if not isinstance(frames, list) or not frames:
            raise DatasetError("has no frames")
        return [mapping(frame, f"frame {k}", _KEYS) for k, frame in enumerate(frames)]
    except (DocumentError, DatasetError) as error:
        raise DatasetError(f"{shown_path(path)}: {error}; give the --json of dinemo eval with --compare, without "
                           "--brief") from error


def compare(frames: list[dict], right_deg: float = RIGHT_DEG) -> list[dict]:
    """One row per level of occlusion; shares of the frames that both models of ``frames`` were given.

    Raises:
        DatasetError: not two models.
    """
    models = list(dict.fromkeys(frame["model"] for frame in frames))
    if len(models) != 2:
        raise DatasetError(f"the report has {len(models)} models ({named(models, 5)}); compare two with --compare")
    rows = []
    for level in dict.fromkeys(frame["occlusion"] for frame in frames):
        first, second = ({(f["group"], f["file"]): f for f in frames if (f["model"], f["occlusion"]) == (model, level)}
                         for model in models)
        pairs = [(first[key], second[key]) for key in first if key in second]
        right = [tuple(_right(f, right_deg) for f in pair) for pair in pairs]
        chosen = [_right(max(pair, key=_score), right_deg) for pair in pairs]
        rows.append({"level": level, "n": len(pairs), **{
            name: sum(hits) / len(pairs) for name, hits in (
                (models[0], [a for a, _ in right]), (models[1], [b for _, b in right]),
                (f"only {models[0]}", [a and not b for a, b in right]),
                (f"only {models[1]}", [b and not a for a, b in right]),
                ("higher score", chosen), ("either", [a or b for a, b in right]))}})
    return rows


def _right(frame: dict, right_deg: float) -> bool:
    return frame["error_deg"] is not None and frame["error_deg"] < right_deg


def _score(frame: dict) -> float:
    return -1.0 if frame["score"] is None else frame["score"]


def main() -> None:
    """The command ``python -m dinemo_training.evaluation.model_complementarity``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="--json of dinemo eval with two models, without --brief")
    parser.add_argument("--within", type=float, default=RIGHT_DEG, metavar="DEG", help="counts as right (%(default)s)")
    args = parser.parse_args()
    rows = compare(read_frames(args.report), args.within)
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(f"{100 * v:.1f} %" if isinstance(v, float) else str(v) for v in row.values()) + " |")


if __name__ == "__main__":
    command_main(main)
