"""InstantID on a tiny SD1.5 predicts what a plain SD1.5, written from its facts, predicts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from comfy_extras import nodes_context_windows
from faithful_instantid.instantid_core.host import apply_adapter, apply_identitynet
from faithful_instantid.instantid_core.people import People, Person
from faithful_instantid.instantid_core.unet_layout import SD15, measure_unet
from faithful_instantid.instantid_core.weighting import LayerWeights, WeightCurve

from .comparing import relative_error
from .predict import SIDES
from .sd15 import HEIGHT, WIDTH, World, make_world

TOLERANCE = 1e-5  # fp32 rounding over two implementations
FAR = 1e-3  # what another identity, another layer or another place changes


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("sd15"))


def left() -> torch.Tensor:
    """(H,W): the left third of the picture, on whole cells of every layer."""
    mask = torch.zeros(8 * HEIGHT, 8 * WIDTH)
    mask[:, : 8 * WIDTH // 3] = 1
    return mask


def oval() -> torch.Tensor:
    """(H,W): a mask with values between, that no layer's cells fit."""
    y, x = torch.linspace(-1, 1, 100)[:, None], torch.linspace(-1.2, 0.8, 140)
    return (1.2 - (x**2 + 2 * y**2)).clamp(0, 1)


def close(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    for side in SIDES:
        assert relative_error(found[side], wanted[side]) < TOLERANCE, side


def test_the_structure_is_sd15s(world: World) -> None:
    layout = measure_unet(world.model.model.diffusion_model)
    assert layout.family is SD15
    assert layout.channels == (32, 32, 64, 64, 128, 128) + (128,) * 3 + (64,) * 3 + (32,) * 3 + (
        128,
    )


@pytest.mark.parametrize("side", SIDES)
def test_the_tokens_are_those_of_the_plain_resampler(world: World, side: str) -> None:
    found = getattr(world.identity(), side).tokens
    assert found.shape == (1, 16, 48)
    assert relative_error(found, world.tokens(side)) < TOLERANCE


def test_the_plain_sd15_is_the_real_one(world: World) -> None:
    close(world.predicted(world.model), {side: world.plain(side) for side in SIDES})


@pytest.mark.parametrize("weight", [0.8, 0.3])
@pytest.mark.parametrize("masked", [False, True])
def test_the_adapter_alone(world: World, weight: float, masked: bool) -> None:
    mask = oval() if masked else None
    found = world.predicted(apply_adapter(world.model, world.identity(), weight=weight, mask=mask))
    for side in SIDES:
        wanted = world.plain(side, [world.share(side, weight=weight, mask=mask)])
        assert relative_error(found[side], wanted) < TOLERANCE
        assert relative_error(found[side], world.plain(side)) > FAR


def applied(world: World, identity: Any, **more: Any) -> list[Any]:
    return list(apply_identitynet(*world.conditionings(), world.net, identity, world.hint, **more))


@pytest.mark.parametrize("strength", [0.8, 0.4])
@pytest.mark.parametrize("masked", [False, True])
def test_the_controlnet_alone_sees_face_tokens_and_no_text(
    world: World, strength: float, masked: bool
) -> None:
    mask = oval() if masked else None
    found = world.predicted(
        world.model, applied(world, world.identity(), strength=strength, mask=mask)
    )
    for side in SIDES:
        own = world.residuals(side, strength=strength, mask=mask)
        assert relative_error(found[side], world.plain(side, residuals=[own])) < TOLERANCE
        assert relative_error(found[side], world.plain(side)) > FAR


@pytest.mark.parametrize("masked", [False, True])
def test_both_together(world: World, masked: bool) -> None:
    mask, person = oval() if masked else None, world.identity()
    model = apply_adapter(world.model, person, weight=0.8, mask=mask)
    found = world.predicted(model, applied(world, person, mask=mask))
    for side in SIDES:
        share, own = world.share(side, mask=mask), world.residuals(side, mask=mask)
        assert relative_error(found[side], world.plain(side, [share], [own])) < TOLERANCE


def two(world: World) -> People:
    """One person in the left third, another one, less strongly, in the rest."""
    return People(
        (
            Person(world.identity(7), mask=left()[None]),
            Person(world.identity(8), mask=1 - left()[None], weight=0.5, strength=0.5),
        )
    )


@pytest.mark.parametrize("one_by_one", [False, True])
def test_several_people_each_have_their_own_place(world: World, one_by_one: bool) -> None:
    people = two(world)
    model = apply_adapter(world.model, people, weight=0.8)
    found = world.predicted(model, applied(world, people, one_by_one=one_by_one))
    masks = {7: left(), 8: 1 - left()}
    weights = {7: 0.8, 8: 0.4}
    for side in SIDES:
        shares = [world.share(side, n, weight=weights[n], mask=masks[n]) for n in masks]
        everybody = [(world.tokens(side, n), masks[n]) for n in masks]
        if one_by_one:
            own = [world.residuals(side, n, strength=weights[n], mask=masks[n]) for n in masks]
        else:
            where = masks[7] * weights[7] + masks[8] * weights[8]
            own = [world.residuals(side, people=everybody, strength=1.0, mask=where)]
        wanted = world.plain(side, shares, own)
        assert relative_error(found[side], wanted) < TOLERANCE
        alone = world.plain(side, shares[:1], own[:1])
        assert relative_error(found[side], alone) > FAR


def test_outside_of_its_window_nothing_is_done(world: World) -> None:
    bare = world.predicted(world.model)
    person = world.identity()
    for window in ({"end_percent": 0.3}, {"start_percent": 0.7}):  # the prediction is in the middle
        model = apply_adapter(world.model, person, **window)
        assert model is not world.model
        found = world.predicted(model, applied(world, person, **window))
        for side in SIDES:
            assert torch.equal(found[side], bare[side])
    open_ = {"start_percent": 0.3, "end_percent": 0.7}
    found = world.predicted(apply_adapter(world.model, person, **open_))
    close(found, world.predicted(apply_adapter(world.model, person)))


def test_a_weight_curve_is_a_factor_at_its_moment(world: World) -> None:
    curve = WeightCurve(((0.0, 0.5),))
    found = world.predicted(apply_adapter(world.model, world.identity(), weight=0.8, curve=curve))
    close(found, {side: world.plain(side, [world.share(side, weight=0.4)]) for side in SIDES})


# Eleven factors, and what becomes of them: six blocks share four, nine share six.
FACTORS = (1.0, 0.2, 0.6, -0.5, 0.3, 0.9, 0.0, 0.4, 0.7, -0.2, 0.5)
DOWN = {0: (1.0, 1.0), 1: (0.2, 0.6), 2: (0.6, -0.5)}
UP = {1: (0.9, 0.9, 0.0), 2: (0.4, 0.4, 0.7), 3: (-0.2, -0.2, 0.5)}


def test_layer_weights_reach_the_blocks_in_their_order(world: World) -> None:
    layers = LayerWeights(FACTORS)
    found = world.predicted(apply_adapter(world.model, world.identity(), layers=layers))
    for side in SIDES:
        share = world.share(side)
        by_attention = {
            **{f"down_blocks.{b}.{i}": f for b, own in DOWN.items() for i, f in enumerate(own)},
            **{f"up_blocks.{b}.{i}": f for b, own in UP.items() for i, f in enumerate(own)},
            "mid_block.0": 0.3,
        }
        share.factors = by_attention
        assert relative_error(found[side], world.plain(side, [share])) < TOLERANCE


def test_layer_weights_scale_the_residuals_of_their_own_block(world: World) -> None:
    """Input blocks 1, 2, 4, 5, 7 and 8 have cross-attention; the others go with the next one."""
    found = world.predicted(
        world.model, applied(world, world.identity(), layers=LayerWeights(FACTORS))
    )
    factors = [1.0, 1.0, 1.0, 0.2, 0.2, 0.6, 0.6, 0.6, -0.5, -0.5, -0.5, -0.5, 0.3]
    for side in SIDES:
        plain = world.residuals(side)
        own = [factor * one for factor, one in zip(factors, plain, strict=True)]
        assert relative_error(found[side], world.plain(side, residuals=[own])) < TOLERANCE


def test_an_identitynet_that_is_evaluated_now_and_then_is_the_same_at_one_step(
    world: World,
) -> None:
    found = world.predicted(world.model, applied(world, world.identity(), every=3))
    close(found, world.predicted(world.model, applied(world, world.identity())))


def test_in_context_windows_every_frame_gets_the_person(world: World) -> None:
    """Two frames, shown one at a time, are predicted as they are together."""
    model = apply_adapter(world.model, world.identity(), mask=oval())
    windows = nodes_context_windows.ContextWindowsManualNode.execute(
        model, 1, 0, "standard_static", 1, False, "pyramid", 0, False
    )[0]
    close(world.predicted(windows), world.predicted(model))


def test_a_layer_of_its_own_that_is_changed_is_noticed(world: World) -> None:
    """Each of the sixteen layers counts, and none can be taken for another one."""
    found = world.predicted(apply_adapter(world.model, world.identity()))["positive"]
    for name in [key for key in world.layers if key.endswith("to_v_ip.weight")]:
        share = world.share("positive")
        share.layers = {**world.layers, name: torch.zeros_like(world.layers[name])}
        assert relative_error(found, world.plain("positive", [share])) > 10 * TOLERANCE, name
