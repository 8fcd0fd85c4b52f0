# SPDX-License-Identifier: Apache-2.0
"""Sphinx extension: pages that show files of the repository, and tables that are made from the code.

Two comments in a page are replaced before it is parsed, so that nothing is copied by hand:

    <!-- shows: engines/car/README.md -->     the whole file; its links lead to the pages that show their targets
    <!-- generated: parameters POSE_NODE -->  what :mod:`generated` makes of the code
"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path

import generated
from links import SHOWS, UP, in_repository, relinked, shown_pages
from sphinx.application import Sphinx
from sphinx.util import logging

_log = logging.getLogger(__name__)
_GENERATED = re.compile(r"^<!-- generated: (.+?) -->$", re.MULTILINE)


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


def _replace(app: Sphinx, docname: str, source: list[str]) -> None:
    root, complain = Path(app.config.repository_root), partial(_complain, docname)
    text = source[0]
    shown = SHOWS.search(text)
    if shown:
        path = in_repository(root, shown[1])
        if path is None:
            return complain(f"shows {shown[1]}, which is not there")
        app.env.note_dependency(str(root / path))
        text = (root / path).read_text(encoding="utf-8")
    else:
        path = f"docs/{docname}{Path(app.env.doc2path(docname)).suffix}"
        if not (root / path).is_file():
            path = Path(path).name  # rosdoc2 makes a page of the README
    if not path.endswith(".rst"):
        text = relinked(text, path, root, app.shown_pages, complain)
    text = text.replace(UP, f"/{os.path.relpath(root, app.srcdir)}/")  # rosdoc2 builds a copy of the folder elsewhere
    source[0] = _GENERATED.sub(lambda match: generated.make(match[1].split(), root, app.config.autodoc_mock_imports),
                               text)
    return None


def _complain(docname: str, sentence: str) -> None:
    _log.warning("%s", sentence, location=docname)
