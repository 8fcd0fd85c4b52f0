# SPDX-License-Identifier: Apache-2.0
"""Settings that lie in the current folder are nobody's: libraries would obey them without being asked."""

import os
import subprocess
import sys

import pytest
from shared_data import ROOT

from dinemo_ros.process.current_folder import elsewhere, skip_dds_profile

# As an installed program: the package from wherever it is, and the current folder not on the module path.
_SCRIPT = "import sys; sys.path[:] = {path!r}; {code}"
_KERNEL = """
from dinemo_ros.solver.jit import kept
from dinemo_ros.solver.numba_import import numba
kernel = kept()(abs_sum)
kernel(2.0)
print(numba.config.DISABLE_JIT, numba.config.BOUNDSCHECK, bool(kernel.signatures))
"""
SETTINGS = [
    "disable_jit: 1\nboundscheck: 1\n",
    "- a list\n",
    "opt: nonsense\n",
    "{ no: [yaml\n",
]


def _run(folder, code, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    paths = [path for path in sys.path if os.path.isabs(path)]
    return subprocess.run([sys.executable, "-c", _SCRIPT.format(path=paths, code="exec(sys.stdin.read())")],
                          input=code, cwd=folder, env={**kept, **environment}, text=True, capture_output=True,
                          timeout=120)


@pytest.mark.parametrize("text", SETTINGS)
def test_settings_of_numba(tmp_path, text):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / ".numba_config.yaml").write_text(text)
    (tmp_path / "summing.py").write_text("def abs_sum(x):\n    return x + 1.0\n")
    code = f"sys.path.append({str(tmp_path)!r})\nfrom summing import abs_sum\n{_KERNEL}"
    done = _run(tmp_path / "here", code, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert done.stdout.split() == ["0", "-1", "True"] or done.stdout.split() == ["0", "None", "True"], done.stderr


def test_settings_of_numba_in_the_environment_hold(tmp_path):
    done = _run(tmp_path, "from dinemo_ros.solver.numba_import import numba\nprint(numba.config.DISABLE_JIT)",
                NUMBA_DISABLE_JIT="1")
    assert done.stdout.split() == ["1"], done.stderr


def test_one_stands_where_one_stood(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with elsewhere():
        assert os.getcwd() == "/"
    assert os.getcwd() == str(tmp_path)
    with pytest.raises(ValueError), elsewhere():
        raise ValueError
    assert os.getcwd() == str(tmp_path)


def test_a_folder_that_is_gone(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with elsewhere():
        pass
    monkeypatch.chdir(tmp_path)


def test_the_users_choice_of_profiles_holds(monkeypatch):
    monkeypatch.setenv("SKIP_DEFAULT_XML_FILE", "0")
    skip_dds_profile()
    assert os.environ["SKIP_DEFAULT_XML_FILE"] == "0"


@pytest.mark.parametrize("given, left", [(":/one:.:/two:", "/one:/two"), ("", "unset"), (":", "unset"),
                                         ("relative", "unset"), ("/a b:/c", "/a b:/c")])
def test_the_demo_takes_no_empty_entry_of_the_module_path(given, left):
    lines = (ROOT / "scripts" / "demo.sh").read_text().splitlines()
    end = next(number for number, line in enumerate(lines) if line.startswith("scripts="))
    script = "\n".join([*lines[:end], 'echo "${PYTHONPATH-unset}"'])
    done = subprocess.run(["bash", "-c", script], env={**os.environ, "PYTHONPATH": given}, text=True,
                          capture_output=True)
    assert done.stdout.strip() == left, done.stderr
