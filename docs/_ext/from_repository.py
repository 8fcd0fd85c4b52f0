# SPDX-License-Identifier: Apache-2.0
"""Sphinx extension: pages that show files of the repository, and tables that are made from the code.

Two comments in a page are replaced before it is parsed, so that nothing is copied by hand:

    <!-- shows: engines/car/README.md -->     the whole file; its relative links lead to the pages that show their targets
    <!-- generated: parameters POSE_NODE -->  what :mod:`generated` makes of the code
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

import generated
from sphinx.application import Sphinx
from sphinx.util import logging

_log = logging.getLogger(__name__)
_SHOWS = re.compile(r"^<!-- shows: (\S+) -->$", re.MULTILINE)
_GENERATED = re.compile(r"^<!-- generated: (.+?) -->$", re.MULTILINE)
# A fence or a piece of code, which stays as it is, or a link: its text, target and anchor.
_LINK = re.compile(r"(?P<code>^(?P<fence>```+|~~~+).*?^(?P=fence)|`[^`\n]+`(?!\())|"
                   r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s#]*)(?P<anchor>#[^)\s]*)?\)",
                   re.MULTILINE | re.DOTALL)
#: Where the training half may lie.
_TRAINING = ("training", "dinemo_training", "src/dinemo_training")
_NOT_PAGES = {"README.md": "index"}  # told by another page


def setup(app: Sphinx) -> dict:
    app.add_config_value("repository_root", "", "env")
    app.add_config_value("mocked_imports", [], "env")
    app.connect("config-inited", _prepare)
    app.connect("source-read", _replace)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _prepare(app: Sphinx, config) -> None:
    missing = [name for name in config.mocked_imports if name not in config.autodoc_mock_imports]
    config.autodoc_mock_imports = [*config.autodoc_mock_imports, *missing]
    root = Path(config.repository_root)
    app.shown_pages = shown_pages(Path(app.srcdir), root)


def shown_pages(docs: Path, root: Path) -> dict[str, str]:
    """Of every file of the repository that a page shows: its path, and the page's name."""
    pages = dict(_NOT_PAGES)
    for page in sorted(docs.rglob("*.md")):
        for shown in _SHOWS.findall(page.read_text(encoding="utf-8")):
            path = in_repository(root, shown)
            pages[path or shown] = page.relative_to(docs).with_suffix("").as_posix()
    return pages


def in_repository(root: Path, path: str) -> str | None:
    """``path`` below ``root`` as it is named today; None where there is no such file."""
    first, _, rest = path.partition("/")
    names = [path, *(f"{folder}/{rest}" for folder in _TRAINING)] if first in _TRAINING else [path]
    return next((name for name in names if (root / name).exists()), None)


def _replace(app: Sphinx, docname: str, source: list[str]) -> None:
    root, complain = Path(app.config.repository_root), partial(_complain, docname)
    text = source[0]
    shown = _SHOWS.search(text)
    if shown:
        path = in_repository(root, shown[1])
        if path is None:
            return complain(f"shows {shown[1]}, which is not there")
        app.env.note_dependency(str(root / path))
        text = (root / path).read_text(encoding="utf-8")
    else:
        path = f"docs/{docname}.md"
    text = relinked(text, path, root, app.shown_pages, complain)
    source[0] = _GENERATED.sub(lambda match: generated.make(match[1].split(), root, app.config.autodoc_mock_imports),
                               text)
    return None


def _complain(docname: str, sentence: str) -> None:
    _log.warning("%s", sentence, location=docname)


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
            return f"![{match['text']}](/../{there})"
        anchor = match["anchor"] or ""
        if there in pages:
            return f"[{match['text']}](/{pages[there]}.{'rst' if pages[there] == 'index' else 'md'}{anchor})"
        if there.startswith("docs/") and there.endswith(".md"):
            return f"[{match['text']}](/{there.removeprefix('docs/')}{anchor})"
        named = match["text"].strip("`") in (there, PurePosixPath(there).name)
        return f"`{there}`" if named else f"{match['text']} (`{there}`)"

    return _LINK.sub(one, text)


def _normal(path: PurePosixPath) -> str:
    """Without ``..``."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
