# SPDX-License-Identifier: Apache-2.0
"""The habits that ``scripts/count_style.py`` counts, and that its counting can be trusted."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def style():
    spec = importlib.util.spec_from_file_location("count_style", ROOT / "scripts" / "count_style.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # NamedTuple looks its module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def counted(style, folder: Path, text: str):
    (folder / "code.py").write_text(text)
    return style.functions(folder / "code.py", folder)


def test_the_project_keeps_its_limits_and_bars(style, capsys):
    assert style.main([]) == 0, capsys.readouterr().err


def test_every_exception_still_needs_to_be_one(style):
    found = [f for folder in style.FOLDERS for path in (ROOT / folder).rglob("*.py") for f in style.functions(path)]
    many = {f.name for f in found if len(style.parameters(f)) > style.MOST_ARGUMENTS}
    assert many == set(style.EXCEPTIONS) and all(style.EXCEPTIONS.values())


@pytest.mark.parametrize("count, wrong", [(10, False), (11, True)])
@pytest.mark.parametrize("form", ["{}", "self, {}", "*, {}"])
def test_arguments_without_self_are_counted(style, tmp_path, count, wrong, form):
    names = form.format(", ".join(f"a{k}" for k in range(count)))
    found = counted(style, tmp_path, f"class C:\n    def f({names}):\n        pass\n")
    assert [f"{count} arguments" in line for line in style.over_limits(found)] == [True] * wrong


@pytest.mark.parametrize("more", ["*rest", "**options", "*, flag"])
def test_any_kind_of_argument_counts(style, tmp_path, more):
    found = counted(style, tmp_path, f"def f({', '.join('abcdefghij')}, {more}):\n    pass\n")
    assert len(style.over_limits(found)) == 1


@pytest.mark.parametrize("lines, wrong", [(60, 0), (61, 1)])
def test_lines_are_counted_with_the_head_and_in_nested_functions(style, tmp_path, lines, wrong):
    body = "".join(f"        x = {k}\n" for k in range(lines - 1))
    found = counted(style, tmp_path, f"def outer():\n    def inner():\n{body}")
    assert [f.name for f in found] == ["outer", "inner"]
    assert sum("inner" in line for line in style.over_limits(found)) == wrong


@pytest.mark.parametrize("docstring, misses", [
    ("", {"docstring", "shape", "unit", "errors"}), ("Turn it.", {"shape", "unit", "errors"}),
    ("Turn points [N, 3].", {"unit", "errors"}), ("Turn points [N, 3] metres.", {"errors"}),
    ("Turn points [N, 3] metres.\n\n    Raises:\n        ValueError: no points.\n    ", set())])
def test_a_docstring_tells_shapes_units_and_errors(style, tmp_path, docstring, misses):
    text = f'"""{docstring}"""' if docstring else "pass"
    found = counted(style, tmp_path, f"def turned(points: np.ndarray) -> np.ndarray:\n    {text}\n"
                                     "    if not len(points):\n        raise ValueError(points)\n")
    assert {name for name, good in style.told(found[0]).items() if not good} == misses


def test_only_what_others_call_has_to_tell(style, tmp_path):
    found = counted(style, tmp_path, "def _own():\n    pass\n\n\nclass _Own:\n    def f(self):\n        pass\n\n\n"
                                     "def told():\n    \"\"\"Yes.\"\"\"\n    def inner():\n        pass\n")
    assert style.shares(found)["docstring"] == style.Count(1, [])


def test_types_are_asked_of_all_but_kernels(style, tmp_path):
    found = counted(style, tmp_path, "@kernel\ndef a(x):\n    pass\n\n\n@triton.jit(do_not_specialize=[])\n"
                                     "def b(x):\n    pass\n\n\ndef _c(x: int) -> None:\n    pass\n\n\n"
                                     "def d(x: int):\n    pass\n\n\ndef e(x, *rest: int) -> None:\n    pass\n")
    count = style.shares(found)["types"]
    assert count.good == 1 and [miss.split()[-1] for miss in count.misses] == ["d", "e"]


def test_what_falls_below_the_bar_of_its_half_is_told(style, monkeypatch, capsys):
    monkeypatch.setitem(style.HALF_BARS["training"], "unit", 100.1)
    assert style.main([]) == 1
    assert "unit in training: " in capsys.readouterr().err
    style.main(["scripts"])
    assert "in training" not in capsys.readouterr().err, "a bar of one half is none of other folders"


def test_what_falls_below_its_bar_is_told(style, monkeypatch, capsys):
    monkeypatch.setitem(style.BARS, "types", 100.1)
    assert style.main(["scripts"]) == 1
    assert "types" in capsys.readouterr().err
