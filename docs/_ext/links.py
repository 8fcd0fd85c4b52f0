# SPDX-License-Identifier: Apache-2.0
"""Links between the Markdown files of the repository, and between the pages that show them. Needs no Sphinx."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

SHOWS = re.compile(r"^(?:<!--|\.\.) shows: (\S+)(?: -->)?$", re.MULTILINE)
#: How a page names the repository's root in the place of a picture: the documentation's folder lies in it.
UP = "/../"
# A fence or a piece of code, which stays as it is, or a link: its text, target and anchor.
LINK = re.compile(r"(?P<code>^(?P<fence>```+|~~~+).*?^(?P=fence)|`[^`\n]+`(?!\())|"
                  r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s#]*)(?P<anchor>#[^)\s]*)?\)",
                  re.MULTILINE | re.DOTALL)
_NOT_PAGES = {"README.md": "index"}  # told by another page


def shown_pages(docs: Path, root: Path) -> dict[str, str]:
    """Of every file of the repository that a page shows: its path, and the page's name."""
    pages = dict(_NOT_PAGES)
    for page in sorted(docs.rglob("*.*")):
        if page.suffix not in (".md", ".rst"):
            continue
        for shown in SHOWS.findall(page.read_text(encoding="utf-8")):
            path = in_repository(root, shown)
            pages[path or shown] = page.relative_to(docs).with_suffix("").as_posix()
    return pages


def in_repository(root: Path, path: str) -> str | None:
    """``path`` where it is a file or folder below ``root``, else None."""
    return path if (root / path).exists() else None


def relinked(text: str, path: str, root: Path, pages: dict[str, str], complain: Callable[[str], None]) -> str:
    """``text`` of the file ``path`` with links that hold in this documentation.

    A link to a file that a page shows leads to that page, one to another file of the repository becomes its path, and
    one to nothing is complained about.
    """
    def one(match: re.Match) -> str:
        target = match["target"]
        if match["code"] or not target or re.match(r"[a-z]+:", target) or target.startswith("/"):
            return match[0]
        wanted = _normal(PurePosixPath(path).parent / target)
        there = in_repository(root, wanted)
        if there is None:
            complain(f"{path}: link to {target}, which is not there")
            return match[0]
        if match["image"]:
            return f"![{match['text']}]({UP}{there})"
        anchor = match["anchor"] or ""
        if there in pages:
            return f"[{match['text']}](/{pages[there]}.{'rst' if pages[there] == 'index' else 'md'}{anchor})"
        if there.startswith("docs/") and there.endswith(".md"):
            return f"[{match['text']}](/{there.removeprefix('docs/')}{anchor})"
        named = match["text"].strip("`") in (there, PurePosixPath(there).name)
        return f"`{there}`" if named else f"{match['text']} (`{there}`)"

    return LINK.sub(one, text)


def targets(text: str) -> Iterator[str]:
    """Where the links of a Markdown text lead, without their anchors; links within the page left out."""
    for match in LINK.finditer(text):
        if not match["code"] and match["target"]:
            yield match["target"]


def _normal(path: PurePosixPath) -> str:
    """Without ``..``."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
