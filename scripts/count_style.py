#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How far the code keeps the house's habits: short functions, few arguments, told and typed interfaces.

    python scripts/count_style.py [--misses] [FOLDER ...]

Ends in 1 where a function is longer, or has more arguments, than is allowed, or a share has fallen below its bar.
What a docstring ought to tell is guessed from the signature: the shape where there is an array, the unit where there is
an array or a float, the errors where one is raised. A method may leave the first two to its class.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("src", "training")
LONGEST, MOST_ARGUMENTS = 60, 10
_TRITON = "a Triton kernel: takes pointers, sizes and compile-time constants one by one, and no tuples of them"
#: Functions that may have more arguments, and why.
EXCEPTIONS = dict.fromkeys(("_gather_scores", "_window_terms", "_box_sides", "_stepped", "_compare_cells"), _TRITON)
#: Least share in whole percent: what has been reached. They may only rise.
BARS = {"docstring": 93.0, "shape": 88.0, "unit": 83.0, "errors": 88.0, "types": 94.0}
#: The same of one folder alone.
HALF_BARS = {"training": {"docstring": 99.0, "shape": 99.0, "unit": 99.0, "errors": 99.0, "types": 99.0}}
WANTED = {"docstring": 95.0, "shape": 95.0, "unit": 95.0, "errors": 95.0, "types": 97.0}
_KERNEL = re.compile(r"\b(kernel|kept|jit|njit)\b")
_ARRAY = re.compile(r"\b(ndarray|Tensor)\b")
_NUMBER = re.compile(r"\bfloat\b")
_SHAPE = re.compile(r"\[[^\]]*\]|\bscalar\b|\bshape\b")
_UNIT = re.compile(r"\b(metres?|mm|degrees?|radians?|pixels?|cells?|seconds?|milliseconds?|ms|Hz|MB|bytes|percent|"
                   r"shares?|probabilit\w+|ratio|factors?|cosines?|unit|weights?|log\w*|scores?|indices|index|masks?|"
                   r"0 to 1|uint8|RGB|colours?|features?|rotations?|transforms?|covariance|lengths?|variance|"
                   r"similarity|temperature|times|deviations?)\b|%")
_ERRORS = re.compile(r"\b[Rr]aises?\b|\w+Error\b|\b[Ee]rrors?\b|\brefuse[sd]?\b|\bends? in\b|\bSystemExit\b")


class Function(NamedTuple):
    """One function or method: where it stands, its node, the docstrings of the classes about it, who may call it."""

    place: str
    name: str
    node: ast.FunctionDef | ast.AsyncFunctionDef
    about: str
    public: bool
    nested: bool


class Count(NamedTuple):
    """How many of those that ought to do, and places of those that do not."""

    good: int
    misses: list[str]

    @property
    def percent(self) -> float:
        return 100.0 * self.good / (self.good + len(self.misses)) if self.good or self.misses else 100.0


def functions(path: Path, root: Path = ROOT) -> list[Function]:
    """All functions of a file, nested ones too.

    Raises:
        SyntaxError: the file is no Python.
    """
    place = path.relative_to(root).as_posix()
    return list(_below(ast.parse(path.read_text(encoding="utf-8")), place, "", True, False))


def _below(node: ast.AST, place: str, about: str, public: bool, nested: bool) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        name = getattr(child, "name", "")
        if isinstance(child, ast.ClassDef):
            told = f"{about}\n{ast.get_docstring(child) or ''}"
            yield from _below(child, place, told, public and not name.startswith("_"), nested)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            shown = public and not nested and not name.startswith("_")
            yield Function(f"{place}:{child.lineno} {name}", name, child, about, shown, nested)
            yield from _below(child, place, about, False, True)
        else:
            yield from _below(child, place, about, public, nested)


def parameters(function: Function) -> list[ast.arg]:
    """Without ``self`` and ``cls``."""
    a = function.node.args
    named = [*a.posonlyargs, *a.args]
    if named and named[0].arg in ("self", "cls"):
        named = named[1:]
    return [*named, *([a.vararg] if a.vararg else []), *a.kwonlyargs, *([a.kwarg] if a.kwarg else [])]


def lines(function: Function) -> int:
    """From ``def`` to the last line, docstring included."""
    return function.node.end_lineno - function.node.lineno + 1


def is_kernel(function: Function) -> bool:
    """Whether it is compiled: arguments of kernels have no types, numba and Triton find them."""
    return any(_KERNEL.search(ast.unparse(decorator)) for decorator in function.node.decorator_list)


def over_limits(found: list[Function]) -> list[str]:
    """What is too long or has too many arguments, a line each."""
    wrong = [f"{f.place}: {lines(f)} lines; allowed: {LONGEST}" for f in found if lines(f) > LONGEST]
    return wrong + [f"{f.place}: {len(parameters(f))} arguments; allowed: {MOST_ARGUMENTS}" for f in found
                    if len(parameters(f)) > MOST_ARGUMENTS and f.name not in EXCEPTIONS]


def shares(found: list[Function]) -> dict[str, Count]:
    """By what is counted: public functions that tell, functions outside of kernels that are typed."""
    tells: dict[str, list[tuple[bool, str]]] = {name: [] for name in WANTED}
    for f in found:
        if f.public:
            for name, good in told(f).items():
                tells[name].append((good, f.place))
        if not f.nested and not is_kernel(f):
            tells["types"].append((typed(f), f.place))
    return {name: Count(sum(good for good, _ in pairs), [place for good, place in pairs if not good])
            for name, pairs in tells.items()}


def told(function: Function) -> dict[str, bool]:
    """Whether the docstring tells what it ought to; only what it ought to is in the answer."""
    own = ast.get_docstring(function.node) or ""
    text, hints = f"{function.about}\n{own}", _hints(function)
    if _is_property(function):
        return {}  # told by the class
    answer = {"docstring": bool(own)}
    if _ARRAY.search(hints):
        answer["shape"] = bool(_SHAPE.search(text))
    if _ARRAY.search(hints) or _NUMBER.search(hints):
        answer["unit"] = bool(_UNIT.search(text))
    if _raises(function.node):
        answer["errors"] = bool(_ERRORS.search(text))
    return answer


def typed(function: Function) -> bool:
    """Whether every argument and the result have a type."""
    return function.node.returns is not None and all(p.annotation is not None for p in parameters(function))


def _hints(function: Function) -> str:
    hints = [p.annotation for p in parameters(function)] + [function.node.returns]
    return " ".join(ast.unparse(hint) for hint in hints if hint is not None)


def _is_property(function: Function) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in function.node.decorator_list)


def _raises(node: ast.AST) -> bool:
    """Whether it raises something itself; a bare ``raise`` passes on what the caller has been told of elsewhere."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise) and child.exc is not None and "NotImplementedError" not in ast.unparse(child):
            return True
        if not isinstance(child, (ast.FunctionDef, ast.ClassDef, ast.Lambda)) and _raises(child):
            return True
    return False


def citing(paths: list[Path]) -> int:
    """How many of the files name a paper, a standard or an equation."""
    source = re.compile(r"et al\.|\b[A-Z]{3,}\w* \d{4}\b|\barXiv\b|\b[Ee]q(uation|\.) ?\(?\d|\bREP \d+|\bISO \d+|"
                        r"\b[A-Z][a-z]+'s? (formula|method|algorithm|cost|rule)|\(\w+,? \d{4}\)")
    return sum(bool(source.search(path.read_text(encoding="utf-8"))) for path in paths)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", metavar="FOLDER", default=list(FOLDERS), help="default: %(default)s")
    parser.add_argument("--misses", action="store_true", help="name every function that does not tell")
    options = parser.parse_args(argv)
    paths = [path for folder in options.folders for path in sorted((ROOT / folder).rglob("*.py"))]
    found = [f for path in paths for f in functions(path)]
    wrong, counts = over_limits(found), shares(found)
    print(f"{len(found)} functions in {len(paths)} files, {citing(paths)} of these name a source")
    for name, count in counts.items():
        print(f"{name:10} {count.percent:5.1f} %  of {count.good + len(count.misses):4}  wanted {WANTED[name]:.0f} %")
        if options.misses:
            print(*(f"    {place}" for place in count.misses), sep="\n")
        if count.percent < BARS[name]:
            wrong.append(f"{name}: {count.percent:.1f} %; allowed: from {BARS[name]:.0f} %, which has been reached")
    for folder in set(options.folders) & set(HALF_BARS):
        half = shares([f for f in found if f.place.startswith(f"{folder}/")])
        wrong += [f"{name} in {folder}: {half[name].percent:.1f} %; allowed: from {bar:.0f} %, which has been reached"
                  for name, bar in HALF_BARS[folder].items() if half[name].percent < bar]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
