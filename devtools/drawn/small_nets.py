"""Training of the small networks around the sampling, on drawn pictures that are made once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import (
    avg_pool2d,
    binary_cross_entropy_with_logits,
    interpolate,
    l1_loss,
    mse_loss,
    pad,
    smooth_l1_loss,
)

from .autoencoder import Autoencoder
from .detector import Detector, wanted
from .recogniser import CODE, Recogniser, align, code_of
from .world import (
    SIZE,
    Picture,
    Points,
    draw,
    draw_identity,
    draw_pose,
    draw_scene,
    draw_two_poses,
)

TWO = 1 / 3  # the share of pictures with two people
CHUNK = 500
Say = Callable[[str], None]


@dataclass(frozen=True)
class Portraits:
    """Pictures (n, 128, 128, 3) uint8, and of each picture's first person keypoints and code."""

    pictures: Picture
    kps: Points
    codes: NDArray[np.float32]


def portraits(count: int, seed: int) -> Portraits:
    """Draw pictures; a third of them show two people."""
    seeds = [[seed, number] for number in range(-(-count // CHUNK))]
    with ProcessPoolExecutor(2) as pool:
        parts = list(pool.map(_draw_chunk, seeds))
    pictures, kps, codes = (np.concatenate(part)[:count] for part in zip(*parts, strict=True))
    return Portraits(pictures, kps, codes)


def _draw_chunk(seed: list[int]) -> tuple[Picture, Points, NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    pictures, kps, codes = [], [], []
    for _ in range(CHUNK):
        poses = draw_two_poses(random) if random.random() < TWO else (draw_pose(random),)
        people = [(draw_identity(random), pose) for pose in poses]
        shown = int(random.integers(len(people)))
        pictures.append(draw(people, draw_scene(random)))
        kps.append(people[shown][1].kps)
        codes.append(code_of(people[shown][0]))
    return np.stack(pictures), np.stack(kps), np.stack(codes)


def steps_of(optimizer: torch.optim.Optimizer, rate: float, steps: int) -> Iterator[int]:
    """Yield the numbers of the steps; the rate rises for a while and falls along a cosine."""
    for step in range(steps):
        share = step / steps
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * share))
        yield step


def optimise(optimizer: torch.optim.Optimizer, loss: Tensor, module: nn.Module) -> None:
    loss.backward()
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def train_recogniser(steps: int, say: Say) -> Recogniser:
    """Train on crops whose keypoints are a little off and whose pictures are often soft."""
    seen = portraits(8000, seed=1)
    random = np.random.default_rng(2)
    near = [seen.kps + random.normal(0, 0.9, seen.kps.shape).astype(np.float32) for _ in range(2)]
    crops = np.stack(
        [align(seen.pictures[i], kps[i]) for kps in near for i in range(len(seen.kps))]
    )
    shrunk = avg_pool2d(torch.from_numpy(crops).movedim(-1, 1).float() / 127.5 - 1, 4)
    codes = torch.from_numpy(seen.codes).repeat(2, 1)
    torch.manual_seed(3)
    net = Recogniser()
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=1e-3)
    for step in steps_of(optimizer, 2e-3, steps):
        rows = torch.randint(0, len(shrunk), (128,))
        loss = mse_loss(net.code(_worse(shrunk[rows])), codes[rows])
        optimise(optimizer, loss, net)
        if step % 200 == 0 or step == steps - 1:
            say(f"recogniser: step {step}, loss {loss.item():.4f} over {CODE} numbers")
    return net.eval()


def _worse(crops: Tensor) -> Tensor:
    """Half of the crops lose their detail, all get a little noise and another light."""
    n = len(crops)
    size = int(torch.randint(10, 29, ()))
    soft = interpolate(crops, size=size, mode="area")
    soft = interpolate(soft, size=crops.shape[-1], mode="bilinear", align_corners=False)
    crops = torch.where(torch.rand(n, 1, 1, 1) < 0.5, soft, crops)
    light = 1 + 0.06 * torch.randn(n, 1, 1, 1)
    tint = 0.05 * torch.randn(n, 3, 1, 1)
    return light * crops + tint + 0.06 * torch.randn_like(crops)


def train_autoencoder(steps: int, say: Say) -> Autoencoder:
    """Train on squares of 64 pixels, most of them about a face."""
    seen = portraits(4000, seed=4)
    pictures = torch.from_numpy(seen.pictures).movedim(-1, 1)
    middles = torch.from_numpy(seen.kps.mean(1))
    torch.manual_seed(5)
    net = Autoencoder()
    optimizer = torch.optim.AdamW(net.parameters(), betas=(0.9, 0.98), weight_decay=1e-4)
    began = time.monotonic()
    for step in steps_of(optimizer, 1.5e-3, steps):
        x = _squares(pictures, middles, 16)
        z = net.encoder(x)
        noise = 0.12 * torch.rand(len(z), 1, 1, 1)
        made = net.decoder(z + noise * torch.randn_like(z))
        error = made - x
        spread = z.transpose(0, 1).flatten(1)
        shape = spread.mean(1).square().mean() + (spread.std(1) - 1).square().mean()
        loss = l1_loss(made, x) + 5 * error.square().mean() + 0.01 * shape
        optimise(optimizer, loss, net)
        if step % 100 == 0 or step == steps - 1:
            say(
                f"autoencoder: step {step}, mean error {error.abs().mean().item():.4f}, "
                f"spread {spread.std(1).tolist()}, {time.monotonic() - began:.0f} s"
            )
    return net.eval()


def _squares(pictures: Tensor, middles: Tensor, count: int, side: int = 64) -> Tensor:
    out: list[Tensor] = []
    for row in torch.randint(0, len(pictures), (count,)).tolist():
        corner = torch.randint(0, SIZE - side + 1, (2,)).float()
        if torch.rand(()) < 0.75:
            corner = middles[row] - side / 2 + 14 * torch.randn(2)
        x, y = corner.clamp(0, SIZE - side).int().tolist()
        out.append(pictures[row, :, y : y + side, x : x + side])
    return torch.stack(out).float() / 255


SHRINK = 4  # the detector's first layer makes its input that much smaller


def train_detector(steps: int, say: Say, autoencoder: Autoencoder) -> Detector:
    """Train on drawn pictures and on what the autoencoder makes of them, at several sizes."""
    scenes = crowds(1500, seed=10)
    torch.manual_seed(12)
    soften(scenes.pictures[:500], autoencoder)
    net = Detector()
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=1e-4)
    for step in steps_of(optimizer, 2e-3, steps):
        # At the official size of 640 a picture is 160 pixels here; other passes make it smaller.
        side = 160 if step % 4 else 8 * int(torch.randint(7, 23, ()))
        rows = torch.randint(0, len(scenes.pictures), (8,)).tolist()
        pictures = torch.from_numpy(scenes.pictures[rows]).movedim(-1, 1).float() / 255
        seen, places = _laid_in(2 * pictures - 1, side)
        made = net.layers[1:](seen)
        faces = [scenes.faces[row] for row in rows]
        targets = [wanted(places(kps), places(boxes), *made.shape[-2:]) for kps, boxes in faces]
        planes, near = (torch.stack(part) for part in zip(*targets, strict=True))
        sure = binary_cross_entropy_with_logits(made[:, 0], planes[:, 0])
        found, true = (part[:, 1:].movedim(1, -1)[near] for part in (made, planes))
        off = smooth_l1_loss(found, true, beta=0.1)
        optimise(optimizer, 3 * sure + off, net)
        if step % 100 == 0 or step == steps - 1:
            say(f"detector: step {step}, sure {sure.item():.4f}, off {off.item():.4f}")
    return net.eval()


def soften(pictures: Picture, autoencoder: Autoencoder) -> None:
    """Replace pictures by what the autoencoder makes of them, with more or less noise between."""
    for part in np.array_split(np.arange(len(pictures)), len(pictures) // 25):
        planes = torch.from_numpy(pictures[part]).movedim(-1, 1).float() / 255
        with torch.no_grad():
            z = autoencoder.encoder(planes)
            noise = 0.4 * torch.rand(len(z), 1, 1, 1) * torch.randn_like(z)
            made = autoencoder.decoder(z + noise).clamp(0, 1)
        pictures[part] = (255 * made).round().byte().movedim(1, -1).numpy()


@dataclass(frozen=True)
class Crowds:
    """Pictures (n,128,128,3) uint8 and each one's faces: keypoints (F,5,2) and boxes (F,4)."""

    pictures: Picture
    faces: list[tuple[Points, NDArray[np.float32]]]


def crowds(count: int, seed: int) -> Crowds:
    """Draw pictures of nobody, one person or two."""
    random = np.random.default_rng(seed)
    pictures, faces = [], []
    for _ in range(count):
        chance = random.random()
        poses = draw_two_poses(random) if chance < TWO else (draw_pose(random),)
        poses = poses if chance < 0.97 else ()
        pictures.append(draw([(draw_identity(random), p) for p in poses], draw_scene(random)))
        kps = np.array([pose.kps for pose in poses], np.float32).reshape(-1, 5, 2)
        boxes = np.array([pose.box for pose in poses], np.float32).reshape(-1, 4)
        faces.append((kps, boxes))
    return Crowds(np.stack(pictures), faces)


def _laid_in(pictures: Tensor, side: int) -> tuple[Tensor, Callable[..., Any]]:
    """Resize pictures and put black around, as a detector's letterbox does.

    Returns (B,3,h,w) and the way from a picture's pixels to those of the detector's input.
    """
    resized = interpolate(pictures, size=side, mode="bilinear", antialias=True)
    before = 8 * int(torch.randint(0, 4, ())) if torch.rand(()) < 0.3 else 0
    whole = -(-(side + 2 * before) // 8) * 8
    after = whole - side - before
    seen = pad(resized, (before, after, before, after), value=-1.0)
    seen = seen + 0.08 * torch.rand(()) * torch.randn_like(seen)
    scale = SHRINK * side / SIZE

    def places(points: NDArray[np.float32]) -> NDArray[np.float32]:
        return ((points + 0.5) * scale + SHRINK * before - 0.5).astype(np.float32)

    return seen, places
