# SPDX-License-Identifier: Apache-2.0
"""Numbers, matrices and rigid motions out of documents of strangers, each refused in one sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..errors import DatasetError
from ..io.document import Document
from ..io.quoting import quoted

_ROUNDING = 1e-3  # of entries that are to be 0 or 1; files are written with few digits
_MOST = 1e9  # of anything in pixels, metres or millimetres


def numbers(value: Document, count: int, what: str) -> np.ndarray:
    """[count] finite float64, in whatever unit, of a list of numbers, or of rows of them.

    ``what`` begins the sentence of an error.

    A text that is a number counts as one: YAML 1.1 takes ``1e-5`` for a text.

    Raises:
        DatasetError: it is none.
    """
    flat = [item for row in value for item in (row if isinstance(row, list) else [row])] if isinstance(
        value, list) and len(value) <= count else []
    if len(flat) != count:
        told = f"a list of {len(flat)}" if flat else f"{quoted(value, 40)}"
        raise DatasetError(f"{what} is {told}; {count} finite {'number is' if count == 1 else 'numbers are'} expected")
    return np.array([number(item, what) for item in flat])


def number(value: Document, what: str) -> float:
    """A finite number in whatever unit, or DatasetError."""
    try:
        found = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except ValueError:
        found = math.nan
    if not abs(found) <= _MOST:
        raise DatasetError(f"{what} is {quoted(value, 40)}; a finite number is expected")
    return found


def rotation(value: Document, what: str) -> np.ndarray:
    """[3, 3] of nine numbers, row by row, which must be a rotation, and exactly one when it comes back; DatasetError
    where it is none."""
    R = numbers(value, 9, what).reshape(3, 3)
    if not np.allclose(R.T @ R, np.eye(3), rtol=0, atol=_ROUNDING) or np.linalg.det(R) < 0:
        raise DatasetError(f"{what} is no rotation: its columns must be of length one, at right angles, right-handed")
    U, _, Vt = np.linalg.svd(R)
    return U @ Vt


def motion(value: Document, what: str) -> np.ndarray:
    """[4, 4] rigid motion, in the unit of its file, of four rows of four numbers; DatasetError where it is none."""
    T = numbers(value, 16, what).reshape(4, 4)
    if not np.allclose(T[3], [0, 0, 0, 1], rtol=0, atol=_ROUNDING):
        raise DatasetError(f"{what} has the last row {T[3].tolist()}, expected [0, 0, 0, 1]")
    T[:3, :3] = rotation(T[:3, :3].ravel().tolist(), f"the rotation in {what}")
    return T


def mapping(value: Document, what: str, keys: Sequence[str] = ()) -> dict:
    """A dictionary that has ``keys``, or DatasetError."""
    if not isinstance(value, dict):
        raise DatasetError(f"{what} is {quoted(value, 40)}; names and values are expected")
    missing = [key for key in keys if key not in value]
    if missing:
        raise DatasetError(f"{what} lacks {', '.join(missing)}")
    return value
