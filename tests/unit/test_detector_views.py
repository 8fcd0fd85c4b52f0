# SPDX-License-Identifier: Apache-2.0
"""What a detector looks at: the aspect stays, the budget is kept, no seam hides an object."""

import numpy as np
import pytest

from dinemo_ros.detection.detector_card import DetectorCard, InputSpec
from dinemo_ros.detection.regions import distinct_boxes
from dinemo_ros.detection.views import View, inner_edges, planned_views, whole_view


def card(fixed=(), short_sides=(320, 416)):
    return DetectorCard("dinemo-detector/1", "x", "1", "", ("cup",), "corner_rows", short_sides=short_sides,
                        input=InputSpec(fixed=fixed))


@pytest.mark.parametrize(("width", "height", "side", "size"), [(1242, 375, 320, (1056, 320)),
                                                               (1280, 720, 416, (736, 416)),
                                                               (720, 1280, 320, (320, 576)), (20, 20, 320, (320, 320))])
def test_whole_pictures_keep_their_aspect(width, height, side, size):
    view = whole_view(width, height, side, InputSpec())
    assert view.size == view.content == size and view.box == (0, 0, width, height)
    assert abs(np.log(size[0] / size[1] / (width / height))) < 0.06


def test_the_smallest_comes_first_whatever_the_order_in_the_card():
    views = planned_views(1280, 720, card(short_sides=(416, 320)), 50, lambda view: 100.0 * view.megapixels)
    assert [view.size[1] for view in views] == [320, 416]


@pytest.mark.parametrize(("width", "height"), [(4000, 16), (16, 4000), (30_000, 16)])
def test_a_strip_is_no_film(width, height):
    """Its shorter side at 320 pixels it would be 80,000 long, and take the network gigabytes."""
    views = planned_views(width, height, card())
    assert all(view.megapixels < 2.0 and view.size[0] % 32 == view.size[1] % 32 == 0 for view in views)
    assert np.argmax(views[0].size) == np.argmax((width, height))
    assert sum(view.megapixels for view in planned_views(width, height, card(), 1e5, lambda view: 1.0)) < 5.0


def test_a_network_of_one_size_gets_what_fits_into_it():
    view = whole_view(1280, 720, 0, InputSpec(fixed=(640, 640)))
    assert view.content == (640, 360) and view.size == (640, 640)


def test_without_a_budget_the_card_says():
    views = planned_views(1280, 720, card())
    assert [view.size for view in views] == [(576, 320), (736, 416)]
    assert planned_views(1280, 720, card(fixed=(300, 300))) == [whole_view(1280, 720, 0, InputSpec(fixed=(300, 300)))]


@pytest.mark.parametrize(("budget_ms", "short_sides"), [(1, [320]), (20, [320]), (50, [320, 416]),
                                                        (120, [320, 416, 576]), (1e6, [320, 416, 576, 800])])
def test_a_budget_takes_as_much_as_fits(budget_ms, short_sides):
    views = planned_views(1280, 720, card(), budget_ms, lambda view: 100.0 * view.megapixels)
    assert [view.size[1] for view in views] == short_sides


def test_tiles_cover_the_picture():
    """Each place but the rim lies in the middle of some tile, so that no object is cut in all of them."""
    views = planned_views(1000, 400, card(fixed=(300, 300)), 1e6, lambda view: 1.0)
    assert views[0].box == (0, 0, 1000, 400)
    large = [view.box for view in views[1:] if view.box[3] - view.box[1] == 400]
    small = [view.box for view in views if view.box[3] - view.box[1] == 240]
    assert len(large) == 4 and len(small) == 21 and len(views) == 1 + len(large) + len(small)
    for boxes, side in ((large, 400), (small, 240)):
        for x in range(side // 2, 1000 - side // 2, 10):
            assert any(box[0] + 0.19 * side <= x <= box[2] - 0.19 * side for box in boxes)
    assert planned_views(400, 400, card(fixed=(300, 300)), 2.5, lambda view: 1.0)[1:] == []


def test_boxes_at_a_seam_are_parts():
    tile = View((200, 0, 600, 400), (300, 300), (300, 300))
    boxes = np.array([(201, 10, 300, 90), (250, 10, 599, 90), (250, 0, 300, 400), (250, 10, 300, 90)], float)
    assert inner_edges(boxes, tile, 1000, 400).tolist() == [True, True, False, False]
    whole = whole_view(1000, 400, 320, InputSpec())
    assert not inner_edges(np.array([(0, 0, 1000, 400.0)]), whole, 1000, 400).any()


def test_one_box_for_an_object():
    boxes = np.array([(0, 0, 100, 100), (5, 0, 105, 100), (10, 60, 60, 99), (90, 0, 200, 100), (0, 0, 0, 0)], float)
    scores = np.array([0.5, 0.9, 0.8, 0.3, 0.1])
    assert distinct_boxes(boxes, scores, 0.5, 0.7) == [1, 3, 4]
    assert distinct_boxes(boxes, scores, 0.5, 1.01) == [1, 2, 3, 4], "a part that nobody calls one"
    assert distinct_boxes(boxes[:0], scores[:0], 0.5, 0.7) == []
