# SPDX-License-Identifier: Apache-2.0
"""Names of version 0.1 that are still understood, each with a note on stderr: the only place where they stand.

They are read for one release; what is written has the present names. Stages are in :mod:`dinemo_ros.train_stages`,
whose names the command line knows without this package.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

#: Options of commands.
OPTIONS = {"--spins": "--turntables", "--spin": "--turntables", "--looks": "--views", "--tokens": "--feature-cache"}
#: Keys of recipes.
KEYS = {"data.spins": "data.turntables", "data.spin_names": "data.turntable_names",
        "rounds.look_alikes": "rounds.neighbour_consistency"}
#: Files and folders of a run folder, by their present names.
FILES = {"evaluation_turntables.json": "evaluation_spins.json", "turntables": "spins", "features": "tokens"}
#: Figures of a stage, in its stamp.
FIGURES = {"spins": "turntables"}


def note(old: str, new: str, where: str = "") -> None:
    """Tell once more that a name has changed; ``where``: the file that it stands in, "" on the command line."""
    print(f"note: {where}{': ' if where else ''}{old} is now called {new}; the old name is understood in this release "
          "only", file=sys.stderr)


def present_words(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Words of a command line with the present names of options, where ``parser`` knows these and not the old ones."""
    known = parser._option_string_actions  # argparse has no public way to ask
    found = []
    for word in words:
        name, equals, value = str(word).partition("=")
        new = OPTIONS.get(name)
        if new in known and name not in known:
            note(name, new)
            word = new + equals + value
        found.append(str(word))
    return found


def present_keys(section: str, data: dict, where: str) -> dict:
    """A mapping of a recipe with the present names of keys; ``section``: "data", "rounds", ...

    Raises:
        ValueError: a key stands there under both of its names.
    """
    found = {}
    for key, value in data.items():
        new = KEYS.get(f"{section}.{key}")
        name = key if new is None else new.partition(".")[2]
        if new is not None:
            if name in data:
                raise ValueError(f"{key} is the old name of {name}, and both are given; leave {key} out")
            note(f"the key {key}", name, where)
        found[name] = value
    return found


def existing(folder: Path, name: str) -> Path:
    """``folder / name``, or what an earlier release called it where only that is there."""
    path, old = folder / name, folder / FILES.get(name, name)
    return old if old.exists() and not path.exists() else path
