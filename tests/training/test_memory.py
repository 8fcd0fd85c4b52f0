# SPDX-License-Identifier: Apache-2.0
"""Memory that a training step frees is there for the next one, instead of being mapped and cleared again."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from dinemo_training.data.memory import keep_memory
if {kept}:
    assert keep_memory()
np.ones(8_000_000)  # 64 MB; what comes after is the same size
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    np.ones(8_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")
def test_kept_memory_is_not_mapped_again():
    """Pages that the system has to provide while five arrays of one size follow each other."""
    given_back, kept = (int(subprocess.run([sys.executable, "-c", FAULTS.format(kept=kept)], check=True,
                                           capture_output=True, text=True).stdout) for kept in (False, True))
    assert kept * 10 < given_back, (kept, given_back)
