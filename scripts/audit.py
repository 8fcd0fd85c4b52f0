# SPDX-License-Identifier: Apache-2.0
"""Locked versions against known holes; the part of audit.sh that is not pip-audit's. Needs PyYAML and packaging.

Two sources: advisories.yaml beside this file, kept by hand, and what pip-audit's network database answered. A database
counts as asked only when it knows a hole that is planted: pip-audit says "no known vulnerabilities" even where its
server could not tell.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ADVISORIES = Path(__file__).resolve().with_name("advisories.yaml")
# This release has had holes since 2022: a database that does not say so was not reached.
PLANTED = "setuptools==65.5.0"
_OLD_DAYS = 90


class Hole(NamedTuple):
    """A known hole of one locked version."""

    package: str
    version: str
    id: str
    what: str


def pinned(text: str) -> Iterator[tuple[str, str]]:
    """(name, version) of each ``name==version`` line of a requirements text, whatever its marker.

    Raises:
        ValueError: a requirement without an exact version.
    """
    for line in re.sub(r"\\\n", " ", text).splitlines():
        words = re.sub(r"\s--hash=\S+|(^|\s)#.*", "", line).strip()
        if not words or words.startswith("-"):
            continue
        try:
            requirement = Requirement(words)
        except InvalidRequirement as error:
            raise ValueError(f"not a requirement: {words[:80]!r} ({str(error).splitlines()[0]})") from None
        versions = [one.version for one in requirement.specifier if one.operator == "=="]
        if len(versions) != 1:
            raise ValueError(f"{requirement.name} has no exact version: audit a lock, scripts/locks/*.txt")
        yield canonicalize_name(requirement.name), versions[0]


def by_hand(versions: set[tuple[str, str]], known: Sequence[dict]) -> set[Hole]:
    """Holes of ``versions`` that the list kept by hand knows."""
    return {Hole(name, version, entry["id"], entry["what"]) for name, version in versions for entry in known
            if canonicalize_name(entry["package"]) == name
            and SpecifierSet(entry["affected"]).contains(version, prereleases=True)}


def from_database(versions: set[tuple[str, str]]) -> set[Hole] | None:
    """Holes that pip-audit's database knows; None where it could not be asked, or has no idea of a planted hole."""
    if not _asked([PLANTED]):
        return None
    found: set[Hole] = set()
    # One version of a package at a time: a lock for several Pythons has more than one.
    for batch in _batches(sorted(f"{name}=={version}" for name, version in versions)):
        answer = _asked(batch)
        if answer is None:
            return None
        found |= answer
    return found


def _asked(requirements: Sequence[str]) -> set[Hole] | None:
    """What pip-audit says of ``requirements``; None where it gave no answer."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json",
                   "--progress-spinner", "off", "--timeout", "20", "-r", str(listed)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
            answers = json.loads(done.stdout)["dependencies"]
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            return None
    return {Hole(canonicalize_name(answer["name"]), answer["version"], hole["id"],
                 hole.get("description", "").partition("\n")[0][:100])
            for answer in answers for hole in answer.get("vulns", [])}


def _batches(requirements: Sequence[str]) -> list[list[str]]:
    """``requirements`` in lists that name no package twice."""
    batches: list[dict[str, str]] = []
    for requirement in requirements:
        name = requirement.partition("==")[0]
        batch = next((one for one in batches if name not in one), None)
        if batch is None:
            batches.append(batch := {})
        batch[name] = requirement
    return [list(batch.values()) for batch in batches]


def main(words: Sequence[str] | None = None) -> int:
    """Print what is known of the given locks; the exit status that audit.sh documents."""
    parser = argparse.ArgumentParser(prog="audit.sh", description="Locked versions against known holes.")
    parser.add_argument("locks", nargs="+", type=Path, help="requirements files with exact versions")
    parser.add_argument("--offline", action="store_true", help="ask no network database")
    parser.add_argument("--strict", action="store_true", help="end with 3 where no database could be asked")
    options = parser.parse_args(words)
    versions: set[tuple[str, str]] = set()
    for lock in options.locks:
        try:
            versions |= set(pinned(lock.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            print(f"{lock}: {error}", file=sys.stderr)
            return 2
    advisories = yaml.safe_load(ADVISORIES.read_text(encoding="utf-8"))
    holes = by_hand(versions, advisories["known"])
    database = None if options.offline else from_database(versions)
    accepted = {(canonicalize_name(entry["package"]), entry["id"]): entry["why"] for entry in advisories["accepted"]}
    age = (date.today() - advisories["as_of"]).days
    print(f"{len(versions)} versions of {len({name for name, _ in versions})} packages")
    print(f"list kept by hand: as of {advisories['as_of']}, {len(advisories['known'])} holes, not complete"
          + (f"; it is {age} days old, look the packages up again" if age > _OLD_DAYS else ""))
    if database is not None:
        print("network database: asked, and it knew the planted hole")
        holes |= database
    else:
        print("network database: " + ("not asked (--offline)" if options.offline else
                                      "could not be reached, so what the list does not have is not known"))
    open_holes = sorted(hole for hole in holes if (hole.package, hole.id) not in accepted)
    for hole in sorted(holes - set(open_holes)):
        print(f"accepted: {hole.package} {hole.version}: {hole.id}, {hole.what}: "
              f"{accepted[hole.package, hole.id].strip()}")
    for hole in open_holes:
        print(f"HOLE: {hole.package} {hole.version}: {hole.id}, {hole.what}")
    print(f"{len(open_holes)} known holes that nobody has accepted")
    if open_holes:
        return 1
    return 3 if options.strict and database is None else 0


if __name__ == "__main__":
    sys.exit(main())
