# SPDX-License-Identifier: Apache-2.0
"""A box detector from an ONNX file and its card, on ONNX Runtime."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

from ..errors import BackendError, BundleError
from ..features.trial import try_network
from ..io.quoting import shown, shown_path
from ..io.rgb_image import check_image
from ..model.bundle import checked_content
from ..process.network_child import session_options
from .decoding import WrongOutputError, decode
from .detector import Detection
from .detector_card import CARD_FILE, MODEL_FILE, InputSpec, read_detector_card
from .detector_search import find_detector, is_installed
from .finder import SharedDetector
from .regions import distinct_boxes
from .scaling import resized
from .views import View, inner_edges, planned_views, whole_view

_SMALLEST_BOX = 4.0  # pixels of the picture
_MOST_BOXES = 3000  # of a picture, doubles included, the most certain ones; no picture shows so many objects
_MOST_OF_LABEL = 300  # of these
_PADDING = 114
_PROBE = (320, 240)  # pixels; the first picture, which tells whether network and card belong together


class OnnxDetector:
    """See :class:`~dinemo_ros.detection.detector.Detector`.

    Args:
        folder: with ``detector.yaml`` and ``detector.onnx``.
        threads: CPU threads.
        budget_ms: how long a picture may take: the whole frame once, then more sizes or tiles while there is time. 0
            takes the sizes that the card names, whatever they cost.

    Raises:
        BundleError: the folder is no detector, or its network is not what its card says.
    """

    def __init__(self, folder: str | Path, threads: int = 2, budget_ms: float = 0.0) -> None:
        folder = Path(folder)
        if not folder.is_dir():
            raise BundleError(f"detector {shown_path(folder)}: no such folder; give the folder that holds {CARD_FILE}")
        self.card = read_detector_card(folder / CARD_FILE)
        self.name, self.labels = f"{self.card.name} {self.card.version}", self.card.labels
        self._path, self._budget_ms = folder / MODEL_FILE, budget_ms
        self._session = self._load(threads)
        self._plans: dict[tuple[int, int], list[View]] = {}
        self._ms_per_megapixel = self._measured()

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """As the protocol says.

        Raises:
            ImageError: it is no such picture. BackendError: ONNX Runtime fails. BundleError: what the network gives is
                not what its card says.
        """
        check_image(image)
        height, width = image.shape[:2]
        boxes, scores, labels = (np.concatenate(part) for part in zip(
            *(self._seen(image, view) for view in self.plan(width, height)), strict=True))
        best = np.argsort(-scores, kind="stable")[:_MOST_BOXES]
        boxes, scores, labels = boxes[best], scores[best], labels[best]
        found = []
        for label in np.unique(labels):
            of_label = np.flatnonzero(labels == label)[:_MOST_OF_LABEL]
            kept = distinct_boxes(boxes[of_label], scores[of_label], self.card.overlap, self.card.inside)
            found += [Detection(tuple(boxes[k].tolist()), self.labels[label], min(float(scores[k]), 1.0))
                      for k in of_label[kept]]
        return sorted(found, key=lambda detection: -detection.score)

    def plan(self, width: int, height: int) -> list[View]:
        """What is looked at in pictures of this size, within the budget."""
        size = width, height
        if size not in self._plans:
            self._plans = {size: planned_views(width, height, self.card, self._budget_ms,
                                               lambda view: self._ms_per_megapixel * view.megapixels)}
        return self._plans[size]

    def _seen(self, image: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes [N, 4] in pixels of ``image``, scores [N] and numbers of labels [N], with doubles."""
        height, width = image.shape[:2]
        x, y = view.box[:2]
        boxes, scores = self._run(fitted(image[y:view.box[3], x:view.box[2]], view))
        rows, labels = np.nonzero(scores >= self.card.min_score)
        scale = np.array([view.box[2] - x, view.box[3] - y]) / view.content
        found = boxes[rows] * np.tile(scale, 2) + (x, y, x, y)
        found = np.clip(found, 0.0, (width, height, width, height))
        good = (found[:, 2:] - found[:, :2] >= _SMALLEST_BOX).all(axis=1) & ~inner_edges(found, view, width, height)
        return found[good], scores[rows, labels][good], labels[good]

    def _run(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        spec = self.card.input
        height, width = picture.shape[:2]
        given = given_to_network(picture, spec)
        try:
            outputs = self._session.run(None, {self._session.get_inputs()[0].name: given})
        except Exception as error:  # onnxruntime's errors have no common type
            raise BackendError(f"{self._path}: ONNX Runtime cannot run it on a picture of {width} x {height} "
                               f"({shown(str(error), 300)}); does the card's input say what it takes?") from error
        names = [output.name for output in self._session.get_outputs()]
        try:
            return decode(self.card, dict(zip(names, outputs, strict=True)), width, height)
        except WrongOutputError as error:
            raise BundleError(f"{self._path}: {error}") from error

    def _load(self, threads: int) -> ort.InferenceSession:
        model = checked_content(self._path, self.card.sha256)
        options = session_options(threads)
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the solver has the cores then
        try:
            if not is_installed(self._path.parent):
                try_network(model, (), self._sample(max(self.card.short_sides)))
            session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except BundleError as error:
            raise BundleError(f"{self._path}: {error}") from error
        except Exception as error:  # as above
            raise BundleError(f"{self._path}: ONNX Runtime {ort.__version__} cannot load it "
                              f"({shown(str(error), 300)})") from error
        if len(session.get_inputs()) != 1:
            raise BundleError(f"{self._path}: takes {len(session.get_inputs())} inputs; allowed: one, the picture")
        return session

    def _sample(self, short_side: int) -> np.ndarray:
        """What the network gets of a grey picture."""
        view = whole_view(*_PROBE, short_side, self.card.input)
        return given_to_network(np.full((view.size[1], view.size[0], 3), _PADDING, np.uint8), self.card.input)

    def _measured(self) -> float:
        """Milliseconds per million pixels of the network's picture; the network is tried, too."""
        view = whole_view(*_PROBE, self.card.short_sides[0], self.card.input)
        image = np.full((_PROBE[1], _PROBE[0], 3), _PADDING, np.uint8)
        times = []
        for _ in range(3 if self._budget_ms else 1):
            begin = time.perf_counter()
            try:
                self._seen(image, view)
            except BackendError as error:
                raise BundleError(str(error)) from error
            times.append(1e3 * (time.perf_counter() - begin))
        return min(times) / view.megapixels


def fitted(image: np.ndarray, view: View) -> np.ndarray:
    """``image`` uint8 [H, W, 3] RGB, scaled to the view's content, in a picture of the view's size."""
    content = resized(image, *view.content)
    if view.content == view.size:
        return content
    picture = np.full((view.size[1], view.size[0], 3), _PADDING, np.uint8)
    picture[:view.content[1], :view.content[0]] = content
    return picture


def given_to_network(picture: np.ndarray, spec: InputSpec) -> np.ndarray:
    """``picture`` uint8 [H, W, 3] RGB as the network's input, with a batch axis in front."""
    given = picture if spec.order == "rgb" else picture[..., ::-1]
    if spec.type == "float32":
        given = (given.astype(np.float32) - np.array(spec.mean, np.float32)) / np.array(spec.deviation, np.float32)
    return np.ascontiguousarray((given if spec.layout == "nhwc" else given.transpose(2, 0, 1))[None])


def load_detector(folder: str | Path | None = None, threads: int = 2, budget_ms: float = 0.0) -> SharedDetector:
    """A box detector for :class:`~dinemo_ros.estimator.PoseEstimator`; of several categories each gets the same one.

    Args:
        folder: with ``detector.yaml`` and ``detector.onnx``; None takes the one that ships.
        threads, budget_ms: see :class:`OnnxDetector`.

    Raises:
        BundleError: there is none, or it is no good.
    """
    return SharedDetector(OnnxDetector(find_detector() if folder is None else folder, threads, budget_ms))
