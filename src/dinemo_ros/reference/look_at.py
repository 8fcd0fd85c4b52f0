# SPDX-License-Identifier: Apache-2.0
"""The camera of NeMo (Wang et al., ICLR 2021): its centre in the object frame and an in-plane angle; it always looks at
the object's origin.

Angles are those of PASCAL3D+ (Xiang et al., WACV 2014), the twin in numbers is ``geometry.rotation_from_viewpoint``.
Where the object is not in the middle of the picture, the camera's axis is the ray to its origin and the whole view
turns with it (allocentric angles), which is what PASCAL3D+'s principal point means for a real pinhole camera.
"""

from __future__ import annotations

import torch


def camera_centre(azimuth: torch.Tensor, elevation: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
    """Centres [B, 3] in the object frame, of ``azimuth`` and ``elevation`` [B] in radians and ``distance`` [B].

    The unit is that of ``distance``.
    """
    return distance[:, None] * torch.stack([elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin(),
                                            elevation.sin()], dim=1)


def look_at(centre: torch.Tensor, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotation [B, 3, 3] object to camera (right, down, forward) and distance [B] of cameras at ``centre`` [B, 3].

    Differentiable; undefined straight above and below the object. theta [B] in radians turns the picture.
    """
    distance = centre.norm(dim=1)
    forward = -centre / distance[:, None]
    right = torch.stack([forward[:, 1], -forward[:, 0], torch.zeros_like(theta)], dim=1)  # forward x (0, 0, 1)
    right = right / right.norm(dim=1, keepdim=True)
    down = torch.linalg.cross(forward, right)
    cos, sin = theta.cos()[:, None], theta.sin()[:, None]
    return torch.stack([cos * right + sin * down, cos * down - sin * right, forward], dim=1), distance


def along_ray(rotation: torch.Tensor, distance: torch.Tensor,
              ray: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn the camera so that the origin lies on ``ray``: rotation [B, 3, 3], object to camera, and translation [B, 3].

    Args:
        rotation, distance: [B, 3, 3] and [B], those of :func:`look_at`. The unit of the translation is that of
            ``distance``.
        ray: [B, 2] x/z and y/z. The turn is that of ``geometry.ray_rotation``.
    """
    z = torch.cat([ray, torch.ones_like(ray[:, :1])], dim=1)
    z = z / z.norm(dim=1, keepdim=True)
    x, y, c = z.unbind(dim=1)
    k = 1.0 / (1.0 + c)  # R = I + [a] + [a]^2 / (1 + cos), a = (0, 0, 1) x z
    turn = torch.stack([torch.stack([1 - k * x * x, -k * x * y, x], dim=1),
                        torch.stack([-k * x * y, 1 - k * y * y, y], dim=1),
                        torch.stack([-x, -y, c], dim=1)], dim=1)
    return turn @ rotation, z * distance[:, None]
