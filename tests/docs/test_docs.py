# SPDX-License-Identifier: Apache-2.0
"""The documentation builds without a warning, its links lead somewhere, and what it quotes is in the code."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# Hosts that pages may lead to; what is there cannot be asked from here.
HOSTS = ("https://arxiv.org/abs/", "https://github.com/", "https://www.sphinx-doc.org/", "https://readthedocs.org")
_MISSING = [name for name in ("sphinx", "myst_parser", "sphinx_rtd_theme") if importlib.util.find_spec(name) is None]
needs_sphinx = pytest.mark.skipif(bool(_MISSING), reason=f"{', '.join(_MISSING)} not installed: pip install '.[docs]'")


def extension(name: str):
    """A module of ``docs/_ext`` that needs no Sphinx."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


links, sources = extension("links"), extension("sources")


def pages() -> list[Path]:
    return sorted(DOCS.rglob("*.md"))


class Page(HTMLParser):
    """What a built page leads to, and the places in it that others may lead to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list) -> None:
        for key, value in attributes:
            if key in ("id", "name") and value:
                self.places.add(value)
            if key in ("href", "src") and value:
                self.targets.append(value)


def build(source: Path, out: Path, *options: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "sphinx", "-q", *options, "-b", "html", source, out],
                          capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("docs")
    done = build(DOCS, out, "-W", "--keep-going")
    assert done.returncode == 0, done.stderr[-4000:]
    return out


@needs_sphinx
def test_no_warning_and_every_link_leads_somewhere(built):
    parsed = {path.resolve(): Page(path) for path in built.rglob("*.html")}
    assert len(parsed) > 30
    broken, elsewhere = [], set()
    for path, page in parsed.items():
        for target in page.targets:
            if re.match(r"[a-z]+:", target):
                elsewhere.add(target)
                continue
            place, anchor = urldefrag(target)
            file = (path.parent / unquote(place.split("?")[0])).resolve() if place else path
            if not file.is_file() or (anchor and file in parsed and anchor not in parsed[file].places):
                broken.append(f"{path.relative_to(built.resolve())}: {target}")
    assert broken == []
    assert [target for target in sorted(elsewhere) if not target.startswith(HOSTS)] == []


@needs_sphinx
def test_tables_are_those_of_the_code(built):
    parameters = (built / "reference" / "parameters.html").read_text(encoding="utf-8")
    schema = (ROOT / "config" / "pose.yaml").read_text(encoding="utf-8")
    for name in re.findall(r"^    (\w+):", schema, re.MULTILINE):
        assert f">{name}</span>" in parameters, name
    commands = (built / "reference" / "commands.html").read_text(encoding="utf-8")
    for command in ("estimate", "eval-kitti", "bench", "build-engine", "compile", "doctor", "train"):
        assert f'id="dinemo-{command}"' in commands, command
    launch = (built / "reference" / "launch.html").read_text(encoding="utf-8")
    for file in (ROOT / "launch").glob("*.py"):
        for name in re.findall(r'DeclareLaunchArgument\("(\w+)"', file.read_text(encoding="utf-8")):
            assert f">{name}</span>" in launch, name
    api = (built / "reference" / "api.html").read_text(encoding="utf-8")
    for name in ("PoseEstimator", "ObjectPose", "load_bundle", "Camera", "DinemoError"):
        assert f'<span class="pre">{name}</span>' in api, name


@needs_sphinx
def test_a_broken_link_is_a_warning(tmp_path):
    """So that the test above can fail."""
    docs = tmp_path / "docs"
    for folder in ("_ext", "_static", "figures"):
        shutil.copytree(DOCS / folder, docs / folder)
    for file in ("conf.py", "concepts.md"):
        shutil.copy(DOCS / file, docs / file)
    for name in ("src", "setup.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    (docs / "index.md").write_text(
        "# A page\n\n[a](no_such_page.md) [b](concepts.md#no-such-section) [c](../no/such/file.py) "
        "[d](concepts.md#symmetry)\n\n![e](figures/no_picture.png)\n")
    told = build(docs, tmp_path / "out", "--keep-going").stderr
    for words in ("no_such_page.md", "no-such-section", "no/such/file.py", "no_picture.png"):
        assert any(words in line and "index" in line for line in told.splitlines()), told[-2000:]
    assert "concepts.md#symmetry" not in told and "'symmetry'" not in told


@needs_sphinx
def test_the_way_of_rosdoc2(tmp_path):
    """It copies the folder, and a conf.py of its own reads ours and replaces what is mocked."""
    wrapped = tmp_path / "wrapped_sphinx_directory"
    shutil.copytree(DOCS, wrapped)
    (wrapped / "conf.py").write_text(
        f'exec(open("{DOCS / "conf.py"}").read())\nextensions.append("sphinx.ext.autodoc")\n'
        'autodoc_mock_imports = []\nhtml_theme = "sphinx_rtd_theme"\nextensions.append("myst_parser")\n')
    done = build(wrapped, tmp_path / "out", "-W", "--keep-going")
    assert done.returncode == 0, done.stderr[-4000:]
    assert "max_objects" in (tmp_path / "out" / "reference" / "parameters.html").read_text(encoding="utf-8")


def test_rosdoc2_is_told_where_the_documentation_is():
    import yaml

    manifest = (ROOT / "package.xml").read_text(encoding="utf-8")
    file = ROOT / re.search(r"<rosdoc2>(.+?)</rosdoc2>", manifest)[1]
    kind, settings = yaml.safe_load_all(file.read_text(encoding="utf-8"))
    assert kind == {"type": "rosdoc2 config", "version": 1}
    sphinx = next(builder["sphinx"] for builder in settings["builders"] if "sphinx" in builder)
    assert (ROOT / sphinx["sphinx_sourcedir"] / "conf.py").is_file()
    assert (ROOT / settings["settings"]["python_source"] / "__init__.py").is_file()


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(DOCS)))
def test_relative_links_of_a_source_lead_to_files(page):
    text = page.read_text(encoding="utf-8")
    for shown in links.SHOWS.findall(text):
        assert links.in_repository(ROOT, shown), f"shows {shown}"
    for target in links.targets(text):
        if re.match(r"[a-z]+:", target):
            assert target.startswith(HOSTS), target
        else:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", ["architecture.md", "concepts.md", "getting_started.md"])
def test_files_that_a_page_names_exist(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|training|dinemo_training|tests|config|launch|scripts|engines|docs)/[\w./-]+)`", text)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page, numbers", [("docs/getting_started.md", r"^([\d.]+) ([\d.]+) \("),  # .., (runners-up
                                           ("README.md", r"\] ([\d.]+) \[\[")])  # size] score [[covariance
def test_the_example_in_python_runs(page, numbers, tmp_path):
    pytest.importorskip("numba")
    code = re.search(r"^```python\n(.+?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[1]
    shutil.copy(ROOT / "config" / "demo_sequence" / "010.jpg", tmp_path / "photo.jpg")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{os.environ.get('PYTHONPATH', '')}"})
    assert done.returncode == 0, done.stderr
    found = [match.groups() for match in re.finditer(numbers, done.stdout, re.MULTILINE)]  # score and probability
    assert len(found) == 1 and all(0 < float(number) <= 1 for number in found[0]), done.stdout


@pytest.mark.parametrize("page", ["SECURITY.md", "QUALITY_DECLARATION.md"])
def test_files_that_a_declaration_names_exist(page):
    """What holds a promise is there; of a second test in the same brackets the name without its folder will do."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|sh|yaml|txt|md|in|xml))`", text)
    there = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert len(named) >= 5
    assert [name for name in named if not (ROOT / name).exists() and name not in there | {"model.yaml"}] == []


def quoted_messages() -> list[str]:
    """What the tables of the troubleshooting page quote in their first column, and "sentence" of boxes."""
    found = []
    for line in (DOCS / "troubleshooting.md").read_text(encoding="utf-8").splitlines():
        cells = line.split("|")
        if len(cells) >= 5:
            quoted = re.findall(r"`([^`]+)`", cells[1] + (cells[2] if "`boxes_left_out" in cells[1] else ""))
            found += [text for text in quoted if " " in text.strip()]
    return found


def test_the_messages_that_are_explained_are_those_of_the_code():
    training = ROOT / links.in_repository(ROOT, "training/__init__.py")
    folders = (ROOT / "src" / "dinemo_ros", training.parent)
    known = [re.sub(r"\s+", " ", text) for folder in folders for text in sources.strings(folder)]
    quoted = quoted_messages()
    assert len(quoted) > 35
    unknown = []
    for message in quoted:
        pattern = re.compile(".*".join(re.escape(part) for part in message.split("…")))
        if not any(pattern.search(text) for text in known):
            unknown.append(message)
    assert unknown == []


def test_every_cause_is_explained():
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    diagnostics = (ROOT / "src" / "dinemo_ros" / "node" / "diagnostics.py").read_text(encoding="utf-8")
    causes = re.findall(r'Error, "(\w+)"\)', diagnostics) + ["detections", "topic", "internal"]
    reasons = re.search(r"^REASONS = \((.+)\)$", (ROOT / "src" / "dinemo_ros" / "node" / "boxes.py").read_text(
        encoding="utf-8"), re.MULTILINE)[1]
    assert len(causes) >= 9
    assert [cause for cause in causes if f"`rejected_{cause}`" not in text] == []
    assert [reason for reason in re.findall(r'"(\w+)"', reasons) if f"`boxes_left_out_{reason}`" not in text] == []
