# SPDX-License-Identifier: Apache-2.0
"""Command-line options for a frozen dataclass of booleans and numbers."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import TypeVar

Options = TypeVar("Options")


def add_dataclass_options(parser: argparse.ArgumentParser, kind: type) -> None:
    """``--name`` and ``--no-name`` for booleans, ``--name VALUE`` for numbers, all with the dataclass's defaults."""
    group = parser.add_argument_group("options of the matching")
    for field in fields(kind):
        option = "--" + field.name.replace("_", "-")
        if isinstance(field.default, bool):
            group.add_argument(option, action=argparse.BooleanOptionalAction, default=field.default)
        else:
            group.add_argument(option, type=type(field.default), default=field.default, metavar="N")


def dataclass_from(args: argparse.Namespace, kind: type[Options]) -> Options:
    """The dataclass as the command line set it."""
    return kind(**{field.name: getattr(args, field.name) for field in fields(kind)})
