# SPDX-License-Identifier: Apache-2.0
r"""Stable Diffusion as a teacher, through ``diffusers`` (the package's extra ``diffusion``).

Zhang et al., A Tale of Two Features (NeurIPS 2023): one noising step to t = 100, decoder features of three scales, each
reduced by PCA to 256 channels, the coarsest doubled in size, 768 channels in all at a sixteenth of the picture. Two
things differ, and so will the figures: the prompt is empty, where the paper has ODISE's implicit captioner, and the
PCA is fitted once (:mod:`.projection`).

    python -m dinemo_training.models.teachers.diffusion --pictures runs/car/sequences/images runs/car/photos/images \
        --out pca.npz

fits that PCA; ``sd@pca.npz`` then names the teacher.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from dinemo_ros.io.picture_read import imread
from dinemo_ros.process.console import command_main

from ...run.arguments import parsed
from .projection import FrozenProjection, load_projections, save_projections
from .protocol import prepare_picture

STABLE_DIFFUSION = "stable-diffusion-v1-5/stable-diffusion-v1-5"
# The paper counts the 12 decoder outputs 0 to 11 and takes 2, 5 and 8: with their upsamplers these are the first three
# up-blocks of diffusers' UNet, at 1/32, 1/16 and 1/8 of the picture, called s5, s4 and s3.
_LAYERS = {"s5": 0, "s4": 1, "s3": 2}


class DiffusionFeatures:
    """Decoder activations of a denoising UNet for clean pictures.

    Args:
        vae, unet, scheduler: the parts of a diffusers pipeline. prompt: [1, T, C] embedding of the (empty) prompt.
        timestep: how far the latents are noised (100 in SD+DINO, 50 in GeoAware-SC).
        side: pixels that a picture is brought to; a multiple of 64 for Stable Diffusion.
        seed: of the noise, which is the same for every picture.
    """

    def __init__(self, vae: nn.Module, unet: nn.Module, scheduler: Any, prompt: Tensor, timestep: int = 100,
                 side: int = 960, seed: int = 0) -> None:
        self.vae, self.unet, self.scheduler, self.prompt = vae.eval(), unet.eval(), scheduler, prompt
        self.timestep, self.side, self.seed = timestep, side, seed

    @classmethod
    def from_pretrained(cls, name: str = STABLE_DIFFUSION, device: str = "cpu",
                        **options: int) -> DiffusionFeatures:
        """From the hub or a local folder in the layout of diffusers; only safetensors are loaded.

        Raises:
            ImportError: diffusers is not installed.
        """
        try:
            from diffusers import StableDiffusionPipeline
        except ImportError as error:
            raise ImportError("Stable Diffusion features need diffusers: pip install diffusers transformers") from error
        pipeline = StableDiffusionPipeline.from_pretrained(name, safety_checker=None, feature_extractor=None,
                                                           requires_safety_checker=False, use_safetensors=True)
        pipeline.to(device)
        prompt, _ = pipeline.encode_prompt("", device, 1, do_classifier_free_guidance=False)
        return cls(pipeline.vae, pipeline.unet, pipeline.scheduler, prompt, **options)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """[N, 3, H, W] RGB 0..255 -> layer -> [N, C, h, w], not normalised."""
        weight = next(self.unet.parameters())
        x = F.interpolate(images, size=(self.side, self.side), mode="bilinear", antialias=True).to(weight) / 127.5 - 1
        latents = self.vae.encode(x).latent_dist.mode() * self.vae.config.scaling_factor
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(latents[:1].shape, generator=generator).to(latents).expand_as(latents)
        t = torch.tensor(self.timestep, device=latents.device)
        found: dict[str, Tensor] = {}
        hooks = [self.unet.up_blocks[block].register_forward_hook(
            lambda _module, _inputs, output, layer=layer: found.__setitem__(layer, output.float()))
            for layer, block in _LAYERS.items()]
        try:
            self.unet(self.scheduler.add_noise(latents, noise, t[None]), t,
                      encoder_hidden_states=self.prompt.to(latents).expand(len(images), -1, -1))
        finally:
            for hook in hooks:
                hook.remove()
        return found


class DiffusionTeacher:
    """Projected decoder features on the grid of the middle layer, unit norm."""

    def __init__(self, features: DiffusionFeatures, projections: dict[str, FrozenProjection]) -> None:
        if set(projections) != set(_LAYERS):
            raise ValueError(f"projections of the layers {sorted(projections)}, needed are {sorted(_LAYERS)}; fit them "
                             "with python -m dinemo_training.models.teachers.diffusion")
        self.features, self.projections = features, projections

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        maps = {layer: self.projections[layer](m) for layer, m in self.features(images).items()}
        grid = maps["s4"].shape[-2:]
        return F.normalize(torch.cat([F.interpolate(maps[layer], size=grid, mode="bilinear", align_corners=False)
                                      for layer in _LAYERS], 1), dim=1)


def fit_projections(features: DiffusionFeatures, pictures: Iterable[Tensor], dim: int = 256, per_picture: int = 400,
                    seed: int = 0) -> dict[str, FrozenProjection]:
    """PCA per layer over cells drawn from ``pictures`` ([1, 3, H, W] each)."""
    generator = torch.Generator().manual_seed(seed)
    samples: dict[str, list[Tensor]] = {layer: [] for layer in _LAYERS}
    for picture in pictures:
        for layer, maps in features(picture).items():
            cells = maps[0].flatten(1).T.cpu()
            samples[layer].append(cells[torch.randperm(len(cells), generator=generator)[:per_picture]])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {layer: FrozenProjection.fit(torch.cat(rows), dim) for layer, rows in samples.items()}


def diffusion_teacher(name: str, fitted: str | Path, device: str = "cpu") -> DiffusionTeacher:
    """The teacher of a pipeline (hub name or folder) and a fitted projection file, with the settings of the fit."""
    projections, settings = load_projections(fitted)
    return DiffusionTeacher(DiffusionFeatures.from_pretrained(name, device, **settings), projections)


def main() -> None:
    """The command ``python -m dinemo_training.models.teachers.diffusion``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, nargs="+", required=True, help="folders: templates, photographs")
    parser.add_argument("--count", type=int, default=100, help="pictures taken from each folder")
    parser.add_argument("--model", default=STABLE_DIFFUSION, help="hub name or local folder")
    parser.add_argument("--side", type=int, default=960)
    parser.add_argument("--timestep", type=int, default=100)
    parser.add_argument("--dim", type=int, default=256, help="components per layer")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, required=True)
    args = parsed(parser)
    features = DiffusionFeatures.from_pretrained(args.model, args.device, timestep=args.timestep, side=args.side)
    files = [path for folder in args.pictures for path in _spread(folder, args.count)]
    pictures = (prepare_picture(np.ascontiguousarray(imread(path)[..., ::-1]), args.side) for path in files)
    projections = fit_projections(features, tqdm(pictures, total=len(files)), args.dim)
    save_projections(args.out, projections, {"timestep": args.timestep, "side": args.side, "seed": features.seed})


def _spread(folder: Path, count: int) -> list[Path]:
    files = sorted(folder.glob("*.jpg"))
    if not files:
        raise FileNotFoundError(f"{folder}: no pictures (.jpg)")
    return files[:: max(1, len(files) // count)][:count]


if __name__ == "__main__":
    command_main(main)
