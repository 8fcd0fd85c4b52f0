# SPDX-License-Identifier: Apache-2.0
"""Which of a file's mutants are drawn: by a hash, so that an edit elsewhere in the file does not change the draw."""

from __future__ import annotations

import hashlib
from pathlib import Path

from .operators import Mutant, mutants_of
from .targets import Target

SEED = 13
SOURCE = "src/dinemo_ros/"


def drawn(root: Path, target: Target, seed: int = SEED) -> list[Mutant]:
    """The mutants of ``target`` in the tree ``root``, in the file's order; one per line at most."""
    path = SOURCE + target.path
    every = mutants_of(path, (root / path).read_text())
    every.sort(key=lambda m: hashlib.sha256(f"{seed} {m.key}".encode()).digest())
    chosen, lines = [], set()
    for in_kernel, count in ((True, target.in_kernels), (False, target.mutants - target.in_kernels)):
        left = [m for m in every if m.in_kernel == in_kernel]
        while count and left:
            m = left.pop(0)
            if m.line not in lines:
                chosen.append(m)
                lines.add(m.line)
                count -= 1
        if count:
            raise ValueError(f"{path} has {count} places fewer than targets.py asks for (in kernels: {in_kernel})")
    return sorted(chosen, key=lambda m: (m.line, m.start))
