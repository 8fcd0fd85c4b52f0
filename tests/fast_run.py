# SPDX-License-Identifier: Apache-2.0
"""``pytest --fast``: everything but what ``slow_tests.txt`` lists."""

from pathlib import Path

LIST = Path(__file__).with_name("slow_tests.txt")


def slow_tests() -> list[str]:
    """The beginnings of the names of tests that are left out, as pytest has them: a folder, a file, one test."""
    lines = (line.split("#")[0].strip() for line in LIST.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def is_slow(node_id: str, beginnings: list[str]) -> bool:
    """Whether the test is listed; a name ends where the listed one does, at ``::``, ``[`` or ``/``."""
    return any(node_id == start or node_id.startswith((f"{start}::", f"{start}[", f"{start}/")) for start in beginnings)
