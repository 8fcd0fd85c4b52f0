# SPDX-License-Identifier: Apache-2.0
"""The ablation as a Markdown table."""

from __future__ import annotations

import re


def markdown(split: dict, rows: list[dict]) -> str:
    """Split, then one line per teacher and variant over all examples; groups have their own columns of Acc@30."""
    groups = list(split["measured on"])
    exact = any("pck" in row["all"] for row in rows)
    head = ["teacher", "variant", "labelled", "Acc@30", "Acc@10", "flips", "median", "kept Acc@30", "kept Acc@10",
            "kept flips"]
    head += ["PCK@0.1", "unseen"] if exact else []
    head += [f"{g} @30 / @10" for g in groups] if len(groups) > 1 else []
    measured = ", ".join(f"{g} ({n})" for g, n in split["measured on"].items())
    lines = [f"Templates: {', '.join(split['templates'])} ({split['views']} views and their mirror images). "
             f"Measured on: {measured}.", "",
             "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        s = row["all"]
        cells = [row["teacher"].replace("|", "\\|"), row["variant"], percent(s["coverage"]), percent(s["acc30"]),
                 percent(s["acc10"]), percent(s["flips"]), f"{s['median_deg']:.1f}°", percent(s["kept_acc30"]),
                 percent(s["kept_acc10"]), percent(s["kept_flips"])]
        cells += [percent(s["pck"]), percent(s["wrong_side"])] if exact and "pck" in s else ["", ""] if exact else []
        cells += [f"{percent(row[g]['acc30'])} / {percent(row[g]['acc10'])}" for g in groups] if len(groups) > 1 else []
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def percent(share: float | None) -> str:
    """A share of 0 to 1 in percent without decimals; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.0f}"


def short(teacher: str) -> str:
    """A teacher's text without the folders of its files."""
    return re.sub(r"[^:@(|)]*/", "", teacher)
