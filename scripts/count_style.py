#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How far the code keeps the house's habits: short functions, few arguments, told and typed interfaces.

    python scripts/count_style.py [--misses] [FOLDER ...]

Ends in 1 where a function is longer, or has more arguments, than is allowed, or a share has fallen below its bar.
What a docstring ought to tell is guessed from the signature: the shape where there is an array, the unit where there is
an array or a float, the errors where one is raised. A method may leave all of these to its class, a function to another
one that it names ("see", "as for"), and the unit of a float to the end of its name (``stamp_s``, ``hfov_deg``).
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("src", "training")
LONGEST, MOST_ARGUMENTS = 60, 10
_TRITON = "a Triton kernel: takes pointers, sizes and compile-time constants one by one, and no tuples of them"
#: Functions that may have more arguments, and why.
EXCEPTIONS = dict.fromkeys(("_gather_scores", "_window_terms", "_box_sides", "_stepped", "_compare_cells"), _TRITON)
#: Least share in whole percent: what has been reached. They may only rise.
BARS = {"docstring": 99.0, "shape": 99.0, "unit": 98.0, "errors": 99.0, "types": 99.0}
#: The same of one folder alone.
HALF_BARS = {"training": {"docstring": 99.0, "shape": 99.0, "unit": 99.0, "errors": 99.0, "types": 99.0}}
WANTED = {"docstring": 95.0, "shape": 95.0, "unit": 95.0, "errors": 95.0, "types": 97.0}
_KERNEL = re.compile(r"\b(kernel|kept|jit|njit)\b")
_ARRAY = re.compile(r"\b(ndarray|Tensor)\b")
_NUMBER = re.compile(r"\bfloat\b")
_SHAPE = re.compile(r"\[[^\]]*\]|\bscalar\b|\bshape\b")
_UNIT = re.compile(r"\b(metres?|mm|degrees?|radians?|pixels?|cells?|seconds?|milliseconds?|ms|Hz|MB|bytes|percent|"
                   r"shares?|probabilit\w+|ratio|factors?|cosines?|unit|weights?|log-\w+|logarithms?|logits?|scores?|indices|index|masks?|"
                   r"0 to 1|bool|uint8|RGB|colours?|features?|rotations?|transforms?|covariance|lengths?|variances?|"
                   r"similarity|temperature|times|deviations?|intersection over union|nanoseconds|microseconds)\b|%",
                   re.IGNORECASE)
_UNIT_OF_NAME = re.compile(r"_(s|ms|ns|hz|deg|rad|m|mm|px|mb|share|score|factor)$")
_REFERENCE = re.compile(r"\b(?:see|as|as for|as in)\s+:(?:func|meth):`~?([\w.]+)`", re.IGNORECASE)
_ERRORS = re.compile(r"\b[Rr]aises?\b|\w+Error\b|\b[Ee]rrors?\b|\brefuse[sd]?\b|\bends? in\b|\bSystemExit\b")


class Function(NamedTuple):
    """One function or method: where it stands, its node, the docstrings of the classes about it, who may call it.

    ``owner`` is the name of its class or, outside of one, of its module.
    """

    place: str
    owner: str
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
    return list(_below(ast.parse(path.read_text(encoding="utf-8")), (place, path.stem), "", True, False))


def _below(node: ast.AST, where: tuple[str, str], about: str, public: bool, nested: bool) -> Iterator[Function]:
    place, owner = where
    for child in ast.iter_child_nodes(node):
        name = getattr(child, "name", "")
        if isinstance(child, ast.ClassDef):
            told = f"{about}\n{ast.get_docstring(child) or ''}"
            yield from _below(child, (place, name), told, public and not name.startswith("_"), nested)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            shown = public and not nested and not name.startswith("_")
            yield Function(f"{place}:{child.lineno} {name}", owner, name, child, about, shown, nested)
            yield from _below(child, where, about, False, True)
        else:
            yield from _below(child, where, about, public, nested)


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
    docstrings = {(f.owner, f.name): f"{f.about}\n{ast.get_docstring(f.node) or ''}" for f in found}
    for f in found:
        if f.public:
            for name, good in told(f, docstrings).items():
                tells[name].append((good, f.place))
        if not f.nested and not is_kernel(f):
            tells["types"].append((typed(f), f.place))
    return {name: Count(sum(good for good, _ in pairs), [place for good, place in pairs if not good])
            for name, pairs in tells.items()}


def told(function: Function, docstrings: Mapping[tuple[str, str], str] | None = None) -> dict[str, bool]:
    """Whether the docstring tells what it ought to; only what it ought to is in the answer.

    docstrings: of all functions, by owner and name, for those that leave it to another one.
    """
    own = ast.get_docstring(function.node) or ""
    text, hints = f"{function.about}\n{own}\n{_referred(own, function.owner, docstrings or {})}", _hints(function)
    if _is_property(function):
        return {}  # told by the class
    answer = {"docstring": bool(own)}
    if _ARRAY.search(hints):
        answer["shape"] = bool(_SHAPE.search(text))
    if _ARRAY.search(hints) or _NUMBER.search(hints):
        answer["unit"] = bool(_UNIT.search(text)) or _named_after_units(function)
    if _raises(function.node):
        answer["errors"] = bool(_ERRORS.search(text))
    return answer


def _referred(text: str, owner: str, docstrings: Mapping[tuple[str, str], str]) -> str:
    """What the functions tell that a docstring leaves something to; a name alone is of the same class or module."""
    paths = [reference.split(".") for reference in _REFERENCE.findall(text)]
    return "\n".join(docstrings.get((path[-2] if len(path) > 1 else owner, path[-1]), "") for path in paths)


def _named_after_units(function: Function) -> bool:
    """Whether there are no arrays and the name of every float, and of a function that returns one, ends in its unit."""
    if _ARRAY.search(_hints(function)):
        return False
    named = [(p.arg, p.annotation) for p in parameters(function)] + [(function.name, function.node.returns)]
    return all(_UNIT_OF_NAME.search(name) for name, hint in named if hint and _NUMBER.search(ast.unparse(hint)))


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
    source = re.compile(r"et al\.|\b[A-Z]{3,}\w* \d{4}\b|\barXiv\b|\b[Ee]q(uation|\.) ?\(?\d|"
                        r"\bREP \d+|\bISO(/IEC)? \d+|\bITU-T [A-Z]\.\d+|\bEXIF \d|"
                        r"\b[A-Z][a-z]+'s? (formula|method|algorithm|cost|rule)|"
                        r"\(\w+,? \d{4}\)|\b[A-Z][a-z]+(?:'s)? \(\d{4}\)|\b[A-Z][a-z]+, \d{4}\)")
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
