# SPDX-License-Identifier: Apache-2.0
"""A recording for the Rerun viewer: pictures, camera, and every object's mesh, box and axes at its pose.

Needs the extra ``rerun``. Entities: ``world`` is the camera's optical frame (x right, y down, z forward), in it
``camera`` with ``image`` and ``boxes``, and ``objects/CATEGORY_RANK`` with ``mesh``, ``box`` and ``axes``. Timelines:
``image`` counts, ``stamp`` are the source's seconds. The viewer knows no lens: with a strong one the picture does not
fit the objects at its edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..camera.pinhole import Camera
from ..errors import NotInstalledError, OutputError
from ..io.files import completed, readable
from ..model.neural_mesh import NeuralMesh
from ..pose import ObjectPose
from .overlay import label_of
from .palette import AXES, pose_colour

if TYPE_CHECKING:
    import rerun

SUFFIX = ".rrd"
_JPEG_QUALITY = 85
_EPOCH_S = 1e9  # stamps from here on are dates, since 2001; others count from the begin of a video or simulation
_CAMERA, _OBJECTS = "world/camera", "world/objects"


def require_rerun(option: str, path: str | None) -> None:
    """Before the work: the extra is there and the name is one that the viewer opens.

    Raises:
        NotInstalledError, OutputError: one of the two is not so.
    """
    if path is None:
        return
    if not path.lower().endswith(SUFFIX):
        raise OutputError(f"{option} {readable(path)}: a recording for Rerun is written; give a name that ends in "
                          f"{SUFFIX}")
    _rerun(option)


def _rerun(option: str) -> Any:
    try:
        import rerun
    except ImportError as error:
        raise NotInstalledError(f"{option} needs the Rerun library, which is not installed ({error}): "
                                "pip install rerun-sdk, or leave the option out") from error
    return rerun


class RerunFile:
    """Adds images and their poses to a recording; see :func:`rerun_file`."""

    def __init__(self, rr: Any, recording: rerun.RecordingStream, meshes: Mapping[str, NeuralMesh]) -> None:
        self._rr, self._to, self._meshes = rr, recording, meshes
        self._images, self._shown = 0, set[str]()
        self._clock = ""  # how the viewer writes the stamps, of the first image: a timeline has one kind
        self._to.log("world", rr.ViewCoordinates.RDF, static=True)

    def write(self, stamp_s: float, image: np.ndarray, camera: Camera, poses: Sequence[ObjectPose]) -> None:
        """One image, uint8 [H, W, 3] RGB, its camera and its poses, best first; stamp in seconds."""
        rr = self._rr
        self._clock = self._clock or ("timestamp" if stamp_s > _EPOCH_S else "duration")
        self._to.set_time("image", sequence=self._images)
        self._to.set_time("stamp", **{self._clock: stamp_s})
        self._images += 1
        self._to.log(_CAMERA, rr.Pinhole(image_from_camera=camera.K, resolution=[camera.width, camera.height],
                                         camera_xyz=rr.ViewCoordinates.RDF, image_plane_distance=_plane(poses)))
        self._to.log(f"{_CAMERA}/image", rr.Image(image).compress(jpeg_quality=_JPEG_QUALITY))
        colours = [pose_colour(pose, rank) for rank, pose in enumerate(poses)]
        boxes = np.array([pose.roi for pose in poses], np.float64).reshape(-1, 4)
        self._to.log(f"{_CAMERA}/boxes", rr.Boxes2D(array=boxes, array_format=rr.Box2DFormat.XYXY, colors=colours,
                                                    labels=[label_of(pose) for pose in poses]))
        names = [f"{_OBJECTS}/{pose.category}_{rank if pose.track_id is None else pose.track_id}"
                 for rank, pose in enumerate(poses)]
        for gone in self._shown.difference(names):
            self._to.log(gone, rr.Clear(recursive=True))
        for name, pose, colour in zip(names, poses, colours, strict=True):
            self._object(name, pose, colour)
        self._shown = set(names)

    def _object(self, name: str, pose: ObjectPose, colour: Sequence[int]) -> None:
        rr, mesh = self._rr, self._meshes.get(pose.category)
        self._to.log(name, rr.Transform3D(translation=pose.T_cam_obj[:3, 3], mat3x3=pose.T_cam_obj[:3, :3]))
        if mesh is not None:
            if name not in self._shown:  # it stays until it is cleared
                self._to.log(f"{name}/mesh", rr.Mesh3D(vertex_positions=mesh.vertices, triangle_indices=mesh.faces,
                                                       vertex_normals=mesh.normals, albedo_factor=colour))
            self._to.log(f"{name}/mesh", rr.Transform3D(scale=np.asarray(pose.size) / mesh.extent))
        self._to.log(f"{name}/box", rr.Boxes3D(half_sizes=[0.5 * np.asarray(pose.size)], colors=[colour],
                                               labels=[label_of(pose)]))
        self._to.log(f"{name}/axes", rr.Arrows3D(vectors=np.diag(0.625 * np.asarray(pose.size)), colors=AXES))


@contextmanager
def rerun_file(option: str, path: str | Path, meshes: Mapping[str, NeuralMesh]) -> Iterator[RerunFile]:
    """A recording called ``path`` at the end of the block; nothing is left of a block that failed.

    Args:
        option: what asks for it, for sentences.
        meshes: of each category by its name; of others only box and axes are shown.

    Raises:
        NotInstalledError: the extra is not installed. OutputError: the file cannot be written.
    """
    rr = _rerun(option)
    with completed(path) as part:
        recording = rr.RecordingStream("dinemo_ros")
        recording.save(str(part), default_blueprint=_blueprint())
        try:
            yield RerunFile(rr, recording, meshes)
        finally:
            recording.flush()
            recording.disconnect()


def _blueprint() -> Any:
    """What the viewer opens with: the objects round the camera, and the picture with the objects over it."""
    import rerun.blueprint as rrb

    return rrb.Blueprint(rrb.Horizontal(
        rrb.Spatial3DView(origin="world", name="objects"),
        rrb.Spatial2DView(origin=_CAMERA, contents=["$origin/**", f"/{_OBJECTS}/**"], name="image")))


def _plane(poses: Sequence[ObjectPose]) -> float:
    """Metres before the camera where the viewer puts the picture: nearer than the objects."""
    return 0.5 * min((float(pose.T_cam_obj[2, 3]) for pose in poses), default=1.0)
