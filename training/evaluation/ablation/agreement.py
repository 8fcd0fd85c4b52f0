# SPDX-License-Identifier: Apache-2.0
r"""Label files of the same photographs against those of a better model, as a table.

    python -m dinemo_training.evaluation.ablation.agreement --reference render_labels.npz --labels matched.npz \
        consistent.npz --out table

The reference is no truth: what is counted is disagreement with it, where it is sure itself. Of every file the surest
labels are taken, by its own margins. Writes ``<out>.json`` and ``<out>.md``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dinemo_ros.evaluation.metrics import FLIP_DEG, RIGHT_DEG
from dinemo_ros.geometry import rotation_angle
from dinemo_ros.io.files import write_file
from dinemo_ros.process.console import command_main

from ...data.label_store import read_labels
from ...pseudo_labels.mirror_check import Label
from ...run.arguments import parsed
from .flips import SHARES, markdown

_EXACT_DEG = 10.0


def compare_labels(found: dict[str, Label | None], reference: dict[str, Label],
                   shares: Sequence[float] = SHARES) -> dict:
    """Labelled, near and turned round over all photographs of the reference; the wrong ones among the surest.

    Args:
        shares: of the photographs, 0 to 1, that the surest labels are.
    """
    both = [(label, reference[name]) for name, label in found.items() if label is not None and name in reference]
    errors = np.rad2deg([rotation_angle(a.rotation, b.rotation) for a, b in both])
    order = np.argsort([-a.margin for a, _ in both], kind="stable")
    asked = len([name for name in found if name in reference])
    row = {"asked": asked, "labelled": len(both), "acc30": float((errors < RIGHT_DEG).sum() / asked),
           "acc10": float((errors < _EXACT_DEG).sum() / asked), "flips": float((errors > FLIP_DEG).sum() / asked)}
    for share in shares:
        kept = errors[order[: round(share * asked)]]
        row[f"{share:.0%}"] = {"kept": len(kept), "wrong": int((kept > RIGHT_DEG).sum()),
                               "flips": int((kept > FLIP_DEG).sum()), "exact": int((kept < _EXACT_DEG).sum())}
    return row


def main() -> None:
    """The command ``python -m dinemo_training.evaluation.ablation.agreement``."""
    parser = argparse.ArgumentParser(prog="python -m dinemo_training.evaluation.ablation.agreement",
                                     description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, help="npz of dinemo_training.pseudo_labels.labelling")
    parser.add_argument("--min-margin", type=float, default=0.1, help="of the reference's labels that count")
    parser.add_argument("--labels", type=Path, nargs="+", required=True, help="npz files that are compared with it")
    parser.add_argument("--out", type=Path, required=True, help="without ending")
    args = parsed(parser, endings=(".json", ".md"))
    for path in (args.reference, *args.labels):
        if not path.is_file():
            parser.error(f"{path}: no such file; write it with python -m dinemo_training.pseudo_labels.labelling")
    sure = {name: label for name, label in read_labels(args.reference).items()
            if label is not None and label.margin >= args.min_margin}
    rows = [{"check": path.stem} | compare_labels(read_labels(path), sure) for path in args.labels]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_file(args.out.with_suffix(".json"), json.dumps(rows, indent=1) + "\n")
    text = markdown([{key: row[key] for key in ("check", *(f"{s:.0%}" for s in SHARES))} for row in rows])
    write_file(args.out.with_suffix(".md"), text)
    print(json.dumps([{k: v for k, v in row.items() if "%" not in k} for row in rows], indent=1), text, sep="\n")


if __name__ == "__main__":
    command_main(main)
