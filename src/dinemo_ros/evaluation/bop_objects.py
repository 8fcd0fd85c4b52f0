# SPDX-License-Identifier: Apache-2.0
"""Which objects of a BOP data set are of a category that there are bundles for, and where the category's frame lies in
their models.

    objects:
      3: {category: cup, size: [0.12, 0.09, 0.10],
          T_model_category: [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.05], [0, 0, 0, 1]]}

BOP knows instances: a pose is that of a model whose frame is wherever its maker put it. A category has one frame for
all of its instances, x forward, y left, z up, in the centre of the box; ``T_model_category`` maps points of it into the
model's frame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DatasetError, DocumentError
from ..io.bounded_file import is_name
from ..io.document import RECIPE, read_json, read_yaml
from ..io.quoting import quoted, shown_path
from .checked import mapping, motion, numbers

_NUMBER = re.compile(r"\d{1,9}")
_MOST_METRES = 100.0
_MOST_OBJECTS = 1000


@dataclass(frozen=True)
class BopObject:
    """One object of the data set.

    Attributes:
        category: name of its category, for which a bundle is chosen.
        T_model_category: [4, 4] metres, the category's frame to the model's.
        size: [3] metres, length, width, height of this very object along the category's x, y, z.
    """

    category: str
    T_model_category: np.ndarray
    size: np.ndarray


def read_objects(path: Path) -> dict[int, BopObject]:
    """Objects by their BOP number, from YAML or (``.json``) JSON.

    Raises:
        DatasetError: not such a file; the sentence names it and the object.
    """
    try:
        document = read_json(path, RECIPE) if path.suffix.lower() == ".json" else read_yaml(path, RECIPE)
        entries = mapping(mapping(document, "the document", ["objects"])["objects"], "objects")
        if not 0 < len(entries) <= _MOST_OBJECTS:
            raise DatasetError(f"objects has {len(entries)} entries; 1 to {_MOST_OBJECTS} are allowed")
        return {_number(key): _object(key, entry) for key, entry in entries.items()}
    except (DocumentError, DatasetError) as error:
        raise DatasetError(f"{shown_path(path)}: {error}; expected objects: {{ID: {{category, T_model_category: 4x4 in "
                           "metres, size: [length, width, height] in metres}}, see docs/evaluation.md") from error


def _number(key: str) -> int:
    if not _NUMBER.fullmatch(key):
        raise DatasetError(f"the object {quoted(key, 40)} is no number of BOP's (obj_id)")
    return int(key)


def _object(key: str, entry: object) -> BopObject:
    what = f"object {key}"
    fields = mapping(entry, what, ["category", "T_model_category", "size"])
    category = fields["category"]
    if not isinstance(category, str) or not is_name(category) or "/" in category:
        raise DatasetError(f"{what}: category is {quoted(category, 40)}; the name of a category is expected")
    T = motion(fields["T_model_category"], f"{what}: T_model_category")
    size = numbers(fields["size"], 3, f"{what}: size")
    if not 0.0 < size.min() <= size.max() <= _MOST_METRES or np.abs(T[:3, 3]).max() > _MOST_METRES:
        raise DatasetError(f"{what}: size {size.tolist()} and the shift {T[:3, 3].tolist()} of T_model_category are in "
                           f"metres, the size above zero, none above {_MOST_METRES:g}; BOP's millimetres divided by "
                           "1000")
    return BopObject(category, T, size)
