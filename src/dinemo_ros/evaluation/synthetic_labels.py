# SPDX-License-Identifier: Apache-2.0
"""``labels.npz`` of a folder of renders: shapes, and whether what it says can be a camera that sees an object.

Everything here is refused before the first estimate, with the name of the render: a wrong label would otherwise look
like an error of the model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DatasetError, DocumentError
from ..io.array_file import read_arrays
from ..io.bounded_file import is_name
from ..io.quoting import quoted, shown

LABELS = "labels.npz"
_SHAPES = {"names": (), "K": (3, 3), "T_cam_obj": (4, 4), "size": (3,)}
_ROUNDING = 1e-3  # of entries that are to be 0 or 1; labels may have been written with few digits


def read_labels(path: Path) -> dict[str, np.ndarray]:
    """``names`` [N] and, where it is there, ``asset`` [N] as text; ``K`` (pixels), ``T_cam_obj`` and ``size``
    (metres) as float64.

    Raises:
        DatasetError: not such a file, or something in it cannot be; the sentence names key and render.
    """
    labels = _load(path)
    count = len(labels["names"]) if labels["names"].ndim else 0
    for key, shape in _SHAPES.items():
        if count == 0 or labels[key].shape != (count, *shape):
            raise DatasetError(f"{path}: {key} has the shape {list(labels[key].shape)}, expected [N"
                               f"{''.join(f', {side}' for side in shape)}] with N names, at least one")
    if "asset" in labels and labels["asset"].shape != (count,):
        raise DatasetError(f"{path}: asset has the shape {list(labels['asset'].shape)}, expected [{count}], a name for "
                           "each of names; or leave it out")
    for key in labels:
        labels[key] = _numbers(path, key, labels[key]) if _SHAPES.get(key) else _text(labels[key])
    names, counts = np.unique(labels["names"], return_counts=True)
    if counts.max() > 1:
        raise DatasetError(f"{path}: names has {quoted(names[counts.argmax()])} {counts.max()} times; every render has "
                           "one row")
    for i, name in enumerate(labels["names"]):
        if not is_name(name):
            raise DatasetError(f"{path}: {quoted(name)} (row {i} of {count}) is no name of a picture")
        fault = _fault(labels["K"][i], labels["T_cam_obj"][i], labels["size"][i])
        if fault:
            raise DatasetError(f"{path}: {shown(name)} (row {i} of {count}): {fault}")
    return labels


def _load(path: Path) -> dict[str, np.ndarray]:
    layout = (f"expected arrays {', '.join(_SHAPES)} as dinemo_training.synthetic.render.dataset and "
              "docs/evaluation.md have them")
    try:
        return read_arrays(path, list(_SHAPES), ["asset"])
    except DocumentError as error:
        raise DatasetError(f"{path}: {error}; {layout}") from error


def _text(values: np.ndarray) -> np.ndarray:
    return np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values.astype(str)


def _numbers(path: Path, key: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "fiu":
        raise DatasetError(f"{path}: {key} has the type {values.dtype}, expected numbers")
    if not np.isfinite(values).all():
        raise DatasetError(f"{path}: {key} holds numbers that are not finite")
    return values.astype(np.float64)


def _fault(K: np.ndarray, T: np.ndarray, size: np.ndarray) -> str | None:
    """What cannot be about one render, None where all can."""
    R, pinhole = T[:3, :3], np.array([[K[0, 0], 0, K[0, 2]], [0, K[1, 1], K[1, 2]], [0, 0, 1]])
    if min(K[0, 0], K[1, 1]) <= 0 or not np.allclose(K, pinhole, rtol=0, atol=_ROUNDING * max(K[0, 0], 1.0)):
        return f"K is {K.tolist()}; expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels, fx and fy positive"
    if size.min() <= 0:
        return f"size is {size.tolist()}; length, width and height in metres are positive"
    if not np.allclose(R.T @ R, np.eye(3), rtol=0, atol=_ROUNDING) or np.linalg.det(R) < 0:
        return "the rotation in T_cam_obj is none: its columns must be of length one, at right angles, right-handed"
    if not np.allclose(T[3], [0, 0, 0, 1], rtol=0, atol=_ROUNDING):
        return f"the last row of T_cam_obj is {T[3].tolist()}, expected [0, 0, 0, 1]: p_cam = T_cam_obj @ p_obj"
    if T[2, 3] <= 0:
        return (f"T_cam_obj puts the object at {T[:3, 3].tolist()}, which is not before the camera; its frame is x "
                "right, y down, z forward, and T_cam_obj maps object to camera, not the other way round")
    return None
