# SPDX-License-Identifier: Apache-2.0
"""A detector from a file and a card: pictures go in as the card says, boxes come out in pixels of the picture."""

import hashlib
import time

import cv2
import numpy as np
import pytest
import yaml
from bad_networks import integers
from painted_car import _bytes, _integer, _node, _tensor, _value, _varint_field
from shared_data import ROOT

from dinemo_ros.detection.detector import Detection
from dinemo_ros.detection.detector_card import CARD_FILE, MODEL_FILE, InputSpec
from dinemo_ros.detection.detector_search import find_detector
from dinemo_ros.detection.finder import DetectorFinder, ProposalFinder, SharedDetector, knows
from dinemo_ros.detection.lazy_detector import LazyDetector
from dinemo_ros.detection.onnx_detector import OnnxDetector, fitted, given_to_network, load_detector
from dinemo_ros.detection.views import View
from dinemo_ros.errors import BackendError, BundleError, ImageError
from dinemo_ros.features import trial
from dinemo_ros.model.card import DetectorHint

FLOAT, UINT8 = 1, 2
PHOTOGRAPHS = ROOT / "tests" / "unit" / "real_photographs"
FIXED = {"layout": "nchw", "type": "float32", "deviation": [255, 255, 255], "fixed": [640, 640]}


def rows_network(rows, kind=FLOAT, shape=("N", 3, "H", "W")):
    """A network that answers every picture with the same ``rows`` [N, 6]."""
    rows = np.asarray(rows, np.float32)[None]
    nodes = [_node("Cast", ["picture"], "float", _integer("to", FLOAT)),
             _node("ReduceMax", ["float"], "most", _integer("keepdims", 0)), _node("Mul", ["most", "zero"], "nothing"),
             _node("Add", ["rows", "nothing"], "answer")]
    tensors = [_tensor("rows", rows), _tensor("zero", np.zeros(1))]
    graph = b"".join([*(_bytes(1, n) for n in nodes), *(_bytes(5, t) for t in tensors)]) + _bytes(
        11, _value("picture", kind, list(shape))) + _bytes(12, _value("answer", 1, [1, len(rows[0]), 6]))
    return _varint_field(1, 9) + _bytes(7, graph) + _bytes(8, _varint_field(2, 17))


def write(folder, network, **changes):
    card = {"format": "dinemo-detector/1", "name": "mine", "version": "2", "labels": ["cup", "bottle"],
            "sha256": hashlib.sha256(network).hexdigest(), "decoding": "corner_rows", "input": FIXED, **changes}
    folder.mkdir(exist_ok=True)
    (folder / MODEL_FILE).write_bytes(network)
    (folder / CARD_FILE).write_text(yaml.safe_dump(card))
    return folder


@pytest.fixture(scope="module")
def shipped():
    return OnnxDetector(find_detector())


def photograph(name):
    return np.ascontiguousarray(cv2.imread(str(PHOTOGRAPHS / name))[..., ::-1])


@pytest.mark.parametrize(("name", "label", "box", "score"), [("car_rear.jpg", "car", (0, 17, 598, 470), 0.55),
                                                             ("espresso.jpg", "cup", (94, 15, 436, 399), 0.55)])
def test_the_shipped_one_on_photographs(shipped, name, label, box, score):
    """Scores are 0.65; a hand or a tenth of the box is worth less than a tenth of that."""
    found = next(one for one in shipped(photograph(name)) if one.label == label)
    assert found.score > score and np.allclose(found.box, box, atol=12)


def test_the_most_certain_comes_first(shipped):
    scores = [one.score for one in shipped(photograph("espresso.jpg"))]
    assert len(scores) > 3 and scores == sorted(scores, reverse=True) and min(scores) >= shipped.card.min_score


def test_an_empty_picture(shipped):
    assert [one for one in shipped(np.full((480, 640, 3), 114, np.uint8)) if one.score > 0.3] == []


def test_what_ships_is_small():
    assert (find_detector() / MODEL_FILE).stat().st_size <= 8e6


def test_boxes_come_back_in_pixels_of_the_picture(tmp_path):
    """640 x 640 hold the picture of 1280 x 720 in their upper 360 rows, at half its size."""
    rows = [(32, 64, 96, 128, 0.9, 0), (-50, 300, 40, 500, 0.8, 1), (10, 10, 300, 300, 0.1, 1), (5, 5, 6, 6, 0.9, 1)]
    detector = OnnxDetector(write(tmp_path / "d", rows_network(rows)))
    assert detector.name == "mine 2" and detector.labels == ("cup", "bottle")
    assert detector(np.zeros((720, 1280, 3), np.uint8)) == [
        Detection((64.0, 128.0, 192.0, 256.0), "cup", pytest.approx(0.9)),
        Detection((0.0, 600.0, 80.0, 720.0), "bottle", pytest.approx(0.8))]


def test_a_budget_is_kept(tmp_path):
    folder = write(tmp_path / "d", rows_network([(32, 64, 96, 128, 0.9, 0)]))
    assert len(OnnxDetector(folder, budget_ms=1e-6).plan(1280, 720)) == 1
    assert len(OnnxDetector(folder, budget_ms=1e6).plan(1280, 720)) > 10


def test_a_budget_counts_pixels(tmp_path, monkeypatch):
    """At 100 ms for the network's picture the whole frame and three tiles take 400."""
    clock = iter(np.arange(100) * 0.1)
    monkeypatch.setattr("dinemo_ros.detection.onnx_detector.time.perf_counter", lambda: next(clock))
    folder = write(tmp_path / "d", rows_network([(32, 64, 96, 128, 0.9, 0)]))
    assert [len(OnnxDetector(folder, budget_ms=most).plan(1280, 720)) for most in (390, 410)] == [1, 4]


def test_what_a_seam_cuts_is_left_to_others(tmp_path):
    """A box at the left edge of whatever the network is shown: of a tile inside it is a part of something."""
    detector = OnnxDetector(write(tmp_path / "d", rows_network([(0, 200, 100, 300, 0.9, 0)])), budget_ms=1e6)
    found = detector(np.zeros((720, 1280, 3), np.uint8))
    assert len(detector.plan(1280, 720)) > 10 and found and {one.box[0] for one in found} == {0.0}


def test_an_installed_detector_is_not_tried(monkeypatch):
    """It is as trusted as this package, and a start takes as long as it takes."""
    monkeypatch.setattr("dinemo_ros.detection.onnx_detector.try_network", lambda *_: pytest.fail("was tried"))
    OnnxDetector(find_detector())


def test_a_network_with_two_inputs_is_told(tmp_path):
    """Also to the process that tries it."""
    nodes = [_node("Add", ["picture", "other"], "answer")]
    graph = b"".join(_bytes(1, n) for n in nodes) + b"".join(
        _bytes(11, _value(name, FLOAT, [1, 1, 6])) for name in ("picture", "other")) + _bytes(
        12, _value("answer", 1, [1, 1, 6]))
    network = _varint_field(1, 9) + _bytes(7, graph) + _bytes(8, _varint_field(2, 17))
    with pytest.raises(BundleError, match="takes 2 inputs; allowed: one, the picture"):
        OnnxDetector(write(tmp_path / "d", network))


def test_the_network_gets_what_the_card_says():
    picture = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    plain = given_to_network(picture, InputSpec())
    assert plain.dtype == np.uint8 and np.array_equal(plain, picture[None])
    spec = InputSpec("nchw", "float32", "bgr", (1.0, 2.0, 3.0), (2.0, 4.0, 8.0))
    given = given_to_network(picture, spec)
    assert given.shape == (1, 3, 2, 4) and given.dtype == np.float32 and given.flags.c_contiguous
    assert np.allclose(given[0, :, 1, 2], [(20 - 1) / 2, (19 - 2) / 4, (18 - 3) / 8])


def test_what_does_not_fill_the_picture_is_padded():
    view = View((0, 0, 4, 2), (8, 4), (8, 8))
    picture = fitted(np.full((2, 4, 3), 50, np.uint8), view)
    assert picture.shape == (8, 8, 3) and (picture[:4] == 50).all() and (picture[4:] == 114).all()


@pytest.mark.parametrize(("changes", "words"), [
    ({"decoding": "centre_rows"}, "gives answer [1, 1, 6], and its card's decoding and labels ask for one output"),
    ({"input": {**FIXED, "layout": "nhwc"}}, "does the card's input say what it takes?"),
    ({"input": {}}, "does the card's input say what it takes?"),
    ({"sha256": "abc"}, "truncated or changed"),
])
def test_card_and_network_that_do_not_belong_together(tmp_path, changes, words):
    folder = write(tmp_path / "d", rows_network([(1, 2, 3, 4, 0.5, 0)]), **changes)
    with pytest.raises(BundleError) as error:
        OnnxDetector(folder)
    assert words in str(error.value) and MODEL_FILE in str(error.value) and "\n" not in str(error.value)


def endless_network(rows=6):
    """A network of :func:`rows_network`'s form that multiplies large matrices for minutes, once it has a picture."""
    count = 400
    nodes = [_node("Cast", ["picture"], "float", _integer("to", FLOAT)),
             _node("ReduceMax", ["float"], "most", _integer("keepdims", 0)), _node("Expand", ["most", "sides"], "t0"),
             *(_node("MatMul", [f"t{k}", f"t{k}"], f"t{k + 1}") for k in range(count)),
             _node("ReduceMax", [f"t{count}"], "last", _integer("keepdims", 0)), _node("Mul", ["last", "zero"], "no"),
             _node("Add", ["rows", "no"], "answer")]
    tensors = [_tensor("rows", np.zeros((1, 1, rows))), _tensor("zero", np.zeros(1)), integers("sides", [3000, 3000])]
    graph = b"".join([*(_bytes(1, n) for n in nodes), *(_bytes(5, t) for t in tensors)]) + _bytes(
        11, _value("picture", FLOAT, ["N", 3, "H", "W"])) + _bytes(12, _value("answer", 1, [1, 1, rows]))
    return _varint_field(1, 9) + _bytes(7, graph) + _bytes(8, _varint_field(2, 17))


def test_a_network_without_an_end_is_tried_on_a_picture_elsewhere(tmp_path, monkeypatch):
    """Loaded it is at once; in this process nothing could stop it."""
    monkeypatch.setattr(trial, "SECONDS", 1)
    with pytest.raises(BundleError, match=r"detector\.onnx: takes more than 1 s of computing for one picture"):
        OnnxDetector(write(tmp_path / "d", endless_network()))


@pytest.mark.parametrize("image", [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 1), np.uint8),
                                   np.zeros((64, 64, 3), np.float32), np.zeros((64, 64, 4), np.uint8),
                                   np.zeros((0, 64, 3), np.uint8), np.zeros((4, 4, 3), np.uint8), None])
def test_what_is_no_picture_is_told(shipped, image):
    """Not that the network cannot run it, or that its card is wrong."""
    with pytest.raises(ImageError, match="image"):
        shipped(image)


def test_a_detector_is_loaded_once_when_it_is_asked(tmp_path):
    lazy = LazyDetector(write(tmp_path / "d", rows_network([(32, 64, 96, 128, 0.9, 0)])))
    (tmp_path / "d" / MODEL_FILE).rename(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="missing"):
        lazy(np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "elsewhere").rename(tmp_path / "d" / MODEL_FILE)
    lazy = LazyDetector(tmp_path / "d")
    assert lazy.name == "mine 2" and lazy.labels == ("cup", "bottle") and lazy.load() is lazy.load()


def test_what_is_no_good_is_tried_once(tmp_path, monkeypatch):
    """A node that switches to it would spend seconds on each image otherwise."""
    lazy = LazyDetector(write(tmp_path / "d", rows_network([(1, 2, 3, 4, 7.0, 0)])))
    image = np.zeros((48, 64, 3), np.uint8)
    with pytest.raises(BundleError, match=r"detector\.onnx: gives scores up to 7; allowed: 0 to 1"):
        lazy(image)
    monkeypatch.setattr("dinemo_ros.detection.onnx_detector.OnnxDetector", lambda *_: pytest.fail("tried again"))
    with pytest.raises(BundleError, match=r"detector\.onnx: gives scores up to 7; allowed: 0 to 1"):
        lazy(image)


def test_thousands_of_boxes(tmp_path):
    """As many as the network likes, for as many labels: the most certain ones, in a second."""
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 640, (20_000, 2, 2)), axis=1).reshape(-1, 4)
    rows = np.column_stack([corners, rng.uniform(0.2, 0.9, 20_000), rng.integers(0, 2000, 20_000)])
    rows[777, 4:] = 0.99, 5
    detector = OnnxDetector(write(tmp_path / "d", rows_network(rows), labels=[f"thing {k}" for k in range(2000)]))
    begin = time.perf_counter()
    found = detector(np.zeros((640, 640, 3), np.uint8))
    assert time.perf_counter() - begin < 2.0 and found[0].label == "thing 5" and 100 < len(found) <= 3000


def test_a_view_of_an_array_is_a_picture(shipped):
    """As OpenCV's channels turned round, or a picture turned upside down."""
    image = photograph("espresso.jpg")
    for seen in (image[..., ::-1].copy()[..., ::-1], np.asfortranarray(image), image[::-1].copy()[::-1]):
        assert not seen.flags.c_contiguous and SharedDetector(shipped)(seen) == shipped(image)


def test_no_such_folder(tmp_path):
    with pytest.raises(BundleError, match="no such folder"):
        OnnxDetector(tmp_path / "nothing")


def test_a_picture_that_the_network_cannot_take_is_told(tmp_path):
    network = rows_network([(1, 2, 30, 40, 0.5, 0)], shape=(1, 3, 320, 416))
    detector = OnnxDetector(write(tmp_path / "d", network, input={"layout": "nchw", "type": "float32"}))
    with pytest.raises(BackendError, match="cannot run it on a picture of 320 x 320"):
        detector(np.zeros((480, 480, 3), np.uint8))


def test_loading_one(tmp_path):
    assert load_detector().name.startswith("nanodet-g ")
    folder = write(tmp_path / "d", rows_network([(32, 64, 96, 128, 0.9, 0)]))
    mine = load_detector(folder, budget_ms=1e6)
    assert mine.name == "mine 2" and len(mine(np.zeros((720, 1280, 3), np.uint8))) > 10, "a box per tile"


class Scripted:
    """Finds what a test says and counts how often it was asked."""

    name, labels = "scripted", ("cup", "Mug", "car")

    def __init__(self, found=()):
        self.found, self.asked = list(found), 0

    def __call__(self, image):
        self.asked += 1
        return list(self.found)


def test_a_category_takes_its_own_boxes():
    found = [Detection((0, 0, 9, 9), "car", 0.9), Detection((1, 1, 8, 8), "Mug", 0.5),
             Detection((2, 2, 7, 7), "cup", 0.2)]
    hint = DetectorHint(("cup", "Mug"), 0.3, even=0.4, slope=2.0, floor=0.7)
    seen = DetectorFinder(Scripted(found), hint)(np.zeros((10, 10, 3), np.uint8))
    assert [box.tolist() for box in seen.boxes] == [[1, 1, 8, 8]] and not seen.proposed and seen.floor == 0.7
    odds = (0.5 / 0.5 / (0.4 / 0.6)) ** 2.0
    assert seen.scores == [pytest.approx(odds / (1 + odds))] and seen.stage == "detector"
    assert knows(Scripted(), hint) and not knows(Scripted(), DetectorHint(("bottle",))) and not DetectorHint()


def test_at_most_twenty_boxes_of_a_category():
    found = [Detection((k, 0, k + 9, 9), "car", 0.9 - 0.01 * k) for k in range(50)]
    seen = DetectorFinder(Scripted(found), DetectorHint(("car",)))(np.zeros((10, 10, 3), np.uint8))
    assert [box[0] for box in seen.boxes] == list(range(20))


def test_proposals_have_no_score():
    seen = ProposalFinder(lambda image: [(0, 1, 2, 3)])(np.zeros((10, 10, 3), np.uint8))
    assert seen.scores == [None] and seen.proposed and seen.stage == "proposals"
    assert seen.boxes[0].tolist() == [0, 1, 2, 3]


def test_categories_share_one_look_at_a_picture():
    scripted = Scripted([Detection((0, 0, 9, 9), "car", 0.9)])
    shared, image = SharedDetector(scripted), np.zeros((100, 100, 3), np.uint8)
    assert shared(image) == shared(image.copy()) == scripted.found and scripted.asked == 1
    image[49, 50, 2] = 1  # the same array, with the next picture in it
    shared(image)
    assert scripted.asked == 2
    shared(np.zeros((100, 300, 1), np.uint8))
    assert scripted.asked == 3
    empty = np.zeros((100, 100, 3), np.uint8)
    shared(empty).clear()  # the same bytes; and a list that one category takes apart
    assert shared(empty) == scripted.found and scripted.asked == 4
    assert shared.labels == scripted.labels and shared.name == "scripted"
