# SPDX-License-Identifier: Apache-2.0
r"""What backends and precisions cost and save: features and poses against ONNX Runtime in fp32, times in one run.

    python tests/benchmarks/network.py --pictures PICTURES --synthetic RENDERS --out tests/benchmarks/results/DEVICE

Times are CPU time of one thread (which a busy machine hardly changes), smallest of many runs, backends taking turns
picture by picture. Poses are those of ``dinemo eval synthetic --occlusion all``; beside the accuracies stands how many
pictures a variant loses and wins against ONNX Runtime in fp32, which is the same pictures' difference. int8 is the
network that ships, or one made from --calibration. Needs onnx and, for its rows, openvino.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np

from dinemo_ros.benchmark.device import cpu_name
from dinemo_ros.cli.main import main as dinemo
from dinemo_ros.features import create_extractor
from dinemo_ros.features.engine_cache import EngineCache
from dinemo_ros.features.onnx_graph import engine_ready
from dinemo_ros.features.onnxruntime_backend import OnnxRuntimeExtractor
from dinemo_ros.features.precision import half_precision
from dinemo_ros.features.variants import network
from dinemo_ros.model.bundle import find_bundle, load_bundle

VARIANTS = (("onnxruntime", "fp32"), ("onnxruntime", "int8"), ("openvino", "fp32"), ("openvino", "bf16"),
            ("openvino", "int8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="car")
    parser.add_argument("--calibration", help="pictures for int8 (default: the bundle's own int8 network)")
    parser.add_argument("--pictures", type=Path, required=True, help="pictures that features are compared on")
    parser.add_argument("--synthetic", help="renders with poses, for dinemo eval synthetic")
    parser.add_argument("--limit", default="300", help="renders used (default: %(default)s)")
    parser.add_argument("--posed", nargs="+", metavar="VARIANT", default=["onnxruntime fp32", "onnxruntime int8"],
                        help="variants whose poses are measured (default: those of ONNX Runtime)")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, required=True, help="folder of this device")
    arguments = parser.parse_args()
    bundle = load_bundle(find_bundle(arguments.bundle))
    with tempfile.TemporaryDirectory() as cache:
        if arguments.calibration:
            dinemo(["build-engine", arguments.bundle, "--precision", "int8", "--calibration", arguments.calibration,
                    "--cache", cache])
        crops = pictures(arguments.pictures, bundle.card.image.size)
        runners = {f"{name} {precision}": create_extractor(bundle, name, 1, precision, cache)
                   for name, precision in VARIANTS}
        for label, extractor in runners.items():
            if f"{extractor.name} {extractor.precision}" != label:
                raise SystemExit(f"{label} cannot be measured: {extractor.reason}")
        model = bundle.backbone_path.read_bytes()
        runners["onnxruntime fp16 rounding (GPU engines)"] = OnnxRuntimeExtractor(
            bundle, 1, half_precision(model, "fp16"), "fp16")
        rows = compare(runners, crops, arguments.rounds)
        settings = compare(onnxruntime_options(model, bundle.card.image.size), crops, arguments.rounds, batch=1)
        records = {label: poses(arguments, label, cache) for label in arguments.posed if arguments.synthetic}
        for label, found in records.items():
            rows[label]["poses"] = against(found, records[arguments.posed[0]])
        int8_bytes = len(network(bundle, "int8", EngineCache(cache)))
    report = {"cpu": cpu_name(), "python": platform.python_version(), "bundle": f"{arguments.bundle} "
              f"{bundle.card.version}", "pictures": len(crops), "crop": bundle.card.image.size,
              "versions": {name: metadata.version(name) for name in ("onnxruntime", "openvino", "numpy")},
              "bytes": {"fp32": len(model), "int8": int8_bytes}, "rows": rows,
              "onnxruntime_fp32": {label: {key: row[key] for key in ("cpu_ms", "speed", "cosine_min")}
                                   for label, row in settings.items()}}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "network.json").write_text(json.dumps(report, indent=1) + "\n")
    for label, row in [*rows.items(), *report["onnxruntime_fp32"].items()]:
        print(label, row)


def pictures(folder: Path, size: int, count: int = 32) -> list[np.ndarray]:
    """uint8 [1, size, size, 3] RGB each, evenly spread over the folder."""
    paths = [path for path in sorted(folder.iterdir()) if path.suffix in (".jpg", ".png")]
    return [np.ascontiguousarray(cv2.resize(cv2.imread(str(paths[k])), (size, size),
                                            interpolation=cv2.INTER_AREA)[None, ..., ::-1])
            for k in np.linspace(0, len(paths) - 1, count).astype(int)]


def compare(runners: dict, crops: list[np.ndarray], rounds: int, batch: int = 4) -> dict[str, dict]:
    """Per backend: CPU time of a crop and of several at once, and cosines with the first one's features."""
    reference = [next(iter(runners.values()))(crop) for crop in crops]
    four = np.concatenate(crops[:batch])
    times = {label: ([], []) for label in runners}
    for k in range(rounds):
        for label, run in runners.items():
            for images, spent in zip((crops[k % len(crops)], four), times[label], strict=True):
                begin = time.process_time()
                run(images)
                spent.append(1e3 * (time.process_time() - begin))
    rows = {}
    for label, run in runners.items():
        cosine = np.concatenate([(a * run(crop)).sum(axis=1).ravel()
                                 for a, crop in zip(reference, crops, strict=True)])
        one, many = (float(np.min(spent)) for spent in times[label])
        rows[label] = {"cpu_ms": round(one, 2), f"cpu_ms_of_{batch}": round(many, 2), "cosine_mean": round(
            float(cosine.mean()), 5), "cosine_p1": round(float(np.percentile(cosine, 1)), 5),
            "cosine_min": round(float(cosine.min()), 5)}
    base = next(iter(rows.values()))
    for row in rows.values():
        row["speed"] = round(base["cpu_ms"] / row["cpu_ms"], 2)
    return rows


def onnxruntime_options(model: bytes, size: int) -> dict:
    """The network under settings of ONNX Runtime that might make it faster, one thread each."""
    import onnxruntime as ort

    def session(content: bytes, prepare=lambda options: None):
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        prepare(options)
        made = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return lambda images: made.run(["features"], {"image": images})[0]

    def fixed(options):
        for name, value in (("n", 1), ("h", size), ("w", size)):
            options.add_free_dimension_override_by_name(name, value)

    def no_blocks(options):
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED

    def no_pattern(options):
        options.enable_mem_pattern = False

    def denormals(options):
        options.add_session_config_entry("session.set_denormal_as_zero", "1")

    rewritten = engine_ready(model)
    return {"as shipped": session(model), "graph rewritten": session(rewritten),
            "rewritten, shape fixed": session(rewritten, fixed),
            "rewritten, without blocked channels (NCHWc)": session(rewritten, no_blocks),
            "rewritten, without memory pattern": session(rewritten, no_pattern),
            "rewritten, denormals as zero": session(rewritten, denormals)}


def poses(arguments: argparse.Namespace, variant: str, cache: str) -> list[dict]:
    """Records of ``dinemo eval synthetic``, one per render and level of occlusion."""
    report, (backend, precision) = Path(cache) / "report.json", variant.split()
    code = dinemo(["eval", "synthetic", arguments.synthetic, "--limit", arguments.limit, "--occlusion", "all",
                   "--bundle", arguments.bundle, "--backend", backend, "--precision", precision, "--cache", cache,
                   "--json", str(report)])
    if code:
        raise SystemExit(f"dinemo eval synthetic failed for {variant}")
    return json.loads(report.read_text())["frames"]


def against(records: list[dict], base: list[dict]) -> dict[str, dict]:
    """Per level of occlusion: accuracies, and how many pictures are lost and won against ``base``."""
    table = {}
    for level in dict.fromkeys(record["occlusion"] for record in records):
        found, before = (np.array([180.0 if record["error_deg"] is None else record["error_deg"] for record in part
                                   if record["occlusion"] == level]) for part in (records, base))
        row = {"n": len(found), "median_deg": round(float(np.median(found)), 2)}
        for degrees in (30, 10):
            row |= {f"acc{degrees}": round(float((found < degrees).mean()), 4),
                    f"lost{degrees}": int(((found >= degrees) & (before < degrees)).sum()),
                    f"won{degrees}": int(((found < degrees) & (before >= degrees)).sum())}
        table[level] = row
    return table


if __name__ == "__main__":
    main()
