# SPDX-License-Identifier: Apache-2.0
"""Principal components, fitted once and then frozen.

SD+DINO fits its PCA to every pair of pictures anew (``co_pca``); features of a fixed template bank would then mean
something else for every photograph. Here one fit on the templates and a sample of photographs serves all pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dinemo_ros.errors import DocumentError
from dinemo_ros.io.array_file import read_arrays
from dinemo_ros.io.files import write_arrays
from dinemo_ros.io.quoting import shown
from dinemo_training.models.weights_file import WeightsError

_PARTS = ("mean", "components")


@dataclass(frozen=True)
class FrozenProjection:
    """mean [C] and components [C, d] of one layer's features."""

    mean: Tensor
    components: Tensor

    @classmethod
    def fit(cls, samples: Tensor, dim: int) -> FrozenProjection:
        """First ``dim`` principal components of samples [N, C] (fewer where the data has fewer).

        The randomised SVD draws from torch's generator: seed it for the same components twice.
        """
        mean = samples.mean(0)
        centred = samples - mean
        _, _, components = torch.pca_lowrank(centred, q=min(dim, *centred.shape), center=False, niter=4)
        return cls(mean, components)

    def __call__(self, maps: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, d, h, w]."""
        centred = maps - self.mean.to(maps).view(1, -1, 1, 1)
        return torch.einsum("nchw,cd->ndhw", centred, self.components.to(maps))


def save_projections(path: str | Path, projections: dict[str, FrozenProjection], settings: dict[str, int]) -> None:
    """One npz file (no pickles): two arrays per layer, and the settings that the features were computed with."""
    arrays = {f"{name}.{part}": getattr(p, part).numpy() for name, p in projections.items() for part in _PARTS}
    write_arrays(path, **arrays, **{f"setting.{key}": np.array(value) for key, value in settings.items()})


def load_projections(path: str | Path) -> tuple[dict[str, FrozenProjection], dict[str, int]]:
    """What :func:`save_projections` wrote: projections per layer, and settings; WeightsError if it is none of that."""
    try:
        data = read_arrays(path)
        settings = {key.removeprefix("setting."): int(data[key]) for key in data if key.startswith("setting.")}
        names = dict.fromkeys(key.rpartition(".")[0] for key in data if key.rpartition(".")[2] in _PARTS)
        arrays = {n: [torch.from_numpy(data[f"{n}.{part}"]) for part in _PARTS] for n in names}
    except (DocumentError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: holds no projections ({shown(error)}); give a file that save_projections wrote"
                           ) from error
    return {name: FrozenProjection(*parts) for name, parts in arrays.items()}, settings
