# SPDX-License-Identifier: Apache-2.0
"""The list of slow tests names tests that exist, and nothing else is left out by it."""

import pytest
from fast_run import is_slow, slow_tests
from shared_data import ROOT


def test_names_end_where_the_listed_ones_do():
    beginnings = ["tests/a", "tests/b.py", "tests/c.py::test_x"]
    left_out = ["tests/a/d.py::test_y", "tests/b.py::test_y", "tests/c.py::test_x", "tests/c.py::test_x[1]"]
    kept = ["tests/aa/d.py::test_y", "tests/b.pyc::test_y", "tests/c.py::test_xy", "tests/c.py::test_z"]
    assert all(is_slow(name, beginnings) for name in left_out)
    assert not any(is_slow(name, beginnings) for name in kept)


@pytest.mark.parametrize("line", slow_tests())
def test_what_is_listed_exists(line):
    path, *names = line.split("::")
    assert (ROOT / path).exists(), f"{line}: no such file; take the line out of tests/slow_tests.txt"
    if names:
        source = (ROOT / path).read_text(encoding="utf-8")
        missing = [name for name in names if f"def {name}(" not in source and f"class {name}" not in source]
        assert not missing, f"{line}: {missing[0]} is not there; take the line out of tests/slow_tests.txt"
