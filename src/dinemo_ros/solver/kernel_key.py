# SPDX-License-Identifier: Apache-2.0
"""What a compiled kernel depends on, as two digests.

:func:`folder_key` is of everything that one process compiles against: the text of every module that defines a kernel
or is imported, over however many steps, by one that does, because a kernel freezes the constants it finds; numba, LLVM,
numpy and Python; the processor. :func:`frozen` is of one kernel as it stands in memory, with the values that it
freezes: where they are not those of the text (a constant patched at run time, byte code older than its source), the
text's kernel is not taken for it. Both are of contents, so installations of the same sources share their kernels.
"""

from __future__ import annotations

import enum
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType

import llvmlite
import llvmlite.binding
import numpy as np

from .numba_import import numba

PACKAGE = Path(__file__).resolve().parents[1]
_IMPORT = re.compile(rb"^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]*)", re.MULTILINE)
_NAME = re.compile(rb"\w+")
_DEFINES_KERNEL = re.compile(rb"^[ \t]*@(?:jit\.)?kernel\b", re.MULTILINE)
# numba's settings that change machine code and that its own key leaves out.
_SETTINGS = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DISABLE_INTEL_SVML")
_PLAIN = (int, float, complex, str, bytes, type(None), type(...), np.generic)


@lru_cache(maxsize=1)
def sources(package: Path = PACKAGE) -> dict[str, bytes]:
    """Text of every module of ``package`` that defines a kernel and of what those import, by its path in the package.

    Found in the files themselves: a new kernel needs to be entered nowhere.
    """
    texts = {path: path.read_bytes() for path in package.rglob("*.py") if os.access(path, os.R_OK)}
    todo = [path for path, text in texts.items() if _DEFINES_KERNEL.search(text)]
    found: set[Path] = set()
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += [other for other in imported(path, texts[path], package) if other in texts]
    return {path.relative_to(package).as_posix(): texts[path] for path in sorted(found)}


def imported(path: Path, text: bytes, package: Path) -> Iterator[Path]:
    """Files that the import statements of the module at ``path`` may take names from, whether they exist or not."""
    for dots, module, names in _IMPORT.findall(text):
        parts = module.decode().split(".") if module else []
        if dots:
            folder = path.parents[len(dots) - 1]
        elif parts and parts[0] == package.name:
            folder, parts = package, parts[1:]
        else:
            continue
        base = folder.joinpath(*parts)
        yield base / "__init__.py"
        yield base.with_suffix(".py")
        for name in _NAME.findall(names):
            yield base / f"{name.decode()}.py"
            yield base / name.decode() / "__init__.py"


@lru_cache(maxsize=1)
def ingredients() -> dict[str, str]:
    """Everything behind :func:`folder_key`, by name."""
    text = hashlib.sha256()
    for name, content in sources().items():
        text.update(f"{name}\0{len(content)}\0".encode() + content)
    from numba.core.registry import cpu_target

    cpu = "/".join(map(str, cpu_target.target_context.codegen().magic_tuple()))
    settings = {name: repr(getattr(numba.config, name, None)) for name in _SETTINGS}
    return {"sources": text.hexdigest(), "numba": numba.__version__, "llvmlite": llvmlite.__version__,
            "llvm": ".".join(map(str, llvmlite.binding.llvm_version_info)), "numpy": np.__version__,
            "python": f"{sys.implementation.name} {sys.version}", "cpu": cpu, "settings": json.dumps(settings)}


def folder_key() -> str:
    """16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(ingredients(), sort_keys=True).encode()).hexdigest()[:16]


def covers(function: Callable) -> bool:
    """Whether :func:`folder_key` has the text of ``function``, or :func:`frozen` does: of modules outside the package.

    In the package a kernel that ``sources`` has missed is not kept, instead of being kept under a wrong key.
    """
    path = Path(function.__code__.co_filename).resolve()
    if path.is_relative_to(PACKAGE):
        return path.relative_to(PACKAGE).as_posix() in sources()
    return path.is_file()


def frozen(function: Callable) -> str:
    """Digest of a kernel's byte code, of the values of the names in it, and of the kernels that it calls.

    Of one outside the package (the training half's) the text of its module as well.
    """
    digest = hashlib.sha256("\n".join(_described(function, set())).encode())
    path = Path(function.__code__.co_filename).resolve()
    if not path.is_relative_to(PACKAGE):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def called(function: Callable) -> set[Callable]:
    """The package's compiled kernels that ``function`` calls, and those that they call."""
    found: set[Callable] = set()
    todo = [function]
    while todo:
        here = todo.pop()
        values = [here.__globals__.get(name) for name in here.__code__.co_names]
        new = {value.py_func for value in values if value is not None and hasattr(value, "py_func")} - found
        found |= new
        todo += new
    return found


def _described(value: object, seen: set[int]) -> Iterator[str]:
    """Lines that differ where machine code made with ``value`` may differ."""
    function = getattr(value, "py_func", value)  # a kernel, compiled or not
    if isinstance(function, FunctionType):
        yield f"function {function.__module__}.{function.__qualname__}"
        if id(function) not in seen:
            seen.add(id(function))
            yield from _function(function, seen)
    elif isinstance(value, np.ndarray):
        yield f"array {value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    elif isinstance(value, (tuple, list)):
        yield f"{type(value).__qualname__} of {len(value)}"
        for part in value:
            yield from _described(part, seen)
    elif isinstance(value, frozenset):
        yield f"set {sorted(map(repr, value))}"
    elif isinstance(value, type):
        yield f"type {value.__module__}.{value.__qualname__} {getattr(value, '_fields', '')}"
    elif isinstance(value, (ModuleType, BuiltinFunctionType, np.ufunc)):
        yield f"{type(value).__qualname__} {value.__name__}"
    elif isinstance(value, (*_PLAIN, enum.Enum)):
        yield f"{type(value).__qualname__} {value!r}"
    else:  # its representation may hold an address: then it is found in no cache, which is slow and not wrong
        yield f"{type(value).__qualname__} {value!r}"


def _function(function: FunctionType, seen: set[int]) -> Iterator[str]:
    names: set[str] = set()
    codes = [function.__code__]
    for code in codes:
        yield code.co_code.hex()
        yield f"{code.co_names} {code.co_varnames} {code.co_freevars}"
        names.update(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        yield from _described([c for c in code.co_consts if not isinstance(c, CodeType)], seen)
    values = {name: function.__globals__[name] for name in sorted(names) if name in function.__globals__}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        values[name] = cell.cell_contents
    for name, value in values.items():
        yield name
        yield from _described(value, seen)
        if isinstance(value, ModuleType) and value.__name__.partition(".")[0] == PACKAGE.name:
            for attribute in sorted(names & set(vars(value))):  # ``module.CONSTANT``
                yield attribute
                yield from _described(getattr(value, attribute), seen)
    yield from _described(list(function.__defaults__ or ()), seen)
