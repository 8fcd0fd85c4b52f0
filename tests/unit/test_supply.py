# SPDX-License-Identifier: Apache-2.0
"""What scripts/setup.sh installs: locked by version and hash, in step with setup.py, without known holes."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import setuptools
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from shared_data import ROOT

LOCKS = ROOT / "scripts/locks"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
EXTRAS = {"run": ("bag",), "test": ("bag", "test", "docs"),
          "train": ("train", "test", "bag", "openvino", "diffusion", "tensorrt-rtx")}


def load_audit():
    specification = importlib.util.spec_from_file_location("supply_audit", ROOT / "scripts/audit.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


audit = load_audit()


def entries(name: str) -> list[tuple[Requirement, int]]:
    """(requirement, number of hashes) of each line of a lock."""
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(Requirement(re.sub(r"\s--hash=\S+|\s#.*", "", line).strip()),
             len(re.findall(r"--hash=sha256:[0-9a-f]{64}(?=\s|$)", line))) for line in lines]


def versions_for(name: str, python: str) -> dict[str, str]:
    """Package to version that a lock gives this Python on a Linux machine."""
    environment = default_environment() | {"python_version": python, "python_full_version": f"{python}.1",
                                           "sys_platform": "linux", "platform_machine": "x86_64"}
    return {canonicalize_name(one.name): next(iter(one.specifier)).version for one, _ in entries(name)
            if one.marker is None or one.marker.evaluate(environment)}


def setup_arguments(monkeypatch) -> dict:
    arguments: dict = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", lambda **given: arguments.update(given))
    runpy.run_path(str(ROOT / "setup.py"))
    return arguments


def requirements_of(path: Path) -> list[Requirement]:
    return [Requirement(line) for line in path.read_text(encoding="utf-8").splitlines()
            if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("name", ["tools", *EXTRAS])
def test_every_locked_package_has_one_version_and_a_hash(name):
    for requirement, hashes in entries(name):
        assert [one.operator for one in requirement.specifier] == ["=="] and hashes, requirement
        assert requirement.url is None
    assert "://" not in (LOCKS / f"{name}.txt").read_text(encoding="utf-8"), "a lock names no host"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", EXTRAS)
def test_the_lock_has_what_setup_py_asks_for(name, python, monkeypatch):
    """Fails after an edit of setup.py or of requirements-ros.txt until scripts/lock.sh has run."""
    arguments = setup_arguments(monkeypatch)
    extras = [one for extra in EXTRAS[name] for one in arguments["extras_require"][extra]]
    wanted = [Requirement(one) for one in arguments["install_requires"] + extras]
    if name != "train":
        wanted += requirements_of(ROOT / "scripts/requirements-ros.txt")
    locked = versions_for(name, python)
    for requirement in wanted:
        found = locked.get(canonicalize_name(requirement.name))
        assert found and requirement.specifier.contains(found), f"{requirement}: {found}; run scripts/lock.sh"


def test_the_lock_of_the_tools_keeps_their_bounds():
    locked = versions_for("tools", "3.11")
    for requirement in requirements_of(LOCKS / "tools.in"):
        assert requirement.specifier.contains(locked[requirement.name]), requirement
    for name in EXTRAS:  # one place for each version
        assert not {"pip", "setuptools", "wheel"} & versions_for(name, "3.11").keys()


def test_every_python_that_setup_py_allows_has_a_lock(monkeypatch):
    allowed = setup_arguments(monkeypatch)["python_requires"]
    assert allowed == f">={PYTHONS[0]},<3.{int(PYTHONS[-1].split('.')[1]) + 1}"
    for name in ("tools", *EXTRAS):
        fits = (LOCKS / f"{name}.txt").read_text(encoding="utf-8").splitlines()[1]
        assert {f"{python}-x86_64" for python in PYTHONS} <= set(fits.removeprefix("# fits:").split())


def test_the_lock_is_made_from_the_extras_that_are_installed():
    made = (ROOT / "scripts/lock.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    for name, extras in EXTRAS.items():
        line = re.search(rf"^compile {name} .*", made, re.M)
        assert line and tuple(re.findall(r"--extra (\S+)", line[0])) == extras


def test_setup_installs_nothing_from_a_lock_without_hashes():
    text = (ROOT / "scripts/setup.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    installing = [line for line in text.splitlines() if re.search(r"-r \"?scripts/locks/", line)]
    assert len(installing) == 2 and all("--require-hashes" in line and "--no-deps" in line for line in installing)


@pytest.mark.parametrize("python, machine, unlocked, fits", [
    ("3.11", "x86_64", "", True), ("3.14", "x86_64", "", True), ("3.1", "x86_64", "", False),
    ("3.15", "x86_64", "", False), ("3.11", "aarch64", "", False), ("3.11", "x86_64", "1", False)])
def test_setup_takes_the_lock_where_it_fits_and_says_where_not(tmp_path, python, machine, unlocked, fits):
    for name, answer in (("python", python), ("uname", machine)):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {answer}\n")
        (tmp_path / name).chmod(0o755)
    function = re.search(r"^locked\(\) \{.*?^\}", (ROOT / "scripts/setup.sh").read_text(), re.M | re.S)
    script = f"say() {{ echo \"$*\"; }}\nPYTHON={tmp_path}/python\n{function[0]}\nif locked run; then echo taken; fi"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "UNLOCKED": unlocked}
    said = subprocess.run(["bash", "-euc", script], cwd=ROOT, env=environment, capture_output=True, text=True,
                          check=True).stdout
    assert ("taken" in said) == fits
    assert ("without hashes" in said) == (not fits)


def test_the_numpy_beside_a_distribution_is_of_its_major_version():
    """The same or a later one: messages compiled against an older one run with it, and numba wants more than 1.21."""
    function = re.search(r"^numpy_of_distribution\(\) \{.*?^\}", (ROOT / "scripts/setup.sh").read_text(), re.M | re.S)
    here = version("numpy")
    for interpreter, said in ((sys.executable, f"numpy>={here},<{int(here.split('.')[0]) + 1}"),
                              ("/bin/false", "")):
        done = subprocess.run(["bash", "-euc", f"PYTHON={interpreter}\n{function[0]}\nnumpy_of_distribution"],
                              capture_output=True, text=True, check=True)
        assert done.stdout.strip() == said


def run_audit(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run(["bash", ROOT / "scripts/audit.sh", "--offline", *map(str, words)], capture_output=True,
                          text=True, check=False, env={**os.environ, "PYTHON": sys.executable})


def test_no_lock_has_a_hole_that_the_list_knows():
    done = run_audit()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 known holes that nobody has accepted" in done.stdout and "not asked (--offline)" in done.stdout


@pytest.mark.parametrize("line, hole", [
    ("setuptools==65.5.0 \\\n    --hash=sha256:00", "setuptools 65.5.0: CVE-2025-47273"),
    ("setuptools==79.0.1", "setuptools 79.0.1: CVE-2026-59890"), ("Wheel==0.45.1", "wheel 0.45.1: CVE-2026-24049"),
    ("pillow==12.2.0 ; python_version < '3.8'", "pillow 12.2.0: CVE-2026-55379")])
def test_audit_finds_a_hole(tmp_path, line, hole):
    sample = tmp_path / "sample.txt"
    sample.write_text(f"# a sample\n{line}\nnumpy==2.4.6\n")
    done = run_audit(sample)
    assert done.returncode == 1 and f"HOLE: {hole}" in done.stdout
    assert "numpy" not in done.stdout.split("database")[1]


def test_audit_tells_what_was_accepted_and_why(tmp_path):
    (tmp_path / "sample.txt").write_text("accelerate==1.15.0\n")
    done = run_audit(tmp_path / "sample.txt", "--strict")
    assert done.returncode == 3 and "accepted: accelerate 1.15.0: CVE-2026-69112" in done.stdout


@pytest.mark.parametrize("module_path", ["", ":", ".:/nowhere"])
def test_the_audit_imports_nothing_that_lies_in_the_current_folder(tmp_path, module_path):
    for name in ("venv", "pip", "yaml", "packaging", "argparse", "importlib", "pathlib"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\n")
    (tmp_path / "sample.txt").write_text("numpy==2.4.6\n")
    environment = {**os.environ, "PYTHONPATH": module_path, "PYTHON": sys.executable, "PIP_INDEX_URL": "http://127.0.0.1:9",
                   "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(["bash", str(ROOT / "scripts" / "audit.sh"), "sample.txt"], cwd=tmp_path, text=True,
                          capture_output=True, env=environment, timeout=120)
    assert done.returncode == 0 and "0 known holes" in done.stdout, done.stderr
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("text", ["numpy>=2\n", "numpy\n", "no such requirement\n"])
def test_what_is_no_lock_is_refused_in_a_sentence(tmp_path, text):
    (tmp_path / "sample.txt").write_text(text)
    done = run_audit(tmp_path / "sample.txt")
    assert done.returncode == 2 and "sample.txt: " in done.stderr and "Traceback" not in done.stderr


def test_a_database_that_does_not_know_the_planted_hole_was_not_asked(monkeypatch):
    hole = audit.Hole("setuptools", "65.5.0", "CVE-2025-47273", "x")
    for answer, believed in ((set(), False), (None, False), ({hole}, True)):
        monkeypatch.setattr(audit, "_asked", lambda requirements, answer=answer: answer)
        assert (audit.from_database({("setuptools", "65.5.0")}) is not None) == believed


def test_versions_of_one_package_are_asked_for_one_at_a_time():
    batches = audit._batches(["numpy==1.0", "numpy==2.0", "pip==26.3"])
    assert batches == [["numpy==1.0", "pip==26.3"], ["numpy==2.0"]]


def test_the_list_kept_by_hand_owes_a_reason_for_what_it_accepts():
    advisories = audit.yaml.safe_load(audit.ADVISORIES.read_text(encoding="utf-8"))
    known = {(one["package"], one["id"]) for one in advisories["known"]}
    for one in advisories["accepted"]:
        assert (one["package"], one["id"]) in known and len(one["why"]) > 30


@pytest.mark.skipif(not (Path(sys.prefix) / ".dinemo/stamps").is_dir(),
                    reason="scripts/setup.sh did not make this environment")
def test_the_environment_has_no_tool_with_a_known_hole():
    tools = {(name, version(name)) for name in ("pip", "setuptools", "wheel")}
    assert audit.by_hand(tools, audit.yaml.safe_load(audit.ADVISORIES.read_text(encoding="utf-8"))["known"]) == set()
