# SPDX-License-Identifier: Apache-2.0
"""The converted network as the runtime takes it: a whole picture of any size in, scores and boxes out; then in int8.

    python -m dinemo_training.detector.network CONVERTED.onnx OUT --pictures FOLDER [FOLDER ...]

writes ``OUT/detector.onnx`` (int8) with its card, and with ``--fp32`` the network before rounding. ``image`` uint8
[1, H, W, 3] RGB, sides multiples of 32, goes in; ``scores`` float32 [1, N, classes] from 0 to 1 and ``distances``
float32 [1, N, 4] from a cell's centre to the box's left, top, right and bottom edge, in cells, come out. N counts the
cells of all strides, the finest first, row by row.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from dinemo_ros.detection.detector_card import CARD_FILE, FORMAT, MODEL_FILE, DetectorCard, InputSpec
from dinemo_ros.detection.onnx_detector import fitted
from dinemo_ros.detection.views import whole_view
from dinemo_ros.io.sources.picture import read_image

from .nanodet_g import BINS, DEVIATION, LABELS, MEAN, MULTIPLE, NAME, STRIDES, VERSION

_CALIBRATED_ON = 40  # pictures of a folder at most
_SEED = 1
_SHORT_SIDE = 416
_SMALLEST = 100  # pixels; below, a picture is more interpolation than picture


def whole_picture(network: onnx.ModelProto) -> onnx.ModelProto:
    """The network with normalisation, softmax over distances and any size of picture built in."""
    graph = network.graph
    scores, distances = ([output.name for output in graph.output[part]]
                         for part in (slice(0, len(STRIDES)), slice(len(STRIDES), None)))
    given = graph.input[0].name
    del graph.input[:], graph.output[:], graph.value_info[:]
    _fold_padding(graph)
    _take_rgb(graph, given)
    before = [helper.make_node("Cast", ["image"], ["image_float"], "cast", to=TensorProto.FLOAT),
              helper.make_node("Sub", ["image_float", "mean"], ["image_centred"], "centre"),
              helper.make_node("Transpose", ["image_centred"], [given], "channels_first", perm=[0, 3, 1, 2])]
    after = [helper.make_node("Concat", scores, ["scores"], "all_scores", axis=1),
             helper.make_node("Concat", distances, ["logits"], "all_distances", axis=1),
             helper.make_node("Reshape", ["logits", "four_sides"], ["by_bin"], "sides"),
             helper.make_node("Softmax", ["by_bin"], ["probabilities"], "softmax", axis=3),
             helper.make_node("MatMul", ["probabilities", "bins"], ["expected"], "expectation"),
             helper.make_node("Reshape", ["expected", "boxes"], ["distances"], "rows")]
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    constants = {"mean": MEAN[::-1].copy(), "four_sides": np.array([1, -1, 4, BINS], np.int64),
                 "bins": np.arange(BINS, dtype=np.float32)[:, None], "boxes": np.array([1, -1, 4], np.int64)}
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    _number_constants(graph)
    graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "H", "W", 3]))
    graph.output.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, "N", len(LABELS)]))
    graph.output.append(helper.make_tensor_value_info("distances", TensorProto.FLOAT, [1, "N", 4]))
    onnx.checker.check_model(network)
    return network


def _fold_padding(graph: onnx.GraphProto) -> None:
    """Padding of pictures into the convolutions and poolings that follow it.

    Before a pooling it is of minus infinity, which no range of 8 bits holds.
    """
    amounts = {tensor.name: numpy_helper.to_array(tensor).tolist() for tensor in graph.initializer}
    for pad in [node for node in graph.node if node.op_type == "Pad"]:
        sides = [amounts[pad.input[1]][k] for k in (2, 3, 6, 7)]
        for node in [node for node in graph.node if pad.output[0] in node.input]:
            for attribute in [a for a in node.attribute if a.name in ("pads", "auto_pad")]:
                if any(attribute.ints) or attribute.s not in (b"", b"VALID"):
                    raise SystemExit(f"{node.name}: pads a picture that was padded before; convert it by hand")
                node.attribute.remove(attribute)
            node.attribute.append(helper.make_attribute("pads", sides))
            node.input[0] = pad.input[0]
        graph.node.remove(pad)


def _number_constants(graph: onnx.GraphProto) -> None:
    """Constants in the order of their use, equal ones once, none that nothing uses.

    Which of equal ones the conversion keeps is chance: the file would be another one each time.
    """
    values = {tensor.name: tensor for tensor in graph.initializer}
    names: dict[tuple, str] = {}
    kept = []
    for node in graph.node:
        for k, name in enumerate(node.input):
            if name not in values:
                continue
            array = numpy_helper.to_array(values[name])
            content = array.dtype.str, array.shape, array.tobytes()
            if content not in names:
                names[content] = f"constant_{len(names)}"
                kept.append(numpy_helper.from_array(array, names[content]))
            node.input[k] = names[content]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _take_rgb(graph: onnx.GraphProto, given: str) -> None:
    """Weights of the first convolution for channels in the order of RGB that are not divided by their deviation.

    Exact, for what is padded in between is zero either way.
    """
    first = next(node for node in graph.node if given in node.input)
    stored = next(tensor for tensor in graph.initializer if tensor.name == first.input[1])
    weights = numpy_helper.to_array(stored) / DEVIATION[:, None, None]
    stored.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(weights[:, ::-1], np.float32), stored.name))


def float_nodes(network: onnx.ModelProto) -> list[str]:
    """What stays in float: from the last convolutions on, or boxes lose a twentieth of their overlap; and the input."""
    makers = {output: node for node in network.graph.node for output in node.output}
    waiting, names = [output.name for output in network.graph.output], {"cast", "centre", "channels_first"}
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.name not in names:
            names.add(node.name)
            waiting += [] if node.op_type == "Conv" else node.input
    return sorted(names)


class Pictures(CalibrationDataReader):
    """Pictures of some folders, the same ones each time, as the detector scales them.

    ``left_out``: names that evaluation uses.
    """

    def __init__(self, folders: Sequence[Path], left_out: Sequence[str] = ()) -> None:
        self._inputs = self._read(folders, set(left_out))

    @staticmethod
    def _read(folders: Sequence[Path], left_out: set[str]) -> Iterator[dict[str, np.ndarray]]:
        chosen = random.Random(_SEED)
        for folder in folders:
            names = sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png")
                           and path.name not in left_out)
            for path in chosen.sample(names, min(len(names), _CALIBRATED_ON)):
                image = read_image(path)
                if min(image.shape[:2]) >= _SMALLEST:
                    height, width = image.shape[:2]
                    yield {"image": fitted(image, whole_view(width, height, _SHORT_SIDE, InputSpec()))[None]}

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input by its name, pixels uint8 [1, H, W, 3]; None at the end."""
        return next(self._inputs, None)


def card_of(network: bytes, description: str) -> DetectorCard:
    """The card of one of the two networks."""
    return DetectorCard(format=FORMAT, name=NAME, version=VERSION, sha256=hashlib.sha256(network).hexdigest(),
                        labels=LABELS, decoding="cell_distances", strides=STRIDES, short_sides=(320, _SHORT_SIDE),
                        input=InputSpec(multiple=MULTIPLE), license="Apache-2.0 AND MIT", description=description)


def write_card(card: DetectorCard, path: Path) -> None:
    """As YAML, without what is left at its default."""
    plain = DetectorCard("dinemo-detector/1", "x", "1", "", ("x",), "corner_rows")
    values = {item.name: getattr(card, item.name) for item in fields(card)
              if getattr(card, item.name) != getattr(plain, item.name) or item.name == "format"}
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    path.write_text(yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=110))


def write_int8(network: Path, out: Path, pictures: CalibrationDataReader) -> None:
    """Weights and activations in 8 bits, weights in 7: on CPUs without VNNI sums of products would overflow."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(network), str(prepared), skip_symbolic_shape=True)
        quantize_static(str(prepared), str(out), pictures, quant_format=QuantFormat.QDQ, per_channel=True,
                        reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                        calibrate_method=CalibrationMethod.MinMax,
                        nodes_to_exclude=float_nodes(onnx.load(str(prepared))),
                        extra_options={"CalibMovingAverage": True})


def main() -> None:
    """Write both networks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("converted", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pictures", type=Path, nargs="+", required=True, metavar="FOLDER",
                        help="photographs that ranges of activations are taken from; no labels are read")
    parser.add_argument("--fp32", type=Path, metavar="DIR", help="write the network before rounding here, with a card")
    parser.add_argument("--leave-out", type=Path, metavar="FILE", help="names of pictures that are kept for evaluation")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    kept = arguments.leave_out.read_text().split() if arguments.leave_out else ()
    with tempfile.TemporaryDirectory() as folder:
        full, small = Path(folder) / "full.onnx", Path(folder) / "small.onnx"
        onnx.save(whole_picture(onnx.load(str(arguments.converted))), str(full))
        write_int8(full, small, Pictures(arguments.pictures, kept))
        write(arguments.out, small.read_bytes(), "in int8")
        if arguments.fp32:
            write(arguments.fp32, full.read_bytes(), "in fp32")


def write(folder: Path, network: bytes, how: str) -> None:
    """A network with its card."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILE).write_bytes(network)
    write_card(card_of(network, f"NanoDet-G {how}, taught with the boxes of COCO: {len(LABELS)} classes"),
               folder / CARD_FILE)


if __name__ == "__main__":
    main()
