# SPDX-License-Identifier: Apache-2.0
"""Scenes in the layout of the BOP benchmark: what its files say, checked before the first picture is looked at.

A split has folders ``000000``, ``000001``, ...; in each ``scene_camera.json``, ``scene_gt.json``,
``scene_gt_info.json``, ``rgb/`` (or ``gray/``), ``depth/``, ``mask_visib/`` and, ours, ``scene_support.json`` with the
plane that objects stand on. BOP has millimetres; everything here is metres.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import DatasetError, DocumentError, SceneError
from ..io.bounded_file import is_name
from ..io.document import Document, Limits, read_json
from ..io.picture_read import imread
from ..io.quoting import quoted, shown_path
from ..io.sources.folder import images_by_stem
from ..pose import Roi
from ..scene.support_plane import SupportPlane
from .bop_objects import BopObject
from .checked import mapping, number, numbers, rotation
from .sample import mask_box

GT, CAMERAS, GT_INFO, SUPPORT = "scene_gt.json", "scene_camera.json", "scene_gt_info.json", "scene_support.json"
_LIMITS = Limits(64 << 20, values=2_000_000)  # of a scene with a hundred thousand objects
_MOST_SCENES, _MOST_INSTANCES = 10_000, 100_000
_SCENE, _IMAGE = re.compile(r"\d{1,9}"), re.compile(r"\d{1,9}")
_MM = 1e-3
_ROUNDING = 1e-3  # of entries that are to be 0 or 1; files are written with few digits
_STANDARD = ("bbox_obj", "bbox_visib", "px_count_all", "px_count_valid", "px_count_visib", "visib_fract")
_MOST_EXTRAS, _LONGEST_EXTRA = 20, 80
# How many times smaller or larger than its box an object may be by its pose, in the middle of all objects.
_SMALLER, _LARGER = 10.0, 50.0
_EXTRA = str | bool | int | float | None


@dataclass(frozen=True)
class BopInstance:
    """One object in one picture.

    Attributes:
        gt_id: its place in the picture's list. obj_id: BOP's number of the object.
        known: what the file of objects says about it.
        T_cam_category: [4, 4] metres, category frame to the camera's optical frame.
        roi: pixel edges of what is seen of it.
        visible: share of it that is seen, None where the data set says nothing.
        extra: what else ``scene_gt_info.json`` says about it.
    """

    gt_id: int
    obj_id: int
    known: BopObject
    T_cam_category: np.ndarray
    roi: Roi
    visible: float | None
    extra: dict[str, _EXTRA]


@dataclass(frozen=True)
class BopImage:
    """One picture and what is known about it.

    Attributes:
        scene, im_id: BOP's numbers. path: of the picture. K: [3, 3] pixels.
        depth: of its depth picture, None where there is none. depth_scale: millimetres of a step of it.
        support: the plane that objects stand on, None where the file says nothing.
    """

    scene: int
    im_id: int
    path: Path
    K: np.ndarray
    depth: Path | None
    depth_scale: float
    support: SupportPlane | None
    instances: tuple[BopInstance, ...]


@dataclass
class BopData:
    """The pictures with at least one object to look for, and what was left out."""

    images: list[BopImage] = field(default_factory=list)
    other_objects: int = 0
    unseen: int = 0
    without_truth: list[str] = field(default_factory=list)

    @property
    def instances(self) -> list[BopInstance]:
        """Of all pictures."""
        return [instance for image in self.images for instance in image.instances]


@dataclass(frozen=True)
class SupportFile:
    """Which file has the plane of every picture, and how exact it is: keyword arguments of :class:`SupportPlane`."""

    name: str = SUPPORT
    sigmas: dict[str, float] = field(default_factory=dict)


def read_bop(directory: Path, objects: dict[int, BopObject], scenes: Sequence[int] = (),
             support: SupportFile | None = None, depth: bool = False, limit: int | None = None) -> BopData:
    """The scenes of a split, or the one that ``directory`` itself is.

    Args:
        objects: those that are looked for. scenes: only these, by number; none: all.
        support: read the planes, too. depth: look for depth pictures. limit: only the first pictures of all.

    Raises:
        DatasetError: no such folder, something in it cannot be, or nothing is left to look for.
    """
    data = BopData()
    for folder in _scene_folders(directory, scenes, data):
        _read_scene(folder, objects, support, data)
        if len(data.instances) > _MOST_INSTANCES:
            raise DatasetError(f"{shown_path(directory)}: has more than {_MOST_INSTANCES} objects to look for; give "
                               "some of the scenes by --scene")
    if not data.images:
        raise DatasetError(f"{shown_path(directory)}: no object of the file of objects is seen in it ({GT} has "
                           f"{data.other_objects} others, {data.unseen} that are hidden); obj_id in it must be a "
                           "number of that file")
    data.images = data.images[:limit]
    _require_millimetres(directory, data)
    if support is not None and all(image.support is None for image in data.images):
        raise DatasetError(f"{shown_path(directory)}: {support.name} has no plane for any of the "
                           f"{len(data.images)} pictures; leave --support out")
    if depth and all(image.depth is None for image in data.images):
        raise DatasetError(f"{shown_path(directory)}: no depth picture for any of the {len(data.images)} pictures "
                           "(depth/000000.png and so on); leave --depth out")
    return data


def _scene_folders(directory: Path, scenes: Sequence[int], data: BopData) -> list[Path]:
    try:
        if (directory / GT).is_file():
            if scenes:
                raise DatasetError(f"{shown_path(directory)}: is one scene itself ({GT} is in it); leave --scene out, "
                                   "or give the folder above it")
            return [directory]
        found = sorted((path for path in directory.iterdir() if _SCENE.fullmatch(path.name) and path.is_dir()),
                       key=lambda path: int(path.name))
    except OSError as error:
        raise DatasetError(f"{shown_path(directory)}: cannot be read ({error.strerror}); give a split of a BOP data "
                           "set, with folders 000000 and so on") from error
    folders = {int(path.name): path for path in found if (path / GT).is_file()}
    data.without_truth = [path.name for path in found if not (path / GT).is_file()]
    if not folders or len(folders) > _MOST_SCENES:
        raise DatasetError(f"{shown_path(directory)}: has {len(folders)} folders of scenes (000000 and so on, with "
                           f"{GT} in each); 1 to {_MOST_SCENES} are allowed")
    missing = [scene for scene in scenes if scene not in folders]
    if missing:
        raise DatasetError(f"{shown_path(directory)}: no scene {missing[0]} with {GT} in it; there are "
                           f"{', '.join(map(str, list(folders)[:10]))}{', ...' * (len(folders) > 10)}")
    return [folders[scene] for scene in dict.fromkeys(scenes)] if scenes else list(folders.values())


def _read_scene(folder: Path, objects: dict[int, BopObject], support: SupportFile | None, data: BopData) -> None:
    truths = _by_image(folder / GT)
    cameras = _by_image(folder / CAMERAS)
    infos = _by_image(folder / GT_INFO) if (folder / GT_INFO).exists() else {}
    planes = _by_image(folder / support.name) if support is not None else {}
    pictures, depths = _numbered(folder / "rgb") or _numbered(folder / "gray"), _numbered(folder / "depth")
    if not pictures:
        raise DatasetError(f"{shown_path(folder)}: no picture in rgb/ or gray/ (000000.png, 000000.jpg and so on)")
    scene = int(folder.resolve().name) if _SCENE.fullmatch(folder.resolve().name) else 0
    for im_id, entries in truths.items():
        where = f"{shown_path(folder / GT)}: image {im_id}"
        if im_id not in cameras:
            raise DatasetError(f"{where} is not in {CAMERAS}, which has the calibration of every picture")
        if im_id not in pictures:
            raise DatasetError(f"{where} has no picture in rgb/ or gray/ ({im_id:06d}.png or .jpg)")
        K, depth_scale = _camera(cameras[im_id], f"{shown_path(folder / CAMERAS)}: image {im_id}")
        instances = _Instances(folder, im_id, objects, data).read(entries, infos.get(im_id), where)
        if instances:
            plane = _plane(planes[im_id], f"{shown_path(folder / support.name)}: image {im_id}",
                           support.sigmas) if support is not None and im_id in planes else None
            data.images.append(BopImage(scene, im_id, pictures[im_id], K, depths.get(im_id), depth_scale, plane,
                                        tuple(instances)))


def _by_image(path: Path) -> dict[int, Document]:
    """What a file of a scene says, by the number of the picture, in its order."""
    try:
        document = mapping(read_json(path, _LIMITS), "the document")
    except (DocumentError, DatasetError) as error:
        raise DatasetError(f"{shown_path(path)}: {error}; expected a BOP file, {{\"IMAGE\": ...}}") from error
    wrong = [key for key in document if not _IMAGE.fullmatch(key)]
    if wrong:
        raise DatasetError(f"{shown_path(path)}: {quoted(wrong[0], 40)} is no number of a picture; expected a BOP "
                           "file, {\"IMAGE\": ...}")
    return {int(key): document[key] for key in sorted(document, key=int)}


def _numbered(folder: Path) -> dict[int, Path]:
    """Pictures of a folder by the number that is their name."""
    try:
        found = images_by_stem(folder)
    except OSError as error:
        raise DatasetError(f"{shown_path(folder)}: cannot be read ({error.strerror})") from error
    return {int(stem): path for stem, path in found.items() if _IMAGE.fullmatch(stem)}


def _camera(entry: Document, what: str) -> tuple[np.ndarray, float]:
    fields = mapping(entry, what, ["cam_K"])
    K = numbers(fields["cam_K"], 9, f"{what}: cam_K").reshape(3, 3)
    pinhole = np.array([[K[0, 0], 0, K[0, 2]], [0, K[1, 1], K[1, 2]], [0, 0, 1]])
    if min(K[0, 0], K[1, 1]) <= 0 or not np.allclose(K, pinhole, rtol=0, atol=_ROUNDING * max(K[0, 0], 1.0)):
        raise DatasetError(f"{what}: cam_K is {K.tolist()}; expected [fx, 0, cx, 0, fy, cy, 0, 0, 1] in pixels, fx and "
                           "fy positive")
    scale = number(fields.get("depth_scale", 1.0), f"{what}: depth_scale")
    if not 0.0 < scale <= 1000.0:
        raise DatasetError(f"{what}: depth_scale is {scale:g}; millimetres of one step of the depth picture, above 0, "
                           "are expected")
    return K, scale


def _plane(entry: Document, what: str, sigmas: dict[str, float]) -> SupportPlane:
    fields = mapping(entry, what, ["normal", "offset_m"])
    normal = numbers(fields["normal"], 3, f"{what}: normal")
    offset = number(fields["offset_m"], f"{what}: offset_m")
    try:
        return SupportPlane(normal, offset, **sigmas)
    except SceneError as error:
        raise DatasetError(f"{what}: {error}") from error


@dataclass
class _Instances:
    """Reads the objects of one picture."""

    folder: Path
    im_id: int
    objects: dict[int, BopObject]
    data: BopData

    def read(self, entries: Document, infos: Document, where: str) -> list[BopInstance]:
        """Those that are looked for and seen; the others are counted."""
        if not isinstance(entries, list):
            raise DatasetError(f"{where} is {quoted(entries, 40)}; a list of objects is expected")
        if infos is not None and (not isinstance(infos, list) or len(infos) != len(entries)):
            raise DatasetError(f"{where} has {len(entries)} objects and another number in {GT_INFO}; both lists have "
                               "one entry for each")
        found = []
        for gt_id, entry in enumerate(entries):
            what = f"{where}, object {gt_id}"
            fields = mapping(entry, what, ["cam_R_m2c", "cam_t_m2c", "obj_id"])
            obj_id = fields["obj_id"]
            if not isinstance(obj_id, int) or isinstance(obj_id, bool):
                raise DatasetError(f"{what}: obj_id is {quoted(obj_id, 40)}; a number is expected")
            if obj_id not in self.objects:
                self.data.other_objects += 1
                continue
            info = {} if infos is None else mapping(infos[gt_id], f"{what} in {GT_INFO}")
            roi = self._roi(gt_id, info, what)
            if roi is None:
                self.data.unseen += 1
                continue
            found.append(self._instance(gt_id, obj_id, fields, roi, info, what))
        return found

    def _instance(self, gt_id: int, obj_id: int, fields: dict, roi: Roi, info: dict, what: str) -> BopInstance:
        T = np.eye(4)
        T[:3, :3] = rotation(fields["cam_R_m2c"], f"{what}: cam_R_m2c")
        T[:3, 3] = _MM * numbers(fields["cam_t_m2c"], 3, f"{what}: cam_t_m2c")
        T = T @ self.objects[obj_id].T_model_category
        if T[2, 3] <= 0.0:
            raise DatasetError(f"{what}: lies at {T[:3, 3].tolist()} m, which is not before the camera; its frame is x "
                               "right, y down, z forward, and cam_R_m2c, cam_t_m2c map the model to it")
        visible = info.get("visib_fract")
        return BopInstance(gt_id, obj_id, self.objects[obj_id], T, roi,
                           None if visible is None else number(visible, f"{what}: visib_fract"), _extras(info))

    def _roi(self, gt_id: int, info: dict, what: str) -> Roi | None:
        """Pixel edges of what is seen, None of nothing; where the file says nothing, those of the mask."""
        if "bbox_visib" in info:
            x, y, width, height = numbers(info["bbox_visib"], 4, f"{what}: bbox_visib").tolist()
            return (x, y, x + width, y + height) if width > 0.0 and height > 0.0 else None
        path = self.folder / "mask_visib" / f"{self.im_id:06d}_{gt_id:06d}.png"
        mask = imread(path, 0)
        if mask is None:
            raise DatasetError(f"{what}: {GT_INFO} has no bbox_visib of it, and {shown_path(path)} cannot be read as "
                               "a mask; one of them says where to look")
        return mask_box(mask > 0)


def _extras(info: dict) -> dict[str, _EXTRA]:
    """The first of what is not of BOP: texts, numbers and truth values."""
    extras: dict[str, _EXTRA] = {}
    for key, value in info.items():
        if key in _STANDARD or not is_name(key) or len(key) > _LONGEST_EXTRA or len(extras) == _MOST_EXTRAS:
            continue
        if isinstance(value, str) and len(value) <= _LONGEST_EXTRA or (
                isinstance(value, (bool, int, float)) and math.isfinite(value)):
            extras[key] = value
    return extras


def _require_millimetres(directory: Path, data: BopData) -> None:
    """DatasetError where the objects are of quite another size by their poses than by their boxes: in the middle of all
    of them, for one may be hidden or cut off."""
    ratios = [image.K[0, 0] * i.known.size.max() / i.T_cam_category[2, 3] / max(i.roi[2] - i.roi[0],
                                                                               i.roi[3] - i.roi[1])
              for image in data.images for i in image.instances]
    middle = float(np.median(ratios))
    if not 1.0 / _SMALLER <= middle <= _LARGER:
        raise DatasetError(f"{shown_path(directory)}: by their poses the objects are {middle:.3g} times as large as "
                           f"their boxes (median); cam_t_m2c in {GT} is in millimetres, size and T_model_category in "
                           "the file of objects in metres")
