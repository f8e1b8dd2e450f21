"""One drawn person: the picture shows that person, where the keypoints are, as the prompt says.

People that no training saw, fixed seeds. The limits, and how many pictures each test makes in
which form, are those of devtools/drawn/limits.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from faithful_instantid.devtools.drawn import judging, measures, world
from faithful_instantid.devtools.drawn.limits import LIMITS
from faithful_instantid.devtools.drawn.measures import Everybody, Shot
from faithful_instantid.devtools.drawn.studio import Studio, bytes_of, image_of, keypoints_of
from faithful_instantid.nodes.folders import OWN_RECOGNISER
from faithful_instantid.nodes.keypoints import TransformKeypoints
from faithful_instantid.nodes.likeness import Likeness

STILL = {"mirror": False, "move_x": 0.0, "move_y": 0.0, "scale": 1.0, "rotate": 0.0}


@pytest.fixture(scope="module")
def shown(studio: Studio, who: Everybody) -> list[Shot]:
    """A picture of every person with InstantID."""
    numbers = LIMITS["right with InstantID"].tries
    return [measures.shoot(studio, measures.order_of(who, n), n) for n in numbers]


@pytest.fixture(scope="module")
def without(studio: Studio, who: Everybody) -> list[Shot]:
    """The same prompts and seeds without InstantID."""
    return [
        measures.shoot(studio, measures.order_of(who, n, identity=None), n)
        for n in LIMITS["right without InstantID"].tries
    ]


def count(shots: list[Shot], who: Everybody) -> int:
    return sum(measures.is_right(shot, who) for shot in shots)


def test_the_recogniser_knows_everybody_after_the_vae(studio: Studio, who: Everybody) -> None:
    right = 0
    for number in LIMITS["right after the VAE"].tries:
        sitter = who.sitters[number]
        scene, pose = measures.one_person(number)
        picture = world.draw([(sitter.identity, pose)], scene)
        decoded = bytes_of(studio.vae.decode(studio.vae.encode(image_of(picture))))[0]
        faces = studio.faces(decoded)
        right += len(faces) == 1 and judging.nearest(faces[0][1], who.references) == number
    assert right >= LIMITS["right after the VAE"].enough


def test_the_picture_shows_the_person(shown: list[Shot], who: Everybody) -> None:
    assert count(shown, who) >= LIMITS["right with InstantID"].enough


def test_without_instantid_it_shows_somebody_else(without: list[Shot], who: Everybody) -> None:
    assert count(without, who) <= LIMITS["right without InstantID"].enough


def test_likeness_ranks_every_picture_with_instantid_above_the_one_without(
    studio: Studio, shown: list[Shot], without: list[Shot], who: Everybody
) -> None:
    plain = {shot.people[0]: shot.picture for shot in without}
    pairs = [(shot.people[0], shot.picture) for shot in shown if shot.people[0] in plain]
    assert len(pairs) == min(len(shown), len(without))
    for number, picture in pairs:
        both = image_of(plain[number], picture)
        given = {"identity": who.identities[number], "threshold": 0.3}
        scores = Likeness.execute(studio.analyzer, both, OWN_RECOGNISER, **given)[0]
        assert scores[1] > scores[0]


def test_the_picture_shows_what_the_prompt_says(shown: list[Shot], who: Everybody) -> None:
    kept = sum(measures.keeps_prompt(shot, shot.order.poses) for shot in shown)
    assert kept >= LIMITS["prompt with InstantID"].enough


def test_the_face_is_where_the_keypoints_are(shown: list[Shot]) -> None:
    errors = [measures.off_by(shot, shot.order.poses) for shot in shown]
    assert sum(error <= 4 for error in errors) >= LIMITS["face within 4 px"].enough


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"mirror": True}, lambda p: p.mirrored()),
        ({"rotate": 18.0}, None),
        ({"move_x": 0.1, "move_y": -0.05}, None),
    ],
    ids=["mirrored", "turned", "moved"],
)
def test_the_face_follows_changed_keypoints(
    studio: Studio, who: Everybody, changes: dict[str, Any], where: Any
) -> None:
    """It is within 6 pixels of where they are now, and nearer to that than to where they were."""
    limit = LIMITS["changed keypoints followed"]
    followed = 0
    for number in limit.tries:
        order = measures.order_of(who, number)
        before = order.poses[0].kps
        way = {**STILL, **changes}
        if order.poses[0].tilt > 0:  # no face of the training is tilted by more than 25 degrees
            way["rotate"] = -way["rotate"]
        points = TransformKeypoints.execute(**way, keypoints=keypoints_of(*order.poses))[0]
        wanted = points.faces[0].kps
        if where is not None:
            np.testing.assert_allclose(wanted, where(order.poses[0]).kps, atol=1.5)
        faces = studio.faces(studio.make(order.but(control={"keypoints": points})))
        off = [judging.off_by(kps, wanted) for kps, _ in faces]
        followed += len(off) == 1 and off[0] < min(6, judging.off_by(faces[0][0], before))
    assert followed >= limit.enough
