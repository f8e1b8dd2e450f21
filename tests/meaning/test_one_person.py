"""One drawn person: the picture shows that person, where the keypoints are, as the prompt says.

Twenty people that no training saw, fixed seeds. The limits are those of devtools/drawn/limits.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from faithful_instantid.devtools.drawn import judging, measures, world
from faithful_instantid.devtools.drawn.limits import LIMITS
from faithful_instantid.devtools.drawn.measures import Everybody, Shot
from faithful_instantid.devtools.drawn.studio import Studio, keypoints_of
from faithful_instantid.nodes.keypoints import TransformKeypoints

STILL = {"mirror": False, "move_x": 0.0, "move_y": 0.0, "scale": 1.0, "rotate": 0.0}


@pytest.fixture(scope="module")
def shown(studio: Studio, who: Everybody) -> list[Shot]:
    """A picture of every person with InstantID."""
    return [measures.shoot(studio, measures.order_of(who, n), n) for n in range(measures.PEOPLE)]


@pytest.fixture(scope="module")
def without(studio: Studio, who: Everybody) -> list[Shot]:
    """The same prompts and seeds without InstantID."""
    return [
        measures.shoot(studio, measures.order_of(who, n, identity=None), n)
        for n in range(measures.PEOPLE)
    ]


def count(shots: list[Shot], who: Everybody) -> int:
    return sum(measures.is_right(shot, who) for shot in shots)


def test_the_recogniser_knows_everybody_after_the_vae(studio: Studio, who: Everybody) -> None:
    from faithful_instantid.devtools.drawn.studio import bytes_of, image_of

    right = 0
    for number, sitter in enumerate(who.sitters):
        scene, pose = measures.one_person(number)
        picture = world.draw([(sitter.identity, pose)], scene)
        decoded = bytes_of(studio.vae.decode(studio.vae.encode(image_of(picture))))[0]
        faces = studio.faces(decoded)
        right += len(faces) == 1 and judging.nearest(faces[0][1], who.references) == number
    assert right >= LIMITS["right after the VAE"]


def test_the_picture_shows_the_person(shown: list[Shot], who: Everybody) -> None:
    assert count(shown, who) >= LIMITS["right with InstantID"]


def test_without_instantid_it_shows_somebody_else(without: list[Shot], who: Everybody) -> None:
    assert count(without, who) <= LIMITS["right without InstantID"]


def test_the_picture_shows_what_the_prompt_says(shown: list[Shot], who: Everybody) -> None:
    kept = sum(measures.keeps_prompt(shot, shot.order.poses) for shot in shown)
    assert kept >= LIMITS["prompt with InstantID"]


def test_the_face_is_where_the_keypoints_are(shown: list[Shot]) -> None:
    errors = [measures.off_by(shot, shot.order.poses) for shot in shown]
    assert sum(error <= 4 for error in errors) >= LIMITS["face within 4 px"]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"mirror": True}, lambda p: p.mirrored()),
        ({"rotate": 18.0}, lambda p: world.replace(p, tilt=p.tilt + 18)),
        ({"move_x": 0.1, "move_y": -0.05}, None),
    ],
    ids=["mirrored", "turned", "moved"],
)
def test_the_face_follows_changed_keypoints(
    studio: Studio, who: Everybody, changes: dict[str, Any], where: Any
) -> None:
    near = 0
    numbers = range(LIMITS["changed keypoints: tries"])
    for number in numbers:
        order = measures.order_of(who, number)
        points = TransformKeypoints.execute(
            **{**STILL, **changes}, keypoints=keypoints_of(*order.poses)
        )[0]
        shot = measures.shoot(studio, order.but(control={"keypoints": points}), number)
        wanted = points.faces[0].kps
        if where is not None and "rotate" not in changes:
            assert np.allclose(wanted, where(order.poses[0]).kps, atol=1.5)
        errors = [judging.off_by(kps, wanted) for kps, _ in shot.faces]
        near += len(errors) == 1 and errors[0] <= 4
    assert near >= LIMITS["changed keypoints: within 4 px"]


def test_more_weight_is_more_likeness(studio: Studio, who: Everybody, shown: list[Shot]) -> None:
    numbers = range(5)

    def mean(weight: float) -> float:
        shots = [
            measures.shoot(studio, measures.order_of(who, n, adapter={"weight": weight}), n)
            for n in numbers
        ]
        return sum(measures.own_likeness(shot, who) for shot in shots) / len(shots)

    full = sum(measures.own_likeness(shown[n], who) for n in numbers) / len(numbers)
    assert mean(0.0) + 0.1 < mean(0.5) < full + 0.05
