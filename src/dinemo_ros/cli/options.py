# SPDX-License-Identifier: Apache-2.0
"""Options that several sub-commands share, and what becomes of them."""

from __future__ import annotations

import argparse
import contextlib
import logging
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..cuda.devices import DEVICES, TWINS
from ..defaults import available_cpus
from ..errors import BundleError
from ..features.protocol import BACKENDS, PRECISION_CHOICES
from ..io.quoting import named, one_line, shown

if TYPE_CHECKING:
    from ..detection.detector import Detector
    from ..estimator import PoseEstimator
    from ..model.bundle import Bundle

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # argparse has no public name for it

_LABELS = 5  # of a detector in one sentence
_Number = TypeVar("_Number", int, float)
_log = logging.getLogger(__name__)
_CHOOSERS = ("dinemo_ros.features.selection", "dinemo_ros.cuda.selection")  # a line each where one is enough
_NEGATIVE_LIST = re.compile(r"-[\d.eE+-]+,")
_LISTS = ("--roi", "--support")  # options that take numbers with commas between them, the first one perhaps negative


def add_estimator_options(parser: argparse.ArgumentParser) -> None:
    """Which bundle, and what computes: read by :func:`make_estimator`."""
    parser.add_argument("--bundle", metavar="DIR", help="model bundle: a folder with model.yaml, or the name of a "
                        "shipped category (default: car)", default="car")
    add_computing_options(parser)
    add_detector_options(parser)


def add_computing_options(parser: argparse.ArgumentParser) -> None:
    """What computes, whichever the bundle: read by :func:`estimator_of`. Without a detector: boxes are given."""
    parser.add_argument("--threads", type=threads, metavar="N", default=available_cpus(),
                        help="CPU threads (default: all that this process may use, here %(default)s)")
    parser.add_argument("--backend", choices=BACKENDS, default="auto", help="what runs the network (default: the "
                        "fastest that works)")
    parser.add_argument("--precision", choices=PRECISION_CHOICES, default="auto", help="what the network computes in "
                        "(default: on a GPU fp16 or bf16, where they are right; int8 on a CPU that is fast in it, "
                        "where the bundle brings it; else fp32)")
    parser.add_argument("--device", choices=(*DEVICES, TWINS), default="auto", metavar="{" + ",".join(DEVICES) + "}",
                        help="what the solver runs on; auto: a GPU where torch and Triton can use one (default: "
                        "%(default)s)")
    parser.add_argument("--quiet", action="store_true", help="only warnings and errors, no line about what "
                        "computes")
    add_cache_option(parser)


def add_detector_options(parser: argparse.ArgumentParser) -> None:
    """What finds boxes: read by :func:`detector_of`."""
    parser.add_argument("--detector", metavar="DIR", default="auto", help="what finds objects in pictures without "
                        "boxes: the folder of a box detector (detector.yaml); auto: the one that ships, where it knows "
                        "the category, else the bundle's own proposals; none: these (default: %(default)s)")
    parser.add_argument("--detector-label", metavar="NAME", action="append", default=[], help="what it calls the "
                        "category; may be given several times (default: detector.labels of the bundle's card)")
    parser.add_argument("--detector-budget", metavar="MS", type=budget_ms, default=0.0, help="milliseconds that the "
                        "detector may take for a picture: more is looked at while there is time; 0: as much as its "
                        "card says (default: %(default)g)")


def add_cache_option(parser: argparse.ArgumentParser) -> None:
    """Where engines are kept."""
    parser.add_argument("--cache", metavar="DIR", default="", help="folder for engines, which this user alone may "
                        "write to (default: dinemo_ros in the user's cache folder)")


def load(name: str, quiet: bool = False) -> Bundle:
    """The bundle of a folder or a shipped category; what is logged from now on goes to standard error, see below.

    Raises:
        BundleError: it is no good.
    """
    from ..model.bundle import load_bundle

    log_to_stderr(quiet, choices=False)
    return load_bundle(bundle_folder(name))


def make_estimator(arguments: argparse.Namespace, bundle: Bundle | None = None) -> PoseEstimator:
    """The estimator that the options of this module ask for; one line on standard error says what computes.

    Args:
        bundle: in the place of the one that the options name.

    Raises:
        BundleError: the bundle is no good.
    """
    return told(estimator_of(bundle or load(arguments.bundle, arguments.quiet), arguments))


def told(estimator: PoseEstimator) -> PoseEstimator:
    """``estimator``, and one line on standard error that says what computes."""
    network = estimator.extractor
    _log.info("features: %s in %s on %s, because %s; solver: on %s", network.name, network.precision, network.device,
              network.reason, estimator.pipeline.device)
    return estimator


def estimator_of(bundle: Bundle, arguments: argparse.Namespace) -> PoseEstimator:
    """An estimator of this bundle, with the other options of this module."""
    # Imported late: this loads ONNX Runtime and Numba, which --help and wrong usage need not wait for.
    from ..estimator import PoseEstimator

    detector = detector_of(arguments) if hasattr(arguments, "detector") else None
    if detector and (arguments.detector != "auto" or arguments.detector_label):
        labels = labels_of(arguments, bundle)
        require_known(detector, labels, bundle.card.category)
        bundle = replace(bundle, card=replace(bundle.card, detector=replace(bundle.card.detector, labels=labels)))
    return PoseEstimator(bundle, threads=arguments.threads, backend=arguments.backend, precision=arguments.precision,
                         engine_cache=arguments.cache, device=arguments.device, detector=detector)


def labels_of(arguments: argparse.Namespace, bundle: Bundle) -> tuple[str, ...]:
    """What a detector calls the category: by ``--detector-label``, else by the bundle's card."""
    return tuple(arguments.detector_label) or bundle.card.detector.labels


def require_known(detector: Detector, labels: Sequence[str], bundle: str) -> None:
    """BundleError unless the detector, which somebody named, finds something that the card of ``bundle`` has for it."""
    if set(labels).isdisjoint(detector.labels):
        raise BundleError(f"detector {detector.name} finds {named(detector.labels, _LABELS)} and bundle "
                          f"{shown(bundle)} asks for {named(labels, _LABELS) or 'nothing'} (detector.labels in its "
                          "card, or --detector-label); name another detector, or --detector none")


def detector_folder(arguments: argparse.Namespace) -> Path | None:
    """The folder that ``--detector`` names, which no output may replace; None of the shipped one or none."""
    return None if arguments.detector in ("auto", "none") else Path(arguments.detector)


def detector_of(arguments: argparse.Namespace) -> Detector | None:
    """The box detector that ``--detector`` names; BundleError where it is no good."""
    from ..detection.detector_search import find_detector
    from ..detection.onnx_detector import OnnxDetector

    if arguments.detector == "none":
        return None
    return OnnxDetector(detector_folder(arguments) or find_detector(), arguments.threads, arguments.detector_budget)


class _OneLine(logging.Formatter):
    """What libraries and strangers' files say may have any length and any line ends."""

    def format(self, record: logging.LogRecord) -> str:
        return one_line(record.getMessage())


def log_to_stderr(quiet: bool = False, choices: bool = True) -> None:
    """Show what this package logs: choices of backends, progress of engines, fallbacks.

    quiet: only warnings and errors. choices: False where the caller puts into one line what was chosen.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    handler.addFilter(lambda record: choices or record.levelno > logging.INFO or record.name not in _CHOOSERS)
    logger = logging.getLogger("dinemo_ros")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


def bundle_folder(name: str) -> Path:
    """:func:`dinemo_ros.model.bundle.bundle_folder`, imported late: --help and wrong usage need not wait for it."""
    from ..model import bundle

    return bundle.bundle_folder(name)


def threads(text: str) -> int:
    """A number of threads; as all below an argparse.ArgumentTypeError says what is allowed."""
    return number(text, int, 1, 256, "a number of threads")


def frame_count(text: str) -> int:
    """A number of frames, at least one."""
    return number(text, int, 1, 100_000, "a number of frames")


def scene_number(text: str) -> int:
    """The number of a scene."""
    return number(text, int, 0, 999_999_999, "the number of a scene")


def budget_ms(text: str) -> float:
    """Milliseconds, 0 for no limit."""
    return number(text, float, 0.0, 60_000.0, "milliseconds")


def seed(text: str) -> int:
    """A seed of random numbers."""
    return number(text, int, 0, 2**32 - 1, "a seed")  # what numpy and torch both take


def hfov(text: str) -> float:
    """A horizontal field of view in degrees."""
    return number(text, float, 1.0, 170.0, "a horizontal field of view in degrees")


def elevation(text: str) -> float:
    """An elevation in degrees."""
    return number(text, float, -90.0, 90.0, "an elevation in degrees")


def named_file(text: str) -> tuple[str, Path]:
    """``NAME=FILE``.

    Raises:
        argparse.ArgumentTypeError: one of them is missing.
    """
    name, _, path = text.partition("=")
    if not name or not path:
        raise argparse.ArgumentTypeError(f"{text!r} is no name and file; write NAME=FILE, e.g. objectron=answers.json")
    return name, Path(path)


def roi(text: str) -> tuple[float, float, float, float]:
    """``x0,y0,x1,y1`` in pixels; whether it lies in the image is checked against the image.

    Raises:
        argparse.ArgumentTypeError: it is no region.
    """
    try:
        box = tuple(float(part) for part in text.split(","))
    except ValueError:
        box = ()
    if len(box) != 4 or not all(map(math.isfinite, box)) or box[2] <= box[0] or box[3] <= box[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is no region; write x0,y0,x1,y1 in pixels, e.g. 120,80,360,240")
    return box


def with_negative_lists(words: Sequence[str]) -> list[str]:
    """``--roi -5,...`` as one word: argparse would take what begins with a minus for an option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in _LISTS and _NEGATIVE_LIST.match(word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def number_list(text: str, count: int, what: str) -> tuple[float, ...]:
    """``count`` finite numbers with commas between them, in whatever unit.

    Raises:
        argparse.ArgumentTypeError: they are none; ``what`` ends the sentence.
    """
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) != count or not all(map(math.isfinite, found)):
        raise argparse.ArgumentTypeError(f"{text!r} is no {what.removeprefix('a ')}")
    return found


def number(text: str, kind: type[_Number], low: float, high: float, what: str) -> _Number:
    """A number from ``low`` to ``high``, in whatever unit; argparse.ArgumentTypeError names what it should be."""
    value: _Number | None = None
    with contextlib.suppress(ValueError):
        value = kind(text)
    if value is None or not low <= value <= high:
        first, last = (str(bound) if kind is int else f"{bound:g}" for bound in (low, high))
        raise argparse.ArgumentTypeError(f"{text!r} is not {what} from {first} to {last}")
    return value
