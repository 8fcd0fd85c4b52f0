# SPDX-License-Identifier: Apache-2.0
"""Template bank: teacher features of the mesh's visible vertices in posed views, mirror images included."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from dinemo_ros.geometry import mirror_rotation, ray_rotation, viewpoint_from_rotation

from .batches import CorrespondenceSampler, grid_coordinates, project
from .correspondence import TemplateBank
from .posed_crops import PosedCrop
from .teachers import Teacher

_SIDE = 224


def build_bank(crops: list[PosedCrop], sampler: CorrespondenceSampler, teacher: Teacher, per_view: int = 160,
               seed: int = 0) -> TemplateBank:
    """Bank over ``crops`` (posed views, see :mod:`training.sequences`) and their mirror images.

    A vertex is looked up where the posed mesh projects it, if it is visible there; the mirror image of a posed view is
    a posed view of the mirrored object, which a left-right symmetric category gives for free.
    """
    rng = np.random.default_rng(seed)
    features, ids, valid, rotations, azimuths = [], [], [], [], []
    for crop in crops:
        image = torch.from_numpy(crop.image()).permute(2, 0, 1)[None].float()
        for mirrored in (False, True):
            K, T = crop.K, crop.T_cam_obj
            picture = image
            if mirrored:
                side = image.shape[-1]
                picture = image.flip(3)
                K = np.array([[-1.0, 0, side - 1], [0, 1, 0], [0, 0, 1]]) @ K @ np.diag([-1.0, 1, 1])
                T = T.copy()
                T[:3, :3], T[:3, 3] = mirror_rotation(T[:3, :3]), T[:3, 3] * [-1, 1, 1]
            uv = project(sampler.shape.at_size(crop.size), K, T)
            visible = np.flatnonzero(sampler.visible(T, crop.size))
            chosen = rng.permutation(visible)[:per_view]
            grid = torch.from_numpy(grid_coordinates(uv[chosen], image.shape[-1]))
            maps = teacher(F.interpolate(picture, size=(_SIDE, _SIDE), mode="bilinear", antialias=True))
            sampled = F.normalize(F.grid_sample(maps, grid[None, :, None], align_corners=False)[0, :, :, 0].T, dim=1)
            pad = per_view - len(chosen)
            features.append(F.pad(sampled, (0, 0, 0, pad)))
            ids.append(np.pad(chosen, (0, pad)))
            valid.append(np.arange(per_view) < len(chosen))
            R = ray_rotation(T[:3, 3]).T @ T[:3, :3]
            rotations.append(R)
            azimuths.append(viewpoint_from_rotation(R)[0])
    return TemplateBank(torch.stack(features), torch.from_numpy(np.stack(ids)), torch.from_numpy(np.stack(valid)),
                        np.stack(rotations), np.array(azimuths))
