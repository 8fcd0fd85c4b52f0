# SPDX-License-Identifier: Apache-2.0
r"""Poses for unlabelled photographs, found by the method itself and believed only where the mirror image agrees.

Two ways to a pose, the same way to trust it:

* ``correspondence``: bidirectional matching to the posed template views (:mod:`training.correspondence`), then a robust
  fit. The first labels, DINeMo's own step.
* ``render``: render-and-compare of a trained bundle. The labels of the self-training rounds.
* ``confirmed``: the render-and-compare pose, if the bidirectional correspondences lead to the same orientation.

A photograph and its mirror image must give mirrored poses. A model that takes left for right or front for rear rarely
makes the mirrored mistake, so disagreement rejects a label, and a runner-up that agrees corrects it.

    python -m training.pseudo_labels render --bundle runs/car/bundle0 --photos runs/car/photos \
        --out runs/car/labels1.npz
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from dinemo_ros.bundle import load_bundle
from dinemo_ros.camera import Camera
from dinemo_ros.estimator import PoseEstimator
from dinemo_ros.geometry import mirror_rotation, rotation_angle, viewpoint_from_rotation

from .augment import AugmentConfig
from .batches import CorrespondenceSampler
from .category_shape import CategoryShape
from .checkpoint import load_checkpoint
from .correspondence import MatchConfig, match
from .neural_mesh import NeuralMeshFeatures
from .photos import PHOTO_MARGIN
from .pose_from_matches import fit_pose
from .posed_crops import CROP_SIDE, load_posed_crops, save_labels
from .student import STRIDE, StudentBackbone
from .templates import build_bank

_AGREE_DEG = 20.0      # mirrored poses closer than this are one pose
_LENGTHS_AWAY = 4.0    # photographs tell nothing of their lens: the object is taken to be this many lengths away
_SIDE = 224
_MIN_MATCHES = 6       # a pose and three lengths of the box from fewer points would only repeat the priors


@dataclass(frozen=True)
class Candidate:
    """One pose of one picture: T_cam_obj [4, 4], size [3], score 0..1."""

    T_cam_obj: np.ndarray
    size: np.ndarray
    score: float


@dataclass(frozen=True)
class Label(Candidate):
    """The chosen pose; ``margin``: how far the best consistent pose leads over the next different one."""

    margin: float
    agreement_deg: float


Labeller = Callable[[np.ndarray], list[Candidate]]


def photo_camera(side: int = CROP_SIDE) -> Camera:
    """The assumed camera of a prepared photograph."""
    focal = side / PHOTO_MARGIN * _LENGTHS_AWAY
    return Camera(side, side, np.array([[focal, 0, (side - 1) / 2], [0, focal, (side - 1) / 2], [0, 0, 1.0]]))


def render_labeller(estimator: PoseEstimator) -> Labeller:
    """Candidates by render-and-compare over the photograph's own box."""
    camera, gap = photo_camera(), CROP_SIDE * (1 - 1 / PHOTO_MARGIN) / 2
    roi = (gap, gap, CROP_SIDE - gap, CROP_SIDE - gap)

    def label(image: np.ndarray) -> list[Candidate]:
        poses = estimator.estimate(image, camera, [roi])
        hypotheses = [poses[0], *poses[0].runners_up] if poses else []
        return [Candidate(h.T_cam_obj, h.size, h.score) for h in hypotheses]

    return label


def correspondence_labeller(checkpoint: Path, shape: CategoryShape, templates: Path, every: int = 6,
                            config: MatchConfig | None = None) -> Labeller:
    """Candidates by bidirectional correspondence to every ``every``-th template view, a trained student as teacher."""
    backbone, features = StudentBackbone(), NeuralMeshFeatures(len(shape.vertices))
    load_checkpoint(checkpoint, backbone, features)
    teacher = torch.inference_mode()(backbone.eval())
    sampler = CorrespondenceSampler(shape, AugmentConfig())
    bank = build_bank(load_posed_crops(templates)[::every], sampler, teacher)
    K = photo_camera(_SIDE).K

    def label(image: np.ndarray) -> list[Candidate]:
        small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        F = teacher(torch.from_numpy(small).permute(2, 0, 1)[None].float())[0]
        with torch.inference_mode():
            foreground = torch.sigmoid(_margin(F, features) / 0.07)
            matches = match(F, foreground, bank, config or MatchConfig())
        pixels = matches.cells * STRIDE + (STRIDE - 1) / 2
        trust = np.clip(matches.weights - 0.3, 0, None)
        if np.count_nonzero(trust) < _MIN_MATCHES:
            return []
        pose = fit_pose(shape.vertices[matches.vertices], pixels, trust, K, bank.rotations[matches.view], shape.size,
                        _SIDE)
        return [Candidate(pose.T_cam_obj, pose.size, pose.inliers * matches.confidence)]

    return label


def confirmed_labeller(render: Labeller, correspondence: Labeller) -> Labeller:
    """Candidates of ``render`` that the best pose of ``correspondence`` confirms: one's precision, two votes."""

    def label(image: np.ndarray) -> list[Candidate]:
        votes = correspondence(image)[:1]
        return [c for c in render(image) for v in votes
                if np.rad2deg(rotation_angle(c.T_cam_obj[:3, :3], v.T_cam_obj[:3, :3])) < _AGREE_DEG]

    return label


def _margin(F: torch.Tensor, mesh: NeuralMeshFeatures) -> torch.Tensor:
    cells = F.flatten(1)
    return ((mesh.vertices @ cells).max(0).values - (mesh.clutter @ cells).max(0).values).reshape(F.shape[1:])


def reconcile(original: list[Candidate], mirrored: list[Candidate]) -> Label | None:
    """The pose on which a picture and its mirror image agree best, or None.

    Args:
        original, mirrored: candidates, best first; the mirrored ones are mirrored back here.
    """
    back = [mirror_rotation(c.T_cam_obj[:3, :3]) for c in mirrored]
    pairs = []
    for a in original:
        for b, R in zip(mirrored, back, strict=True):
            angle = np.rad2deg(rotation_angle(a.T_cam_obj[:3, :3], R))
            if angle < _AGREE_DEG:
                pairs.append((a.score + b.score, angle, a))
    if not pairs:
        return None
    total, angle, best = max(pairs, key=lambda p: p[0])
    singles = [(c.score, c.T_cam_obj[:3, :3]) for c in original]
    singles += [(c.score, R) for c, R in zip(mirrored, back, strict=True)]
    rivals = [s for s, R in singles if np.rad2deg(rotation_angle(R, best.T_cam_obj[:3, :3])) > 2 * _AGREE_DEG]
    return Label(best.T_cam_obj, best.size, total / 2, total / 2 - max(rivals, default=0.0), float(angle))


def label_photos(photos: Path, names: list[str], labeller: Labeller, out: Path) -> None:
    """Label photographs, resumable: ``out`` (npz) is rewritten every 200 pictures and continued from there."""
    done = _load(out)
    for count, name in enumerate(tqdm([n for n in names if n not in done], desc=out.stem, mininterval=5)):
        image = np.ascontiguousarray(cv2.imread(str(photos / "images" / f"{name}.jpg"))[..., ::-1])
        done[name] = reconcile(labeller(image), labeller(np.ascontiguousarray(image[:, ::-1])))
        if count % 200 == 199:
            _save(out, done)
    _save(out, done)


def select(photos: Path, labels: Path, min_score: float, min_margin: float, previous: Path | None = None,
           previous_margin: float = 0.03, max_share: float = 0.04) -> int:
    """Turn trusted labels into posed crops (``photos/labels.npz``), flat in azimuth; returns how many are kept.

    Photographs of cars show the front half far more often than the rear: a 10-degree bin of azimuth that holds more
    than ``max_share`` of the labels is weighted down to that (counted together with its mirror image, for twice that).
    With ``previous``, the labels of the round before, a label must also have been there, sure by ``previous_margin``
    and near this one: straight views of front and rear are where a single round still flips. And where the collection
    shows the opposite side more often, a label needs up to twice the margin: by Bayes' rule, a view from the rear is
    the likelier mistake the more there are from the front.
    """
    def sure(label: Label | None, margin: float) -> bool:
        return label is not None and label.margin >= margin

    kept = {name: label for name, label in _load(labels).items()
            if sure(label, min_margin) and label.score >= min_score}
    if previous is not None:
        before = _load(previous)
        kept = {name: label for name, label in kept.items() if sure(before.get(name), previous_margin) and
                rotation_angle(before[name].T_cam_obj[:3, :3], label.T_cam_obj[:3, :3]) < np.deg2rad(_AGREE_DEG)}
    bins = _azimuth_bins(kept.values())
    counts = np.bincount(bins, minlength=18)
    needed = min_margin * np.clip(counts[17 - bins] / np.maximum(counts[bins], 1), 1, 2)
    kept = {name: label for (name, label), least in zip(kept.items(), needed, strict=True) if label.margin >= least}
    bins = _azimuth_bins(kept.values())
    counts = np.bincount(bins, minlength=18)
    weight = np.minimum(1.0, max_share * 2 * len(kept) / np.maximum(counts[bins], 1))
    K = photo_camera().K
    save_labels(photos, list(kept), np.repeat(K[None], len(kept), 0),
                np.array([label.T_cam_obj for label in kept.values()]),
                np.array([label.size for label in kept.values()]), weight)
    print(f"{len(kept)} labels kept; per 10 degrees from front to rear: {counts.tolist()}")
    return len(kept)


def _azimuth_bins(labels) -> np.ndarray:
    """Ten-degree bin of each label's azimuth [N], 0 front to 17 rear, left and right sides together."""
    azimuth = np.array([viewpoint_from_rotation(label.T_cam_obj[:3, :3])[0] for label in labels])
    folded = np.minimum(np.abs(azimuth), 2 * np.pi - np.abs(azimuth))
    return np.minimum((np.rad2deg(folded) / 10).astype(int), 17)


_FIELDS = ("T_cam_obj", "size", "score", "margin", "agreement_deg")


def _save(path: Path, labels: dict[str, Label | None]) -> None:
    given = {name: label for name, label in labels.items() if label is not None}
    temporary = path.with_suffix(".tmp.npz")
    np.savez_compressed(temporary, names=np.array(list(given)),
                        rejected=np.array([name for name in labels if name not in given]),
                        **{f: np.array([getattr(label, f) for label in given.values()]) for f in _FIELDS})
    temporary.replace(path)


def _load(path: Path) -> dict[str, Label | None]:
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as data:
        columns = [data[f] for f in _FIELDS]
        labels: dict[str, Label | None] = {str(n): Label(T, s, float(a), float(m), float(g))
                                           for n, T, s, a, m, g in zip(data["names"], *columns, strict=True)}
        labels.update({str(n): None for n in data["rejected"]})
    return labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=["correspondence", "render", "confirmed", "select"])
    parser.add_argument("--photos", type=Path, required=True, help="folder written by training.photos")
    parser.add_argument("--out", type=Path, required=True, help="labels npz (select: read from here)")
    parser.add_argument("--bundle", type=Path, help="render, confirmed: bundle folder")
    parser.add_argument("--checkpoint", type=Path, help="correspondence, confirmed: student.pt")
    parser.add_argument("--shape", type=Path, help="correspondence, confirmed: mean shape")
    parser.add_argument("--templates", type=Path,
                        help="correspondence, confirmed: folder written by training.sequences")
    parser.add_argument("--every", type=int, default=1, help="label every n-th photograph")
    parser.add_argument("--one-way", action="store_true",
                        help="correspondence without the global-to-local step (ablation)")
    parser.add_argument("--min-score", type=float, default=0.2)
    parser.add_argument("--min-margin", type=float, default=0.02)
    parser.add_argument("--previous", type=Path, help="select: labels npz of the round before, which must agree")
    parser.add_argument("--previous-margin", type=float, default=0.03)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.method == "select":
        select(args.photos, args.out, args.min_score, args.min_margin, args.previous, args.previous_margin)
        return
    torch.set_num_threads(args.threads)
    labellers = []
    if args.method in ("render", "confirmed"):
        labellers.append(render_labeller(PoseEstimator(load_bundle(args.bundle), threads=args.threads)))
    if args.method in ("correspondence", "confirmed"):
        labellers.append(correspondence_labeller(args.checkpoint, CategoryShape.load(args.shape), args.templates,
                                                 config=MatchConfig(bidirectional=not args.one_way)))
    labeller = confirmed_labeller(*labellers) if len(labellers) == 2 else labellers[0]
    names = sorted(p.stem for p in (args.photos / "images").glob("*.jpg"))[:: args.every]
    label_photos(args.photos, names, labeller, args.out)


if __name__ == "__main__":
    main()
