# SPDX-License-Identifier: Apache-2.0
"""A checkpoint is a zip file, in which a megabyte can stand for gigabytes."""

import zipfile

import pytest
import torch

from dinemo_training.models.weights_file import WeightsError, read_weights


def test_a_packed_checkpoint(tmp_path):
    plain, bomb = tmp_path / "plain.pt", tmp_path / "bomb.pt"
    torch.save({"a": torch.zeros(1000)}, plain)
    assert read_weights(plain)["a"].shape == (1000,)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in source.namelist():
            packed.writestr(name, bytes(300 << 20) if name.endswith("data/0") else source.read(name))
    with pytest.raises(WeightsError, match="packs nothing"):
        read_weights(bomb)
