# SPDX-License-Identifier: Apache-2.0
"""What the sources say of themselves, read without importing them: definitions, docstrings, imports, messages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

#: Methods whose text a user reads: of a logger, of the node's monitor, of a command.
_TELLING = {"warning": "log, warning", "error": "log, error", "info": "log, information", "reject": "diagnostics",
            "note": "diagnostics", "warn": "log, warning", "inform": "log, information", "fail": "diagnostics",
            "say": "standard error"}
_GAP = "…"
_SHORTEST = 12  # letters of a message that is more than a word between two values


def package_folder(root: Path, package: str) -> Path:
    """Where ``package`` lies below ``root``; it may be called dinemo_PACKAGE."""
    names = (package, f"src/{package}", f"dinemo_{package}", f"src/dinemo_{package}")
    return next(root / name for name in names if (root / name / "__init__.py").is_file())


def definitions(source: Path) -> dict[str, tuple[str, str]]:
    """Of every class and function at the top of a module below ``source``: its module, and "class" or "function"."""
    found: dict[str, tuple[str, str]] = {}
    for path in sorted(source.rglob("*.py")):
        module = ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
        for node in _tree(path).body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
                found.setdefault(node.name, (module, "class" if isinstance(node, ast.ClassDef) else "function"))
    return found


def modules_by_folder(package: Path) -> dict[str, list[tuple[str, str]]]:
    """By folder below ``package`` ("" is itself): name and first sentence of the docstring of its modules."""
    folders: dict[str, list[tuple[str, str]]] = {}
    for path in sorted(package.rglob("*.py"), key=lambda path: (path.parent.as_posix(), path.name)):
        if "__pycache__" in path.parts:
            continue
        first = first_sentence(ast.get_docstring(_tree(path)) or "")
        if path.name == "__init__.py" and not first:
            continue
        folder = path.parent.relative_to(package).as_posix()
        folders.setdefault("" if folder == "." else folder, []).append((path.name, first))
    return folders


def first_sentence(docstring: str) -> str:
    """Up to the first full stop, or the first paragraph."""
    paragraph = " ".join(docstring.split("\n\n")[0].split()).replace("``", "`")
    paragraph = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", paragraph)  # roles of Sphinx
    head, stop, _ = paragraph.partition(". ")
    return (head + stop.strip()).rstrip(":")


def imports_between_areas(package: Path, name: str) -> dict[str, list[str]]:
    """Of every folder or module directly below ``package``: which others of them it imports, by reading the code."""
    arrows: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        parts = [name, *path.relative_to(package).with_suffix("").parts]
        area = _area(parts)
        if area is None:
            continue
        others = {_area(target) for target in _imported(path, parts) if target[0] == name}
        arrows.setdefault(area, set()).update(other for other in others if other and other != area)
    known = set(arrows)
    return {area: sorted(others & known) for area, others in sorted(arrows.items())}


def _area(parts: list[str]) -> str | None:
    return None if len(parts) < 2 or parts[1] == "__init__" else parts[1]


def _imported(path: Path, parts: list[str]) -> Iterator[list[str]]:
    """Dotted names, as lists, of what a module imports."""
    package = parts[:-1]
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            yield from ([*base, alias.name] for alias in node.names)


def messages(package: Path) -> dict[str, list[tuple[str, str]]]:
    """By part of ``package``: every sentence that it tells a user, values left out, and how it is told."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).parts
        for text, kind in _told(_tree(path)):
            found.setdefault(parts[0], {}).setdefault(text, kind)
    return {area: list(texts.items()) for area, texts in sorted(found.items())}


def _told(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name, arguments = _name(node.exc.func), node.exc.args
            kind = name if name.endswith("Error") and name[0].isupper() else ""
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            arguments, kind = node.args, _TELLING.get(node.func.attr, "")
        else:
            continue
        text = max((_text(argument) for argument in arguments), key=lambda t: len(t.strip(_GAP)), default="")
        if kind and len(text.replace(_GAP, "").strip()) >= _SHORTEST:
            yield text, kind


def strings(package: Path) -> set[str]:
    """Every piece of text in the code of ``package``, values and placeholders left out."""
    found: set[str] = set()
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(_tree(path)):
            if isinstance(node, (ast.JoinedStr, ast.BinOp)) or (isinstance(node, ast.Constant)
                                                               and isinstance(node.value, str)):
                found.add(_text(node))
    return found


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _text(node: ast.expr) -> str:
    """What an expression says, ``…`` for what only the running program knows."""
    if isinstance(node, ast.Constant):
        text = node.value if isinstance(node.value, str) else _GAP
        return text.replace("%s", _GAP).replace("%r", _GAP).replace("%d", _GAP)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else _GAP for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mult)):
        return _text(node.left) + (_text(node.right) if isinstance(node.op, ast.Add) else "")
    return _GAP


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
