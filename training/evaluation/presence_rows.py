# SPDX-License-Identifier: Apache-2.0
"""Tables of how many boxes with and without the object pass a floor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dinemo_ros.evaluation.metrics import wilson_interval


def share_rows(network: np.ndarray, kind: np.ndarray, present: np.ndarray, found: np.ndarray,
               passed: np.ndarray) -> list[dict]:
    """Of each network and kind of box how many there are, get a pose, and a pose that passes; "all" sums up.

    network, kind: [M] text. present, found, passed: [M] bool.
    """
    result = []
    for name in dict.fromkeys(network.tolist()):
        for there in (True, False):
            members = (network == name) & (present == there)
            for what in (*dict.fromkeys(kind[members].tolist()), "all"):
                chosen = members if what == "all" else members & (kind == what)
                count, through = int(chosen.sum()), int((chosen & found & passed).sum())
                if count:
                    result.append({"network": name, "present": there, "kind": what, "n": count,
                                   "poses": int((chosen & found).sum()), "passed": through,
                                   "share": round(through / count, 4),
                                   "interval": [round(end, 4) for end in wilson_interval(through, count)]})
    return result


def share_markdown(rows: Sequence[dict]) -> str:
    """The rows of :func:`share_rows` as a table for people."""
    lines = ["| network | box shows | n | poses | published | 95 % interval |", "|---|---|---|---|---|---|"]
    for row in rows:
        what = f"{'the object' if row['present'] else 'nothing'}, {row['kind']}"
        low, high = (100 * end for end in row["interval"])
        lines.append(f"| {row['network']} | {what} | {row['n']} | {row['poses']} | {row['passed']} "
                     f"({100 * row['share']:.1f} %) | {low:.1f} to {high:.1f} % |")
    return "\n".join(lines)
