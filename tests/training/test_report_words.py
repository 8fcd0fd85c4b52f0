# SPDX-License-Identifier: Apache-2.0
"""Names of categories, files and pools stand in the report as they are written, and do nothing there."""

from html.parser import HTMLParser

import pytest

pytest.importorskip("jinja2", reason="training extra is not installed")

from dinemo_training.report.page import Picture, Section, Table
from dinemo_training.report.report import render

EVIL = ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "' onclick='alert(1)", "{{ 7 * 7 }}{% raw %}",
        "a\u202egnp.exe", "\x1b[2J\x9b", "&lt;script&gt;"]


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


def page_of(word: str) -> tuple[str, Page]:
    section = Section(word, [word], [Table([word], [[word]], word)], [Picture(word, word)])
    text = render(category=word, time=word, sections=[section], config=f"category: {word}\n",
                  versions={"dinemo_ros": word, "commit": word})
    page = Page()
    page.feed(text)
    return text, page


@pytest.mark.parametrize("word", EVIL, ids=ascii)
def test_text_of_strangers_stays_text(word):
    text, page = page_of(word)
    _, plain = page_of("plain")
    assert page.tags == plain.tags and page.attributes == plain.attributes
    assert "script" not in page.tags and "49" not in page.text
    assert all(c.isprintable() or c == "\n" for c in text)
    if word.isprintable():
        assert word in page.text
