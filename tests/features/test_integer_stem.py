# SPDX-License-Identifier: Apache-2.0
"""The first convolution on the picture's bytes: the same numbers as in fp32, for every kind that it takes."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the onnx package is not installed, as on a robot")

from features.networks import network_bytes, runner  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from dinemo_ros.features.integer_stem import make_stem_integer, round_together  # noqa: E402
from dinemo_ros.features.parity import sample_pictures  # noqa: E402
from dinemo_ros.features.precision import quantize  # noqa: E402

PICTURES = [np.random.default_rng(1).integers(0, 256, (2, 32, 64, 3), dtype=np.uint8)]
OUTPUTS, SCALE = 6, 40.0  # of 8 bits
LIMITED = ("limited", "Clip")


def network(size=3, stride=2, pads=(0, 0, 1, 1), mean=(116, 116, 116), deviation=(50, 50, 50), limit=LIMITED,
            **settings) -> onnx.ModelProto:
    """A first convolution whose weights are exact in 8 bits, followed by what 8-bit networks go on with."""
    rng = np.random.default_rng(size)
    channels = 3 // settings.get("group", 1)
    weights = rng.integers(-127, 128, (OUTPUTS, channels, size, size)).astype(np.float32)
    weights[:, 0, 0, 0] = 127  # the largest one sets the scale
    constants = {"mean": np.float32(mean).reshape(1, 3, 1, 1), "deviation": np.float32(deviation).reshape(1, 3, 1, 1),
                 "weights": weights, "bias": np.float32(rng.integers(-9, 9, OUTPUTS)), "scale": np.float32(SCALE),
                 "zero": np.uint8(100), "low": np.float32(-1000), "high": np.float32(3000)}
    name, kind = limit or ("sums", "")
    make = helper.make_node
    nodes = [make("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
             make("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
             make("Sub", ["planes", "mean"], ["centred"]), make("Div", ["centred", "deviation"], ["normalised"]),
             make("Conv", ["normalised", "weights", "bias"], ["sums"], strides=[stride, stride],
                  kernel_shape=[size, size], **({"pads": pads} if pads else {}), **settings),
             *([make(kind, ["sums", "low", "high"][:3 if kind == "Clip" else 1], [name])] if limit else []),
             make("QuantizeLinear", [name, "scale", "zero"], ["bytes"]),
             make("DequantizeLinear", ["bytes", "scale", "zero"], ["features"])]
    graph = helper.make_graph(nodes, "stem",
                              [helper.make_tensor_value_info("image", TensorProto.UINT8, [None] * 3 + [3])],
                              [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None] * 4)],
                              [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def both(model: onnx.ModelProto) -> tuple[np.ndarray, np.ndarray]:
    """What the network computed, and what it computes with its first convolution on bytes, in steps of 8 bits."""
    before = runner(model.SerializeToString())(PICTURES[0])
    assert make_stem_integer(model.graph, PICTURES)
    onnx.checker.check_model(model, full_check=True)
    return before / SCALE, runner(model.SerializeToString())(PICTURES[0]) / SCALE


@pytest.mark.parametrize("shape", [
    {}, {"pads": (1, 1, 1, 1)}, {"limit": None}, {"limit": ("limited", "Relu")}, {"size": 7, "pads": (3, 3, 3, 3)},
    {"size": 4, "stride": 4, "pads": (0, 0, 0, 0)}, {"size": 3, "stride": 1, "pads": (1, 1, 1, 1)},
    {"size": 2, "stride": 2, "pads": (0, 0, 0, 0)}, {"deviation": (30, 30, 30)}], ids=str)
def test_same_numbers(shape):
    """Exact weights and bytes: sums differ by fp32's last digit, which may tip a rounding to 8 bits, now and then."""
    before, after = both(network(**shape))
    assert before.shape == after.shape and len(np.unique(before)) > 20
    difference = np.abs(before - after)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_border_shows_the_mean_of_the_channels():
    """A padded pixel is a byte now, the same for all channels; inside nothing changes but rounded weights."""
    before, after = both(network(mean=(124, 116, 104), deviation=(50, 50, 50)))
    inside = np.abs(before - after)[:, :, :-1, :-1]
    assert inside.max() <= 1 and (inside > 0).mean() < 1e-3
    assert 0 < np.abs(before - after).max() < 6 * 127 * 12 / 50 / SCALE + 1


@pytest.mark.parametrize("shape", [
    {"group": 3}, {"dilations": [2, 2]}, {"stride": 3}, {"auto_pad": "SAME_UPPER", "pads": None},
    {"pads": (0, 0, 0, 0)}, {"limit": ("limited", "Sigmoid")}], ids=str)
def test_other_beginnings_stay_as_they_are(shape):
    model = network(**shape)
    before = model.SerializeToString()
    assert not make_stem_integer(model.graph, PICTURES)
    assert model.SerializeToString() == before


def test_a_picture_with_two_readers_stays_as_it_is():
    model = network()
    model.graph.node.append(helper.make_node("Shape", ["image"], ["its_shape"]))
    assert not make_stem_integer(model.graph, PICTURES)


def test_weights_are_rounded_together():
    """For inputs that are nearly equal the errors cancel; for independent ones each weight is rounded for itself."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(20, 3, 3))
    inputs = rng.normal(size=(1000, 1)) + 0.1 * rng.normal(size=(1000, 9))
    values, scales = round_together(weights, inputs.T @ inputs / len(inputs))
    assert values.dtype == np.int8 and np.abs(values).max() == 127
    exact = weights.reshape(20, 9) / scales[:, None]

    def error(rounded: np.ndarray) -> float:
        return float(np.square(inputs @ (rounded.reshape(20, 9) - exact).T).mean())

    assert error(values) < 0.3 * error(np.round(exact))
    assert np.abs(values.reshape(20, 9) - exact).max() < 2
    alone, _ = round_together(weights, np.eye(9))
    np.testing.assert_array_equal(alone.reshape(20, 9), np.round(exact))


def test_it_costs_no_accuracy(monkeypatch):
    """The car's network, its features against those in fp32: as near as with the first convolution in fp32."""
    original = network_bytes("car")
    pictures = [image[None] for image in sample_pictures(96, batch=8)[1]]
    test = sample_pictures(128, batch=8)[1]

    def error() -> float:
        """Mean of 1 - cosine."""
        small = runner(quantize(original, pictures))(test)
        return 1.0 - float((runner(original)(test) * small).sum(axis=1).mean())

    whole = error()
    monkeypatch.setattr("dinemo_ros.features.precision.make_stem_integer", lambda *_: False)
    assert whole < 1.05 * error()
