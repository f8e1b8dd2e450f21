"""In a chain of ControlNets everyone gets the context that is theirs, in every order."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import comfy.sample
import pytest
import torch
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.host import apply_identitynet
from faithful_instantid.instantid_core.identity import Identity

import nodes as comfy_nodes

from .comparing import relative_error
from .predict import SIDES, conditioning, noise_of, predict
from .recording import calls_of, contexts_of

Official = dict[str, torch.Tensor]
Pair = tuple[list[Any], list[Any]]
TIMESTEP = 501


@pytest.fixture(scope="module")
def people(adapter: Any, official: Official, identity: Identity) -> dict[str, Identity]:
    other = host.encode_identity(adapter, official["in.face_embedding"].flip(0))
    return {"anna": identity, "bela": other}


@pytest.fixture(scope="module")
def attach(
    official: Official, make_controlnet: Callable[[str], Any], people: dict[str, Identity]
) -> Callable[[Pair, str], Pair]:
    """Return what chains one net, named by a person or `depth`, behind those that are there."""

    def attached(pair: Pair, name: str) -> Pair:
        if name == "depth":
            return comfy_nodes.ControlNetApplyAdvanced().apply_controlnet(
                *(*pair, make_controlnet("depthnet"), official["in.depth_hint"].movedim(1, -1)),
                *(0.4, 0.0, 1.0),
            )
        hint = official["in.hint"].movedim(1, -1)
        net = make_controlnet("identitynet")
        return apply_identitynet(*pair, net, people[name], hint, strength=0.5)

    return attached


@pytest.fixture(scope="module")
def text(official: Official) -> Pair:
    positive, negative = (conditioning(official, side) for side in SIDES)
    return positive, negative


@pytest.fixture(scope="module")
def first_order(
    official: Official, tiny_model: Any, text: Pair, attach: Callable[[Pair, str], Pair]
) -> dict[str, torch.Tensor]:
    pair = attach(attach(attach(text, "depth"), "anna"), "bela")
    return predict(tiny_model, *pair, noise_of(official, tiny_model, TIMESTEP), TIMESTEP)


@pytest.mark.parametrize("order", list(permutations(["depth", "anna", "bela"])))
def test_every_net_gets_its_own_context_in_one_batched_call(
    official: Official,
    tiny_model: Any,
    make_controlnet: Callable[[str], Any],
    people: dict[str, Identity],
    text: Pair,
    attach: Callable[[Pair, str], Pair],
    first_order: dict[str, torch.Tensor],
    order: tuple[str, ...],
) -> None:
    pair = text
    for name in order:
        pair = attach(pair, name)
    x = noise_of(official, tiny_model, TIMESTEP)
    networks = {
        "depth": make_controlnet("depthnet").control_model,
        "face": make_controlnet("identitynet").control_model,
    }
    with contexts_of(**networks) as seen, calls_of(tiny_model.model.diffusion_model) as calls:
        found = predict(tiny_model, *pair, x, TIMESTEP)

    assert calls == [2]  # positive and negative in one batch
    assert [name for name, _ in seen] == ["depth" if n == "depth" else "face" for n in order]
    wanted = {
        "depth": {side: official[f"in.{side}"] for side in SIDES},
        **{
            name: {side: getattr(person, side).tokens for side in SIDES}
            for name, person in people.items()
        },
    }
    for name, (_, context) in zip(order, seen, strict=True):
        rows = {side: wanted[name][side][0] for side in SIDES}
        assert context.shape[0] == 2
        assert sorted(
            side for row in context for side in SIDES if torch.equal(row, rows[side])
        ) == ["negative", "positive"]
    for side in SIDES:
        # The order of a sum, in fp32; how large its rounding is depends on the processor.
        assert relative_error(found[side], first_order[side]) < 3e-6


def test_two_people_are_not_one_person_twice(
    official: Official,
    tiny_model: Any,
    text: Pair,
    attach: Callable[[Pair, str], Pair],
) -> None:
    x = noise_of(official, tiny_model, TIMESTEP)
    two = predict(tiny_model, *attach(attach(text, "anna"), "bela"), x, TIMESTEP)
    same = predict(tiny_model, *attach(attach(text, "anna"), "anna"), x, TIMESTEP)
    assert relative_error(two["positive"], same["positive"]) > 1e-3


def test_at_cfg_1_only_the_positive_side_is_evaluated_with_its_tokens(
    official: Official,
    tiny_model: Any,
    make_controlnet: Callable[[str], Any],
    identity: Identity,
    text: Pair,
    attach: Callable[[Pair, str], Pair],
) -> None:
    network = make_controlnet("identitynet").control_model
    positive, negative = attach(text, "anna")
    with contexts_of(face=network) as seen:
        comfy.sample.sample(
            *(tiny_model, torch.randn(1, 4, 16, 16), 2, 1.0, "euler", "normal"),
            *(positive, negative, torch.zeros(1, 4, 16, 16)),
            disable_pbar=True,
        )
    assert [torch.equal(context, identity.positive.tokens) for _, context in seen] == [True, True]


def test_positive_only_leaves_the_negative_side_alone(
    official: Official, tiny_model: Any, text: Pair, attach: Callable[[Pair, str], Pair]
) -> None:
    x = noise_of(official, tiny_model, TIMESTEP)
    positive, negative = attach(text, "anna")
    both = predict(tiny_model, positive, negative, x, TIMESTEP)
    only = predict(tiny_model, positive, text[1], x, TIMESTEP)
    without = predict(tiny_model, *text, x, TIMESTEP)
    assert relative_error(only["positive"], both["positive"]) < 1e-5  # batches of 1 and 2
    assert relative_error(only["negative"], without["negative"]) < 1e-5
    assert relative_error(both["negative"], without["negative"]) > 1e-3


def test_positive_and_negative_with_different_nets_before_get_a_chain_each(
    official: Official, text: Pair, attach: Callable[[Pair, str], Pair]
) -> None:
    positive, _ = attach(text, "depth")
    out_positive, out_negative = attach((positive, text[1]), "anna")
    assert out_positive[0][1]["control"] is not out_negative[0][1]["control"]
    assert out_positive[0][1]["control"].previous_controlnet is positive[0][1]["control"]
    assert out_negative[0][1]["control"].previous_controlnet is None


def test_without_tags_the_names_of_the_sampler_tell_the_rows(
    official: Official,
    make_controlnet: Callable[[str], Any],
    identity: Identity,
    text: Pair,
    attach: Callable[[Pair, str], Pair],
    tiny_model: Any,
) -> None:
    pair = [
        [[entry[0], {**entry[1], "model_conds": {}}] for entry in side]
        for side in attach(text, "anna")
    ]
    network = make_controlnet("identitynet").control_model
    with contexts_of(face=network) as seen:
        predict(tiny_model, *pair, noise_of(official, tiny_model, TIMESTEP), TIMESTEP)
    found = {
        side: any(torch.equal(row, getattr(identity, side).tokens[0]) for row in seen[0][1])
        for side in SIDES
    }
    assert found == {"positive": True, "negative": True}
