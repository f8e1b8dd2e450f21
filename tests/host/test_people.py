"""Several people in one pass: each keeps to their own region, and one alone changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from faithful_instantid.instantid_core.errors import WrongInputError
from faithful_instantid.instantid_core.fitting import Fit, place, standard_face
from faithful_instantid.instantid_core.host import (
    apply_adapter,
    apply_identitynet,
    encode_identity,
)
from faithful_instantid.instantid_core.host.adapter_call import SlotAttention
from faithful_instantid.instantid_core.host.people import PersonSettings, carry_person, with_person
from faithful_instantid.instantid_core.host.people_attention import PeopleAttention, PeopleCells
from faithful_instantid.instantid_core.identity import NoIdentity
from faithful_instantid.instantid_core.keypoints import Keypoints
from faithful_instantid.instantid_core.mask_layout import Rectangle, View
from faithful_instantid.instantid_core.people import People, PeopleMasks, Person
from faithful_instantid.instantid_core.unet_layout import SDXL
from faithful_instantid.instantid_core.weighting import LayerWeights, WeightCurve

from .comparing import relative_error
from .predict import SIDES, conditioning, noise_of, predict

Official = dict[str, torch.Tensor]
TIMESTEP = 501
LEFT = torch.zeros(128, 128)
LEFT[:, :64] = 1.0
RIGHT = 1.0 - LEFT


def face_at(x: float) -> Keypoints:
    return place(standard_face(), 1024, 1024, x=x, y=0.5, size=0.4)


@pytest.fixture(scope="module")
def others(identity: Any, adapter: Any) -> list[Any]:
    """Two more people for the adapter the golden identity was made with."""
    random = torch.Generator().manual_seed(5)
    return [encode_identity(adapter, torch.randn(512, generator=random)) for _ in range(2)]


def couple(a: Any, b: Any) -> People:
    return People(
        (
            Person(a, face_at(0.25), LEFT[None]),
            Person(b, face_at(0.75), RIGHT[None]),
        )
    )


def both(
    official: Official, model: Any, control_net: Any, who: Any, hint: Any = None, **options: Any
) -> dict[str, torch.Tensor]:
    """Predict with adapter and IdentityNet applied."""
    conditioned = apply_identitynet(
        *(conditioning(official, side) for side in SIDES), control_net, who, hint, **options
    )
    patched = apply_adapter(model, who)
    return predict(patched, *conditioned, noise_of(official, model, TIMESTEP), TIMESTEP)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_another_person_changes_nothing_in_my_region_on_any_grid_of_the_adapter(
    official: Official, tiny_model: Any, identity: Any, others: list[Any], size: int
) -> None:
    """The adapter's term for fixed queries, in every layer, with B replaced by C."""
    terms = [adapter_terms(tiny_model, couple(identity, b), size) for b in others]
    assert len(terms[0]) == len(SDXL.slots)
    changed = 0
    for first, second in zip(*terms, strict=True):
        assert torch.equal(first[:, :, : first.shape[2] // 2], second[:, :, : second.shape[2] // 2])
        changed += not torch.equal(first, second)
    assert changed == len(SDXL.slots)  # B's own half did change, in every layer


def adapter_terms(model: Any, people: People, size: int) -> list[torch.Tensor]:
    """What the adapter adds to every slot for one and the same random queries: (B,h,w,C)."""
    found: list[torch.Tensor] = []
    patched = apply_adapter(model, people)
    cells = size // 8
    x = torch.zeros(2, 4, cells, cells)

    def unet(x: Any, t: Any, context: Any, y: Any, control: Any, options: Any) -> Any:
        replaced = options["patches_replace"]["attn2"]
        for slot, term in layer_terms(model, replaced, options, cells):
            assert isinstance(replaced[slot], SlotAttention)
            found.append(term)
        return x

    wrappers = patched.model_options["transformer_options"]["wrappers"]["diffusion_model"]
    (wrapper,) = wrappers["faithful_instantid"]
    options = {**patched.model_options["transformer_options"], "cond_or_uncond": [0, 1]}
    with torch.inference_mode():
        wrapper(unet, x, torch.full((2,), 500.0), None, None, None, options)
    return found


def layer_terms(
    model: Any, replaced: Any, options: Any, cells: int
) -> Iterator[tuple[Any, torch.Tensor]]:
    random = torch.Generator().manual_seed(0)
    for slot in SDXL.slots:
        attention = attention_of(model, slot)
        channels = attention.to_q.out_features
        scale = 2 if channels == 64 else 4
        side = max(1, cells // scale)
        q = torch.randn(2, side * side, channels, generator=random)
        k = torch.zeros(2, 1, channels)
        extra = {
            **options,
            "n_heads": attention.heads,
            "attn_precision": None,
            "activations_shape": [2, channels, side, side],
        }
        yield slot, replaced[slot](q, k, k, extra).reshape(2, side, side, channels)


def attention_of(model: Any, slot: Any) -> Any:
    block, index, depth = slot
    unet = model.model.diffusion_model
    blocks = {"input": unet.input_blocks, "output": unet.output_blocks}
    layer = unet.middle_block if block == "middle" else blocks[block][index]
    return layer[1].transformer_blocks[depth].attn2


def test_another_person_changes_nothing_in_my_region_inside_identitynet(
    identity: Any, others: list[Any]
) -> None:
    """The attention inside IdentityNet for fixed queries, on every grid of a 512 picture."""
    people = PeopleMasks(couple(identity, others[0]).persons, Fit.CROP)
    random = torch.Generator().manual_seed(0)
    for side in (32, 16):
        q, own, b, c = (torch.randn(1, n, 64, generator=random) for n in (side * side, 16, 16, 16))
        view = View((64, 64), (Rectangle(0, 0, 64, 64),), (0,))
        attention = PeopleAttention(PeopleCells(people, (16, 16), SDXL), view, {})
        extra = {"n_heads": 2, "attn_precision": None, "activations_shape": [1, 64, side, side]}
        first, second = (
            attention(q, torch.cat([own, o], 1), torch.cat([own, o], 1), extra) for o in (b, c)
        )
        first, second = (x.reshape(side, side, 64) for x in (first, second))
        assert torch.equal(first[:, : side // 2], second[:, : side // 2])
        assert not torch.equal(first[:, side // 2 :], second[:, side // 2 :])


def test_one_person_everywhere_is_the_single_person_bit_for_bit(
    official: Official, tiny_model: Any, make_controlnet: Callable[[str], Any], identity: Any
) -> None:
    control_net = make_controlnet("identitynet")
    everywhere = People((Person(identity, face_at(0.5), torch.ones(1, 128, 128)),))
    one = both(official, tiny_model, control_net, everywhere)
    single = both(official, tiny_model, control_net, identity, face_at(0.5))
    for side in SIDES:
        assert torch.equal(one[side], single[side])


def test_two_regions_of_the_same_person_are_that_person(
    official: Official, tiny_model: Any, make_controlnet: Callable[[str], Any], identity: Any
) -> None:
    """Halves that together are the whole picture, both of one person, in one IdentityNet call."""
    control_net = make_controlnet("identitynet")
    both_faces = Keypoints(1024, 1024, (face_at(0.25).faces + face_at(0.75).faces,))
    halves = both(official, tiny_model, control_net, couple(identity, identity))
    whole = both(official, tiny_model, control_net, identity, both_faces)
    for side in SIDES:
        assert relative_error(halves[side], whole[side]) < 1e-5  # sums in another order


def test_people_share_one_call_and_the_exact_way_takes_one_for_each(
    official: Official,
    tiny_model: Any,
    make_controlnet: Callable[[str], Any],
    identity: Any,
    others: list[Any],
) -> None:
    """Rows per step: the UNet's and IdentityNet's do not grow with the number of people."""
    control_net = make_controlnet("identitynet")
    everybody = People(
        tuple(
            Person(who, face_at(x))
            for who, x in zip([identity, *others, identity], (0.2, 0.4, 0.6, 0.8), strict=True)
        )
    )
    rows: dict[tuple[int, bool], list[int]] = {}
    for count, exact in ((1, False), (2, False), (4, False), (4, True)):
        people = People(everybody.persons[:count])
        with counted_rows(tiny_model, control_net) as seen:
            both(official, tiny_model, control_net, people, one_by_one=exact)
        rows[count, exact] = list(seen)
    assert rows[1, False] == rows[2, False] == rows[4, False] == [2, 2]  # one call each, both sides
    assert rows[4, True] == [2] * 5


@contextmanager
def counted_rows(model: Any, control_net: Any) -> Iterator[list[int]]:
    """Collect the number of rows of every call of the UNet and of the ControlNet."""
    seen: list[int] = []
    modules = (model.model.diffusion_model.time_embed, control_net.control_model.time_embed)
    hooks = [
        module.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[0]))
        for module in modules
    ]
    yield seen
    for hook in hooks:
        hook.remove()


def test_together_and_one_by_one_agree_where_people_do_not_meet(
    official: Official,
    tiny_model: Any,
    make_controlnet: Callable[[str], Any],
    identity: Any,
    others: list[Any],
) -> None:
    """The fast way differs from the exact one less than leaving the second person out does."""
    control_net = make_controlnet("identitynet")
    people = couple(identity, others[0])
    fast = both(official, tiny_model, control_net, people)
    exact = both(official, tiny_model, control_net, people, one_by_one=True)
    alone = both(official, tiny_model, control_net, People(people.persons[:1]))
    for side in SIDES:
        assert relative_error(fast[side], exact[side]) < 0.5 * relative_error(
            alone[side], exact[side]
        )


def test_what_no_mask_covers_is_left_to_the_text_and_overlaps_sum_to_one() -> None:
    soft = torch.linspace(0, 1, 64).repeat(64, 1)
    masks = (soft, torch.ones(64, 64) * 0.5, torch.zeros(64, 64))
    people = [Person(None, None, mask[None]) for mask in masks]  # type: ignore[arg-type]
    shares = PeopleMasks(people, Fit.CROP).render(64, 64)
    total = shares.sum(dim=0)
    assert total.max() <= 1.0 + 1e-6
    assert torch.equal(shares[2], torch.zeros(1, 64, 64))
    free = soft + 0.5 <= 1
    assert torch.equal(shares[0, 0][free], soft[free])
    assert torch.allclose(total[0][~free], torch.ones(int((~free).sum())))


def test_an_empty_mask_leaves_a_person_out(
    official: Official, tiny_model: Any, identity: Any, others: list[Any]
) -> None:
    mine = Person(identity, None, LEFT[None])
    absent = Person(others[0], None, torch.zeros(1, 64, 64))
    texts = [conditioning(official, side) for side in SIDES]
    x = noise_of(official, tiny_model, TIMESTEP)
    alone = predict(apply_adapter(tiny_model, People((mine,))), *texts, x, TIMESTEP)
    two = predict(apply_adapter(tiny_model, People((mine, absent))), *texts, x, TIMESTEP)
    for side in SIDES:
        assert torch.equal(alone[side], two[side])


def test_a_person_without_a_face_in_the_pose_photo_gets_a_sentence(identity: Any) -> None:
    pose = face_at(0.5)
    people = with_person(None, identity, pose, None, PersonSettings("left_to_right"))
    two = Keypoints(1024, 1024, (face_at(0.2).faces + face_at(0.8).faces,))
    people = with_person(people, identity, two, None, PersonSettings("left_to_right"))
    with pytest.raises(WrongInputError, match="Person 3 would take face number 2 .* 2 faces"):
        with_person(people, identity, two, None, PersonSettings("left_to_right"))
    with pytest.raises(WrongInputError, match="There are no keypoints.* A mask says it too"):
        with_person(None, identity, None, None, PersonSettings("largest"))
    bypassed = with_person(people, NoIdentity("no face"), two, None, PersonSettings("largest"))
    assert bypassed is people


def test_a_regional_prompt_carries_its_own_person(
    official: Official, tiny_model: Any, identity: Any, others: list[Any]
) -> None:
    """Rows that carry a person are drawn with that person, all others with the model's."""
    positive, negative = (conditioning(official, side) for side in SIDES)
    x = noise_of(official, tiny_model, TIMESTEP)
    patched = apply_adapter(tiny_model, identity)
    carried = carry_person(positive, others[0])
    assert carried is not positive and "faithful_instantid_person" not in positive[0][1]
    found = predict(patched, carried, negative, x, TIMESTEP)
    wanted = predict(apply_adapter(tiny_model, others[0]), positive, negative, x, TIMESTEP)
    plain = predict(patched, positive, negative, x, TIMESTEP)
    for side in SIDES:
        assert relative_error(found[side], wanted[side]) < 1e-6
    assert not torch.equal(found["positive"], plain["positive"])
    mixed = predict(patched, [*masked(positive, LEFT), *masked(carried, RIGHT)], negative, x, 501)
    cells = slice(0, 8), slice(8, 16)
    for columns, pure in zip(cells, (plain, found), strict=True):
        part = mixed["positive"][..., columns]
        assert relative_error(part, pure["positive"][..., columns]) < 1e-5


def test_each_of_two_regional_prompts_carries_its_own_person(
    official: Official, tiny_model: Any, identity: Any, others: list[Any]
) -> None:
    """Nobody is left to the model's own person: no row of the call is of that one."""
    positive, negative = (conditioning(official, side) for side in SIDES)
    x = noise_of(official, tiny_model, TIMESTEP)
    patched = apply_adapter(tiny_model, identity)
    left, right = (carry_person(positive, who) for who in others)
    mixed = [*masked(left, LEFT), *masked(right, RIGHT)]
    found = predict(patched, mixed, negative, x, TIMESTEP)["positive"]
    for columns, entries in ((slice(0, 8), left), (slice(8, 16), right)):
        alone = predict(patched, entries, negative, x, TIMESTEP)["positive"]
        assert relative_error(found[..., columns], alone[..., columns]) < 1e-5


def masked(entries: list[Any], mask: torch.Tensor) -> list[Any]:
    extra = {"mask": mask[None], "set_area_to_bounds": False, "mask_strength": 1.0}
    return [[text, {**options, **extra}] for text, options in entries]


@pytest.mark.parametrize(
    ("values", "touched"),
    [
        ((1.0, 0.0, 0.0), {"input"}),
        ((0.0, 1.0, 0.0), {"middle"}),
        ((0.0, 0.0, 1.0), {"output"}),
    ],
)
def test_each_group_of_layer_weights_touches_its_layers_only(
    tiny_model: Any, identity: Any, values: tuple[float, float, float], touched: set[str]
) -> None:
    layers = LayerWeights.of_parts(*values)
    (term,) = apply_adapter(tiny_model, identity, layers=layers).model_options[
        "transformer_options"
    ]["faithful_instantid"]
    factors = dict(zip(SDXL.slots, term.slot_factors, strict=True))
    assert {slot[0] for slot, factor in factors.items() if factor} == touched
    assert term.weight == 0.8 and set(factors.values()) == {0.0, 1.0}


def test_eleven_values_reach_the_layers_of_their_block() -> None:
    layers = LayerWeights.parsed("1,2,3,4, 5, 6,7,8,9,10,11")
    assert [layers.of_slot(("input", block, 1)) for block in (4, 5, 7, 8)] == [1, 2, 3, 4]
    assert layers.of_slot(("middle", 0, 9)) == 5
    assert [layers.of_slot(("output", block, 0)) for block in range(6)] == [6, 7, 8, 9, 10, 11]
    assert [layers.of_residual(b) for b in (0, 4, 5, 6, 8)] == [1, 1, 2, 3, 4]
    assert layers.of_residual(None) == 5
    with pytest.raises(WrongInputError, match="11 numbers with commas between"):
        LayerWeights.parsed("1, 2")


def test_layer_weights_and_curves_change_what_is_predicted_as_told(
    official: Official, tiny_model: Any, make_controlnet: Callable[[str], Any], identity: Any
) -> None:
    """A curve's factor at half of the sampling is that of the weight; all ones change nothing."""
    texts = [conditioning(official, side) for side in SIDES]
    x = noise_of(official, tiny_model, TIMESTEP)
    half = WeightCurve(((0.0, 0.5), (1.0, 0.5)))
    ones, flat = LayerWeights.of_parts(1, 1, 1), WeightCurve(((0.0, 1.0), (1.0, 1.0)))
    control_net = make_controlnet("identitynet")

    def adapter(**options: Any) -> torch.Tensor:
        return predict(apply_adapter(tiny_model, identity, **options), *texts, x, 501)["positive"]

    def net(**options: Any) -> torch.Tensor:
        conditioned = apply_identitynet(*texts, control_net, identity, face_at(0.5), **options)
        return predict(tiny_model, *conditioned, x, 501)["positive"]

    assert torch.equal(adapter(layers=ones, curve=flat), adapter())
    assert torch.equal(net(layers=ones, curve=flat), net())
    assert torch.equal(adapter(weight=0.8, curve=half), adapter(weight=0.4))
    assert relative_error(net(strength=0.8, curve=half), net(strength=0.4)) < 1e-5
    middle_only = net(layers=LayerWeights.of_parts(0, 1, 0))
    assert not torch.equal(middle_only, net())
    nothing = WeightCurve(((0.0, 0.0),))
    assert apply_adapter(tiny_model, identity, curve=nothing) is tiny_model
    assert (
        apply_identitynet(*texts, control_net, identity, face_at(0.5), curve=nothing)[0]
        is (texts[0])
    )


def test_factors_of_a_person_are_factors_on_the_nodes_numbers(
    official: Official, tiny_model: Any, identity: Any
) -> None:
    everywhere = Person(identity, None, torch.ones(1, 8, 8), weight=0.5)
    texts = [conditioning(official, side) for side in SIDES]
    x = noise_of(official, tiny_model, TIMESTEP)
    found = predict(apply_adapter(tiny_model, People((everywhere,))), *texts, x, TIMESTEP)
    wanted = predict(apply_adapter(tiny_model, identity, weight=0.4), *texts, x, TIMESTEP)
    assert torch.equal(found["positive"], wanted["positive"])
    off = People((replace(everywhere, weight=0.0),))
    assert apply_adapter(tiny_model, off) is tiny_model
