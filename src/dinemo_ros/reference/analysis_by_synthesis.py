# SPDX-License-Identifier: Apache-2.0
"""Analysis by synthesis as published: NeMo (Wang et al., ICLR 2021) and NOVUM (Jesslen et al., ECCV 2024).

Feature maps of the neural mesh are rendered beforehand from 144 viewpoints; the one that explains the picture best is
the start of a gradient descent through the rasteriser on the camera's position and in-plane angle. A cell's score is
how well the rendered feature fits, or clutter where that fits better, which is how occluders are let alone:

    loss = 1 - mean_p [ max(s_obj(p), s_clu(p)) - s_clu(p) ],   s_obj(p) = F(p) . rendered(p),  s_clu(p) = F(p) . C_b

What had to be decided to run it on the crops of this package, always in the reference's favour:

* The published benchmarks are given the true distance, centre and 2-D box of the object. Here the ROI stands for all
  three: a start fills the ROI as the search of our own solver does, and the camera looks along the ray to where the
  object's origin then is.
* That ray is only as good as the ROI, so ``shift`` may optimise it along, as Ma et al. (ECCV 2022) do for 6D.
* Lengths are scaled so that every start is at their distance of 5 units; a step of Adam then means what it meant there.
* The size of the object is the category's mean. No calibration of the bundle is applied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..geometry import se3
from ..model.neural_mesh import NeuralMesh
from ..solver.coarse import Target, place
from .look_at import along_ray, camera_centre, look_at
from .rasterizer import Rasterizer, create_rasterizer

_AZIMUTHS = np.arange(12) * 2 * np.pi / 12
_ELEVATIONS = np.linspace(-np.pi / 6, np.pi / 3, 4)
_THETAS = np.linspace(-np.pi / 6, np.pi / 6, 3)
_DISTANCE = 5.0  # units of the published camera, about mesh diagonals
_LEARNING_RATE, _BETAS = 0.05, (0.4, 0.6)
_DECAY_STEPS, _DECAY = 100, 0.2  # NeMo's 300 steps; NOVUM's 30 end before the first
_SHIFT_PIXELS = 10.0  # of the crop, per unit of the optimised shift
CLUTTER = ("mean", "nearest")


@dataclass(frozen=True)
class Options:
    """Which of the published variants.

    Attributes:
        steps: of Adam; 30 in NOVUM, 300 in NeMo.
        refined: so many of the best starts are refined, as one batch; 1 in NeMo and NOVUM.
        distances: of the starts over that at which the object fills the ROI; (0.8, 1, 1.2) in wufeim/NeMo's 3-D task.
        clutter: "mean" of the clutter features (NeMo) or the "nearest" of them in each cell (Ma et al.).
        shift: whether the ray to the object is optimised, too (Ma et al.).
        rasterizer: see :func:`create_rasterizer`.
        threads: of torch. These tensors are small: more than one rarely helps.
    """

    steps: int = 30
    refined: int = 1
    distances: tuple[float, ...] = (1.0,)
    clutter: str = "nearest"
    shift: bool = True
    rasterizer: str = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.clutter not in CLUTTER:
            raise ValueError(f"clutter is {self.clutter!r}; allowed: {', '.join(CLUTTER)}")


@dataclass(frozen=True)
class ReferencePose:
    """A pose [4, 4] in the crop camera frame, metres, and its loss (0 is perfect, 1 explains nothing)."""

    T_crop_obj: np.ndarray
    loss: float


class ReferenceSolver:
    """Poses from feature maps by gradient descent through a rasteriser.

    Args:
        mesh: of the bundle.
        cells: side of the feature maps; stride: crop pixels per cell; margin: of the crop round the ROI.

    Building one renders the starts. The number of torch's threads is set while it works and put back.
    """

    def __init__(self, mesh: NeuralMesh, cells: int, stride: int, margin: float,
                 options: Options | None = None) -> None:
        self.options = options = options or Options()
        self._cells, self._stride = cells, stride
        self._vertices = torch.from_numpy(mesh.vertices)
        self._faces = torch.from_numpy(mesh.faces.astype(np.int64))
        self._features = torch.from_numpy(mesh.features)
        clutter = torch.from_numpy(mesh.clutter)
        if options.clutter == "mean":
            clutter = torch.nn.functional.normalize(clutter.mean(dim=0, keepdim=True), dim=1)
        self._clutter = clutter
        self._rasterize: Rasterizer = create_rasterizer(options.rasterizer)
        with _threads(options.threads), torch.no_grad():
            self._angles, self._scales, self._maps = self._render_starts(margin)

    def __call__(self, features: np.ndarray, target: Target) -> list[ReferencePose]:
        """Poses, least loss first, of a feature map [D, h, h] float32 seen through ``target``'s crop camera."""
        with _threads(self.options.threads):
            F = torch.from_numpy(features).permute(1, 2, 0).reshape(-1, len(features))  # [P, D]
            clutter = (F @ self._clutter.T).amax(dim=1)
            with torch.no_grad():
                # maps [P, N, D] x F [P, D, 1]: one product for all the starts
                losses = explain(torch.bmm(self._maps, F[:, :, None])[..., 0].T, clutter)
            best = losses.topk(self.options.refined, largest=False).indices
            return self._refine(F, clutter, best, target)

    def _refine(self, F: torch.Tensor, clutter: torch.Tensor, starts: torch.Tensor,
                target: Target) -> list[ReferencePose]:
        angles = self._angles[starts]
        ray, distance = self._fit_to_roi(starts, target)
        unit = distance / _DISTANCE
        # The cameras of a batch do not see each other, and Adam works per element: one run refines all starts.
        centre = camera_centre(angles[:, 0], angles[:, 1], torch.full_like(distance, _DISTANCE)).requires_grad_()
        theta, shift = angles[:, 2].clone().requires_grad_(), torch.zeros_like(ray).requires_grad_()
        optimizer = torch.optim.Adam([centre, theta] + [shift] * self.options.shift, _LEARNING_RATE, _BETAS)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, _DECAY_STEPS, _DECAY)
        per_unit = _SHIFT_PIXELS / self._stride / target.focal

        def pose() -> tuple[torch.Tensor, torch.Tensor]:
            rotation, length = look_at(centre, theta)
            return along_ray(rotation, length * unit, ray + shift * per_unit)

        for _ in range(self.options.steps):
            optimizer.zero_grad()
            self._loss(*pose(), F, clutter, target).sum().backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            rotation, translation = pose()
            losses = self._loss(rotation, translation, F, clutter, target)
        return [ReferencePose(se3(rotation[k].numpy(), translation[k].numpy()), float(losses[k]))
                for k in losses.argsort()]

    def _loss(self, rotation: torch.Tensor, translation: torch.Tensor, F: torch.Tensor, clutter: torch.Tensor,
              target: Target) -> torch.Tensor:
        """Loss [B] of poses [B]."""
        return explain(self._similarity(rotation, translation, F, target.focal, target.centre), clutter)

    def _similarity(self, rotation: torch.Tensor, translation: torch.Tensor, F: torch.Tensor, focal: float,
                    centre: float) -> torch.Tensor:
        """s_obj [B, P] of rendered poses, zero where the object is not."""
        pose, cell, rendered = self._render(rotation, translation, focal, centre)
        similarity = (rendered * F[cell]).sum(dim=1)
        return rendered.new_zeros(len(rotation), len(F)).index_put((pose, cell), similarity)

    def _render(self, rotation: torch.Tensor, translation: torch.Tensor, focal: float,
                centre: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of the cells that see the object: pose [N], cell [N], interpolated vertex feature [N, D]."""
        vertices = self._vertices @ rotation.transpose(1, 2) + translation[:, None]
        fragments = self._rasterize(vertices, self._faces, focal, centre, self._cells)
        face = fragments.face.reshape(len(rotation), -1)
        pose, cell = (face >= 0).nonzero(as_tuple=True)
        barycentric = fragments.barycentric.reshape(*face.shape, 3)[pose, cell]
        corners = self._features[self._faces[face[pose, cell]]]  # [N, 3, D]
        return pose, cell, torch.einsum("nk,nkd->nd", barycentric, corners)

    def _render_starts(self, margin: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Angles [N, 3] and scales [N] of the starts, and their maps [P, N, D] as they fill the ROI of a crop."""
        grid = np.array([(a, e, t, s) for a in _AZIMUTHS for e in _ELEVATIONS for t in _THETAS
                         for s in self.options.distances], np.float32)
        angles, scales = torch.from_numpy(grid[:, :3].copy()), torch.from_numpy(grid[:, 3].copy())
        rotations, _ = look_at(camera_centre(angles[:, 0], angles[:, 1], torch.ones(len(angles))), angles[:, 2])
        far = _DISTANCE * float((self._vertices.amax(dim=0) - self._vertices.amin(dim=0)).norm())
        maps = torch.zeros(self._cells**2, len(angles), self._features.shape[1])
        for n, rotation in enumerate(rotations):
            seen = self._vertices @ rotation.T
            plane = seen[:, :2] / (seen[:, 2:] + far)
            low, high = plane.amin(dim=0), plane.amax(dim=0)
            focal = float(self._cells / margin / (high - low).max())  # the larger side fills the ROI
            translation = far * scales[n] * torch.cat([-0.5 * (low + high), torch.ones(1)])
            _, cell, rendered = self._render(rotation[None], translation[None], focal, 0.5 * (self._cells - 1))
            maps[cell, n] = rendered
        return angles, scales, maps

    def _fit_to_roi(self, starts: torch.Tensor, target: Target) -> tuple[torch.Tensor, torch.Tensor]:
        """Rays [B, 2] and distances [B] in metres at which the starts fill the ROI."""
        azimuth, elevation, theta = self._angles[starts].T
        rotation, _ = look_at(camera_centre(azimuth, elevation, torch.ones(len(starts))), theta)
        places = [place((self._vertices @ R.T).numpy(), target.box, target.open_sides, target.focal, target.centre)
                  for R in rotation]
        x, y, z = torch.tensor(places, dtype=torch.float32).T
        scale = self._scales[starts]
        return torch.stack([x, y], dim=1), z * scale * torch.sqrt(1 + x * x + y * y)


def explain(similarity: torch.Tensor, clutter: torch.Tensor) -> torch.Tensor:
    """NeMo's loss with clutter [N] of similarities [N, P] and what clutter scores [P]."""
    return 1.0 - (torch.maximum(similarity, clutter) - clutter).mean(dim=1)


class _threads:
    """So many torch threads within a ``with``."""

    def __init__(self, count: int) -> None:
        self._count = max(1, count)

    def __enter__(self) -> None:
        self._before = torch.get_num_threads()
        torch.set_num_threads(self._count)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self._before)
