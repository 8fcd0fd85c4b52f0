# SPDX-License-Identifier: Apache-2.0
"""Rewrites of a network's graph, networks in other precisions and as torch modules: the same features."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the onnx package is not installed, as on a robot")

from features.networks import KINDS, NETWORKS, network_bytes, runner  # noqa: E402
from shared_data import ROOT  # noqa: E402

from dinemo_ros.errors import BackendError, BundleError  # noqa: E402
from dinemo_ros.features import create_extractor  # noqa: E402
from dinemo_ros.features.engine_cache import EngineCache  # noqa: E402
from dinemo_ros.features.onnx_graph import engine_ready  # noqa: E402
from dinemo_ros.features.parity import THRESHOLD, sample_pictures, smallest_cosine  # noqa: E402
from dinemo_ros.features.precision import half_precision, quantize  # noqa: E402
from dinemo_ros.features.variants import network as network_of  # noqa: E402
from dinemo_ros.features.variants import quantized, ship_int8, variant_key  # noqa: E402
from dinemo_ros.model.bundle import load_bundle, write_bundle  # noqa: E402

PICTURES = sample_pictures(96)


def operators(model: bytes) -> Counter:
    return Counter(node.op_type for node in onnx.load_model_from_string(model).graph.node)


@NETWORKS
def test_rewritten_graph_computes_the_same(network):
    original = network_bytes(network)
    rewritten = engine_ready(original)
    for images in PICTURES:
        assert np.abs(runner(original)(images) - runner(rewritten)(images)).max() < 1e-5
    proto = onnx.load_model_from_string(rewritten)
    onnx.checker.check_model(proto, full_check=True)
    assert proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value > 0
    (reader,) = [node for node in proto.graph.node if "image" in node.input]
    assert reader.op_type == "Cast", "TensorRT casts uint8 and does nothing else with it"
    found = operators(rewritten)
    assert found["Constant"] == found["Pad"] == 0


@KINDS
def test_rewriting_twice_changes_nothing(network):
    once = engine_ready(network_bytes(network))
    assert operators(engine_ready(once)) == operators(once)


@pytest.mark.parametrize("network", ["car"])
def test_same_padding_is_part_of_the_convolutions(network):
    """The exporter's arithmetic on shapes (some 300 nodes) is gone."""
    found = operators(engine_ready(network_bytes(network)))
    assert found["Shape"] <= 3 and sum(found.values()) < 150


@pytest.mark.parametrize("model", [b"no network", b""], ids=["text", "empty"])
def test_what_is_no_network(model):
    with pytest.raises(BundleError, match="backbone: no valid ONNX model"):
        engine_ready(model)


@KINDS
def test_half_precision(network):
    """ONNX Runtime rounds where the file says, so this is the accuracy of fp16 on any device."""
    original = network_bytes(network)
    half = half_precision(original, "fp16")
    assert len(half) < 0.7 * len(original)
    cosine = smallest_cosine(runner(original), runner(half), PICTURES)
    assert THRESHOLD["fp16"] <= cosine < 1.0
    assert operators(half)["Cast"] < 0.3 * sum(operators(half).values()), "rounded to and fro"


@KINDS
def test_bfloat16_differs_from_fp16_in_type_only(network):
    half, bf16 = (onnx.load_model_from_string(half_precision(network_bytes(network), p)).graph
                  for p in ("fp16", "bf16"))
    assert [node.op_type for node in half.node] == [node.op_type for node in bf16.node]
    types = {tensor.data_type for tensor in bf16.initializer}
    assert onnx.TensorProto.BFLOAT16 in types and onnx.TensorProto.FLOAT16 not in types


@KINDS
@pytest.mark.parametrize("symmetric", [False, True], ids=["CPU", "GPU"])
def test_int8(network, symmetric):
    """Calibrated on four pictures of the kind that it is tested on: the mechanics, not the accuracy."""
    original = network_bytes(network)
    pictures = [image[None] for image in sample_pictures(96, batch=4)[1]]
    small = quantize(original, pictures, symmetric)
    if network != "transformer":  # of so small a one the scales weigh more than the weights
        assert len(small) < 0.35 * len(original)
    assert smallest_cosine(runner(original), runner(small), [np.concatenate(pictures)]) > 0.9
    proto = onnx.load_model_from_string(small).graph
    zero = [onnx.numpy_helper.to_array(t) for t in proto.initializer if t.name.endswith("_zero_point")]
    assert all(z.dtype == np.int8 and not z.any() for z in zero) == symmetric


def test_int8_into_the_bundle(tmp_path):
    """``dinemo build-engine --ship``: another start finds it, and nothing else of the bundle changes."""
    car = load_bundle(ROOT / "engines" / "car")
    bare = write_bundle(tmp_path, car.card, car.backbone(), car.mesh)
    assert bare.int8_path is None
    cache, pictures = EngineCache(tmp_path / "cache"), [image[None] for image in sample_pictures(96, batch=2)[1]]
    cache.store(variant_key(bare, "int8", "cpu"), b"from pictures of last year")
    int8 = quantized(bare, pictures, "cpu")
    shipped = ship_int8(bare, int8, cache)
    assert network_of(shipped, "int8", cache) == int8, "what is shipped is what runs here"
    assert replace(shipped.card, files=bare.card.files) == bare.card
    assert shipped.card.files.items() > bare.card.files.items()
    assert operators(shipped.int8_path.read_bytes())["DequantizeLinear"] > 50


@KINDS
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_torch_backend(network, precision):
    pytest.importorskip("torch", reason="training extra is not installed")
    from dinemo_ros.features.torch_backend import TorchExtractor

    class Bundle:
        backbone = staticmethod(lambda: network_bytes(network))
        card = type("Card", (), {"image": type("Image", (), {"size": 96})})

    extractor = TorchExtractor(Bundle, precision=precision)
    assert smallest_cosine(runner(network_bytes(network)), extractor, PICTURES) >= THRESHOLD[precision]


@KINDS
def test_the_host_waits_for_nothing_in_torch(network):
    """On torch's device without values, so a look at one is an error; and nothing is copied there on the way.

    Both would make each forward wait for a GPU, and neither can be part of a CUDA graph.
    """
    torch = pytest.importorskip("torch", reason="training extra is not installed")
    from torch.utils._python_dispatch import TorchDispatchMode

    from dinemo_ros.features.torch_graph import OnnxModule

    class Copies(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            result = function(*arguments, **(keywords or {}))
            devices = {x.device.type for x in (*arguments, result) if isinstance(x, torch.Tensor) and x.ndim}
            assert devices != {"cpu", "meta"}, function
            return result

    module = OnnxModule(network_bytes(network)).eval().to("meta")
    with torch.no_grad(), Copies():
        features = module(torch.empty(2, 96, 160, 3, dtype=torch.uint8, device="meta"))
    assert features.shape[0] == 2 and features.shape[2:] == (12, 20)


def test_a_network_that_cannot_be_a_graph_runs_all_the_same(tmp_path, caplog):
    """The GPU's capture is put there: on_device goes through it, arrays do not, and its failure costs a warning."""
    torch = pytest.importorskip("torch", reason="training extra is not installed")
    from dinemo_ros.features.torch_backend import TorchExtractor

    extractor = TorchExtractor(load_bundle(ROOT / "engines" / "car"), 1)
    images = torch.zeros(1, 64, 64, 3, dtype=torch.uint8, device=extractor.tensor_device)
    expected = extractor.on_device(images).clone()
    tried = []

    def capture(pictures):
        tried.append(len(pictures))
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    extractor._captured = capture
    extractor(images.cpu().numpy())
    for _ in range(2):
        assert torch.equal(extractor.on_device(images), expected)
    assert tried == [1] and "(operation not permitted when stream is capturing)" in caplog.text

    def full(pictures):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    extractor._captured = full
    with pytest.raises(BackendError, match="the GPU is out of memory for 1 pictures of 64x64"):
        extractor.on_device(images)


def test_torch_does_not_know_every_operator(bundle, caplog):
    """The painted bundle computes cosines: ONNX Runtime takes over."""
    pytest.importorskip("torch", reason="training extra is not installed")
    from dinemo_ros.features.torch_graph import OnnxModule

    with pytest.raises(BackendError, match="the torch backend does not know the ONNX operators Cos"):
        OnnxModule(bundle.backbone_path.read_bytes())
    assert create_extractor(bundle, "torch").name == "onnxruntime"
    assert "torch in fp32 cannot be used: the torch backend does not know" in caplog.text


def test_bundle_with_a_rewritten_backbone(bundle, tmp_path):
    """What the exporter ships is read by everything that read the original."""
    other = write_bundle(tmp_path, bundle.card, engine_ready(bundle.backbone_path.read_bytes()), bundle.mesh)
    images = PICTURES[1]
    assert np.allclose(create_extractor(load_bundle(other.path), "onnxruntime")(images),
                       create_extractor(bundle, "onnxruntime")(images), atol=1e-5)
