# SPDX-License-Identifier: Apache-2.0
"""Pictures of real objects that are measured on and enter no training: ``splits/household.sha256`` lists them.

A picture is known by its content, or by the names of its folder and of itself without suffix, which catch a data set
that was scaled or compressed anew in its own layout. What was renamed as well is not recognised.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

SPLITS = Path(__file__).parent / "splits"


@dataclass(frozen=True)
class KeptPictures:
    """What a list in the format of ``sha256sum`` names.

    Attributes:
        source: the list. by_digest: SHA-256 -> path in the data set. by_name: (folder, stem) -> the same path.
    """

    source: Path
    by_digest: dict[str, str]
    by_name: dict[tuple[str, str], str]

    @classmethod
    def read(cls, source: Path) -> KeptPictures:
        """A list that comes with this package."""
        lines = [line.split(maxsplit=1) for line in source.read_text(encoding="ascii").splitlines()]
        paths = {path: PurePosixPath(path) for _, path in lines}
        return cls(source, dict(map(tuple, lines)), {(p.parent.name, p.stem): path for path, p in paths.items()})

    def name_of(self, file: Path, digest: str) -> str | None:
        """Path in the data set of the picture that ``file`` with this SHA-256 is, None for any other picture."""
        return self.by_digest.get(digest) or self.by_name.get((file.parent.name, file.stem))


@lru_cache(maxsize=1)
def kept_pictures() -> KeptPictures:
    """Those of the split of real cups and bottles."""
    return KeptPictures.read(SPLITS / "household.sha256")
