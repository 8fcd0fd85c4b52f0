# SPDX-License-Identifier: Apache-2.0
"""A world with exact truth: a car painted with its own coordinates, a camera that sees it, a bundle that knows it.

The colour of every surface point is its position in the object frame. The bundle's backbone turns colours into smooth
features of that position, so the estimator runs exactly as with a learnt bundle (ROI, crop, ONNX Runtime, search,
refinement), and every pose, calibration and convention on the way can be checked against numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from unit.planted import DIM, SIZE, car_card, car_mesh

from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.model.bundle import write_bundle

BACKGROUND = (114, 114, 114)  # a point inside the body, which is never seen; the crop's border has it as well
_WAVE_M = 0.9  # metres over which features change
_COLOUR_RANGE = 200.0  # of 255 levels for the car's length, width and height


def paint(points: np.ndarray) -> np.ndarray:
    """RGB [N, 3] of surface points [N, 3] in metres, object frame."""
    return 28.0 + _COLOUR_RANGE * (points / np.array(SIZE) + 0.5)


def write_painted_bundle(folder: Path, category: str = "car", channels: Sequence[int] = (0, 1, 2)) -> Path:
    """A bundle of the painted car, or of another ``category``: the same with its colours in the order ``channels``."""
    rng = np.random.default_rng(3)
    W, b = rng.normal(size=(DIM, 3)) / _WAVE_M, rng.uniform(0, 2 * np.pi, DIM)
    mesh = car_mesh()
    from_colour = W * np.array(SIZE) / _COLOUR_RANGE  # W @ position as a function of the colour
    offset = b - from_colour @ (28.0 + 0.5 * _COLOUR_RANGE * np.ones(3))
    features = np.cos(paint(mesh.vertices) @ from_colour.T + offset)
    clutter = np.cos(np.array([BACKGROUND]) @ from_colour.T + offset)
    mesh = replace(mesh, features=_unit(features), clutter=_unit(clutter))
    network = colour_backbone(from_colour[:, list(channels)], offset)
    return write_bundle(folder, car_card(category=category), network, mesh).path


def photograph(T_cam_obj: np.ndarray | list[np.ndarray], camera: Camera, scale=(1.0, 1.0, 1.0)) -> np.ndarray:
    """uint8 [H, W, 3] RGB of painted cars at poses [4, 4] in a camera without distortion."""
    return np.round(_drawn(T_cam_obj, camera, scale)[0]).astype(np.uint8)


def photograph_of_two(cars: list[np.ndarray], others: list[np.ndarray], camera: Camera,
                      channels: Sequence[int]) -> np.ndarray:
    """The same of cars and of things of another category, see :func:`write_painted_bundle`; the nearer hides the
    farther."""
    (image, near), (other, other_near) = (_drawn(Ts, camera, (1.0, 1.0, 1.0)) for Ts in (cars, others))
    other = other[..., list(channels)]
    return np.round(np.where((near >= other_near)[..., None], image, other)).astype(np.uint8)


def depth_picture(T_cam_obj: np.ndarray | list[np.ndarray], camera: Camera) -> np.ndarray:
    """float32 [H, W] metres along the optical axis of the same cars, 0 beside them."""
    inverse = _drawn(T_cam_obj, camera, (1.0, 1.0, 1.0))[1]
    return np.divide(1.0, inverse, out=np.zeros_like(inverse), where=inverse > 0.0).astype(np.float32)


def _drawn(T_cam_obj: np.ndarray | list[np.ndarray], camera: Camera, scale) -> tuple[np.ndarray, np.ndarray]:
    """RGB float [H, W, 3] and inverse depth [H, W]."""
    mesh = car_mesh()
    image = np.tile(np.array(BACKGROUND, float), (camera.height, camera.width, 1))
    inverse_depth = np.zeros((camera.height, camera.width))
    for T in np.reshape(T_cam_obj, (-1, 4, 4)):
        vertices = (mesh.vertices * np.asarray(scale)) @ T[:3, :3].T + T[:3, 3]
        assert vertices[:, 2].min() > 0.1, "the car must be before the camera"
        pixels = camera.project(vertices)
        for face in mesh.faces:
            _fill(image, inverse_depth, pixels[face], 1.0 / vertices[face, 2], paint(mesh.vertices[face]))
    return image, inverse_depth


def _fill(image, inverse_depth, pixels, w, colours) -> None:
    """One triangle: barycentric coordinates, perspective-correct colours, nearest surface wins."""
    height, width = inverse_depth.shape
    low = np.maximum(np.ceil(pixels.min(axis=0)).astype(int), 0)
    high = np.minimum(np.floor(pixels.max(axis=0)).astype(int), [width - 1, height - 1])
    if np.any(high < low):
        return
    u, v = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
    edges = np.column_stack([pixels, np.ones(3)]).T
    if abs(np.linalg.det(edges)) < 1e-9:
        return
    lam = np.linalg.solve(edges, np.stack([u.ravel(), v.ravel(), np.ones(u.size)]))  # [3, N]
    depth = w @ lam
    window = inverse_depth[low[1]:high[1] + 1, low[0]:high[0] + 1]
    hit = (lam >= -1e-9).all(axis=0) & (depth > window.ravel())
    at = np.unravel_index(np.flatnonzero(hit), window.shape)
    window[at] = depth[hit]
    image[low[1]:high[1] + 1, low[0]:high[0] + 1][at] = ((lam * w[:, None])[:, hit] / depth[hit]).T @ colours


def colour_backbone(weights: np.ndarray, offset: np.ndarray) -> bytes:
    """ONNX model: uint8 [N, H, W, 3] -> colour in the middle of every 8 x 8 pixels -> cos(weights @ rgb + offset).

    The middle and not the mean: cells on the outline would else see a mixture with the background, and the car would
    look smaller by half a cell on each side. Features have unit norm. Written as protobuf by hand (onnx.proto of the
    ONNX project names the field numbers), because the onnx package belongs to the training half.
    """
    nodes = [
        _node("Cast", ["image"], "float", _integer("to", _FLOAT)),
        _node("Transpose", ["float"], "planes", _integers("perm", [0, 3, 1, 2])),
        _node("Conv", ["planes", "weights", "offset"], "phase", _integers("strides", [8, 8])),
        _node("Cos", ["phase"], "wave"),
        _node("LpNormalization", ["wave"], "features", _integer("axis", 1), _integer("p", 2)),
    ]
    kernel = np.zeros((*weights.shape, 8, 8))
    kernel[:, :, 3:5, 3:5] = weights[:, :, None, None] / 4
    initializers = [_tensor("weights", kernel), _tensor("offset", offset)]
    graph = b"".join(_bytes(1, n) for n in nodes) + _bytes(2, b"painted") + b"".join(
        _bytes(5, t) for t in initializers) + _bytes(11, _value("image", _UINT8, ["N", "H", "W", 3])) + _bytes(
        12, _value("features", _FLOAT, ["N", len(offset), "h", "w"]))
    return _varint_field(1, 9) + _bytes(7, graph) + _bytes(8, _varint_field(2, 17))  # IR 9, opset 17


_FLOAT, _UINT8 = 1, 2  # TensorProto.DataType


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _node(kind: str, inputs: list[str], output: str, *attributes: bytes) -> bytes:
    return b"".join(_bytes(1, name.encode()) for name in inputs) + _bytes(2, output.encode()) + _bytes(
        4, kind.encode()) + b"".join(_bytes(5, a) for a in attributes)


def _integer(name: str, value: int) -> bytes:
    return _bytes(1, name.encode()) + _varint_field(3, value) + _varint_field(20, 2)


def _integers(name: str, values: list[int]) -> bytes:
    return _bytes(1, name.encode()) + b"".join(_varint_field(8, v) for v in values) + _varint_field(20, 7)


def _tensor(name: str, array: np.ndarray) -> bytes:
    raw = struct.pack(f"<{array.size}f", *array.ravel())
    return b"".join(_varint_field(1, n) for n in array.shape) + _varint_field(2, _FLOAT) + _bytes(
        8, name.encode()) + _bytes(9, raw)


def _value(name: str, kind: int, shape: list) -> bytes:
    dims = b"".join(_bytes(1, _varint_field(1, n) if isinstance(n, int) else _bytes(2, n.encode())) for n in shape)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _varint_field(1, kind) + _bytes(2, dims)))


def _unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
