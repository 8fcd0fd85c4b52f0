# SPDX-License-Identifier: Apache-2.0
"""The public interface is what public_api.txt says.

A changed line there is a change for users: keep the old way for one release with a DeprecationWarning, and say it in
CHANGELOG.rst. The new text is printed when this test fails.
"""

import inspect
import subprocess
import sys
from pathlib import Path

import dinemo_ros

SNAPSHOT = Path(__file__).with_name("public_api.txt")


def signature(name: str, what) -> str:
    try:
        return f"{name}{inspect.signature(what)}"
    except (TypeError, ValueError):
        return name


def described() -> str:
    lines = []
    for name in sorted(dinemo_ros.__all__):
        what = getattr(dinemo_ros, name)
        if not inspect.isclass(what):
            lines.append(signature(name, what))
            continue
        bases = ", ".join(base.__name__ for base in what.__bases__ if base is not object)
        lines.append(f"class {name}({bases})" if issubclass(what, Exception) else f"class {signature(name, what)}")
        if not issubclass(what, Exception):
            lines += [f"  {name}.{member}" if isinstance(value, property) else f"  {name}.{signature(member, value)}"
                      for member, value in sorted(members(what).items())]
    return "\n".join(lines) + "\n"


def members(what: type) -> dict:
    """Public methods and properties, inherited ones as well."""
    found = {}
    for owner in reversed(what.__mro__[:-1]):
        for name, value in vars(owner).items():
            value = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
            if not name.startswith("_") and (callable(value) or isinstance(value, property)):
                found[name] = value
    return found


def test_public_interface_is_the_recorded_one():
    assert described() == SNAPSHOT.read_text(), f"now it is:\n{described()}"


def test_every_public_name_has_a_docstring():
    undocumented = [name for name in dinemo_ros.__all__ if not (getattr(dinemo_ros, name).__doc__ or "").strip()]
    assert not undocumented


def test_importing_the_package_loads_nothing_heavy():
    code = ("import sys, dinemo_ros; dir(dinemo_ros); "
            "print([m for m in ('numpy', 'cv2', 'onnxruntime', 'numba', 'torch') if m in sys.modules])")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_all_is_what_star_imports_and_dir_lists():
    names: dict = {}
    exec("from dinemo_ros import *", names)
    assert set(dinemo_ros.__all__) <= set(names) and set(dinemo_ros.__all__) <= set(dir(dinemo_ros))
