# SPDX-License-Identifier: Apache-2.0
"""What a box detector's score is worth for a category: fitted, written into the card, named by recipe and option."""

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from train_options import options

from dinemo_ros.model.card import DetectorHint
from dinemo_training.detector.nanodet_g import BINS, DEVIATION, LABELS, MEAN
from dinemo_training.detector.network import float_nodes, whole_picture
from dinemo_training.export.detector_hint import Box, fitted, floor_for, hint_from
from dinemo_training.run.inputs import resolve
from dinemo_training.run.plan import _figures


def boxes(center: float, spread: float, n: int, seed: int, presence: float = 0.5) -> list[Box]:
    """Scores whose log odds are normal."""
    x = np.random.default_rng(seed).normal(center, spread, n)
    return [Box(float(1 / (1 + math.exp(-v))), presence) for v in x]


def test_the_curve_is_that_of_two_normal_distributions():
    """Of equal spread s and means m1, m2 of the log odds the posterior is logistic: slope (m1 - m2) / s^2, even
    between them; whatever their numbers."""
    even, slope = fitted(boxes(0.6, 0.5, 4000, 0), boxes(-1.0, 0.5, 1000, 1))
    assert slope == pytest.approx(1.6 / 0.25, rel=0.06)
    assert math.log(even / (1 - even)) == pytest.approx(-0.2, abs=0.03)


def test_a_score_that_tells_nothing_changes_nothing():
    same = boxes(0.0, 0.5, 500, 2)
    assert DetectorHint(("cup",), even=fitted(same, same)[0], slope=fitted(same, same)[1]).probability(0.9) == \
        pytest.approx(0.5, abs=0.01)


def test_the_floor_lets_no_more_through_than_allowed():
    hint = DetectorHint(("cup",), even=0.5, slope=1.0)
    empty = [[Box(0.5, 0.01 * k)] for k in range(1, 91)] + [[]] * 10  # posterior = presence; ten without any box
    floor = floor_for(hint, empty, 0.05)
    assert sum(any(box.presence > floor for box in found) for found in empty) == 5
    assert floor_for(hint, [[]] * 20, 0.05) == 0.0


def test_the_section_holds_what_was_fitted():
    holding = [[box] for box in boxes(0.6, 0.5, 400, 3, 0.9)]
    empty = [[box] for box in boxes(-1.0, 0.5, 400, 4, 0.5)]
    hint = hint_from(["cup", "Mug"], holding, empty, 0.01)
    assert hint.labels == ("cup", "Mug") and 0.3 < hint.even < 0.6 and hint.slope > 4 and 0.5 < hint.floor < 1
    assert hint.probability(hint.even) == pytest.approx(0.5)


def test_option_recipe_and_name(tmp_path):
    """What detectors call the category; what the recipe has besides stays, and finished stages stay finished."""
    def recipe(*words):
        return resolve(options("--shape", tmp_path / "tetrahedron.obj", "--size", "0.3x0.2x0.25", *words))

    (tmp_path / "tetrahedron.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n"
                                              "f 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n")
    plain = recipe("--category", "kettle")
    assert plain.bundle_card().detector.labels == ("kettle",)
    named = recipe("--category", "kettle", "--detector-label", "Kettle", "--detector-label", "teapot")
    assert named.bundle_card().detector.labels == ("Kettle", "teapot")
    assert _figures(plain) == _figures(named) and "detector" not in _figures(named)
    cup = recipe("--category", "cup")
    assert cup.bundle_card().detector.labels == ("cup", "Mug", "Coffee cup")


def small_network() -> onnx.ModelProto:
    """In the form of the converted one: padded convolution and pooling, scores and distances of three strides."""
    rng = np.random.default_rng(0)
    channels = len(LABELS) + 4 * BINS
    weights = {"w": rng.normal(0, 0.1, (4, 3, 3, 3)), "h": rng.normal(0, 0.3, (channels, 4, 1, 1))}
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    tensors += [numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "around"),
                numpy_helper.from_array(np.array(-np.inf, np.float32), "lowest"),
                numpy_helper.from_array(np.array([len(LABELS), 4 * BINS], np.int64), "parts"),
                numpy_helper.from_array(np.array([1, len(LABELS), -1], np.int64), "flat_s"),
                numpy_helper.from_array(np.array([1, 4 * BINS, -1], np.int64), "flat_d")]
    nodes = [helper.make_node("Pad", ["given", "around"], ["padded"], "pad"),
             helper.make_node("Conv", ["padded", "w"], ["c"], "conv", strides=[8, 8]),
             helper.make_node("Pad", ["c", "around", "lowest"], ["c2"], "pad_pool"),
             helper.make_node("MaxPool", ["c2"], ["p"], "pool", kernel_shape=[3, 3], strides=[1, 1]),
             helper.make_node("Conv", ["p", "h"], ["head"], "head")]
    outputs = []
    for k in range(3):
        nodes += [helper.make_node("Split", ["head", "parts"], [f"s{k}", f"d{k}"], f"split{k}", axis=1),
                  helper.make_node("Sigmoid", [f"s{k}"], [f"g{k}"], f"sigmoid{k}"),
                  helper.make_node("Reshape", [f"g{k}", "flat_s"], [f"gs{k}"], f"rs{k}"),
                  helper.make_node("Transpose", [f"gs{k}"], [f"Identity_{k}"], f"ts{k}", perm=[0, 2, 1]),
                  helper.make_node("Reshape", [f"d{k}", "flat_d"], [f"gd{k}"], f"rd{k}"),
                  helper.make_node("Transpose", [f"gd{k}"], [f"Identity_{k + 3}"], f"td{k}", perm=[0, 2, 1])]
    outputs = [helper.make_tensor_value_info(f"Identity_{k}", TensorProto.FLOAT,
                                             [1, "N", len(LABELS) if k < 3 else 4 * BINS]) for k in range(6)]
    given = helper.make_tensor_value_info("given", TensorProto.FLOAT, [1, 3, 416, 416])
    graph = helper.make_graph(nodes, "small", [given], outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_the_network_takes_whole_pictures_of_any_size():
    """The same numbers as the converted one, whose picture is normalised, padded and read by hand."""
    import onnxruntime

    before = onnxruntime.InferenceSession(small_network().SerializeToString())
    network = whole_picture(small_network())
    after = onnxruntime.InferenceSession(network.SerializeToString())
    image = np.random.default_rng(1).integers(0, 256, (1, 416, 416, 3), dtype=np.uint8)
    given = ((image[0, ..., ::-1] - MEAN) / DEVIATION).transpose(2, 0, 1)[None].astype(np.float32)
    *old, = before.run(None, {"given": given})
    scores, distances = after.run(None, {"image": image})
    assert np.allclose(scores, np.concatenate(old[:3], axis=1), atol=1e-5)
    bins = np.exp(np.concatenate(old[3:], axis=1).reshape(1, -1, 4, BINS))
    assert np.allclose(distances, (bins * np.arange(BINS)).sum(-1) / bins.sum(-1), atol=1e-4)
    wide = after.run(None, {"image": np.zeros((1, 64, 128, 3), np.uint8)})
    assert wide[0].shape == (1, 3 * 8 * 16, len(LABELS)) and not [n for n in network.graph.node if n.op_type == "Pad"]


def test_the_file_does_not_depend_on_chance():
    """Which of equal constants the conversion keeps, and what it calls them, differs from run to run."""
    one, other = small_network(), small_network()
    twin = onnx.TensorProto()
    twin.CopyFrom(next(tensor for tensor in other.graph.initializer if tensor.name == "around"))
    twin.name = "around_as_well"
    other.graph.initializer.insert(0, twin)
    next(node for node in other.graph.node if node.name == "pad_pool").input[1] = twin.name
    split = next(node for node in other.graph.node if node.name == "split1")
    parts = next(tensor for tensor in other.graph.initializer if tensor.name == split.input[1])
    copied = onnx.TensorProto()
    copied.CopyFrom(parts)
    copied.name = split.input[1] = "parts_as_well"
    other.graph.initializer.append(copied)
    assert whole_picture(one).SerializeToString() == whole_picture(other).SerializeToString()


def test_the_end_stays_in_float():
    names = float_nodes(whole_picture(small_network()))
    assert {"cast", "centre", "channels_first", "head", "softmax", "expectation", "split0", "sigmoid2"} <= set(names)
    assert not {"conv", "pool"} & set(names)
