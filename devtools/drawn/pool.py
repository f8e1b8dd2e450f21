"""What the chain is trained on, made once: latents, hints, masks, embeddings and scenes."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ...instantid_core.keypoints import draw_keypoints
from .autoencoder import Autoencoder
from .recogniser import POOLED, Recogniser, align
from .world import (
    COLOUR_NAMES,
    SIZE,
    Pose,
    draw,
    draw_identity,
    draw_pose,
    draw_scene,
    draw_two_poses,
    halves,
)

TWO = 1 / 3
REFERENCES = 2  # pictures of each person that may be shown to the adapter
CHUNK = 250
HEAD = (0.52, 0.66)  # half width and height of a head with its hair, in face heights
Parts = dict[str, Tensor]
ROOMS = (1.0, 1.5)  # how much larger than that a person's region may be


@dataclass
class Pool:
    """n pictures. latents: (n,4,16,16) fp16. hints: (n,C,16,16) fp16, encoded keypoints.

    embeddings: (n,2,R,512) fp16. masks: (n,2,16,16) uint8. scenes: (n,3) background, clothes and
    number of people.
    """

    latents: Tensor
    hints: Tensor
    embeddings: Tensor
    masks: Tensor
    scenes: Tensor

    def save(self, path: Path) -> None:
        torch.save(vars(self), path)


def hint_of(kps: np.ndarray) -> np.ndarray:
    """(P,5,2) -> (SIZE,SIZE,3) uint8, as the pack draws it."""
    return draw_keypoints(kps, SIZE, SIZE)


def draw_pool(count: int, seed: int, recogniser: Recogniser, hint_block: nn.Module) -> Parts:
    """Return a pool with `pictures`, (n,SIZE,SIZE,3) uint8, where its latents will be."""
    seeds = [[seed, number] for number in range(-(-count // CHUNK))]
    made: list[Parts] = []
    with ProcessPoolExecutor(2) as workers:
        for pictures, hints, crops, masks, scenes in workers.map(_chunk, seeds):
            with torch.no_grad():
                parts = (_planes(hints) / 255).split(25)
                guided = torch.cat([hint_block(part, None, None) for part in parts])
                seen = torch.from_numpy(crops).flatten(0, 2).movedim(-1, 1).float() / 127.5 - 1
                embedded = recogniser.code(seen) @ recogniser.spread.T
            made.append(
                {
                    "pictures": torch.from_numpy(pictures),
                    "hints": guided.half(),
                    "embeddings": embedded.unflatten(0, crops.shape[:3]).half(),
                    "masks": torch.from_numpy(masks),
                    "scenes": torch.from_numpy(scenes),
                }
            )
    return {name: torch.cat([parts[name] for parts in made]) for name in made[0]}


def encode_pool(drawn: Parts, autoencoder: Autoencoder) -> Pool:
    """Replace the pictures of a drawn pool by their latents."""
    rest = dict(drawn)

    def encode(part: Tensor) -> Tensor:
        with torch.no_grad():  # holds for one thread alone
            return autoencoder.encoder(part.movedim(-1, 1).float() / 255).half()

    with ThreadPoolExecutor(2) as workers:
        latents = list(workers.map(encode, rest.pop("pictures").split(25)))
    return Pool(torch.cat(latents), **rest)


def _planes(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(pictures).movedim(-1, 1).float()


def _chunk(seed: list[int]) -> tuple[np.ndarray, ...]:
    """Return pictures, hints, the references' crops at 28 pixels, masks and scenes."""
    cv2.setNumThreads(1)
    random = np.random.default_rng(seed)
    rows = [_example(random) for _ in range(CHUNK)]
    return tuple(np.stack(parts) for parts in zip(*rows, strict=True))


def _example(random: np.random.Generator) -> tuple[np.ndarray, ...]:
    poses = draw_two_poses(random) if random.random() < TWO else (draw_pose(random),)
    people = [(draw_identity(random), pose) for pose in poses]
    scene = draw_scene(random)
    crops = np.zeros((2, REFERENCES, POOLED, POOLED, 3), np.uint8)
    for number, (who, _) in enumerate(people):
        for take in range(REFERENCES):
            pose = draw_pose(random)
            picture = draw([(who, pose)], draw_scene(random))
            kps = pose.kps + random.normal(0, 0.5, (5, 2)).astype(np.float32)
            crops[number, take] = cv2.resize(
                align(picture, kps), (POOLED, POOLED), interpolation=cv2.INTER_AREA
            )
    told = [COLOUR_NAMES.index(c) for c in (scene.background, scene.clothes)]
    return (
        draw(people, scene),
        hint_of(np.stack([pose.kps for pose in poses])),
        crops,
        _masks(poses, random),
        np.array([*told, len(poses)], np.int64),
    )


def _masks(poses: tuple[Pose, ...], random: np.random.Generator) -> np.ndarray:
    """(2,16,16) uint8: the whole picture or its halves, else regions about the heads."""
    whole = random.random() < (0.8 if len(poses) == 1 else 0.5)
    masks = halves(poses)
    if not whole:
        room = random.uniform(*ROOMS)
        masks = masks * np.stack([_head(pose, room) for pose in poses])
    out = np.zeros((2, 16, 16), np.uint8)
    out[: len(poses)] = masks[:, ::8, ::8]
    return out


def _head(pose: Pose, room: float) -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    half_u, half_v = HEAD[0] * pose.height * room, HEAD[1] * pose.height * room
    return ((x - pose.x) / half_u) ** 2 + ((y - pose.y) / half_v) ** 2 <= 1
