# SPDX-License-Identifier: Apache-2.0
"""Everything that a GPU does once is done at the start: kernels compiled, graphs captured, memory taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..gpu.graph import SIZES
from ..inference import Pipeline
from ..model.bundle import Bundle
from ..solver import Start
from .parity import own_crops, own_views

if TYPE_CHECKING:
    from .inference import TorchPipeline


def warm_up(bundle: Bundle, pipeline: TorchPipeline) -> None:
    """Solve and follow, and run the network, with each number of crops that there are graphs for.

    A capture takes some ten milliseconds, and cuDNN and TensorRT-RTX choose kernels for every number of pictures: in
    operation that would be at the first frame with so many objects.
    """
    camera, crops, image = own_crops(bundle)[0]
    for size in SIZES:
        pipeline.features(image, camera, [crops[k % len(crops)] for k in range(size)])
    for flip_tta in (False, True)[:1 + bundle.card.features.flip_tta]:
        _warm_up_solver(bundle, pipeline, flip_tta)


def _warm_up_solver(bundle: Bundle, pipeline: Pipeline, flip_tta: bool) -> None:
    maps, targets = own_views(bundle, flip_tta)
    found = [poses[0] for poses in pipeline.solve_features(maps, targets, None, flip_tta)]
    for size in SIZES:
        chosen = [k % len(maps) for k in range(size)]
        features, seen = maps[chosen], [targets[k] for k in chosen]
        pipeline.solve_features(features, seen, None, flip_tta)
        starts = [Start(found[k].T_crop_obj, found[k].size) for k in chosen]
        pipeline.solve_features(features, seen, starts, flip_tta)
