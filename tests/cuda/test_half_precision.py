# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402  (imports after importorskip)
"""Networks in 16 bits on torch: weights are converted once, and the features are those of fp32."""

from collections import Counter
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnx", reason="backend torch reads networks with onnx")

from features.networks import network_bytes, runner
from torch.utils._python_dispatch import TorchDispatchMode

from dinemo_ros.features.parity import THRESHOLD, sample_pictures, smallest_cosine
from dinemo_ros.features.torch_backend import TorchExtractor
from dinemo_ros.features.torch_graph import OnnxModule

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
SIZE = 96


class Operations(TorchDispatchMode):
    """How often each is asked for, and which of ``weights`` are copied into another type on the way."""

    def __init__(self, weights):
        super().__init__()
        self.count, self.copied, self._weights = Counter(), [], {weight.data_ptr(): name for name, weight in weights}

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function._schema.name.partition("::")[2]
        self.count[name] += name != "_local_scalar_dense"  # of what is on the host
        if name == "_to_copy" and arguments[0].data_ptr() in self._weights:
            self.copied.append(self._weights[arguments[0].data_ptr()])
        return function(*arguments, **(keywords or {}))


def forward(extractor) -> Operations:
    """Of one picture, as a frame asks for it."""
    image = torch.zeros(1, SIZE, SIZE, 3, dtype=torch.uint8, device=extractor.tensor_device)
    with Operations(list(extractor._module.named_buffers())) as operations, torch.no_grad(), extractor._autocast:
        extractor._module(image)
    return operations


def extractor(network, precision):
    card = SimpleNamespace(image=SimpleNamespace(size=SIZE))
    return TorchExtractor(SimpleNamespace(backbone=lambda: network_bytes(network), card=card), 1, precision)


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize(("network", "norms"), [("car", 3), ("transformer", 10)])
def test_no_weight_is_converted_in_a_forward(network, norms, precision):
    """Autocast alone copies each weight and bias of a convolution or a product: 110 copies in a frame of the car.

    What is left are activations, at most into a norm and out of it.
    """
    plain, half = (forward(extractor(network, name)) for name in ("fp32", precision))
    assert half.copied == []
    copies = half.count["_to_copy"] - plain.count["_to_copy"]
    assert 0 <= copies <= 2 * norms
    assert half.count.total() - copies == plain.count.total()


def test_autocast_alone_would_convert_them_all():
    """What the count above would see: the same network, its weights left in fp32."""
    run = extractor("car", "bf16")
    run._module = OnnxModule(network_bytes("car")).to(run.tensor_device).eval()
    assert len(forward(run).copied) > 100


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("network", ["car", "transformer"])
def test_features_are_those_of_fp32(network, precision):
    pictures = sample_pictures(SIZE)
    run = extractor(network, precision)
    assert smallest_cosine(runner(network_bytes(network)), run, pictures) >= THRESHOLD[precision]
    assert any(buffer.dtype == DTYPES[precision] for buffer in run._module.buffers())


def test_what_a_norm_reads_stays_in_fp32():
    """Mean and variance of a picture, scale and shift of a norm: autocast computes there in fp32."""
    kinds = Counter(buffer.dtype for buffer in extractor("transformer", "fp16")._module.buffers())
    assert kinds[torch.float16] > 20 and kinds[torch.float32] > 15
    module = OnnxModule(network_bytes("car"))
    before = {name: buffer.dtype for name, buffer in module.named_buffers()}
    assert set(before.values()) == {torch.float32}
    module.weights_in(torch.float16)
    left = [name for name, buffer in module.named_buffers() if buffer.dtype == torch.float32]
    assert 0 < len(left) < 20


def test_weights_beyond_fp16_stay_finite():
    module = OnnxModule(network_bytes("car"))
    name = module._weights[0]
    setattr(module, name, torch.full_like(getattr(module, name), 1e6))
    assert torch.isfinite(getattr(module.weights_in(torch.float16), name)).all()
    assert getattr(module, name).max() == torch.finfo(torch.float16).max
