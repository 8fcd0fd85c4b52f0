# SPDX-License-Identifier: Apache-2.0
"""The table of a run: per file how many mutants were noticed, and who survived and why that is."""

from __future__ import annotations

from collections.abc import Sequence

BAR = 0.85
VERDICTS = {"equivalent": "computes the same", "harmless": "differs, within what the package promises",
            "missing": "a test is missing"}


class Tally:
    """Counts of some records. judgements: verdict and reason by key."""

    def __init__(self, records: Sequence[dict], judgements: dict[str, dict]) -> None:
        self.total = len(records)
        self.timeouts = sum(r["outcome"] == "timeout" for r in records)
        self.survived = sum(r["outcome"] == "survived" for r in records)
        self.equivalent = sum(r["outcome"] == "survived" and judgements.get(r["key"], {}).get("verdict") == "equivalent"
                              for r in records)

    @property
    def raw(self) -> float:
        """Share of all mutants that was noticed."""
        return (self.total - self.survived) / max(self.total, 1)

    @property
    def fair(self) -> float:
        """The same without those that compute the same."""
        return (self.total - self.survived) / max(self.total - self.equivalent, 1)

    def row(self, name: str) -> str:
        noticed = self.total - self.survived - self.timeouts
        return (f"| {name} | {self.total} | {noticed} | {self.timeouts} | {self.survived} | {self.equivalent} | "
                f"{100 * self.raw:.0f} % | {100 * self.fair:.0f} % |")


def tallies(records: Sequence[dict], judgements: dict[str, dict]) -> dict[str, Tally]:
    """Per file, then inside kernels, outside, and of all."""
    paths = sorted({r["path"] for r in records})
    parts = {path: [r for r in records if r["path"] == path] for path in paths}
    parts |= {"**in kernels**": [r for r in records if r["in_kernel"]],
              "**outside of kernels**": [r for r in records if not r["in_kernel"]], "**all**": list(records)}
    return {name: Tally(part, judgements) for name, part in parts.items()}


def table(records: Sequence[dict], judgements: dict[str, dict]) -> str:
    """Markdown."""
    lines = ["| file | mutants | killed | timeout | survived | of these equivalent | noticed | without those |",
             "|---|---|---|---|---|---|---|---|"]
    lines += [tally.row(name.removeprefix("src/dinemo_ros/")) for name, tally in tallies(records, judgements).items()]
    return "\n".join(lines)


def survivors(records: Sequence[dict], judgements: dict[str, dict]) -> str:
    """Markdown, one by one."""
    lines = ["| where | broken | judged | why |", "|---|---|---|---|"]
    for r in sorted((r for r in records if r["outcome"] == "survived"), key=lambda r: (r["path"], r["line"])):
        judged = judgements.get(r["key"], {"verdict": "not judged yet", "why": ""})
        after = r["after"] if len(r["after"]) < 100 else r["after"][:97] + "..."
        before = r["before"] if len(r["before"]) < 100 else r["before"][:97] + "..."
        change = " ".join(f"`{before}` to `{after}`".split()).replace("|", "\\|")
        lines.append(f"| {r['path'].removeprefix('src/dinemo_ros/')}:{r['line']} {r['function']} | {change} | "
                     f"{judged['verdict']} | {judged['why']} |")
    return "\n".join(lines)


def below_bar(records: Sequence[dict], judgements: dict[str, dict]) -> list[str]:
    """Names of the parts (all, in kernels) in which too few were noticed, equivalent ones left out."""
    found = tallies(records, judgements)
    return [name.strip("*") for name in ("**all**", "**in kernels**") if found[name].total and found[name].fair < BAR]
