# SPDX-License-Identifier: Apache-2.0
"""Entry point of ``dinemo``.

Exit codes: 0 done, 1 bad input or nothing could be estimated (one line on stderr says what), 2 wrong usage,
130 interrupted, 143 ended by SIGTERM.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from ..process.console import require_output, run_command
from . import bench, build_engine, bundle, compile_kernels, doctor, estimate, evaluate, options, train

# One module per sub-command; each has ``add_parser(subparsers)`` that sets ``run`` to a function of the arguments.
COMMANDS = (estimate, evaluate, bench, build_engine, bundle, compile_kernels, doctor, train)

# What commands were called in version 0.1, and what they are called now.
_RENAMED: dict[tuple[str, ...], tuple[str, ...]] = {("eval", "spin"): ("eval", "turntable")}

_EXAMPLES = """\
examples:
  dinemo doctor                                   what is installed, and what is missing
  dinemo estimate street.jpg --hfov 70 --out out  pose of the cars in a picture, overlay in out/
  dinemo estimate drive.mcap --json poses.jsonl   the same for every image of a bag
  dinemo eval kitti DIR --json report.json        errors against KITTI's 3-D labels
  dinemo bench --json bench.json                  where the milliseconds go on this machine
  dinemo compile                                  the solver ahead of time: the first start takes seconds
  dinemo build-engine car --precision fp16        TensorRT engine ahead of time
  dinemo bundle fetch https://HOST/mug.tar.gz --sha256 HEX   a bundle from elsewhere, checked
  dinemo train --category mug --shape cad/ --size 0.12x0.09x0.10   teach a category of your own
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one ``dinemo`` command; returns its exit code (wrong usage leaves through SystemExit(2))."""
    words = options.with_negative_regions(sys.argv[1:] if argv is None else argv)
    return run_command(lambda: _run(words))


def _run(words: Sequence[str]) -> int:
    arguments = build_parser().parse_args(_of_today(words))
    if getattr(arguments, "needs_output", True):
        require_output()
    return arguments.run(arguments)


def _of_today(words: Sequence[str]) -> Sequence[str]:
    """``words`` with an old name of a command replaced, which is told once."""
    new = _RENAMED.get(tuple(words[:2]))
    if new is None:
        return words
    print(f"dinemo {' '.join(words[:2])} is called dinemo {' '.join(new)} now; the old name goes on working",
          file=sys.stderr)
    return [*new, *words[2:]]


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="dinemo", description="6D pose of objects of a known category from one RGB camera.", epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"dinemo_ros {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
