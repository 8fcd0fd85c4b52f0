# SPDX-License-Identifier: Apache-2.0
"""Networks that would keep a start from ending, or take all memory: one sentence, soon, and no harm done."""

import os
import time

import numpy as np
import pytest
from bad_networks import FLOAT, ONE, chain, constant_of_shape, integers, network, products, scalar, subgraph
from painted_car import _bytes, _integer, _node, _tensor, _varint, _varint_field
from unit.planted import car_card, car_mesh

from dinemo_ros.errors import BundleError
from dinemo_ros.features import trial
from dinemo_ros.features.onnx_file import check_onnx
from dinemo_ros.features.onnxruntime_backend import OnnxRuntimeExtractor
from dinemo_ros.model.bundle import BACKBONE_FILE, find_bundle, load_bundle, write_bundle


def refusal(folder, model: bytes) -> str:
    bundle = write_bundle(folder, car_card(), model, car_mesh())
    with pytest.raises(BundleError) as caught:
        OnnxRuntimeExtractor(bundle, 1)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 700 and BACKBONE_FILE in message
    return message


def test_ours_is_tried_and_runs(tmp_path):
    bundle = write_bundle(tmp_path, car_card(), network(), car_mesh())
    OnnxRuntimeExtractor(bundle, 1)
    assert trial._tried.cache_info().currsize > 0
    begin = time.monotonic()
    OnnxRuntimeExtractor(bundle, 1)
    assert time.monotonic() - begin < 0.5, "the same network is not tried again"


def test_an_installed_bundle_is_not_tried(monkeypatch):
    monkeypatch.setattr("dinemo_ros.features.onnxruntime_backend.try_network", lambda *_: pytest.fail("was tried"))
    OnnxRuntimeExtractor(load_bundle(find_bundle("car")), 1)


def test_shipped_networks_of_another_place_are_taken(tmp_path):
    car = load_bundle(find_bundle("car"))
    copied = write_bundle(tmp_path / "copied", car.card, car.backbone(), car.mesh, car.int8())
    OnnxRuntimeExtractor(copied, 1)
    OnnxRuntimeExtractor(copied, 1, copied.int8(), "int8")


@pytest.mark.parametrize(("model", "says"), [
    (network([_node("Loop", ["n"], "extra", subgraph("body"))], [integers("n", [1 << 62])]),
     "operator 'Loop', which may"),
    (network([_node("Loop", ["n"], "extra")], [integers("n", [1 << 62])]), "operator 'Loop', which may repeat"),
    (network([_node("If", ["n"], "extra", subgraph("then_branch"))]), "operator 'If', which may repeat"),
    (network([_node("Scan", ["n"], "extra", subgraph("body"))]), "operator 'Scan', which may repeat"),
    (network([_node("Own", ["n"], "extra", subgraph("x"))]), "operator 'with a graph in it'"),
    (network([_node("Own", ["n"], "extra", subgraph("x", 11))]), "operator 'with a graph in it'"),
    (network() + _bytes(7, _bytes(1, _node("Loop", ["n"], "extra"))), "operator 'Loop'"),  # graphs are put together
    (network() + _bytes(25, b""), "has functions or training steps"),
    (network() + _bytes(20, b""), "has functions or training steps"),
    (network() + _bytes(7, _bytes(15, b"")), "has sparse tensors"),
    (network([_node("Constant", [], "extra", _bytes(1, b"value") + _bytes(22, b"") + _varint_field(20, 11))]),
     "has sparse tensors"),
    (network() + _bytes(7, _bytes(5, _varint_field(1, 1 << 40) + _varint_field(2, 1))), "tensor with more numbers"),
    (network() + _bytes(7, _bytes(5, b"".join(_varint_field(1, 1 << 31) for _ in range(3)))),
     "tensor with more numbers"),
    (network() + _bytes(7, _bytes(5, _bytes(1, _varint(1 << 40)))), "tensor with more numbers"),
    (network() + _bytes(7, _bytes(5, _varint_field(1, (1 << 64) - 1))), "tensor with more numbers"),
    (network() + _bytes(7, _bytes(5, _varint_field(14, 1))), "keeps weights in another file"),
    (network()[:-1000], "is cut off"), (b"", "there is no graph"), (b"PK\x03\x04", "is no ONNX file"),
    (b"\0\0\0\0ORTM" + network(), "ONNX Runtime's own format"), (bytes(range(256)), "is no ONNX file"),
    (b"\x3a" + b"\xff" * 20, "is no ONNX file"), (_varint_field(1, 9) * 300_001, "more than 300000 fields"),
], ids=lambda value: value[:40].replace(" ", "_") if isinstance(value, str) else "network")
def test_what_the_file_asks_for(tmp_path, model, says, monkeypatch):
    """Known before ONNX Runtime has seen it, here or in a child."""
    monkeypatch.setattr(trial, "_tried", lambda order: pytest.fail("a process was started"))
    begin = time.monotonic()
    assert says in refusal(tmp_path / "bundle", model)
    assert time.monotonic() - begin < 5.0


@pytest.mark.parametrize(("model", "says"), [
    (constant_of_shape(1 << 40), "needs more than 1 GiB of memory"),
    (constant_of_shape(1 << 29), "needs more than 1 GiB of memory"),
    (network([_node("Expand", ["one", "sides"], "extra")], [ONE, integers("sides", [1 << 31])]),
     "needs more than 1 GiB of memory"),
    (network([_node("Tile", ["one", "times"], "extra")], [ONE, integers("times", [1 << 33])]),
     "cannot run the network"),  # ONNX Runtime has a limit of its own there
    (network([_node("Range", ["a", "b", "c"], "long"), _node("Cast", ["long"], "extra", _integer("to", FLOAT))],
             [scalar(*pair) for pair in (("a", 0), ("b", 1 << 40), ("c", 1))]),
     "needs more than 1 GiB of memory"),
    (chain("Concat", 40, _integer("axis", 0)), "needs more than 1 GiB of memory"),
    (network([_node("Resize", ["raw", "", "scales"], "extra")], [_tensor("scales", np.array([1.0, 1.0, 900, 900]))]),
     "needs more than 1 GiB of memory"),
    (network([_node("NoSuchOperator", ["raw"], "extra")]), "cannot load it"),
    (network([_node("Relu", ["raw"], "extra") + _bytes(7, b"of.somebody")]), "cannot load it"),
    (network([_node("Gather", ["raw", "at"], "extra")], [integers("at", [1 << 40])]), "cannot run the network"),
], ids=["constant of 4 TiB", "constant of 2 GiB", "expand", "tile", "range", "concat doubles", "resize", "unknown",
        "custom operator", "out of range"])
def test_what_it_takes(tmp_path, model, says):
    begin = time.monotonic()
    assert says in refusal(tmp_path / "bundle", model)
    assert time.monotonic() - begin < 5.0


def test_work_without_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "SECONDS", 1)
    begin = time.monotonic()
    assert "takes more than 1 s of computing" in refusal(tmp_path / "bundle", products(4096, 60))
    assert time.monotonic() - begin < 15.0


def test_a_process_that_dies_or_cannot_be(tmp_path, monkeypatch):
    pictures = [np.zeros((1, 64, 64, 3), np.uint8)]
    for command, says in ((["sh", "-c", "cat > /dev/null; kill -SEGV $$"], "with signal 11 where it is tried"),
                          (["sh", "-c", "exit 3"], "its process ends with 3"),
                          ([str(tmp_path / "none")], "no process can be started")):
        monkeypatch.setattr(trial, "python_command", lambda *_, command=command: command)
        trial._tried.cache_clear()
        with pytest.raises(BundleError, match=says):
            trial.try_network(network(), pictures)


def test_forty_gigabytes_are_refused_by_their_size(tmp_path):
    bundle = write_bundle(tmp_path, car_card(), network(), car_mesh())
    os.truncate(bundle.backbone_path, 40 << 30)
    begin = time.monotonic()
    with pytest.raises(BundleError, match=r"backbone.onnx: is larger than 512 MiB, .* .40 GiB."):
        load_bundle(tmp_path)
    assert time.monotonic() - begin < 1.0


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_are_looked_at_without_a_traceback(seed):
    rng, model = np.random.default_rng(seed), network()
    for _ in range(200):
        data = bytearray(model[:rng.integers(1, len(model))] if rng.random() < 0.3 else model)
        for at in rng.integers(0, min(len(data), 600), rng.integers(1, 4)):
            data[at] = rng.integers(0, 256)
        try:
            check_onnx(bytes(data))
        except BundleError as error:
            assert len(str(error)) < 300
