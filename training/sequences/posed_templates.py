# SPDX-License-Identifier: Apache-2.0
"""Object-centric sequences become posed templates, without pose labels.

One reference sequence defines which way is front (the one human choice per category). Every other sequence is aligned
to it: each frame and its mirror image vote for an azimuth by teacher similarity to all template views *and their mirror
images*; then the whole sequence decides, because neighbouring frames turn by about the same step in the same sense.
Aligned sequences join the templates and the rest votes again, which is how UOP3D's result (several videos beat one;
Sommer et al., CVPR 2024) enters here.

    python -m dinemo_training.sequences.posed_templates --reference DIR/kadjar --azimuths DIR/azimuth.json --sequence \
        DIR/a DIR/b \
        --shape car_mean.npz --out runs/car/sequences
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from dinemo_ros.camera.crop import BORDER_GREY
from dinemo_ros.errors import DatasetError, DocumentError
from dinemo_ros.geometry import wrapped
from dinemo_ros.io.document import read_json
from dinemo_ros.io.files import write_file
from dinemo_ros.io.picture_read import imread
from dinemo_ros.io.quoting import shown
from dinemo_ros.process.console import command_main

from ..data.foreground import SaliencyMask, mask_box
from ..data.posed_crops import CROP_SIDE, save_labels, save_picture, square_around
from ..models.category_shape import CategoryShape
from ..models.teachers import CnnTeacher, Teacher
from ..run.arguments import parsed
from .silhouette import fit_sequence, frame_pose

BINS = 72                  # azimuth votes, 5 degrees each
_SOFTMAX = 0.02            # temperature of the vote over template views (cosine units)
_KERNEL_DEG = 8.0          # spread of one view's vote
_UNIFORM_LOG_VOTE = -2.5   # mean log vote above which an equal-step sequence counts as explained


@dataclass
class Sequence:
    """Frames of one object with foreground masks and teacher descriptors [N, C] of the frames and their mirrors."""

    name: str
    files: list[Path]
    images: list[np.ndarray]
    masks: list[np.ndarray]
    descriptors: torch.Tensor
    mirrored: torch.Tensor


def read_sequence(folder: Path, saliency: SaliencyMask, teacher: Teacher) -> Sequence:
    """Read a folder of frames in name order; frames without a salient object are left out and named.

    Raises:
        FileNotFoundError: no file is a picture with a salient object.
    """
    files, images, masks = [], [], []
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    for path in tqdm(paths, desc=folder.name):
        image = imread(path)
        mask = None if image is None else saliency(image[..., ::-1])
        if mask is None or mask_box(mask) is None:
            print(f"{path}: no picture or no salient object, left out")
            continue
        files.append(path), images.append(image[..., ::-1]), masks.append(mask)
    if not files:
        raise FileNotFoundError(f"{folder}: none of {len(paths)} files (jpg, png) is a picture with a salient object")
    return Sequence(folder.name, files, images, masks, *describe(images, masks, teacher))


def describe(images: list[np.ndarray], masks: list[np.ndarray], teacher: Teacher,
             side: int = 224) -> tuple[torch.Tensor, torch.Tensor]:
    """Masked teacher features of the box, flattened and normalised: [N, C] of the pictures, [N, C] of their mirrors."""
    crops, weights = [], []
    for image, mask in zip(images, masks, strict=True):
        A = square_around(mask_box(mask), side, 1.1)
        crops.append(cv2.warpAffine(image, A, (side, side), flags=cv2.INTER_AREA, borderValue=BORDER_GREY))
        weights.append(cv2.warpAffine(mask, A, (side, side), flags=cv2.INTER_AREA))
    x = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float()
    w = torch.from_numpy(np.stack(weights))[:, None].float() / 255
    out = []
    for pictures, weight in ((x, w), (x.flip(3), w.flip(3))):
        maps = torch.cat([teacher(batch) for batch in pictures.split(16)])
        out.append(F.normalize((maps * F.interpolate(weight, size=maps.shape[-2:], mode="area")).flatten(1), dim=1))
    return out[0], out[1]


def azimuth_votes(queries: torch.Tensor, bank: torch.Tensor, bank_azimuths: np.ndarray) -> np.ndarray:
    """Votes [N, BINS] that sum to one per row: softmax over template views, spread over neighbouring azimuths.

    Args:
        queries: [N, C] unit norm. bank: [M, C] unit norm. bank_azimuths: [M] radians.
    """
    weight = torch.softmax(queries @ bank.T / _SOFTMAX, dim=1).numpy()
    centres = np.arange(BINS) * 2 * np.pi / BINS
    kernel = np.exp(-0.5 * (wrapped(bank_azimuths[:, None] - centres) / np.deg2rad(_KERNEL_DEG)) ** 2)
    votes = weight @ kernel
    return votes / votes.sum(1, keepdims=True)


def agreed_votes(pictures: torch.Tensor, mirrored: torch.Tensor, bank: torch.Tensor,
                 bank_azimuths: np.ndarray) -> np.ndarray:
    """Votes [N, BINS] of pictures that agree with those of their mirror images, see :func:`agreement`.

    Args:
        pictures, mirrored: [N, C] unit norm. bank: [M, C] unit norm. bank_azimuths: [M] radians.
    """
    return agreement(*(azimuth_votes(queries, bank, bank_azimuths) for queries in (pictures, mirrored)))


def agreement(votes: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Votes [..., BINS] of pictures times those of their mirror images, turned back: both have to like a direction.

    Straight from behind, a teacher's votes for front and rear are nearly equal, and one picture alone may be wrong.
    """
    both = votes * mirrored[..., -np.arange(BINS) % BINS] + 1e-9
    return both / both.sum(axis=-1, keepdims=True)


def equal_steps(votes: np.ndarray) -> tuple[float, np.ndarray]:
    """Best full turn in equal steps, either way round: mean log vote and azimuths [N] in radians."""
    log, n = np.log(votes + 1e-3), len(votes)
    best = (-np.inf, None)
    for sense in (1, -1):
        for offset in np.arange(0, 2 * np.pi, np.deg2rad(1.0)):
            azimuth = (offset + sense * 2 * np.pi * np.arange(n) / n) % (2 * np.pi)
            position = azimuth / (2 * np.pi) * BINS
            low = position.astype(int) % BINS
            part = position - np.floor(position)
            score = float(np.mean((1 - part) * log[np.arange(n), low] + part * log[np.arange(n), (low + 1) % BINS]))
            if score > best[0]:
                best = (score, azimuth)
    return best


def smooth_path(votes: np.ndarray, step_deg: float = 9.0, jump_cost: float = 7.0,
                flip_share: float = 0.2) -> np.ndarray:
    """Azimuths [N] of a sequence with uneven steps or breaks: Viterbi over the vote bins, once per sense of rotation.

    A step costs its squared size in units of ``step_deg``, but never more than ``jump_cost`` (frames out of order);
    a step against the sense costs two units more, so that a sequence does not turn back for a single frame.
    A vote for the object turned round counts as ``flip_share`` of a vote: that is the one mistake that votes make in
    runs, and a run of them must not look like a jump there and back again.
    """
    log = np.log((1 - flip_share) * votes + flip_share * np.roll(votes, BINS // 2, axis=1) + 1e-3)
    delta = wrapped((np.arange(BINS)[:, None] - np.arange(BINS)) * 2 * np.pi / BINS)  # [to, from]
    step = 0.5 * (np.rad2deg(delta) / step_deg) ** 2
    return max((_best_path(log, np.minimum(step + 2.0 * (sense * delta < 0), jump_cost)) for sense in (1, -1)),
               key=lambda found: found[0])[1]


def _best_path(log: np.ndarray, cost: np.ndarray) -> tuple[float, np.ndarray]:
    """Highest total of log votes [N, BINS] minus step costs [to, from], and the azimuths [N] of that path."""
    total, back = log[0], []
    for row in log[1:]:
        candidate = total[None] - cost
        back.append(candidate.argmax(1))
        total = candidate.max(1) + row
    state = [int(total.argmax())]
    for pointers in reversed(back):
        state.append(int(pointers[state[-1]]))
    return float(total.max()), np.array(state[::-1]) * 2 * np.pi / BINS


def settled_path(votes: np.ndarray) -> tuple[float, np.ndarray, bool]:
    """Mean log vote of equal steps, azimuths [N] in radians that explain votes [N, BINS], and whether these are equal
    steps."""
    score, equal = equal_steps(votes)
    uniform = score > _UNIFORM_LOG_VOTE
    return score, equal if uniform else smooth_path(votes), uniform


def align(reference: Sequence, azimuths: np.ndarray, others: list[Sequence]) -> dict[str, np.ndarray]:
    """Azimuths [N] in radians of every sequence, the surest first, each joining the templates of the next."""
    bank = [(reference, azimuths)]
    aligned = {reference.name: azimuths}
    waiting = list(others)
    while waiting:
        views = torch.cat([torch.cat([s.descriptors, s.mirrored]) for s, _ in bank])
        angles = np.concatenate([np.concatenate([a, -a]) for _, a in bank])
        ranked = []
        for sequence in waiting:
            score, chosen, uniform = settled_path(agreed_votes(sequence.descriptors, sequence.mirrored, views,
                                                                       angles))
            ranked.append((score, sequence, chosen, uniform))
        score, sequence, chosen, uniform = max(ranked, key=lambda r: r[0])
        print(f"{sequence.name}: {'equal steps' if uniform else 'smooth path'}, mean log vote {score:.2f}, "
              f"first azimuths {np.rad2deg(chosen[:4]).round()}")
        aligned[sequence.name] = chosen
        bank.append((sequence, chosen))
        waiting.remove(sequence)
    return aligned


def write_templates(sequences: list[Sequence], aligned: dict[str, np.ndarray], reference: str, shape: CategoryShape,
                    out: Path, min_iou: float = 0.72) -> None:
    """Fit camera and box of every sequence by silhouette and store its frames as posed crops.

    Args:
        aligned: azimuths [N] in radians of each sequence's frames, by its name.
        reference: the sequence whose azimuths are exact.
        min_iou: frames whose silhouette overlaps less than this share (intersection over union) are left out.
    """
    mean_size = shape.size
    names, Ks, Ts, sizes = [], [], [], []
    for sequence in sequences:
        azimuth = aligned[sequence.name]
        fit = fit_sequence(shape.vertices, shape.faces, mean_size, sequence.masks, azimuth,
                           fit_offset=sequence.name != reference)
        points = shape.at_size(fit.size)
        kept = 0
        for i, mask in enumerate(sequence.masks):
            K, T, iou = frame_pose(points, shape.faces, azimuth[i] + fit.azimuth_offset, fit.elevation,
                                   fit.distance * fit.size[0], mask)
            if iou < min_iou:
                continue
            A = np.vstack([square_around(mask_box(mask), CROP_SIDE, 1.3), [0, 0, 1]])
            stem = f"{sequence.name}_{sequence.files[i].stem}"
            side = (CROP_SIDE, CROP_SIDE)
            picture = cv2.warpAffine(sequence.images[i], A[:2], side, flags=cv2.INTER_AREA, borderValue=BORDER_GREY)
            cut = cv2.warpAffine(mask, A[:2], side, flags=cv2.INTER_AREA)
            save_picture(out, stem, picture, cut)
            names.append(stem), Ks.append(A @ K), Ts.append(T), sizes.append(fit.size)
            kept += 1
        print(f"{sequence.name}: {kept} of {len(azimuth)} frames kept, elevation {np.rad2deg(fit.elevation):.1f} deg, "
              f"distance {fit.distance:.1f} lengths, size {fit.size.round(2)} m, IoU {fit.iou.mean():.2f}")
    save_labels(out, names, np.array(Ks), np.array(Ts), np.array(sizes))


def read_reference_azimuths(path: Path, name: str, files: list[Path]) -> np.ndarray:
    """Azimuths [N] in radians of the reference sequence, the one human choice per category.

    Raises:
        DatasetError: the file has no finite azimuth for each of the frames.
    """
    try:
        table = read_json(path)[name]["azimuth_deg"]
        azimuths = np.array([table[f.name] for f in files], np.float64)
        if azimuths.shape != (len(files),) or not np.isfinite(azimuths).all():
            raise ValueError("an azimuth is no finite number")
    except (DocumentError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path}: has no azimuths of the frames of {shown(name)} ({shown(error)}); expected "
                           '{"NAME": {"azimuth_deg": {"000.jpg": 0.0, ...}}}') from error
    return np.deg2rad(azimuths)


def main() -> None:
    """The command ``python -m dinemo_training.sequences.posed_templates``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the sequence that defines front")
    parser.add_argument("--azimuths", type=Path, required=True, help="JSON with its azimuths; no other entry is read")
    parser.add_argument("--sequence", type=Path, nargs="*", default=[], help="folders of unposed sequences")
    parser.add_argument("--shape", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parsed(parser)
    shape = CategoryShape.load(args.shape)
    saliency, teacher = SaliencyMask(), CnnTeacher()
    reference = read_sequence(args.reference, saliency, teacher)
    others = [read_sequence(folder, saliency, teacher) for folder in args.sequence]
    azimuths = read_reference_azimuths(args.azimuths, reference.name, reference.files)
    aligned = align(reference, azimuths, others)
    write_templates([reference, *others], aligned, reference.name, shape, args.out)
    write_file(args.out / "azimuths.json", json.dumps(
        {name: np.rad2deg(a).round(2).tolist() for name, a in aligned.items()}, indent=1))


if __name__ == "__main__":
    command_main(main)
