"""Cases with fixed seeds, the pictures the chain makes of them, and what is counted in those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import judging
from .judging import Embedding
from .studio import Order, Studio, keypoints_of
from .world import (
    SIZE,
    Picture,
    Pose,
    Scene,
    Sitter,
    draw_pose,
    draw_scene,
    draw_two_poses,
    halves,
    sitters,
)

PEOPLE = 20
CASES = 4321  # seed of scenes and poses


@dataclass(frozen=True)
class Everybody:
    """The held-out people with what the chain knows of each: identity and reference embedding."""

    sitters: list[Sitter]
    identities: list[Any]
    references: list[Embedding]


@dataclass(frozen=True)
class Shot:
    """One picture that was made. people: numbers of those it shall show, from left to right.

    faces: keypoints and embedding of every face found, from left to right.
    """

    order: Order
    people: tuple[int, ...]
    picture: Picture
    faces: list[tuple[NDArray[np.float32], Embedding]]


def everybody(studio: Studio, count: int = PEOPLE) -> Everybody:
    """Encode one portrait of each held-out person."""
    people = sitters(count)
    identities = [studio.identity(who.portrait) for who in people]
    references = [who.face_embedding.numpy().reshape(-1) for who in identities]
    return Everybody(people, identities, references)


def one_person(number: int) -> tuple[Scene, Pose]:
    """Return scene and pose of the case with that number."""
    random = np.random.default_rng([CASES, 1, number])
    return draw_scene(random), draw_pose(random)


def two_people(number: int) -> tuple[Scene, tuple[Pose, Pose]]:
    random = np.random.default_rng([CASES, 2, number])
    return draw_scene(random), draw_two_poses(random)


def order_of(who: Everybody, number: int, **changes: Any) -> Order:
    """Return the order for one person's case."""
    scene, pose = one_person(number)
    return Order(scene, who.identities[number], [pose], seed=100 + number).but(**changes)


def order_of_two(studio: Studio, who: Everybody, number: int, **changes: Any) -> Order:
    """Return the order for a person and the next one, each with their half of the picture."""
    scene, poses = two_people(number)
    left, right = pair(number)
    masks = torch.from_numpy(halves(poses))
    people = studio.people(
        *(
            {"face_embeds": who.identities[person], "keypoints": keypoints_of(pose), "mask": mask}
            for person, pose, mask in zip((left, right), poses, masks[:, None], strict=True)
        )
    )
    return Order(scene, people, seed=200 + number, people=2).but(**changes)


def mask_of(pose: Pose, other: Pose) -> torch.Tensor:
    """(1,SIZE,SIZE): 1 in the half of the picture that belongs to `pose`, 0 in the other's."""
    return torch.from_numpy(halves((pose, other))[:1])


def pair(number: int) -> tuple[int, int]:
    return number, (number + 7) % PEOPLE


def shoot(studio: Studio, order: Order, *people: int) -> Shot:
    picture = studio.make(order)
    return Shot(order, people, picture, studio.faces(picture))


def is_right(shot: Shot, who: Everybody) -> bool:
    """Whether the picture shows as many faces as asked for, each nearest to its own person."""
    if len(shot.faces) != len(shot.people):
        return False
    found = [judging.nearest(embedding, who.references) for _, embedding in shot.faces]
    return found == list(shot.people)


def is_not_mixed(shot: Shot, who: Everybody) -> bool:
    """Whether there is a face for each person, more like that person than like the others shown."""
    if len(shot.faces) != len(shot.people):
        return False
    shown = [who.references[number] for number in shot.people]
    found = [judging.nearest(embedding, shown) for _, embedding in shot.faces]
    return found == list(range(len(shown)))


def own_likeness(shot: Shot, who: Everybody) -> float:
    """Mean likeness of the faces to their own references; a face that is missing counts 0."""
    pairs = zip(shot.people, shot.faces, strict=False)
    values = [judging.likeness(embedding, who.references[n]) for n, (_, embedding) in pairs]
    return sum(values) / len(shot.people)


def keeps_prompt(shot: Shot, poses: Sequence[Pose]) -> bool:
    """Whether background and clothes have the colours the prompt names."""
    scene = shot.order.scene
    return (
        judging.background(shot.picture) == scene.background
        and judging.clothes(shot.picture, poses) == scene.clothes
    )


def off_by(shot: Shot, poses: Sequence[Pose]) -> float:
    """How far the faces' points are from where they shall be, in pixels; a missing face: SIZE."""
    if len(shot.faces) != len(poses):
        return float(SIZE)
    ordered = sorted(poses, key=lambda pose: pose.x)
    errors = [
        judging.off_by(kps, pose.kps) for (kps, _), pose in zip(shot.faces, ordered, strict=True)
    ]
    return max(errors)
