# SPDX-License-Identifier: Apache-2.0
r"""Fit a bundle's ``uncertainty``: how likely a pose is the right one, and how wide its covariance has to be.

    python -m dinemo_training.export.uncertainty --bundle engines/car --renders runs/car/held_out [--renders MORE] \
        [--json FILE]

Every render is estimated clean and at the three levels of occlusion, with every network that the bundle has. The
probability is a logistic regression. The factors and floors are those under which the coverage of every quantity
(``dinemo_ros.evaluation.coverage``) is nearest to what its ellipsoid promises, at 68.3 and 95.4 % alike, for each
network and level, and for each fifth of the probability. A factor never rises with the probability.

What is wrong with position and size is a matter of shape, so there every model counts the same; in the rotation every
picture does. ``--shapes`` are renders of other models, such as the network's own: odd ones teach how far the position
across the ray is off for a body unlike the mean one, and nothing else (the length of a racing car is no evidence for
that of a car).

Take renders of objects that the network was not trained on, and evaluate on others again. Poses stay what they are.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from dinemo_ros.evaluation.coverage import BOUNDS, LEVELS, chi_square_content, coverage_rows
from dinemo_ros.evaluation.reliability import expected_calibration_error, reliability_rows
from dinemo_ros.evaluation.tables import coverage_markdown, reliability_markdown
from dinemo_ros.io.files import write_file
from dinemo_ros.model.bundle import Bundle, load_bundle, rewrite_card
from dinemo_ros.model.symmetry import UNIFORM_VARIANCE
from dinemo_ros.process.console import command_main
from dinemo_ros.uncertainty import FACTORS, UncertaintySpec

from .announced import Announced, Errors, measure
from .leave_one_out import left_out
from .slopes import slopes

_KNOTS = (0.05, 0.25, 0.6, 0.95)  # quantiles of the probability
_PARTS, _PART_WEIGHT = 5, 0.5  # groups of like probability; what they count beside networks and levels
_SOFT = 0.1  # of the logarithm of a squared error: makes a count differentiable enough to search
_RIDGE = 1e-3
FEWEST = 40  # poses
_WIDEST, _STEP, _SMALLEST_STEP = 6.8, 0.4, 0.02  # of the logarithm of a factor
_LEVELS = np.arange(-2.4, 3.7, 0.8)  # of flat functions
_FLOORS = (-7.0, -3.5)  # logarithms of floors to begin with, the first as good as none
_SHAPES = 0.3  # weight of the position across the ray alone where there are other shapes
# A turn that is never known would do for the three axes together: half turns are covered, and the tilt decides the rest
_TURN = 0.3  # weight of the turn alone
_FLAT, _MARGINAL = 0.02, 0.1  # pull to flat functions; weight of single axes beside the quantity that they belong to


@dataclass(frozen=True)
class Quantity:
    """Coverage that a search tries to get right: squared errors as a function of factors.

    Attributes:
        squares: from functions [F, K + 1] to squared errors [N] in units of the covariance.
        freedom: degrees of freedom. groups, weights: of the pictures, see :class:`_Factors`.
        weight: against the others of the search.
    """

    squares: Callable[[np.ndarray], np.ndarray]
    freedom: int
    groups: np.ndarray
    weights: np.ndarray
    weight: float = 1.0

    def miss(self, functions: np.ndarray) -> float:
        """How far the coverage of all groups lies from what it should be, in half widths of the bounds, squared."""
        squares, total = np.log(np.maximum(self.squares(functions), 1e-12)), 0.0
        for level in LEVELS:
            outside = (squares - np.log(quantile(level, self.freedom))) / _SOFT
            inside = 1 / (1 + np.exp(np.clip(outside, -30, 30)))
            half = 0.5 * (BOUNDS[level][1] - BOUNDS[level][0])
            middle = 0.5 * sum(BOUNDS[level])
            total += float(np.mean(self.weights * ((self.groups @ inside - middle) / half) ** 2))
        return total


def fit(announced: Announced, shapes: Announced | None = None) -> UncertaintySpec:
    """The ``uncertainty`` of a bundle that announced what it did, see the head of this file for other ``shapes``."""
    weights = logistic(announced.evidence, announced.right)
    probability = probabilities(weights, announced.evidence)
    knots = np.unique(np.quantile(probability, _KNOTS).round(4))
    every = announced if shapes is None else announced.joined(shapes)
    known = UncertaintySpec(tuple(_short(w) for w in weights), tuple(float(k) for k in knots),
                            *((1.0,) * len(knots),) * len(FACTORS), floor=(0.0,) * len(FACTORS),
                            across_slope=slopes(every, every.position.only([0, 1])),
                            along_slope=slopes(announced, announced.distance))
    straight = announced.sloped(known)
    search = _Factors(_hats(probability, knots), *_groups(announced, probability))
    found = {"turn": np.r_[np.zeros(len(knots)), -np.inf]}  # of a category without one
    found |= search.rotation(announced.rotation)
    search = search.of_models(announced)
    sideways = search.quantity(straight.position.only([0, 1]), [0, 0], _MARGINAL)
    if shapes is not None:
        probability = probabilities(weights, every.evidence)
        sideways = _Factors(_hats(probability, knots), *_groups(every, probability)).of_models(every).quantity(
            every.sloped(known).position.only([0, 1]), [0, 0], _SHAPES)
    found |= search.position(straight, sideways)
    return replace(known, **{name: tuple(_short(v) for v in np.exp(values[:-1])) for name, values in found.items()},
                   floor=tuple(_short(np.exp(found[name][-1])) for name in FACTORS))


@dataclass(frozen=True)
class _Factors:
    """What is searched for are functions [K + 1]: logarithms of factors at the knots, and of a floor.

    hats: [N, K] weights of the knots in each picture; groups: [G, N] shares of the pictures, rows sum to one; weights:
    [G] of their misses.
    """

    hats: np.ndarray
    groups: np.ndarray
    weights: np.ndarray

    def of_models(self, announced: Announced) -> _Factors:
        """The same with pictures that count so much that in every group each model does alike."""
        _, model, counts = np.unique(announced.asset, return_inverse=True, return_counts=True)
        groups = self.groups / counts[model]
        return replace(self, groups=groups / groups.sum(1, keepdims=True))

    def position(self, announced: Announced, sideways: Quantity) -> dict[str, np.ndarray]:
        """Functions of the position and the size by name; ``sideways`` counts beside the position as a whole."""
        (along,) = self._search([self.quantity(announced.distance, [0])], 1)
        (across,) = self._search([self.quantity(announced.position, [0, 0, 1], fixed=along), sideways], 1)
        (size,) = self._search([self.quantity(announced.size, [0] * announced.size.freedom)], 1)
        return {"across": across, "along": along, "size": size}

    def rotation(self, rotation: Errors) -> dict[str, np.ndarray]:
        """Functions of the rotation by name."""
        if rotation.freedom == 2:
            return {"tilt": self._search([self.quantity(rotation, [0, 0])], 1)[0]}
        found = self._search([self.quantity(rotation, [0, 0, 1], most=UNIFORM_VARIANCE),
                              self.quantity(rotation.only([0, 1]), [0, 0], _MARGINAL),
                              self.quantity(rotation.only([2]), [1], _TURN, most=UNIFORM_VARIANCE)], 2)
        return {"tilt": found[0], "turn": found[1]}

    def quantity(self, errors: Errors, functions: Sequence[int], weight: float = 1.0,
                 fixed: np.ndarray | None = None, most: float = np.inf) -> Quantity:
        """``errors`` whose axes follow these ``functions``; ``fixed`` is the one that is not searched for."""
        def squares(x: np.ndarray) -> np.ndarray:
            x = x if fixed is None else np.stack([*x, fixed])
            scale = np.exp(self.hats @ x[:, :-1].T)
            return errors.squares(scale[:, functions], np.exp(x[functions, -1]), most)

        return Quantity(squares, errors.freedom, self.groups, self.weights, weight)

    def _search(self, quantities: Sequence[Quantity], functions: int) -> np.ndarray:
        """Functions [functions, K + 1] under which the coverage of ``quantities`` misses least.

        Pattern searches from the best of many starts: counts have no slope to follow. Where all or no errors are inside
        there is nothing to tell two factors apart, hence the pull to flat functions.
        """
        K = self.hats.shape[1]

        def cost(x: np.ndarray) -> float:
            bent = float(np.sum(np.diff(x[:, :-1]) ** 2))
            return sum(q.weight * q.miss(x) for q in quantities) + _FLAT * bent

        starts = [min(kind, key=cost) for kind in _starts(K, functions)]
        return min((self._descended(cost, start) for start in starts), key=cost)

    @staticmethod
    def _descended(cost: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
        """Where a pattern search from ``x`` ends."""
        value, step = cost(x), _STEP
        while step > _SMALLEST_STEP:
            before = value
            for function, k in np.ndindex(x.shape):
                for move in (step, -step):
                    tried = x.copy()
                    tried[function] = moved(x[function], k, move)
                    if (found := cost(tried)) < value:
                        x, value = tried, found
                        break
            if value >= before:
                step *= 0.5
        return x


def _starts(K: int, functions: int) -> list[list[np.ndarray]]:
    """Kinds of functions [functions, K + 1] to begin with: flat factors with a floor and without; and if there are two,
    a second one that falls steeply over a floor of one, a standard deviation that is the probability's alone: how far
    half turns are off has nothing to do with the solver's own."""
    kinds = [[np.r_[np.full(K, level), floor] for level in _LEVELS] for floor in _FLOORS]
    if functions == 1:
        return [[start[None] for start in kind] for kind in kinds]
    steep = [np.r_[np.linspace(top, end, K), 0.0] for top in (0.0, 0.4) for end in (-1.0, -2.5, -4.0)]
    first = [np.r_[np.linspace(0.2, end, K), _FLOORS[1]] for end in (0.2, -0.5)]
    return [[np.stack(pair) for pair in itertools.product(first, kind)] for kind in (kinds[0] + kinds[1], steep)]


def moved(function: np.ndarray, k: int, by: float) -> np.ndarray:
    """[K + 1] ``function`` with entry k moved ``by`` so much; other knots give way as needed, so that none ever rises.

    The entries are logarithms of K factors and of a floor.
    """
    result = function.copy()
    factors = result[:-1]
    if k == len(factors):
        result[k] = np.clip(result[k] + by, _FLOORS[0], 0.0)
        return result
    factors[k] = np.clip(factors[k] + by, -_WIDEST, _WIDEST)
    if by > 0:
        factors[:k] = np.maximum(factors[:k], factors[k])
    else:
        factors[k + 1:] = np.minimum(factors[k + 1:], factors[k])
    return result


def logistic(evidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """[E] coefficients of the probability that ``right`` [N] is true by ``evidence`` [N, E], the first of them 1.

    Maximum likelihood with a slight pull to zero. More evidence for a pose never makes it less probable: a coefficient
    that comes out below zero is left out. Where all are true or none is, evidence tells nothing apart: half a picture
    of the other kind is added.
    """
    if right.all() or not right.any():
        share = (float(right.sum()) + 0.5) / (len(right) + 1.0)
        return np.r_[np.log(share / (1.0 - share)), np.zeros(evidence.shape[1] - 1)]
    mean, spread = evidence[:, 1:].mean(0), evidence[:, 1:].std(0) + 1e-9
    x = np.c_[np.ones(len(evidence)), (evidence[:, 1:] - mean) / spread]
    used = np.ones(x.shape[1], bool)
    while True:
        weights = np.zeros(x.shape[1])
        for _ in range(50):
            p = 1 / (1 + np.exp(-np.clip(x[:, used] @ weights[used], -30, 30)))
            gradient = x[:, used].T @ (right - p) - _RIDGE * len(x) * weights[used] * (np.arange(used.sum()) > 0)
            hessian = (x[:, used] * (p * (1 - p))[:, None]).T @ x[:, used] + _RIDGE * len(x) * np.eye(used.sum())
            weights[used] += np.linalg.solve(hessian, gradient)
        if (weights[1:] >= 0).all():
            break
        used[1:] &= weights[1:] > 0
    weights[1:] /= spread
    weights[0] -= weights[1:] @ mean
    return weights


def probabilities(weights: Sequence[float], evidence: np.ndarray) -> np.ndarray:
    """[N] as :meth:`UncertaintySpec.probability_of` gives them."""
    spec = UncertaintySpec(tuple(map(float, weights)), (0.5,), *((1.0,),) * len(FACTORS), (0.0,) * len(FACTORS))
    return np.array([spec.probability_of(row) for row in evidence])


def _hats(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """[N, K] weights of the knots in a linear interpolation at ``x`` [N]."""
    return np.stack([np.interp(x, knots, unit) for unit in np.eye(len(knots))], axis=1)


def _groups(announced: Announced, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[G, N] shares of the frames: each network at each level, each part of like probability; rows sum to one. [G] what
    their coverage counts: that of the parts half."""
    members = [(announced.network == network) & (announced.level == level)
               for network in np.unique(announced.network) for level in np.unique(announced.level)]
    settings = len(members)
    edges = np.quantile(probability, np.linspace(0, 1, _PARTS + 1)[1:-1])
    part = np.searchsorted(edges, probability)
    members += [part == k for k in range(_PARTS)]
    weights = np.where(np.arange(len(members)) < settings, 1.0, _PART_WEIGHT)
    there = [bool(m.any()) for m in members]
    return np.array([m / m.sum() for m in members if m.any()]), weights[there]


@lru_cache
def quantile(level: float, freedom: int) -> float:
    """Where chi-square with ``freedom`` degrees of freedom has ``level`` of its mass below, by bisection."""
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if chi_square_content(middle, freedom) < level else (low, middle)
    return 0.5 * (low + high)


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def report(announced: Announced, uncertainty: UncertaintySpec, assets: Sequence[str] = (),
           shapes: Announced | None = None) -> dict:
    """Report of the fit: ``fitted``, how many ``pictures`` (estimates) of which ``assets`` it saw, what other
    ``shapes``, ``ece`` on the pictures; and of every model, with a fit to the others, ``coverage`` and
    ``reliability`` (rows of :mod:`dinemo_ros.evaluation`), empty where there is one only. ``assets``: only of these.
    """
    records = left_out(announced, partial(fit, shapes=shapes), assets)
    probability = probabilities(uncertainty.probability, announced.evidence)
    return {"fitted": asdict(uncertainty), "pictures": len(announced), "assets": sorted(set(announced.asset.tolist())),
            "shapes": [] if shapes is None else sorted(set(shapes.asset.tolist())),
            "right": float(announced.right.mean()), "ece": expected_calibration_error(probability, announced.right),
            "coverage": coverage_rows(records), "reliability": reliability_rows(records)}


def calibrate(bundle: Path, renders: Sequence[Path], count: int, version: str | None = None,
              measured: Path | None = None, assets: Sequence[str] = (), shapes: Sequence[Path] = ()) -> dict:
    """Measure the bundle in folder ``bundle`` and write the ``uncertainty`` that was fitted into its card.

    Args:
        version: written into the card, too. measured: file that keeps what was measured; what it holds is not measured
            again; that of the ``shapes`` beside it. assets: see :func:`report`. shapes: renders of other models, which
            count for the position across the ray only.

    Returns:
        See :func:`report`.

    Raises:
        ValueError: too few pictures, or all of them right or wrong, so that no probability can be fitted; a model that
            is among the shapes as well, and so would be evaluated with a fit to itself.
    """
    loaded = load_bundle(bundle)
    announced = _measured(loaded, renders, count, measured)
    beside = measured and measured.with_name(f"{measured.stem}_shapes{measured.suffix}")
    others = _measured(loaded, shapes, count, beside) if shapes else None
    if others is not None and (twice := sorted(set(announced.asset.tolist()) & set(others.asset.tolist()))):
        raise ValueError(f"{', '.join(twice)}: among the renders and among the other shapes; leave them out of one")
    if len(announced) < FEWEST or announced.right.all() or not announced.right.any():
        raise ValueError(f"{bundle}: {int(announced.right.sum())} of {len(announced)} poses are right; at least "
                         f"{FEWEST} are needed, right and wrong ones among them, to tell how likely one is right")
    uncertainty = fit(announced, others)
    rewrite_card(loaded, replace(loaded.card, uncertainty=uncertainty, version=version or loaded.card.version))
    return report(announced, uncertainty, assets, others)


def _measured(bundle: Bundle, folders: Sequence[Path], count: int, file: Path | None) -> Announced:
    """What ``file`` holds, or else what is measured now and kept there."""
    if file is not None and file.is_file():
        return Announced.load(file)
    announced = measure(bundle, folders, count)
    if file is not None:
        announced.save(file)
    return announced


def main() -> None:
    """The command ``python -m dinemo_training.export.uncertainty``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--renders", type=Path, action="append", required=True, help="posed crops of objects that the "
                        "network was not trained on; may be given several times")
    parser.add_argument("--shapes", type=Path, action="append", default=[], help="renders of other models, such as the "
                        "network's own, which count for the position across the ray only; may be given several times")
    parser.add_argument("--count", type=int, default=300, help="pictures of each (default: %(default)s)")
    parser.add_argument("--measured", type=Path, help="keep what was measured in this file (.npz), and of "
                        "--shapes in NAME_shapes.npz; if it is there, nothing is measured again")
    parser.add_argument("--left-out", action="append", default=[], metavar="MODEL", help="a model that is evaluated "
                        "with a fit to all others; may be given several times (default: each in turn)")
    parser.add_argument("--version", help="write this version into the card, too")
    parser.add_argument("--json", type=Path, help="write the report of the fit here")
    args = parser.parse_args()
    summary = calibrate(args.bundle, args.renders, args.count, args.version, args.measured, args.left_out, args.shapes)
    print(f"{args.bundle}: fitted to {summary['pictures']} estimates of {', '.join(summary['assets'])}; probability "
          f"of a rotation within 30 degrees {summary['right']:.3f}, ECE {summary['ece']:.3f}")
    if summary["coverage"]:
        print(f"each model with a fit to the others:\n\n{coverage_markdown(summary['coverage'])}\n\n"
              f"{reliability_markdown(summary['reliability'])}")
    if args.json:
        write_file(args.json, json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    command_main(main)
