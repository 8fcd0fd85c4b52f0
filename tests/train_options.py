# SPDX-License-Identifier: Apache-2.0
"""What the command ``dinemo train`` makes of words."""

from __future__ import annotations

import argparse

from dinemo_ros.cli import train as command


def options(*words: object) -> argparse.Namespace:
    """The options of ``dinemo train WORDS``."""
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return parser.parse_args(["train", *map(str, words)])
