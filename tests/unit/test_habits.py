# SPDX-License-Identifier: Apache-2.0
"""What a repository promises beside its code: files that agree with one another and with what is there."""

from __future__ import annotations

import re

import pytest
import yaml
from shared_data import ROOT

import dinemo_ros

YAMLS = [".pre-commit-config.yaml", "CITATION.cff",
         *(str(path.relative_to(ROOT)) for path in sorted((ROOT / ".github").rglob("*.yml")))]


@pytest.mark.parametrize("name", YAMLS)
def test_it_can_be_read(name):
    assert isinstance(yaml.safe_load((ROOT / name).read_text(encoding="utf-8")), dict)


def test_the_citation_is_of_this_version_and_of_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == dinemo_ros.__version__
    assert citation["references"][0]["url"].endswith("2503.20220")


def test_hooks_and_locks_have_one_ruff():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    locked = (ROOT / "scripts/locks/test.txt").read_text(encoding="utf-8")
    assert re.search(r"ruff==([\d.]+)", hooks)[1] == re.search(r"^ruff==([\d.]+)", locked, re.M)[1]


def test_the_address_is_one_that_nobody_can_own():
    for path in ["setup.py", "package.xml", *ROOT.glob("tests/ros_support/*/package.xml")]:
        text = (ROOT / path).read_text(encoding="utf-8")
        addresses = re.findall(r"[\w.-]+@[\w.-]+\w", text)
        assert addresses and all(one.endswith(".example") for one in addresses), path


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "QUALITY_DECLARATION.md", "docs/dependencies.md",
                                  "CODE_OF_CONDUCT.md", ".github/PULL_REQUEST_TEMPLATE.md"])
def test_files_and_scripts_that_a_text_names_are_there(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    base = (ROOT / name).parent
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (base / link).exists(), link
    for path in re.findall(r"(?:scripts|tests|docs|src|training)/[\w./-]*\w\.(?:sh|py|md|txt|yaml)", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("name", ["docker/Dockerfile.desktop", "docker/Dockerfile.jetson", ".github/workflows/ros.yml",
                                  ".github/workflows/tests.yml"])
def test_what_was_never_run_says_so(name):
    assert re.search(r"^# Not (run|built) (here|yet)", (ROOT / name).read_text(encoding="utf-8"), re.M)


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "src/dinemo_ros/py.typed").is_file()
    assert '"py.typed"' in (ROOT / "setup.py").read_text(encoding="utf-8")
