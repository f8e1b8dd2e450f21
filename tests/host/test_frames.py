"""What changes from frame to frame: keypoints, masks, identities, weights; in windows too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.errors import WrongInputError
from faithful_instantid.instantid_core.frame_weights import FrameWeights, parse_frame_weights
from faithful_instantid.instantid_core.host import sampling
from faithful_instantid.instantid_core.host.faces import change_identity, mix_identities
from faithful_instantid.instantid_core.identity import FrameIdentities, NoIdentity
from faithful_instantid.instantid_core.keypoints import Keypoints
from faithful_instantid.instantid_core.people import People, Person
from faithful_instantid.instantid_core.regions import FaceRegion
from faithful_instantid.instantid_core.weighting import Adding

from .comparing import relative_error
from .other_packs import SlidingWindows
from .predict import SIDES, predict
from .test_cut_pictures import (
    FRAMES,
    HEIGHT,
    TIMESTEP,
    WIDTH,
    WINDOWS,
    assert_same,
    context_windows,
    latents,
    masks,
    texts,
    walking_face,
    with_net,
)

Official = dict[str, torch.Tensor]
MakeNet = Callable[[str], Any]
FACTORS = (1.5, 0.0, 0.4, 0.4, 1.0, 0.7)
WEIGHTS = FrameWeights(tuple(enumerate(FACTORS)))
WHO = (0, 0, 1, 2, 2, 0)
SHOWN = (0, 2, 4)  # frames that are looked at alone: each with another identity and weight


@pytest.fixture(scope="module")
def changing(adapter: Any, identity: Any, second_identity: Any) -> FrameIdentities:
    between = mix_identities(adapter, identity, second_identity, 0.5)
    return FrameIdentities((identity, between, second_identity), WHO)


def frame_of(keypoints: Keypoints, frame: int) -> Keypoints:
    return Keypoints(keypoints.width, keypoints.height, keypoints.frames[frame : frame + 1])


@pytest.mark.parametrize("adding", list(Adding))
def test_every_frame_has_its_own_identity_weight_and_mask_in_the_adapter(
    official: Official, tiny_model: Any, changing: FrameIdentities, adding: Adding
) -> None:
    """Each as a picture alone, with its identity and its weight; and the same in windows."""
    x, conds = latents(FRAMES), texts(official)
    how = {"weight": 0.8, "adding": adding}
    for mask in (None, masks()):
        model = host.apply_adapter(tiny_model, changing, mask=mask, frame_weights=WEIGHTS, **how)
        found = predict(model, *conds, x, TIMESTEP)
        for n in SHOWN:
            alone = host.apply_adapter(
                tiny_model,
                changing.each[WHO[n]],
                mask=None if mask is None else mask[n : n + 1],
                **{**how, "weight": 0.8 * FACTORS[n]},
            )
            wanted = predict(alone, *conds, x[n : n + 1], TIMESTEP)
            for side in SIDES:
                assert relative_error(found[side][n], wanted[side][0]) < 1e-5, (n, side)
        for windowed in (SlidingWindows(WINDOWS).on(model), context_windows(model)):
            assert_same(predict(windowed, *conds, x, TIMESTEP), found)


def test_every_frame_has_its_own_identity_weight_and_mask_in_identitynet(
    official: Official, tiny_model: Any, make_controlnet: MakeNet, changing: FrameIdentities
) -> None:
    net, face, x = make_controlnet("identitynet"), walking_face(), latents(FRAMES)
    for mask in (None, masks()):
        conds = with_net(official, net, changing, face, mask=mask, frame_weights=WEIGHTS)
        found = predict(tiny_model, *conds, x, TIMESTEP)
        for n in SHOWN:
            alone = with_net(
                official,
                net,
                changing.each[WHO[n]],
                frame_of(face, n),
                mask=None if mask is None else mask[n : n + 1],
                strength=0.8 * FACTORS[n],
            )
            wanted = predict(tiny_model, *alone, x[n : n + 1], TIMESTEP)
            for side in SIDES:
                assert relative_error(found[side][n], wanted[side][0]) < 1e-5, (n, side)
        for windowed in (SlidingWindows(WINDOWS).on(tiny_model), context_windows(tiny_model)):
            assert_same(predict(windowed, *conds, x, TIMESTEP), found)


def test_a_frame_of_weight_nothing_is_as_without_and_weights_of_one_are_none(
    official: Official, tiny_model: Any, identity: Any, make_controlnet: MakeNet
) -> None:
    """To the bit; behind the last point its weight holds."""
    x, net = latents(FRAMES), make_controlnet("identitynet")
    off = FrameWeights(((0, 1.0), (2, 1.0), (3, 0.0)))
    model = host.apply_adapter(tiny_model, identity, frame_weights=off)
    conds = with_net(official, net, identity, walking_face(), frame_weights=off)
    found = predict(model, *conds, x, TIMESTEP)
    bare = predict(tiny_model, *texts(official), x, TIMESTEP)
    for side in SIDES:
        assert torch.equal(found[side][3:], bare[side][3:])
        assert relative_error(found[side][:3], bare[side][:3]) > 1e-3
    one = FrameWeights(((0, 1.0),))
    plain = host.apply_adapter(tiny_model, identity, frame_weights=one)
    (term,) = plain.model_options["transformer_options"][sampling.TERMS]
    assert term.mask is None
    nothing = FrameWeights(((0, 0.0),))
    assert host.apply_adapter(tiny_model, identity, frame_weights=nothing) is tiny_model
    given = texts(official)
    same = host.apply_identitynet(*given, net, identity, walking_face(), frame_weights=nothing)
    assert [id(one) for one in same] == [id(one) for one in given]


def test_people_have_weights_by_frame_too(
    official: Official, tiny_model: Any, identity: Any, second_identity: Any
) -> None:
    people = People((Person(identity, mask=masks()), Person(second_identity, mask=1 - masks())))
    x, conds = latents(FRAMES), texts(official)
    found = predict(
        host.apply_adapter(tiny_model, people, frame_weights=WEIGHTS), *conds, x, TIMESTEP
    )
    for n in (1, 2):
        alone = People(tuple(Person(p.identity, mask=p.mask[n : n + 1]) for p in people.persons))
        model = host.apply_adapter(tiny_model, alone, weight=0.8 * FACTORS[n])
        wanted = predict(model, *conds, x[n : n + 1], TIMESTEP)
        for side in SIDES:
            assert relative_error(found[side][n], wanted[side][0]) < 1e-5


def test_a_change_goes_from_one_to_the_other_evenly(
    adapter: Any, identity: Any, second_identity: Any
) -> None:
    made = change_identity(adapter, identity, second_identity, 2, 4)
    shown = [made.each[made.number(n)] for n in range(9)]
    assert shown[:3] == [identity] * 3 and shown[6:] == [second_identity] * 3
    for n, amount in ((3, 0.25), (4, 0.5), (5, 0.75)):
        wanted = mix_identities(adapter, identity, second_identity, amount)
        assert torch.equal(shown[n].face_embedding, wanted.face_embedding)
        assert torch.equal(shown[n].positive.kv, wanted.positive.kv)
    assert made.numbers == (0, 0, 0, 1, 2, 3, 4)
    at_once = change_identity(adapter, identity, second_identity, 3, 0)
    assert [at_once.number(n) for n in range(5)] == [0, 0, 0, 1, 1]
    again = change_identity(adapter, at_once, identity, 4, 2)
    assert [again.each[again.number(n)] for n in (2, 3, 4, 6)] == [
        identity, second_identity, second_identity, identity
    ]  # fmt: skip
    long = change_identity(adapter, identity, second_identity, 0, 300)
    assert len(long.each) == 17
    numbers = [long.number(n) for n in range(301)]
    assert numbers[0] == 0 and long.each[numbers[300]] is second_identity
    embeddings = torch.stack([long.each[n].face_embedding for n in numbers])
    way = torch.linspace(0, 1, 301)[:, None]
    straight = identity.face_embedding + way * (
        second_identity.face_embedding - identity.face_embedding
    )
    largest = (second_identity.face_embedding - identity.face_embedding).abs().max()
    assert (embeddings - straight).abs().max() <= largest / 16 * 1.01


def test_what_cannot_be_changed_is_said(
    adapter: Any, identity: Any, second_identity: Any, tiny_model: Any
) -> None:
    gone = NoIdentity("nobody")
    assert change_identity(adapter, identity, gone, 1, 0) is gone
    made = change_identity(adapter, identity, second_identity, 1, 0)
    with pytest.raises(WrongInputError, match="`after` is another person in other frames"):
        change_identity(adapter, identity, made, 3, 0)
    for frame, over in ((-2, 0), (1, -1)):
        with pytest.raises(WrongInputError, match="Wanted: two whole numbers from 0 on"):
            change_identity(adapter, identity, second_identity, frame, over)
    with pytest.raises(WrongInputError, match="`first` is another person in other frames"):
        mix_identities(adapter, made, identity, 0.5)
    apart = host.encode_identity(adapter, torch.stack([identity.face_embedding] * 2))
    with pytest.raises(WrongInputError, match="of other numbers of references kept apart"):
        change_identity(adapter, identity, apart, 1, 0)
    with pytest.raises(WrongInputError, match="`frame_weights` is a number. Connect Frame Weights"):
        host.apply_adapter(tiny_model, identity, frame_weights=0.5)
    for text in ("", "1", "3:1, 2:0", "2:1, 2:0", "-1:1", "0:x", "1048576:1"):
        with pytest.raises(WrongInputError):
            parse_frame_weights(text)
    weights = parse_frame_weights("0:1; 24:0.5\n48:0")
    assert weights.at([0, 12, 36, 99]).tolist() == [1.0, 0.75, 0.25, 0.0]


def test_a_face_that_is_nowhere_is_not_applied_with_weights_either(
    tiny_model: Any, identity: Any
) -> None:
    nowhere = FaceRegion(Keypoints(8 * WIDTH, 8 * HEIGHT, ((), ())))
    made = host.apply_adapter(tiny_model, identity, mask=nowhere, frame_weights=WEIGHTS)
    assert made is tiny_model
