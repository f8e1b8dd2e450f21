"""What is set for a list of people, or for one of them, reaches each person's own part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from faithful_instantid.instantid_core.fitting import Fit, place, standard_face
from faithful_instantid.instantid_core.host import apply_adapter, apply_identitynet
from faithful_instantid.instantid_core.host.hints import PeopleHint
from faithful_instantid.instantid_core.people import People, Person

from .comparing import relative_error
from .predict import SIDES, conditioning, predict

Official = dict[str, torch.Tensor]
HEIGHT, WIDTH = 16, 24  # latent cells
TIMESTEP = 501
LEFT = torch.zeros(1, HEIGHT, WIDTH)
LEFT[..., : WIDTH // 2] = 1.0
RIGHT = 1.0 - LEFT
UPPER = torch.zeros(1, HEIGHT, WIDTH)
UPPER[:, : HEIGHT // 2] = 1.0


def face_at(x: float) -> Any:
    return place(standard_face(), 8 * WIDTH, 8 * HEIGHT, x, 0.5, 0.5)


@pytest.fixture
def couple(identity: Any, second_identity: Any) -> People:
    ann = Person(identity, face_at(0.25), LEFT)
    return People((ann, Person(second_identity, face_at(0.75), RIGHT)))


def changed(people: People, **each: tuple[Any, Any]) -> People:
    """Return the list with other values: of each name, one for each person."""
    return People(
        tuple(
            replace(person, **{name: values[i] for name, values in each.items()})
            for i, person in enumerate(people.persons)
        )
    )


class Predicting:
    """Predictions on the tiny model, with the adapter or with IdentityNet."""

    def __init__(self, official: Official, model: Any, net: Any) -> None:
        self.texts = [conditioning(official, side) for side in SIDES]
        self.model, self.net = model, net

    def of(self, model: Any, *texts: Any) -> torch.Tensor:
        generator = torch.Generator().manual_seed(7)
        x = torch.randn(1, 4, HEIGHT, WIDTH, generator=generator) * 5
        return torch.cat(list(predict(model, *texts, x, TIMESTEP).values()))

    def adapter(self, people: People, **options: Any) -> torch.Tensor:
        return self.of(apply_adapter(self.model, people, **options), *self.texts)

    def identitynet(self, people: People, **options: Any) -> torch.Tensor:
        sides = apply_identitynet(*self.texts, self.net, people, **options)
        return self.of(self.model, *sides)


@pytest.fixture
def predicting(
    official: Official, tiny_model: Any, make_controlnet: Callable[[str], Any]
) -> Predicting:
    return Predicting(official, tiny_model, make_controlnet("identitynet"))


@pytest.mark.parametrize("one_by_one", [False, True])
def test_the_strengths_of_people_are_factors_on_the_nodes_strength(
    predicting: Predicting, couple: People, one_by_one: bool
) -> None:
    how = {"one_by_one": one_by_one}
    full = predicting.identitynet(couple, strength=0.4, **how)
    halved = predicting.identitynet(changed(couple, strength=(0.5, 0.5)), strength=0.8, **how)
    assert relative_error(halved, full) < 1e-6
    first = predicting.identitynet(changed(couple, strength=(0.5, 1.0)), strength=0.4, **how)
    second = predicting.identitynet(changed(couple, strength=(1.0, 0.5)), strength=0.4, **how)
    for one, other in ((first, full), (second, full), (first, second)):
        assert relative_error(one, other) > 1e-3


def test_a_mask_on_the_list_cuts_everybodys_own(predicting: Predicting, couple: People) -> None:
    cut_people = changed(couple, mask=(LEFT * UPPER, RIGHT * UPPER))
    one = {"one_by_one": True}
    for found, wanted, whole in (
        (
            predicting.adapter(couple, mask=UPPER),
            predicting.adapter(cut_people),
            predicting.adapter(couple),
        ),
        (
            predicting.identitynet(couple, mask=UPPER, **one),
            predicting.identitynet(cut_people, **one),
            predicting.identitynet(couple, **one),
        ),
    ):
        assert relative_error(found, wanted) < 1e-6
        assert relative_error(found, whole) > 1e-3


def test_a_mask_on_the_list_cuts_what_identitynet_gives_for_all_of_them(
    predicting: Predicting, couple: People
) -> None:
    def region(**options: Any) -> torch.Tensor:
        positive, _ = apply_identitynet(*predicting.texts, predicting.net, couple, **options)
        return positive[0][1]["control"].face.mask.render(WIDTH, HEIGHT)

    assert torch.equal(region(), torch.ones(1, HEIGHT, WIDTH))
    assert torch.equal(region(mask=UPPER), UPPER)


def test_one_by_one_shows_each_net_the_face_of_its_own_person(
    predicting: Predicting, couple: People
) -> None:
    positive, _ = apply_identitynet(*predicting.texts, predicting.net, couple, one_by_one=True)
    drawings: list[torch.Tensor] = []
    net = positive[0][1]["control"]
    while net is not None:
        drawings.append(net.face.hint.at(8 * WIDTH, 8 * HEIGHT)[0])
        net = net.previous_controlnet
    second, first = drawings
    middle = 4 * WIDTH
    assert first[..., :middle].any() and not first[..., middle:].any()
    assert second[..., middle:].any() and not second[..., :middle].any()
    together = PeopleHint(couple.persons, Fit.CROP).at(8 * WIDTH, 8 * HEIGHT)[0]
    assert torch.equal(torch.maximum(first, second), together)


def test_the_drawing_of_people_has_the_aspect_of_the_first_ones_picture(couple: People) -> None:
    # 192 x 128 pixels: the official canvas of that aspect is 1280 wide.
    hint = PeopleHint(couple.persons, Fit.CROP)
    assert hint.original.shape == (1, 3, 832, 1280)
    assert torch.equal(hint.original, hint.at(1280, 832))


def test_one_by_one_each_net_has_the_tokens_and_the_mask_of_its_own_person(
    predicting: Predicting, couple: People
) -> None:
    positive, negative = apply_identitynet(
        *predicting.texts, predicting.net, couple, one_by_one=True
    )
    net = positive[0][1]["control"]
    assert net is negative[0][1]["control"]
    for number in (1, 0):
        who = couple.persons[number].identity
        assert torch.equal(net.face.positive, who.positive.tokens)
        assert torch.equal(net.face.negative, who.negative.tokens)
        assert net.face.mask.index == number
        net = net.previous_controlnet
