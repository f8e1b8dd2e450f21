"""Several drawn people, regions and references: each in their own place, the rest left alone."""

from __future__ import annotations

import numpy as np
import pytest
from faithful_instantid.devtools.drawn import measures, world
from faithful_instantid.devtools.drawn.limits import FEW, LIMITS
from faithful_instantid.devtools.drawn.measures import Everybody, Shot
from faithful_instantid.devtools.drawn.studio import Studio, keypoints_of
from faithful_instantid.nodes.regions import FaceRegionMask


@pytest.fixture(scope="module")
def couples(studio: Studio, who: Everybody) -> list[Shot]:
    """Two people in one picture, in one pass."""
    return [
        measures.shoot(studio, measures.order_of_two(studio, who, n), *measures.pair(n))
        for n in LIMITS["two people right"].tries
    ]


def test_two_people_are_each_in_their_place(couples: list[Shot], who: Everybody) -> None:
    right = sum(measures.is_right(shot, who) for shot in couples)
    assert right >= LIMITS["two people right"].enough


def test_nobody_is_mixed_with_the_person_beside(couples: list[Shot], who: Everybody) -> None:
    apart = sum(measures.is_not_mixed(shot, who) for shot in couples)
    assert apart >= LIMITS["two people not mixed"].enough


def test_two_people_are_where_their_keypoints_are(couples: list[Shot]) -> None:
    errors = [measures.off_by(shot, measures.two_people(n)[1]) for n, shot in enumerate(couples)]
    assert sum(error <= 4 for error in errors) >= LIMITS["two people within 4 px"].enough


def test_a_region_leaves_the_rest_nearer_to_the_picture_without_instantid(
    studio: Studio, who: Everybody
) -> None:
    nearer = 0
    limit = LIMITS["region nearer outside"]
    for n in limit.tries:
        order = measures.order_of(who, n)
        mask = FaceRegionMask.execute(
            keypoints_of(*order.poses), world.SIZE, world.SIZE, "crop", "box", 0.0, 0.0
        )[0]
        outside = mask[0].numpy() == 0
        plain = studio.make(order.but(identity=None)).astype(float)
        everywhere, inside = (
            studio.make(order.but(adapter=given, control=given)).astype(float)
            for given in ({}, {"mask": mask})
        )
        far, near = (np.abs(picture - plain)[outside].mean() for picture in (everywhere, inside))
        nearer += near < far
    assert nearer >= limit.enough


def test_three_references_beat_one_noisy_one(studio: Studio, who: Everybody) -> None:
    alone = together = 0.0
    random = np.random.default_rng(31)
    for n in FEW:
        portraits = [noisy(who.sitters[n].identity, random) for _ in range(3)]
        one, three = studio.identity(portraits[0]), studio.identity(*portraits)
        order = measures.order_of(who, n)
        alone += measures.own_likeness(measures.shoot(studio, order.but(identity=one), n), who)
        together += measures.own_likeness(measures.shoot(studio, order.but(identity=three), n), who)
    assert together > alone


def noisy(identity: world.Identity, random: np.random.Generator) -> world.Picture:
    """A portrait under coloured light and with noise."""
    picture = world.draw([(identity, world.draw_pose(random))], world.draw_scene(random))
    light = 1 + random.normal(0, 0.12, 3)
    return (picture * light + random.normal(0, 8, picture.shape)).clip(0, 255).astype(np.uint8)
