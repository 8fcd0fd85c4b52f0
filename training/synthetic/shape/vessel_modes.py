# SPDX-License-Identifier: Apache-2.0
r"""How cups and bottles differ from the mean one: modes of the profile, written into a bundle's mesh.

    python -m dinemo_training.synthetic.shape.vessel_modes --bundle engines/cup --category cup --cad meshes/cup

The profiles of vessels that training draws (none of the held-out ones), each over its own width, are compared with
their mean: principal components of the logarithm of the radius by height (Cootes et al., 1995). A mode moves the
vertices of the body towards the axis or away from it, and a handle with the wall that it is on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from dinemo_ros.model.bundle import load_bundle, write_bundle
from dinemo_ros.process.console import command_main
from dinemo_training.run.arguments import parsed
from dinemo_training.synthetic.assets.vessel_catalogue import VesselCatalogue
from dinemo_training.synthetic.assets.vessel_kind import CATEGORY_HELP

MODES = 2
_DRAWN = 600
_MARGIN = 2  # slices at either end whose radius is that of a rounded edge


def profile_modes(catalogue: VesselCatalogue, count: int = MODES, seed: int = 0) -> np.ndarray:
    """[count, 48] of the logarithm of the radius by height, bottom to top, per standard deviation."""
    rng = np.random.default_rng(seed)
    profiles = np.array([catalogue.draw(rng).profile for _ in range(_DRAWN)])
    relative = np.log(np.maximum(profiles / profiles.max(1, keepdims=True), 0.05))
    relative -= relative.mean(0)
    relative[:, :_MARGIN] = relative[:, _MARGIN:_MARGIN + 1]
    relative[:, -_MARGIN:] = relative[:, -_MARGIN - 1:-_MARGIN]
    _, spread, modes = np.linalg.svd(relative, full_matrices=False)
    return modes[:count] * (spread[:count, None] / np.sqrt(len(relative)))


def mesh_modes(vertices: np.ndarray, modes: np.ndarray, width: float) -> np.ndarray:
    """[K, V, 3] float32 metres of ``vertices`` [V, 3], whose body is ``width`` metres wide, for ``modes`` [K, 48]."""
    z = vertices[:, 2] / np.ptp(vertices[:, 2]) + 0.5
    levels = (np.arange(modes.shape[1]) + 0.5) / modes.shape[1]
    radius = np.hypot(vertices[:, 0], vertices[:, 1])
    outward = vertices[:, :2] / np.maximum(radius, 1e-9)[:, None]
    moved = np.minimum(radius, 0.5 * width)[:, None] * outward
    change = np.stack([np.interp(z, levels, mode) for mode in modes])
    return np.concatenate([change[..., None] * moved, np.zeros((*change.shape, 1))], axis=-1).astype(np.float32)


def add_modes(bundle: Path, catalogue: VesselCatalogue) -> list[float]:
    """Write the modes of the vessels of ``catalogue`` into the mesh of a bundle; of each, by which share of the radius
    it moves the wall at most, per standard deviation.

    Raises:
        BundleError: it is no bundle, or cannot be written.
    """
    loaded, modes = load_bundle(bundle), profile_modes(catalogue)
    mesh = replace(loaded.mesh, modes=mesh_modes(loaded.mesh.vertices, modes, float(loaded.mesh.extent[1])))
    write_bundle(bundle, loaded.card, loaded.backbone(), mesh, loaded.int8())
    return [round(float(np.abs(mode).max()), 3) for mode in modes]


def main() -> None:
    """The command ``python -m dinemo_training.synthetic.shape.vessel_modes``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="its mesh gets the modes")
    parser.add_argument("--category", required=True, help=CATEGORY_HELP)
    parser.add_argument("--cad", type=Path, help="folder of the category's CAD files; without it all are invented")
    args = parsed(parser)
    reach = add_modes(args.bundle, VesselCatalogue(args.category, args.cad))
    print(f"{args.bundle}: {len(reach)} modes of shape, which move the wall by up to "
          f"{', '.join(f'{100 * share:.0f}' for share in reach)} % of the radius per standard deviation")


if __name__ == "__main__":
    command_main(main)
