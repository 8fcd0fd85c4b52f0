# SPDX-License-Identifier: Apache-2.0
"""Draw poses over the picture they were found in.

Per object: the mesh, translucent and coloured along its length (front warm, rear cool, so that a front/back flip is
seen at a glance), the box of its size in the object's colour with the front face filled, axes x red, y green, z blue
(REP 103), and a label under a bar of the object's colour. Colours: :mod:`dinemo_ros.drawing.palette`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from ..camera.pinhole import Camera
from ..model.neural_mesh import NeuralMesh
from ..model.symmetry import knows_azimuth
from ..pose import ObjectPose
from .palette import AXES, DARK, FRONT, LENGTH, WHITE, Colour, pose_colour

NEAR_M = 0.05  # nothing closer to the camera plane is drawn
_MESH_OPACITY = 0.42
_SUPERSAMPLE = 2  # cv2 fills polygons without anti-aliasing; drawn at twice the size and averaged
_MAX_MESH_PIXELS = 1280  # longer side of the mesh layer, so that a huge image costs no more than a large one

_LENGTH_COLOURS = np.array(LENGTH, np.float64)
_BEHIND_SHARE = 0.6  # of the colour's light that edges behind keep

# Corner i of the box has the signs (x, y, z) = bits 2, 1, 0 of i; an edge joins corners that differ in one bit.
_CORNER_SIGNS = np.array([[(i >> 2 & 1) * 2 - 1, (i >> 1 & 1) * 2 - 1, (i & 1) * 2 - 1] for i in range(8)], float)
_EDGES = [(i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit]
_FRONT_FACE = (4, 5, 7, 6)


def draw_poses(image: np.ndarray, camera: Camera, poses: Sequence[ObjectPose],
               mesh: NeuralMesh | Mapping[str, NeuralMesh] | None = None) -> np.ndarray:
    """A copy of ``image`` with the poses drawn, far objects first.

    Args:
        image: uint8 [H, W, 3] RGB; left as it is.
        camera: of this image.
        poses: may be empty; best first, as their rank chooses the shade of those that have no track.
        mesh: neural mesh of the poses' category, or of each category by its name; None draws boxes only.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    canvas = image.copy()
    zoom = math.sqrt(image.shape[0] * image.shape[1] / (640 * 480))  # strokes and letters relative to a VGA picture
    width = max(1, round(zoom))
    coloured = [(pose, pose_colour(pose, rank)) for rank, pose in enumerate(poses)]
    coloured.sort(key=lambda one: -float(one[0].T_cam_obj[2, 3]))
    for pose, colour in coloured:
        shape = mesh.get(pose.category) if isinstance(mesh, Mapping) else mesh
        if shape is not None:
            _draw_mesh(canvas, camera, pose, shape)
        _draw_box(canvas, camera, pose, width, colour)
        _draw_axes(canvas, camera, pose, width)
    taken: list[tuple[int, int, int, int]] = []
    for pose, colour in reversed(coloured):  # after the objects, so that none hides a label; near ones choose first
        _draw_label(canvas, camera, pose, zoom, taken, colour)
    return canvas


def label_of(pose: ObjectPose) -> str:
    """``car 0.82 7.3 m az 143``: category, score, distance, azimuth in degrees where one is known."""
    label = f"{pose.category} {pose.score:.2f} {np.linalg.norm(pose.T_cam_obj[:3, 3]):.1f} m"
    if not knows_azimuth(pose.covariance, pose.T_cam_obj[:3, :3]):
        return label
    return f"{label} az {round(math.degrees(pose.viewpoint()[0])) % 360}"


def box_corners(pose: ObjectPose) -> np.ndarray:
    """[8, 3] metres, camera frame; corner i has the signs of (x, y, z) in bits 2, 1, 0 of i."""
    return _to_camera(pose, 0.5 * _CORNER_SIGNS * pose.size)


def _to_camera(pose: ObjectPose, points: np.ndarray) -> np.ndarray:
    return points @ pose.T_cam_obj[:3, :3].T + pose.T_cam_obj[:3, 3]


def in_view(camera: Camera, points: np.ndarray) -> np.ndarray:
    """Mask [N] of points [N, 3] that may be projected: before the camera and within three image sizes of the centre,
    beyond which a distortion polynomial means nothing."""
    z = points[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        u = np.abs(camera.K[0, 0] * points[:, 0] / z)
        v = np.abs(camera.K[1, 1] * points[:, 1] / z)
    return (z > NEAR_M) & (u < 3 * camera.width) & (v < 3 * camera.height)


def _draw_mesh(canvas: np.ndarray, camera: Camera, pose: ObjectPose, mesh: NeuralMesh) -> None:
    """Blend the visible surface over ``canvas``: painter's algorithm, faces that look at the camera, far ones first."""
    vertices = _to_camera(pose, mesh.vertices * (pose.size / mesh.extent))
    usable = in_view(camera, vertices)
    if not usable.any():
        return
    pixels = np.zeros((len(vertices), 2))
    pixels[usable] = camera.project(vertices[usable])
    height, width = canvas.shape[:2]
    low = np.floor(np.clip(pixels[usable].min(axis=0) - 1, 0, [width, height])).astype(int)
    high = np.ceil(np.clip(pixels[usable].max(axis=0) + 2, 0, [width, height])).astype(int)
    if np.any(high <= low):
        return

    corners = vertices[mesh.faces]  # [F, 3, 3] metres, camera frame
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    centres = corners.mean(axis=1)
    # cos of the angle between outward normal and the direction to the camera.
    facing = -np.sum(normals * centres, axis=1) / np.maximum(
        np.linalg.norm(normals, axis=1) * np.linalg.norm(centres, axis=1), 1e-12)
    drawn = np.flatnonzero((facing > 0) & usable[mesh.faces].all(axis=1))
    drawn = drawn[np.argsort(-centres[drawn, 2])]
    along = (mesh.vertices[mesh.faces, 0].mean(axis=1) - mesh.vertices[:, 0].min()) / mesh.extent[0]
    colours = _length_colour(along[drawn]) * (0.55 + 0.45 * facing[drawn, None])

    scale = min(_SUPERSAMPLE, _MAX_MESH_PIXELS / float((high - low).max()))
    size = np.maximum(np.ceil((high - low) * scale), 1).astype(int)
    layer = np.zeros((size[1], size[0], 4), np.uint8)
    # Pixel centres at integers on both sides: (p + 0.5) * scale - 0.5; 4 fractional bits for cv2.
    polygons = np.round((((pixels[mesh.faces[drawn]] - low + 0.5) * scale) - 0.5) * 16).astype(np.int32)
    for polygon, colour in zip(polygons, colours, strict=True):
        cv2.fillConvexPoly(layer, polygon, (*colour, 255), cv2.LINE_8, 4)
    layer = cv2.resize(layer, tuple((high - low).tolist()), interpolation=cv2.INTER_AREA).astype(np.float32)
    # The layer is black where empty, so its averaged colour is already multiplied by its coverage.
    window = canvas[low[1]:high[1], low[0]:high[0]]
    coverage = layer[..., 3:] / 255
    window[:] = np.round(window * (1 - _MESH_OPACITY * coverage) + _MESH_OPACITY * layer[..., :3]).astype(np.uint8)


def _length_colour(along: np.ndarray) -> np.ndarray:
    """RGB [N, 3] for positions [N] from 0 (rear) to 1 (front)."""
    stops = np.linspace(0, 1, len(_LENGTH_COLOURS))
    return np.stack([np.interp(along, stops, channel) for channel in _LENGTH_COLOURS.T], axis=1)


def _draw_box(canvas: np.ndarray, camera: Camera, pose: ObjectPose, width: int, colour: Colour) -> None:
    corners = box_corners(pose)
    # A corner is behind when all three faces that meet there look away from the camera; edges to it are dimmed.
    to_camera = -(pose.T_cam_obj[:3, :3].T @ pose.T_cam_obj[:3, 3])  # camera in the object frame
    seen = np.any(_CORNER_SIGNS * to_camera > 0.5 * pose.size, axis=1)
    _fill_face(canvas, camera, corners[list(_FRONT_FACE)], opacity=0.30 if to_camera[0] > 0.5 * pose.size[0] else 0.12)
    red, green, blue = (round(_BEHIND_SHARE * c) for c in colour)
    dim = red, green, blue
    for behind in (True, False):
        for a, b in _EDGES:
            if bool(seen[a] and seen[b]) != behind:
                front = a in _FRONT_FACE and b in _FRONT_FACE
                ink, wide = FRONT if front else dim if behind else colour, width + (not behind)
                if not behind:  # a dark edge, so that a line is seen before anything
                    draw_line(canvas, camera, corners[a], corners[b], DARK, wide + 2)
                draw_line(canvas, camera, corners[a], corners[b], ink, wide)


def _fill_face(canvas: np.ndarray, camera: Camera, corners: np.ndarray, opacity: float) -> None:
    if not in_view(camera, corners).all():
        return
    outline = np.round(camera.project(corners) * 16).astype(np.int32)
    filled = canvas.copy()
    cv2.fillConvexPoly(filled, outline, FRONT, cv2.LINE_AA, 4)
    cv2.addWeighted(filled, opacity, canvas, 1 - opacity, 0, canvas)


def _draw_axes(canvas: np.ndarray, camera: Camera, pose: ObjectPose, width: int) -> None:
    """From the centre to 1.25 times the half size along each axis, so that the tips stand out of the box."""
    ends = _to_camera(pose, np.diag(0.625 * np.asarray(pose.size)))
    centre = pose.T_cam_obj[:3, 3]
    for index in np.argsort(-ends[:, 2]):  # far axis first
        draw_line(canvas, camera, centre, ends[index], AXES[index], width + 1, arrow=True)


def draw_line(canvas: np.ndarray, camera: Camera, a: np.ndarray, b: np.ndarray, colour: tuple[int, int, int],
               width: int, arrow: bool = False) -> None:
    """A segment between points [3], metres in the camera frame, on ``canvas`` [H, W, 3], ``width`` pixels wide.

    It is cut at the near plane and bent as the lens bends it.
    """
    if max(a[2], b[2]) <= NEAR_M:
        return
    if min(a[2], b[2]) <= NEAR_M:  # cut, keeping the direction
        near = a + (b - a) * (1.01 * NEAR_M - a[2]) / (b[2] - a[2])
        a, b = (near, b) if a[2] < b[2] else (a, near)
    pieces = 12 if camera.distortion else 1
    points = a + np.linspace(0, 1, pieces + 1)[:, None] * (b - a)
    if not in_view(camera, points).all():
        points = a + np.linspace(0, 1, 65)[:, None] * (b - a)
        points = points[in_view(camera, points)]
    if len(points) < 2:
        return
    pixels = np.round(camera.project(points) * 16).astype(np.int32)
    cv2.polylines(canvas, [pixels], False, colour, width, cv2.LINE_AA, 4)
    if arrow:
        tip, before = pixels[-1] / 16, pixels[-2] / 16
        length = float(np.linalg.norm(tip - before))
        if length > 1.0:
            along = (tip - before) / length
            side = np.array([-along[1], along[0]])
            head = 3.2 * width
            triangle = np.array([tip + along * head, tip + side * 0.6 * head, tip - side * 0.6 * head])
            cv2.fillConvexPoly(canvas, np.round(triangle * 16).astype(np.int32), colour, cv2.LINE_AA, 4)


def _draw_label(canvas: np.ndarray, camera: Camera, pose: ObjectPose, zoom: float,
                taken: list[tuple[int, int, int, int]], colour: Colour) -> None:
    """Above the object, higher up or below it where another label (x, y, w, h in ``taken``) stands already."""
    corners = box_corners(pose)
    corners = corners[in_view(camera, corners)]
    if len(corners) == 0:
        return
    low, high = np.min(camera.project(corners), axis=0), np.max(camera.project(corners), axis=0)
    text, scale, width, pad = label_of(pose), 0.42 * zoom, max(1, round(zoom)), round(3 * zoom)
    (w, h), descent = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, width)
    box_w, box_h = w + 2 * pad, h + descent + 2 * pad + max(2, pad)  # with the bar
    room_x, room_y = max(0, canvas.shape[1] - box_w), max(0, canvas.shape[0] - box_h)
    x = int(np.clip(0.5 * (low[0] + high[0]) - box_w / 2, 0, room_x))
    above = low[1] - 2 * pad - box_h
    for wish in (above, above - box_h, above - 2 * box_h, above - 3 * box_h, high[1] + 2 * pad):
        y = int(np.clip(wish, 0, room_y))
        if not any(x < tx + tw and tx < x + box_w and y < ty + th and ty < y + box_h for tx, ty, tw, th in taken):
            break
    else:
        return  # a crowd of far objects: an unreadable heap of labels helps nobody
    taken.append((x, y, box_w, box_h))
    window = canvas[y:y + box_h, x:x + box_w]
    window[:] = (0.25 * window + 0.75 * np.array(DARK)).astype(np.uint8)
    bar = max(2, pad)
    canvas[max(0, y + box_h - bar):y + box_h, x:x + box_w] = colour
    cv2.putText(canvas, text, (x + pad, y + pad + h), cv2.FONT_HERSHEY_SIMPLEX, scale, WHITE, width, cv2.LINE_AA)
