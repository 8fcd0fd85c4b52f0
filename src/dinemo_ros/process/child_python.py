# SPDX-License-Identifier: Apache-2.0
"""Our own modules in an interpreter of their own, and nothing that happens to lie in the current folder.

``python -m MODULE`` puts the current folder in front of everything: a ``numpy.py`` in a folder of data that somebody
sent would be run. Python 3.11 has ``-P`` against that; 3.10 does not, so the path is set before anything is imported.
"""

from __future__ import annotations

import os
import sys

_BOOT = ("import sys; sys.argv.pop(0); sys.path[:] = {paths!r}; import runpy; "
         "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)")


def python_command(module: str, *arguments: object) -> list[str]:
    """Command that runs ``module`` with the module path of this process, the current folder left out of it.

    Start it with :func:`python_environment`.
    """
    return [sys.executable, "-c", _BOOT.format(paths=_trusted(sys.path)), module, *map(str, arguments)]


def python_environment() -> dict[str, str]:
    """This process' variables for such a command, and for the Pythons that it starts in turn.

    PYTHONPATH loses what is relative, the current folder among it: an empty entry, as a colon at the end makes it,
    stands for that one. PYTHONSAFEPATH is ``-P`` for Python 3.11 and later.
    """
    given = os.environ.get("PYTHONPATH", "")
    kept = _trusted([path for path in given.split(os.pathsep) if os.path.isabs(path)])
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(kept)}
    if not kept:
        del environment["PYTHONPATH"]  # set but empty is the current folder to some tools
    return environment


def _trusted(paths: list[str]) -> list[str]:
    """The absolute ones of ``paths`` without the current folder, unless that is where this package is imported from."""
    here, own = os.path.realpath(os.curdir), _own_folders()
    return [path for path in paths if os.path.isabs(path)
            and (os.path.realpath(path) != here or os.path.realpath(path) in own)]


def _own_folders() -> set[str]:
    """Folders that hold the packages of this project as they are loaded."""
    loaded = [sys.modules[name] for name in ("dinemo_ros", "dinemo_training") if name in sys.modules]
    return {os.path.realpath(os.path.dirname(path)) for module in loaded for path in module.__path__}
