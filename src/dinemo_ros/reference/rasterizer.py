# SPDX-License-Identifier: Apache-2.0
"""Which triangle each cell sees, and where in it: a protocol with two implementations that the tests compare.

``Pytorch3dRasterizer`` (Ravi et al., 2020, arXiv 2007.08501) is what NeMo, NOVUM and their successors run on.
``TorchRasterizer`` is a small one of our own for machines without pytorch3d: it finds the triangles without gradients
and gets the barycentric weights, which carry the gradient of the pose, in closed form.

Both cut nothing at the image plane: every vertex must be before the camera.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple, Protocol

import torch

from ..errors import DinemoError

RASTERIZERS = ("pytorch3d", "torch")


class Fragments(NamedTuple):
    """What each cell sees.

    face: [B, h, w] int64, -1 where nothing.
    barycentric: [B, h, w, 3] perspective-correct weights of the face's corners, differentiable with respect to the
        vertices; undefined where nothing is seen.
    """

    face: torch.Tensor
    barycentric: torch.Tensor


class Rasterizer(Protocol):
    """What both implementations offer."""

    name: str

    def __call__(self, vertices: torch.Tensor, faces: torch.Tensor, focal: float, centre: float,
                 side: int) -> Fragments:
        """Rasterise B poses of one mesh.

        vertices: [B, V, 3] metres, camera frame (x right, y down, z forward), z > 0. faces: [F, 3] int64.
        focal, centre: cells; cell centres are at integers, the picture is side x side cells.
        """
        ...


def create_rasterizer(name: str = "auto") -> Rasterizer:
    """The rasteriser by name; ``auto`` takes pytorch3d where it is installed.

    Raises:
        DinemoError: no such name, or pytorch3d is asked for and not installed.
    """
    if name == "auto":
        name = "pytorch3d" if find_spec("pytorch3d") else "torch"
    if name == "torch":
        return TorchRasterizer()
    if name != "pytorch3d":
        raise DinemoError(f"rasterizer is {name!r}; allowed: auto, {', '.join(RASTERIZERS)}")
    if find_spec("pytorch3d") is None:
        raise DinemoError("rasterizer pytorch3d: the package pytorch3d is not installed; install it (for torch 2.12 "
                          "from PyPI: pip install easypytorch3d) or choose torch")
    return Pytorch3dRasterizer()


class TorchRasterizer:
    """Z-buffer over the cells in the bounding boxes of the triangles, all triangles of all poses at once."""

    name = "torch"

    def __call__(self, vertices: torch.Tensor, faces: torch.Tensor, focal: float, centre: float,
                 side: int) -> Fragments:
        with torch.no_grad():
            face = self._visible(vertices[:, faces], focal, centre, side)
        pose, row, column = (face >= 0).nonzero(as_tuple=True)
        corners = vertices[pose[:, None], faces[face[pose, row, column]]]  # [N, 3, 3] of the N cells that see anything
        weight = _ray_volumes(_planes(corners), row, column, focal, centre)
        barycentric = vertices.new_zeros((*face.shape, 3))
        barycentric[pose, row, column] = weight / weight.sum(dim=1, keepdim=True)
        return Fragments(face, barycentric)

    @staticmethod
    def _visible(corners: torch.Tensor, focal: float, centre: float, side: int) -> torch.Tensor:
        """Face [B, h, w] that is nearest in each cell, of triangles [B, F, 3, 3]."""
        B, F = corners.shape[:2]
        cells = focal * corners[..., :2] / corners[..., 2:] + centre
        low = cells.amin(dim=2).ceil().clamp(min=0).long()
        count = (cells.amax(dim=2).floor().clamp(max=side - 1).long() - low + 1).clamp(min=0)  # [B, F, 2] columns, rows
        low, count = low.reshape(-1, 2), count.reshape(-1, 2)
        # One entry per cell of every bounding box: which triangle, and where in the box.
        area = count.prod(dim=1)
        triangle = torch.repeat_interleave(torch.arange(B * F, device=corners.device), area)
        place = torch.arange(len(triangle), device=corners.device) - (area.cumsum(0) - area)[triangle]
        column = low[triangle, 0] + place % count[triangle, 0]
        row = low[triangle, 1] + torch.div(place, count[triangle, 0], rounding_mode="floor")
        planes = _planes(corners.reshape(-1, 3, 3))
        weight = _ray_volumes(planes[triangle], row, column, focal, centre)
        total = weight.sum(dim=1)
        inside = ((weight >= 0).all(dim=1) | (weight <= 0).all(dim=1)) & (total != 0)
        # The ray meets the triangle's plane at z = det(a, b, c) / total.
        volume = (corners.reshape(-1, 3, 3)[:, 0] * planes[:, 0]).sum(dim=1)
        triangle, depth = triangle[inside], (volume[triangle] / total)[inside]
        cell = (torch.div(triangle, F, rounding_mode="floor") * side + row[inside]) * side + column[inside]
        nearest = depth.new_full((B * side * side,), torch.inf).scatter_reduce(0, cell, depth, "amin")
        wins = depth == nearest[cell]
        face = torch.full((B * side * side,), -1, dtype=torch.int64, device=corners.device)
        face[cell[wins]] = triangle[wins] % F
        return face.reshape(B, side, side)


def _planes(corners: torch.Tensor) -> torch.Tensor:
    """Normals [N, 3, 3] of the planes through the camera's centre and the side opposite of each corner [N, 3, 3]."""
    a, b, c = corners.unbind(dim=1)
    return torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], dim=1)


def _ray_volumes(planes: torch.Tensor, row: torch.Tensor, column: torch.Tensor, focal: float,
                 centre: float) -> torch.Tensor:
    """[N, 3] proportional to the barycentric weights of the point where the ray of cell (row, column) [N] meets.

    From sum_k b_k p_k = z r and sum_k b_k = 1 follows b_k det(p) = z r . (p_m x p_n): no division by small areas.
    """
    at = (torch.stack([column, row], dim=1).to(planes) - centre) / focal
    return (planes[:, :, :2] * at[:, None]).sum(dim=2) + planes[:, :, 2]


class Pytorch3dRasterizer:
    """pytorch3d's ``rasterize_meshes``, one face per cell, perspective correct; its naive loop on the CPU."""

    name = "pytorch3d"

    def __call__(self, vertices: torch.Tensor, faces: torch.Tensor, focal: float, centre: float,
                 side: int) -> Fragments:
        from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
        from pytorch3d.structures import Meshes

        z = vertices[..., 2:]
        cells = focal * vertices[..., :2] / z + centre
        # Normalised coordinates of pytorch3d: x to the left, y up, the picture from -1 to 1 between the cells' edges.
        meshes = Meshes(torch.cat([1 - (2 * cells + 1) / side, z], dim=-1), faces.expand(len(vertices), -1, -1))
        packed, _, barycentric, _ = rasterize_meshes(meshes, image_size=side, blur_radius=0.0, faces_per_pixel=1,
                                                     perspective_correct=True)
        packed = packed[..., 0]
        return Fragments(torch.where(packed >= 0, packed % len(faces), packed), barycentric[..., 0, :])
