# SPDX-License-Identifier: Apache-2.0
"""Arguments of the commands of this package: what they write is nothing that they read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dinemo_ros.process.input_guard import refuse_inputs

from .old_names import present_words

_OUTPUTS = ("out", "json")


def parsed(parser: argparse.ArgumentParser, words: Sequence[str] | None = None,
           endings: Sequence[str] = ("",)) -> argparse.Namespace:
    """What the command line gives, old names of options understood; every path that is not ``out`` or ``json`` counts
    as an input.

    Args:
        endings: of the files that ``out`` stands for, where it is given without.

    Raises:
        OutputError: an output is an input, too, by whatever name.
    """
    given = sys.argv[1:] if words is None else words
    arguments = parser.parse_args(present_words(parser, given))
    values = vars(arguments)
    outputs = {f"--{name} {ending}".strip(): Path(values[name]).with_suffix(ending) if ending else Path(values[name])
               for name in _OUTPUTS if values.get(name) is not None for ending in (endings if name == "out" else [""])}
    inputs = [path for name, value in values.items() if name not in _OUTPUTS
              for path in (value if isinstance(value, list) else [value]) if isinstance(path, Path)]
    refuse_inputs(outputs, inputs, deep=True)
    return arguments
