"""Weight, layers, curves, windows and what stands beside move the picture as their help says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from faithful_instantid.devtools.drawn import judging, measures, world
from faithful_instantid.devtools.drawn.limits import FEW, LIMITS
from faithful_instantid.devtools.drawn.measures import Everybody
from faithful_instantid.devtools.drawn.studio import Studio
from faithful_instantid.instantid_core.weighting import LayerWeights, eased

LESS = 0.06  # of likeness: what a setting must take away; other seeds move it by up to 0.04


class Likeness:
    """Mean likeness of the same few people with other settings of the adapter."""

    def __init__(self, studio: Studio, who: Everybody) -> None:
        self.studio, self.who = studio, who
        self.full = self.at({})

    def at(self, adapter: Mapping[str, Any]) -> float:
        """adapter: inputs of Apply InstantID Adapter."""
        orders = [measures.order_of(self.who, n, adapter=adapter) for n in FEW]
        shots = [measures.shoot(self.studio, order, n) for n, order in enumerate(orders)]
        return sum(measures.own_likeness(shot, self.who) for shot in shots) / len(shots)


@pytest.fixture(scope="module")
def likeness(studio: Studio, who: Everybody) -> Likeness:
    return Likeness(studio, who)


def test_more_weight_is_more_likeness(likeness: Likeness) -> None:
    off, half = likeness.at({"weight": 0.0}), likeness.at({"weight": 0.5})
    assert off + LESS < half < likeness.full + 0.05


def test_a_window_that_is_open_for_a_part_gives_less_likeness(likeness: Likeness) -> None:
    assert likeness.at({"end_percent": 0.3}) + LESS < likeness.full


def test_layers_with_less_weight_give_less_likeness(likeness: Likeness) -> None:
    without_up = likeness.at({"layer_weights": LayerWeights.of_parts(1.0, 1.0, 0.0)})
    assert without_up + LESS < likeness.full


def test_a_curve_that_falls_to_nothing_gives_less_likeness(likeness: Likeness) -> None:
    falls = eased("linear", 0.4, 0.0)
    assert likeness.at({"weight_curve": falls}) + LESS < likeness.full


def test_a_curve_at_zero_is_layers_at_zero_and_weight_zero(studio: Studio, who: Everybody) -> None:
    order = measures.order_of(who, 2)
    ways = (
        {"weight": 0.0},
        {"layer_weights": LayerWeights.of_parts(0.0, 0.0, 0.0)},
        {"weight_curve": eased("linear", 0.0, 0.0)},
    )
    first, *others = (studio.make(order.but(adapter=way)) for way in ways)
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_a_noisy_negative_identity_changes_the_picture_and_keeps_the_prompt(
    studio: Studio, who: Everybody
) -> None:
    limit = LIMITS["prompt with negative identity"]
    kept = 0
    for n in limit.tries:
        identity = studio.identity(who.sitters[n].portrait, negative_noise=0.35)
        order = measures.order_of(who, n)
        plain, noisy = studio.make(order), studio.make(order.but(identity=identity))
        assert np.abs(plain.astype(float) - noisy).mean() > 1
        kept += judging.background(noisy) == order.scene.background
    assert kept >= limit.enough


def test_a_controlnet_beside_keeps_its_effect(studio: Studio, who: Everybody) -> None:
    """An ordinary ControlNet places a face of its own beside the one that InstantID makes."""
    limit = LIMITS["second ControlNet in place"]
    placed = 0
    for n in limit.tries:
        scene, (left, right) = measures.two_people(n)
        own_half = measures.mask_of(left, right)
        order = measures.order_of(who, n, scene=scene, poses=[left], people=2).but(
            adapter={"mask": own_half}, control={"mask": own_half}
        )
        faces = studio.faces(studio.make(order.but(beside=right)))
        off = [judging.off_by(kps, right.kps) for kps, _ in faces]
        placed += min(off, default=world.SIZE) <= 6
    assert placed >= limit.enough
