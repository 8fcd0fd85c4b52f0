# SPDX-License-Identifier: Apache-2.0
"""The pictures of the documentation, made by the package itself from files of this repository.

    .venv-train/bin/python docs/figures/make_pictures.py        needs matplotlib; takes a minute

Every number drawn is what the shipped bundles answer; nothing is drawn by hand. Two photographs come from the tests
(``tests/unit/real_photographs``), whose README names their sources and terms.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.collections import PolyCollection
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from dinemo_ros import geometry
from dinemo_ros.camera.crop import warp_crop
from dinemo_ros.camera.pinhole import Camera
from dinemo_ros.drawing import overlay as overlays
from dinemo_ros.estimator import PoseEstimator, crops_and_targets
from dinemo_ros.model import bundle as bundles

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PHOTOGRAPHS = ROOT / "tests" / "unit" / "real_photographs"
DEMO = ROOT / "config" / "demo_sequence"
DEMO_FRAME = "006.jpg"
INK, FRONT, MUTED = "#222222", "#ff8a18", "#777777"


def main() -> None:
    """Every picture, one after the other."""
    plt.rcParams.update({"font.size": 9, "axes.titlesize": 10, "figure.dpi": 110, "savefig.bbox": "tight"})
    car, cup, bottle = (estimator_of(name) for name in ("car", "cup", "bottle"))
    draw_photographs(car, cup)
    image, camera, truth = demo_frame()
    pose = car.estimate(image, camera, [truth["roi"]])[0]
    draw_neural_mesh(car, image, camera, truth["roi"])
    draw_render_and_compare(car, image, camera, pose, truth["roi"])
    draw_frames(car.bundle.mesh)
    draw_distance(car, image, camera, pose, np.array(truth["T_cam_obj"]))
    draw_symmetry(car, cup, bottle)


def estimator_of(category: str):
    """The shipped bundle in fp32, so that every machine draws the same."""
    return PoseEstimator(bundles.load_bundle(ROOT / "engines" / category), threads=2, precision="fp32")


def read(path: Path) -> np.ndarray:
    """uint8 [H, W, 3] RGB."""
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def demo_frame():
    """Image, camera and truth of one frame of the shipped sequence (rendered)."""
    document = json.loads((DEMO / "ground_truth.json").read_text())
    return read(DEMO / DEMO_FRAME), Camera.from_yaml(DEMO / "camera_info.yaml"), document["frames"][DEMO_FRAME]


def photograph(name: str, hfov_deg: float):
    """Image and an assumed camera of a photograph of the tests."""
    image = read(PHOTOGRAPHS / name)
    return image, Camera.from_hfov(image.shape[1], image.shape[0], hfov_deg)


def draw_photographs(car, cup) -> None:
    """Overlays of two real photographs, as ``dinemo estimate --out`` draws them."""
    image, camera = photograph("car_rear.jpg", 40.0)
    save(HERE / "car_rear.jpg", overlays.draw_poses(image, camera, car.estimate(image, camera), car.bundle.mesh))
    image, camera = photograph("espresso.jpg", 45.0)
    poses = cup.estimate(image, camera, [(172.0, 18.0, 410.0, 308.0)])
    save(HERE / "espresso.jpg", overlays.draw_poses(image, camera, poses, cup.bundle.mesh))


def save(path: Path, rgb: np.ndarray) -> None:
    cv2.imwrite(str(path), rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])


def crop_of(estimator, image, camera, roi):
    """The crop's pixels uint8 [S, S, 3], its camera, and its features [D, h, w]."""
    crops, _ = crops_and_targets(estimator.bundle.card.image, camera, [np.array(roi, float)], True)
    size = estimator.bundle.card.image.size
    pixels = np.empty((size, size, 3), np.uint8)
    warp_crop(image, camera, crops[0], pixels)
    return pixels, crops[0], estimator.extractor(pixels[None])[0]


def draw_neural_mesh(estimator, image, camera, roi) -> None:
    """Mesh and crop, their features in the same false colours: the first three principal components of the mesh's."""
    mesh = estimator.bundle.mesh
    pixels, _, features = crop_of(estimator, image, camera, roi)
    mean = mesh.features.mean(axis=0)
    axes3 = np.linalg.svd(mesh.features - mean, full_matrices=False)[2][:3]
    low, high = np.percentile((mesh.features - mean) @ axes3.T, [2, 98], axis=0)

    def colours(rows):
        return np.clip(((rows - mean) @ axes3.T - low) / (high - low), 0, 1)

    figure = plt.figure(figsize=(10, 3.2))
    axes = figure.add_subplot(131, projection="3d")
    add_mesh(axes, mesh, colours(mesh.features)[mesh.faces].mean(axis=1))
    axes.set_title(f"neural mesh: {len(mesh.vertices)} vertices,\na feature of {mesh.features.shape[1]} numbers each")
    _, h, w = features.shape
    cells = features.reshape(len(features), -1).T
    shown = colours(cells)
    shown[(cells @ mesh.features.T).max(axis=1) < (cells @ mesh.clutter.T).max(axis=1)] = 0.9
    for place, picture, title in ((132, pixels, "crop of the image (a render)"),
                                  (133, shown.reshape(h, w, 3), "what the network sees in it\n(grey: clutter fits "
                                   "better than any vertex)")):
        axes = figure.add_subplot(place)
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(title)
        axes.axis("off")
    figure.savefig(HERE / "neural_mesh.png")
    plt.close(figure)


def add_mesh(axes, mesh, colours, azim: float = 35.0) -> None:
    """The mesh [metres, object frame] in a 3-D plot, seen from its front left."""
    axes.add_collection3d(Poly3DCollection(mesh.vertices[mesh.faces], facecolors=colours, edgecolors="none"))
    half = 0.5 * mesh.extent.max() * 0.8
    axes.set(xlim=(-half, half), ylim=(-half, half), zlim=(-half, half))
    axes.set_box_aspect((1, 1, 1), zoom=1.5)
    axes.view_init(elev=18, azim=azim)
    axes.axis("off")


def draw_render_and_compare(estimator, image, camera, pose, roi) -> None:
    """The evidence of every cell, the score over all turns of the object, and the poses at its two peaks."""
    mesh = estimator.bundle.mesh
    _, crop, features = crop_of(estimator, image, camera, roi)
    cosine = np.einsum("vd,dhw->vhw", mesh.features, features)
    clutter = np.einsum("kd,dhw->khw", mesh.clutter, features).max(axis=0)
    evidence = np.maximum(cosine - clutter, 0)
    T_crop_obj = geometry.se3(crop.R_cam_crop.T, np.zeros(3)) @ pose.T_cam_obj
    turns = np.arange(-180, 181, 3)
    azimuth = math.degrees(pose.viewpoint()[0])
    scores = [score_at(evidence, mesh, turned(T_crop_obj, math.radians(turn)), pose.size, crop,
                       estimator.bundle.card.image.stride) for turn in turns]
    seen = (azimuth - turns) % 360  # the object turned to its left shows more of its right side
    order = np.argsort(seen)
    figure, axes = plt.subplots(1, 4, figsize=(12.5, 2.8), width_ratios=[1, 1.2, 1.7, 1.7], layout="constrained")
    axes[0].imshow(evidence.max(axis=0), cmap="magma")
    axes[0].set_title("evidence: best vertex\nminus best clutter, per cell")
    axes[1].plot(seen[order], np.array(scores)[order], color=INK)
    axes[1].axvline(azimuth % 360, color=FRONT, linestyle="--", label="answer")
    axes[1].set(xlim=(0, 360), ylim=(0, None), xticks=range(0, 361, 90), xlabel="azimuth, degrees",
                title="mean evidence at that turn")
    axes[1].legend(frameon=False)
    flip = next((other for other in pose.runners_up
                 if geometry.rotation_angle(other.T_cam_obj[:3, :3], pose.T_cam_obj[:3, :3]) > 2.5),
                pose.runners_up[0])
    for axis, shown, title in ((axes[2], pose, "answer"), (axes[3], flip, "runner-up")):
        drawn = replace(pose, T_cam_obj=shown.T_cam_obj, size=shown.size, score=shown.score)
        axis.imshow(zoomed(overlays.draw_poses(image, camera, [drawn], mesh), roi))
        axis.set_title(f"{title}: score {shown.score:.2f}")
    for axis in (axes[0], axes[2], axes[3]):
        axis.axis("off")
    figure.savefig(HERE / "render_and_compare.png")
    plt.close(figure)


def turned(T: np.ndarray, angle: float) -> np.ndarray:
    """The pose [4, 4] of the object turned by ``angle`` about its own z."""
    c, s = math.cos(angle), math.sin(angle)
    return T @ geometry.se3(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), np.zeros(3))


def score_at(evidence, mesh, T_crop_obj, size, crop, stride: int) -> float:
    """Mean evidence [V, h, w] at the projections of the vertices that face the camera."""
    points = (mesh.vertices / mesh.extent * size) @ T_crop_obj[:3, :3].T + T_crop_obj[:3, 3]
    facing = np.einsum("vd,vd->v", mesh.normals @ T_crop_obj[:3, :3].T, -points) > 0
    pixels = points[:, :2] / points[:, 2:] * crop.focal + crop.centre
    cells = np.rint((pixels - 0.5 * (stride - 1)) / stride).astype(int)
    h, w = evidence.shape[1:]
    inside = facing & (cells >= 0).all(axis=1) & (cells[:, 0] < w) & (cells[:, 1] < h)
    found = np.zeros(len(points))
    found[inside] = evidence[np.flatnonzero(inside), cells[inside, 1], cells[inside, 0]]
    return float(found[facing].mean())


def zoomed(image: np.ndarray, roi, margin: float = 0.45) -> np.ndarray:
    """The part of ``image`` round ``roi``."""
    x0, y0, x1, y1 = roi
    dx, dy = margin * (x1 - x0), margin * (y1 - y0)
    height, width = image.shape[:2]
    return image[int(max(y0 - dy, 0)):int(min(y1 + dy, height)), int(max(x0 - dx, 0)):int(min(x1 + dx, width))]


def draw_frames(mesh) -> None:
    """Object frame, camera frame, azimuth and elevation, from the package's own geometry."""
    azimuth, elevation, distance = math.radians(40), math.radians(25), 7.5
    T_cam_obj = geometry.se3(geometry.rotation_from_viewpoint(azimuth, elevation, 0.0), np.array([0, 0, distance]))
    T_obj_cam = geometry.se3_inverse(T_cam_obj)
    figure = plt.figure(figsize=(9, 6))
    axes = figure.add_subplot(projection="3d", computed_zorder=False)
    shade = np.clip(mesh.normals[mesh.faces].mean(axis=1) @ np.array([0.4, -0.6, 0.7]), -0.4, 1)
    axes.add_collection3d(Poly3DCollection(mesh.vertices[mesh.faces], facecolors=plt.cm.Greys(0.45 - 0.3 * shade),
                                           edgecolors="none", zorder=1))
    arrows(axes, np.eye(4), 3.2, ("x forward", "y left", "z up"))
    arrows(axes, T_obj_cam, 1.6, ("x right", "y down", "z forward"))
    eye = T_obj_cam[:3, 3]
    axes.plot(*zip(np.zeros(3), eye, strict=True), color=MUTED, linestyle=":", zorder=4)
    angles = np.linspace(0, azimuth, 40)
    axes.plot(3.0 * np.cos(angles), 3.0 * np.sin(angles), 0 * angles, color=FRONT, linewidth=2.5, zorder=5)
    axes.text(3.2 * math.cos(azimuth / 2), 3.2 * math.sin(azimuth / 2), -0.1, "azimuth", color=FRONT, zorder=6)
    angles = np.linspace(0, elevation, 20)
    axes.plot(4.6 * np.cos(angles) * math.cos(azimuth), 4.6 * np.cos(angles) * math.sin(azimuth), 4.6 * np.sin(angles),
              color="#7733aa", linewidth=2.5, zorder=5)
    axes.plot(*zip(np.zeros(3), [eye[0], eye[1], 0], strict=True), color=MUTED, linewidth=0.8, zorder=4)
    axes.text(4.8 * math.cos(azimuth), 4.8 * math.sin(azimuth), 0.9, "elevation", color="#7733aa", zorder=6)
    axes.text(*(eye + [-2.4, 0.0, 1.0]), "camera (optical frame)", color=INK, zorder=6)
    axes.text(-2.6, -1.0, -2.4, "object frame, its origin in the\nmiddle of the category's box", color=INK, zorder=6)
    axes.set(xlim=(-2.5, 8.5), ylim=(-4, 7), zlim=(-4.5, 6.5))
    axes.set_box_aspect((1, 1, 1), zoom=1.55)
    axes.view_init(elev=30, azim=-62)
    axes.axis("off")
    figure.savefig(HERE / "frames.png")
    plt.close(figure)
    drawn = cv2.imread(str(HERE / "frames.png"))
    rows, columns = (np.flatnonzero((drawn < 255).any(axis=2).any(axis=axis)) for axis in (1, 0))  # no empty border
    cv2.imwrite(str(HERE / "frames.png"), drawn[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1])


def arrows(axes, T_obj_frame: np.ndarray, length: float, names) -> None:
    """The three axes of a frame, red, green, blue as in RViz."""
    origin = T_obj_frame[:3, 3]
    for k, (name, colour) in enumerate(zip(names, ("#d33030", "#2a9c3c", "#2f6bff"), strict=True)):
        tip = origin + length * T_obj_frame[:3, k]
        axes.quiver(*origin, *(tip - origin), color=colour, linewidth=2.2, arrow_length_ratio=0.12, zorder=5)
        axes.text(*(origin + 1.08 * (tip - origin)), name, color=colour, zorder=6)


def draw_distance(estimator, image, camera, pose, T_true) -> None:
    """From above: what the covariance says of the position; and two cars that give the same picture."""
    figure, (left, right) = plt.subplots(2, 1, figsize=(8.5, 6.4))
    flat = [2, 0]  # forward to the right of the drawing, right to its bottom
    mean, covariance = pose.T_cam_obj[flat, 3], pose.covariance[np.ix_(flat, flat)]
    values, vectors = np.linalg.eigh(covariance)
    circle = np.stack([np.cos(np.linspace(0, 2 * np.pi, 100)), np.sin(np.linspace(0, 2 * np.pi, 100))])
    for content, width in ((0.683, 1.2), (0.954, 2.0)):
        ellipse = mean[:, None] + math.sqrt(-2 * math.log(1 - content)) * vectors @ (np.sqrt(values)[:, None] * circle)
        left.plot(*ellipse, color=FRONT, linewidth=width, label=f"{content:.1%} ellipse")
    footprint(left, pose.T_cam_obj, pose.size, INK, "estimate")
    truth = json.loads((DEMO / "ground_truth.json").read_text())["frames"][DEMO_FRAME]
    footprint(left, T_true, np.array(truth["size"]), "#2a9c3c", "truth")
    left.set_title("one image of the demo, from above: the position is uncertain along the viewing ray")
    for factor, colour in ((1.0, INK), (1.25, "#2f6bff")):
        T = pose.T_cam_obj.copy()
        T[:3, 3] *= factor
        footprint(right, T, factor * pose.size, colour, f"{factor * pose.size[0]:.1f} m long at "
                  f"{np.linalg.norm(T[:3, 3]):.1f} m")
    right.set_title("two cars that look exactly the same in one picture")
    for axes in (left, right):
        axes.plot(0, 0, marker=">", color=INK, markersize=9)
        axes.annotate("camera", (0, 0), (0.1, 0.6))
        axes.plot([0, 1.45 * mean[0]], [0, 1.45 * mean[1]], color=MUTED, linestyle=":", zorder=0)
        axes.set(aspect="equal", xlabel="z (forward), metres", ylabel="x (right), metres", xlim=(-0.5, 18.5))
        axes.invert_yaxis()
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.08, 0.0))
    figure.tight_layout()
    figure.savefig(HERE / "distance.png")
    plt.close(figure)


def footprint(axes, T_cam_obj, size, colour, label) -> None:
    """The box of an object from above, its front edge thick."""
    signs = 0.5 * np.array([[1, 1], [1, -1], [-1, -1], [-1, 1], [1, 1]])
    corners = np.column_stack([signs * size[:2], np.zeros(5)]) @ T_cam_obj[:3, :3].T + T_cam_obj[:3, 3]
    axes.plot(corners[:, 2], corners[:, 0], color=colour, label=label)
    axes.plot(corners[:2, 2], corners[:2, 0], color=colour, linewidth=3)


def draw_symmetry(car, cup, bottle) -> None:
    """The turn about the upright axis that three bundles announce for three pictures, one standard deviation wide."""
    image, camera = photograph("car_rear.jpg", 40.0)
    of_car = car.estimate(image, camera)[0]
    image, camera = photograph("espresso.jpg", 45.0)
    of_cup = cup.estimate(image, camera, [(172.0, 18.0, 410.0, 308.0)])[0]
    view = geometry.se3(geometry.rotation_from_viewpoint(0.3, 0.35, 0.0), np.array([0, 0, 1.0]))
    image, camera = painted(bottle.bundle.mesh, view), Camera.from_hfov(320, 320, 30.0)
    of_bottle = bottle.estimate(image, camera, [(100.0, 40.0, 220.0, 280.0)])[0]
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.6))
    for axis, estimator, pose, title in ((axes[0], car, of_car, "car: no symmetry"),
                                         (axes[1], cup, of_cup, "cup: the handle tells, where it is seen"),
                                         (axes[2], bottle, of_bottle, "bottle: every turn is the same")):
        mesh = estimator.bundle.mesh
        up = pose.T_cam_obj[:3, 2]
        sigma = math.degrees(math.sqrt(up @ pose.covariance[3:, 3:] @ up))
        faces = mesh.faces[np.argsort(mesh.vertices[mesh.faces, 2].mean(axis=1))]
        light = np.clip(mesh.normals[faces].mean(axis=1) @ np.array([0.3, 0.4, 0.85]), 0, 1)
        axis.add_collection(PolyCollection(mesh.vertices[faces][..., :2], facecolors=plt.cm.Greys(0.7 - 0.55 * light),
                                           edgecolors="face", linewidths=0.3))
        reach = 0.75 * mesh.extent[:2].max()
        angles = np.radians(np.linspace(-min(sigma, 180), min(sigma, 180), 100))
        axis.plot(reach * np.cos(angles), reach * np.sin(angles), color=FRONT, linewidth=3)
        axis.annotate("", (reach, 0), (0, 0), arrowprops={"arrowstyle": "->", "color": "#d33030", "linewidth": 2})
        axis.set(aspect="equal", title=f"{title}\none standard deviation: {sigma:.0f}°",
                 xlim=(-1.3 * reach, 1.3 * reach), ylim=(-1.3 * reach, 1.3 * reach))
        axis.axis("off")
    figure.savefig(HERE / "symmetry.png")
    plt.close(figure)


def painted(mesh, T_cam_obj: np.ndarray) -> np.ndarray:
    """uint8 [320, 320, 3]: the mesh shaded in grey green before a plain background, for a bundle to look at."""
    camera = Camera.from_hfov(320, 320, 30.0)
    points = mesh.vertices @ T_cam_obj[:3, :3].T + T_cam_obj[:3, 3]
    shade = np.clip(mesh.normals @ T_cam_obj[:3, :3].T @ np.array([-0.4, -0.5, -0.75]), 0.15, 1)
    pixels = camera.project(points)
    image = np.full((320, 320, 3), (205, 198, 188), np.uint8)
    for face in sorted(mesh.faces, key=lambda face: -points[face, 2].mean()):
        colour = (np.array([70, 120, 80]) * (0.4 + 0.8 * shade[face].mean())).clip(0, 255)
        cv2.fillConvexPoly(image, np.rint(pixels[face]).astype(np.int32), colour.tolist())
    return image


if __name__ == "__main__":
    main()
