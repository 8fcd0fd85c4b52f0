# SPDX-License-Identifier: Apache-2.0
"""What can be broken in a Python file, one place at a time.

A mutant is the file's text with one expression or statement replaced; everything else keeps its line. Names, messages,
docstrings, annotations and what only measures time are left alone: they compute nothing.
"""

from __future__ import annotations

import ast
import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

_ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
               ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}
_COMPARISON = {ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE),
               ast.GtE: (ast.Gt, ast.Lt), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,),
               ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,)}
_OPPOSITE = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "argmin": "argmax",
             "argmax": "argmin", "floor": "ceil", "ceil": "floor", "any": "all", "all": "any", "sin": "cos",
             "cos": "sin"}
_TIMING = ("timings", "perf_counter")  # only reported


@dataclass(frozen=True)
class Mutant:
    """One broken place.

    Attributes:
        path: of the file, relative to the repository.
        function: qualified name around the place, "" at the top of the file.
        in_kernel: whether that function is compiled by numba.
        operator: what kind of change; line: from 1; before, after: the text there.
        start, end: offsets of ``before`` in the file's text.
        occurrence: which of the like ones in the function, from 0.
    """

    path: str
    function: str
    in_kernel: bool
    operator: str
    line: int
    before: str
    after: str
    start: int
    end: int
    occurrence: int = 0

    @property
    def key(self) -> str:
        """The same for the same place while the lines about it change."""
        parts = self.path, self.function, self.operator, self.before, self.after, str(self.occurrence)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def applied(self, text: str) -> str:
        """``text`` of the file with this place broken."""
        if text[self.start:self.end] != self.before:
            raise ValueError(f"{self.path}:{self.line}: the file has changed, {self.before!r} is no longer there")
        return text[:self.start] + self.after + text[self.end:]


def mutants_of(path: str, text: str) -> list[Mutant]:
    """Every mutant of the file ``path`` with this ``text``, in order."""
    found, seen = [], {}
    for m in _Finder(path, text).places(ast.parse(text), "", False):
        like = m.function, m.operator, m.before, m.after
        seen[like] = seen.get(like, -1) + 1
        found.append(Mutant(**{**vars(m), "occurrence": seen[like]}))
    return found


class _Finder:
    def __init__(self, path: str, text: str) -> None:
        self._path, self._text = path, text
        self._lines = [0]
        for line in text.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._by_line = text.splitlines(keepends=True)

    def places(self, node: ast.AST, function: str, in_kernel: bool) -> Iterator[Mutant]:
        """Mutants of ``node`` and of all below it."""
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}".lstrip(".")
            in_kernel |= any(isinstance(d, ast.Name) and d.id == "kernel" for d in node.decorator_list)
        for operator, after in _changes(node, in_kernel):
            if not any(word in self._around(node) for word in _TIMING):
                start, end = self._offsets(node)
                before = self._text[start:end]
                yield Mutant(self._path, function, in_kernel, operator, node.lineno, before, after, start, end)
        for child in _children(node):
            yield from self.places(child, function, in_kernel)

    def _offsets(self, node: ast.AST) -> tuple[int, int]:
        return self._offset(node.lineno, node.col_offset), self._offset(node.end_lineno, node.end_col_offset)

    def _offset(self, line: int, column: int) -> int:
        """In characters; ``ast`` counts columns in bytes."""
        return self._lines[line - 1] + len(self._by_line[line - 1].encode()[:column].decode())

    def _around(self, node: ast.AST) -> str:
        return "".join(self._by_line[node.lineno - 1:node.end_lineno]) if isinstance(node, ast.expr | ast.stmt) else ""


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """What computes something below ``node``."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_params", "bases") or isinstance(node, ast.Raise):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr | ast.Import | ast.ImportFrom):
                yield child


def _changes(node: ast.AST, in_kernel: bool) -> Iterator[tuple[str, str]]:
    """Pairs of an operator's name and the text to stand in ``node``'s place."""
    if isinstance(node, ast.stmt):
        yield from _statement(node, in_kernel)
    elif isinstance(node, ast.expr):
        for operator, changed in _expression(node):
            yield operator, f"({ast.unparse(changed)})"


def _statement(node: ast.stmt, in_kernel: bool) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.AugAssign) and type(node.op) in _ARITHMETIC:
        yield "arithmetic", ast.unparse(_with(node, op=_ARITHMETIC[type(node.op)]()))
    if isinstance(node, ast.If | ast.While):
        return
    stored = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []
    writes = bool(stored) and all(isinstance(t, ast.Subscript | ast.Attribute) for t in stored)
    calls = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    if isinstance(node, ast.Continue | ast.Break | ast.Raise | ast.AugAssign) or writes or calls:
        yield "removed statement", "pass"
    if isinstance(node, ast.Return) and node.value is not None:
        value = ast.unparse(node.value)
        if isinstance(node.value, ast.Compare | ast.BoolOp):
            yield "return value", f"return not ({value})"
        elif not in_kernel and value != "None":
            yield "return value", "return None"
        elif in_kernel and not isinstance(node.value, ast.Tuple | ast.Constant):
            yield "return value", f"return -({value})"


def _expression(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield "arithmetic", _with(node, op=_ARITHMETIC[type(node.op)]())
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in _COMPARISON[type(node.ops[0])]:
            yield "comparison", _with(node, ops=[other()])
    elif isinstance(node, ast.BoolOp):
        yield "boolean", _with(node, op=ast.And() if isinstance(node.op, ast.Or) else ast.Or())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "sign", node.operand
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
        yield "boolean", node.operand
    elif isinstance(node, ast.IfExp):
        yield "boolean", _with(node, body=node.orelse, orelse=node.body)
    elif isinstance(node, ast.Constant):
        yield from _constant(node.value)
    elif isinstance(node, ast.Call):
        yield from _call(node)
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield from _index(node)


def _constant(value) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(value, bool):
        yield "constant", ast.Constant(not value)
    elif isinstance(value, int):
        yield "constant", ast.Constant(value - 1 if value > 0 else 1)  # down: an index must stay inside its array
    elif isinstance(value, float):
        yield "constant", ast.Constant(1.0 if value == 0.0 else -value if abs(value) < 1e-3 else 1.5 * value)


def _call(node: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    if name in _OPPOSITE:
        field = {"id": _OPPOSITE[name]} if isinstance(node.func, ast.Name) else {"attr": _OPPOSITE[name]}
        yield "opposite function", _with(node, func=_with(node.func, **field))
    elif name == "abs":
        yield "sign", node.args[0]


def _index(node: ast.Subscript) -> Iterator[tuple[str, ast.expr]]:
    """One place before; a place after could lie outside of the array, where a kernel reads anything."""
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    for k, part in enumerate(parts):
        if isinstance(part, ast.Name):
            moved = [*parts[:k], ast.BinOp(part, ast.Sub(), ast.Constant(1)), *parts[k + 1:]]
            index = ast.Tuple(moved, ast.Load()) if isinstance(node.slice, ast.Tuple) else moved[0]
            yield "index", _with(node, slice=index)


def _with(node: ast.AST, **fields):
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return ast.fix_missing_locations(changed)
