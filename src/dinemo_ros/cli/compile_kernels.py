# SPDX-License-Identifier: Apache-2.0
"""``dinemo compile``: the solver compiled ahead of the first start."""

from __future__ import annotations

import argparse
import logging
import os
from typing import TYPE_CHECKING

from ..errors import DinemoError
from . import options

if TYPE_CHECKING:
    from .options import Commands

_DESCRIPTION = """\
Compile the solver for this machine and keep it, so that the first start of node and command takes seconds.

What is compiled is kept for this user, these sources and this processor: run it once after each installation, as the
user that the node runs as. NUMBA_CACHE_DIR names another folder for it, which the node has to be given as well.
"""


def add_parser(subparsers: Commands) -> None:
    """Declare ``dinemo compile``."""
    parser = subparsers.add_parser("compile", help="compile the solver ahead of the first start",
                                   description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", metavar="DIR", action="append", default=[], help="bundle to try it with: a folder, "
                        "or the name of a shipped category; may be given several times (default: all shipped ones)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compile and say how much of it was new; returns the exit code.

    Raises:
        DinemoError: nothing is compiled here, a bundle is no good, or kernels cannot be kept; told before the work.
    """
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        raise DinemoError("NUMBA_DISABLE_JIT is set, with which nothing is compiled: unset it")
    from ..process.compile_ahead import compile_ahead

    options.log_to_stderr()
    logging.getLogger("dinemo_ros.features").setLevel(logging.WARNING)  # the networks are not what it is about
    logging.getLogger("dinemo_ros.cuda").setLevel(logging.WARNING)
    made = compile_ahead([options.bundle_folder(name) for name in arguments.bundle])
    print(f"{made.kernels} kernels ready, {made.compiled} of them compiled now, in {made.folder}")
    return 0
