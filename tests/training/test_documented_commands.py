# SPDX-License-Identifier: Apache-2.0
"""Every command of the training half that a document, or the head of a module, names parses as it stands there."""

import argparse
import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training extra is not installed")

from dinemo_ros.cli import train

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "training", "engines")
_COMMAND = re.compile(r"python3? -m (dinemo_training[\w.]*)((?:\\\n|[^\n`])*)")
_TRAIN = re.compile(r"(?:^|[\s`/])dinemo train((?: |\\\n)(?:\\\n|[^\n`])*)", re.MULTILINE)


class Parsed(BaseException):
    """Stops a command as soon as it has read its options."""


def texts():
    """Documents, and the docstrings at the head of modules."""
    documents = [*ROOT.glob("*.md"), *(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.md"))]
    found = [(path, path.read_text()) for path in sorted(documents)]
    for path in sorted((ROOT / "training").rglob("*.py")):
        doc = path.read_text().split('"""')
        found.append((path, doc[1] if len(doc) > 1 else ""))
    return found


def words_of(text: str) -> list[str]:
    """Of a command line without its comment; ``[--json FILE]`` stands for options that may be left out."""
    return shlex.split(re.sub(r"[\[\]]", "", text.replace("\\\n", " ")), comments=True)


def commands(pattern):
    """Place, and what the groups of ``pattern`` found, of every command that is written out."""
    found = {}
    for path, text in texts():
        for match in pattern.finditer(text):
            inline = text[max(match.start() - 1, 0)] == "`" or text[match.start()] == "`"
            found.setdefault((inline, *match.groups()), f"{path.relative_to(ROOT)}: {match[0].strip()[:60]}")
    return [pytest.param(*key, id=place) for key, place in found.items()]


def parser_of(module: str, monkeypatch) -> argparse.ArgumentParser:
    """The parser that ``python -m module`` makes, caught when it is about to read the command line."""
    caught = []

    def stop(self, *_):
        caught.append(self)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [module])
    found = importlib.import_module(module)
    if hasattr(found, "__path__"):  # a package with a __main__
        found = importlib.import_module(f"{module}.__main__")
    with pytest.raises(Parsed):
        found.main()
    monkeypatch.undo()
    return caught[0]


@pytest.mark.parametrize("inline, module, text", commands(_COMMAND))
def test_commands_of_modules(inline, module, text, monkeypatch):
    parser, words = parser_of(module, monkeypatch), words_of(text)
    if inline or "..." in words:  # in a sentence, where only what matters is named
        assert {word for word in words if word.startswith("--")} <= set(parser._option_string_actions)
    else:
        parser.parse_args(words)


@pytest.mark.parametrize("inline, text", commands(_TRAIN))
def test_dinemo_train(inline, text):
    parser = argparse.ArgumentParser()
    train.add_parser(parser.add_subparsers())
    words = words_of(text)
    if inline or "..." in words:
        known = parser._subparsers._group_actions[0].choices["train"]._option_string_actions
        assert {word for word in words if word.startswith("--")} <= set(known)
    else:
        parser.parse_args(["train", *words])


def test_something_was_found():
    assert len(commands(_COMMAND)) > 60 and len(commands(_TRAIN)) > 10


def test_options_that_do_not_exist_are_noticed(monkeypatch):
    parser = parser_of("dinemo_training.export.azimuth_uncertainty", monkeypatch)
    with pytest.raises(SystemExit):
        parser.parse_args(["--bundle", "b", "--renders", "r", "--doubt"])
