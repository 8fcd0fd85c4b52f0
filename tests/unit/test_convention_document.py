# SPDX-License-Identifier: Apache-2.0
"""CONVENTIONS.md names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHORT = {name: f"tests/unit/test_convention_{name}.py" for name in ("geometry", "camera", "pose")}


def test_every_named_test_exists():
    text, file, named = (ROOT / "CONVENTIONS.md").read_text(), None, 0
    for reference, test in re.findall(r"`([\w/.]*)::(test_\w+)`", text):
        file = SHORT.get(reference, reference) or file  # "::test_x" is in the file named before
        assert f"def {test}(" in (ROOT / file).read_text(), f"{file} has no {test}"
        named += 1
    assert named > 25
