# SPDX-License-Identifier: Apache-2.0
"""Networks of somebody else with names and types like ours: refused at the start, not found out by wrong poses."""

import numpy as np
import pytest
from unit.planted import car_card, car_mesh

from dinemo_ros.errors import BundleError
from dinemo_ros.features import create_extractor
from dinemo_ros.model.bundle import BACKBONE_FILE, write_bundle

onnx = pytest.importorskip("onnx", reason="writes networks with the onnx package of the training extra")

from unit.toy_backbone import toy_backbone  # noqa: E402


def extractor_of(folder, model):
    return create_extractor(write_bundle(folder, car_card(), model.SerializeToString(), car_mesh()), precision="fp32")


def followed_by(operator, *inputs, constants=(), **attributes):
    """The toy network with one more operator at its end."""
    model = onnx.load_from_string(toy_backbone())
    graph = model.graph
    graph.node[-1].output[0] = "before"
    graph.node.append(onnx.helper.make_node(operator, ["before", *inputs], ["features"], **attributes))
    graph.initializer.extend(onnx.numpy_helper.from_array(np.array(value), name) for name, value in constants)
    for k, dimension in enumerate(graph.output[0].type.tensor_type.shape.dim):
        dimension.Clear()
        dimension.dim_param = f"d{k}"
    return model


def test_ours_is_taken(tmp_path):
    assert extractor_of(tmp_path, onnx.load_from_string(toy_backbone())).name == "onnxruntime"


@pytest.mark.parametrize("model, says", [
    (lambda: followed_by("AveragePool", kernel_shape=[2, 2], strides=[2, 2]),
     r"must be of shape \[1, 64, 32, 32\] \(image.stride is 8\), found \[1, 64, 16, 16\]"),
    (lambda: followed_by("Concat", "before", axis=1), r"features must be float32 \[N, 64, .*128"),
    (lambda: followed_by("Mul", "three", constants=[("three", np.float32(3))]),
     "must have unit length, found 3 to 3; divide by the norm"),
    (lambda: followed_by("Mul", "none", constants=[("none", np.float32(np.nan))]), "are not all finite")],
    ids=["stride 16", "more channels", "not of unit norm", "NaN"])
def test_what_it_computes(tmp_path, model, says):
    with pytest.raises(BundleError, match=f"{BACKBONE_FILE}: .*{says}"):
        extractor_of(tmp_path, model())


@pytest.mark.parametrize("shape", [("n", 160, 160, 3), ("n", 256, 256, 3), (1, "h", "w", 3)])
def test_fixed_shapes(tmp_path, shape):
    model = onnx.load_from_string(toy_backbone())
    for dimension, value in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dimension.Clear()
        setattr(dimension, "dim_value" if isinstance(value, int) else "dim_param", value)
    with pytest.raises(BundleError, match="takes only pictures of shape .*: export it with dynamic N, H and W"):
        extractor_of(tmp_path, model)


def test_a_shape_inside_the_network(tmp_path):
    """What a transformer with the positions of one picture size does: dynamic by its signature, and then not."""
    model = followed_by("Mul", "positions", constants=[("positions", np.ones((1, 64, 32, 32), np.float32))])
    with pytest.raises(BundleError, match=r"cannot run the network on pictures \[2, 64, 96, 3\] .*; batches, crops"):
        extractor_of(tmp_path, model)


@pytest.mark.parametrize("beside", [True, False])
def test_weights_in_another_file(tmp_path, monkeypatch, beside):
    """The card has no hash of them: beside the network or in the folder one stands in, they are not read."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    onnx.save_model(onnx.load_from_string(toy_backbone()), folder / BACKBONE_FILE, save_as_external_data=True,
                    location="weights.bin", size_threshold=100)
    monkeypatch.chdir(tmp_path if beside else folder)
    with pytest.raises(BundleError, match="keeps weights in another file .external data."):
        extractor_of(folder, onnx.load(folder / BACKBONE_FILE, load_external_data=False))
