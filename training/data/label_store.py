# SPDX-License-Identifier: Apache-2.0
"""Labels of photographs on disk: one npz without pickles, which also lists the photographs that got none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dinemo_ros.io.files import write_arrays

from ..pseudo_labels.mirror_check import Label

_FIELDS = ("T_cam_obj", "size", "score", "margin", "agreement_deg")


def write_labels(path: Path, labels: dict[str, Label | None]) -> None:
    """Name -> label, or None for a photograph without one; atomic, so a kill leaves the old file."""
    given = {name: label for name, label in labels.items() if label is not None}
    write_arrays(path, names=np.array(list(given)), rejected=np.array([name for name in labels if name not in given]),
                 **{f: np.array([getattr(label, f) for label in given.values()]) for f in _FIELDS})


def read_labels(path: Path) -> dict[str, Label | None]:
    """What :func:`write_labels` wrote; empty where there is no file yet."""
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as data:
        columns = [data[f] for f in _FIELDS]
        labels: dict[str, Label | None] = {str(n): Label(T, s, float(a), float(m), float(g))
                                           for n, T, s, a, m, g in zip(data["names"], *columns, strict=True)}
        labels.update({str(n): None for n in data["rejected"]})
    return labels
