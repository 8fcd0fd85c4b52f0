# SPDX-License-Identifier: Apache-2.0
"""Untrusted checkpoints and weights: tensors and plain values, no code, no more memory than their size."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import torch

from dinemo_ros.errors import DinemoError
from dinemo_ros.io.bounded_file import size_in_words
from dinemo_ros.io.quoting import shown, shown_path

_LARGEST = 8 << 30  # bytes; a vision transformer of the largest kind with its optimiser has 4


class WeightsError(DinemoError, ValueError):
    """A file that holds no tensors, or not those of the network that is to be loaded."""


def read_weights(path: str | Path) -> Any:
    """What ``torch.save`` or safetensors wrote, on the CPU; no pickled code runs.

    Raises:
        WeightsError: too large, damaged, or not only tensors and plain values.
    """
    try:
        _check_size(path)
        if Path(path).suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # torch raises a dozen unrelated types for one cause: a file that is none of its own
        reason = error.strerror if isinstance(error, OSError) and error.strerror else _first_sentence(error)
        raise WeightsError(f"{shown_path(path)}: cannot be read as weights ({reason}); give a file of tensors that "
                           "torch.save or safetensors wrote") from error


def _check_size(path: str | Path) -> None:
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise WeightsError(f"{shown_path(path)}: is no plain file; give a file of weights")
    size = found.st_size
    if size <= _LARGEST and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if size < unpacked <= _LARGEST:
            raise WeightsError(f"{shown_path(path)}: unpacks to {size_in_words(unpacked)} from {size_in_words(size)}, "
                               "but torch.save packs nothing; save it anew with torch.save")
        size = max(size, unpacked)
    if size > _LARGEST:
        raise WeightsError(f"{shown_path(path)}: is larger than {size_in_words(_LARGEST)}, which is the most that is "
                           f"read ({size_in_words(size)})")


def _first_sentence(error: Exception) -> str:
    """torch explains at length how to switch the safety off, which is no advice for a stranger's file."""
    text = " ".join(str(error).split()) or type(error).__name__
    if "weights only" in text.lower() or "weights_only" in text:
        return "it holds other things than tensors and plain values, which are not loaded"
    return shown(text)
