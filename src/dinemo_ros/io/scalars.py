# SPDX-License-Identifier: Apache-2.0
"""Single values of YAML and JSON as Python's, without what surprises.

Typed as ``yaml.safe_load`` does, so that what ``yaml.safe_dump`` wrote comes back, but for this: dates stay texts, and
numbers that readers of YAML take for different ones (``010`` is 8, ``1:30`` is 90) are refused.
"""

from __future__ import annotations

import math
import re

import yaml
from yaml.resolver import Resolver

from .quoting import quoted

#: What a plain YAML scalar stands for.
Scalar = str | int | float | bool | None

_TAG = "tag:yaml.org,2002:"
_RESOLVER = Resolver()
_TRUTH = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_LONGEST_INTEGER = 18  # digits; every one of them fits into 64 bits
_LONGEST_FLOAT = 64  # characters
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_SPECIAL = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}


def plain_text(event: yaml.ScalarEvent) -> str | None:
    """The text as it stands there, whatever its tag; None of an empty one and of YAML's null."""
    return None if event.implicit[0] and event.value in ("", "~", "null") else event.value


def typed_scalar(event: yaml.ScalarEvent) -> Scalar:
    """Text, number, truth value or None; ValueError says what is wrong, in a few words."""
    text = event.value
    if event.implicit[1] or event.tag == "!":  # in quotes
        return text
    meant = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False)).removeprefix(_TAG)
    if not event.implicit[0]:
        meant = _agreed(event.tag or "", meant, text)
    if meant == "null":
        return None
    if meant == "bool":
        return _TRUTH[text.lower()]
    if meant == "int":
        return _yaml_integer(text)
    return _yaml_float(text) if meant == "float" else text


def json_integer(text: str) -> int:
    """ValueError for one that does not fit into 64 bits."""
    if len(text.lstrip("-")) > _LONGEST_INTEGER:
        raise ValueError(f"a whole number of {len(text)} digits; {_LONGEST_INTEGER} are the most")
    return int(text)


def json_float(text: str) -> float:
    """A number of a JSON text, in whatever unit it is written; ValueError for one that no double is."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{quoted(text, 40)} is too large a number")
    return value


def checked_text(text: str) -> str:
    """``text``; ValueError if it holds what no name and no terminal can: a zero byte, half a character."""
    if "\0" in text:
        raise ValueError("a text with a zero byte")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a text with half a character (a lone surrogate)") from None
    return text


def _agreed(tag: str, meant: str, text: str) -> str:
    """What a value with a tag of its own is; a tag that says something else than the value is an error."""
    named = tag.removeprefix(_TAG)
    if named == "str":
        return "str"
    if named == meant and meant in ("int", "float", "bool", "null"):
        return meant
    if named in ("int", "float", "bool", "null"):
        raise ValueError(f"{quoted(text, 40)} is no {named}")
    raise ValueError(f"the tag {quoted(tag, 40)} is not read")


def _yaml_integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"{quoted(text, 40)} is not one number to all: write it in decimal digits, or in quotes if it "
                         "is a text")
    return json_integer(text.lstrip("+"))


def _yaml_float(text: str) -> float:
    special = _SPECIAL.get(text.lower())
    if special is not None:
        return special
    if len(text) > _LONGEST_FLOAT:
        raise ValueError(f"a number of {len(text)} characters; {_LONGEST_FLOAT} are the most")
    if "_" in text or ":" in text:
        raise ValueError(f"{quoted(text, 40)} is not one number to all: write it in decimal digits, or in quotes if it "
                         "is a text")
    return json_float(text)
