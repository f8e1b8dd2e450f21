"""What applying an identity must never do, and what it does beside other packs' patches."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import comfy.ldm.modules.attention
import comfy.patcher_extension
import comfy.samplers
import pytest
import torch
from comfy_extras import nodes_custom_sampler
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.host.adapter_call import SlotAttention, SlotTerm
from faithful_instantid.instantid_core.host.adapter_run import AdapterRun, CallMask
from faithful_instantid.instantid_core.host.sampling import RUN, TERMS
from faithful_instantid.instantid_core.identity import NoIdentity
from faithful_instantid.instantid_core.log import listening
from faithful_instantid.instantid_core.mask_layout import MaskLayout, Rectangle, View
from faithful_instantid.instantid_core.masks import Region
from faithful_instantid.instantid_core.unet_layout import SDXL

from .comparing import relative_error
from .naive_adapter import layer_numbers
from .predict import SIDES, conditioning, noise_of, predict

Predict = Callable[..., torch.Tensor]


@pytest.fixture
def both(official: dict[str, torch.Tensor]) -> Predict:
    """Predict both sides at one timestep: (2,4,h,w)."""

    def run(model: Any, timestep: int = 501, x: torch.Tensor | None = None) -> torch.Tensor:
        positive, negative = (conditioning(official, side) for side in SIDES)
        x = noise_of(official, model, timestep) if x is None else x
        return torch.cat(list(predict(model, positive, negative, x, timestep).values()))

    return run


def test_the_slot_table_is_comfyuis_own_table_of_diffusers_names() -> None:
    assert layer_numbers() == {slot: 2 * i + 1 for i, slot in enumerate(SDXL.slots)}


@pytest.mark.parametrize(
    "off",
    [
        {"weight": 0.0},
        {"mask": torch.zeros(5, 7)},
        {"start_percent": 1.0},
        {"end_percent": 0.0},
        {"start_percent": 0.6, "end_percent": 0.5},
        {"start_percent": 0.9},  # opens later than this prediction
    ],
    ids=str,
)
def test_what_is_off_leaves_the_prediction_bit_equal(
    tiny_model: Any, identity: Any, both: Predict, off: dict[str, Any]
) -> None:
    assert torch.equal(both(host.apply_adapter(tiny_model, identity, **off)), both(tiny_model))


def test_an_all_one_mask_is_no_mask_bit_for_bit(
    tiny_model: Any, identity: Any, both: Predict
) -> None:
    mask = torch.ones(3, 50, 20)
    masked = both(host.apply_adapter(tiny_model, identity, mask=mask))
    region = both(host.apply_adapter(tiny_model, identity, mask=WholePicture()))
    plain = both(host.apply_adapter(tiny_model, identity))
    assert torch.equal(masked, plain) and torch.equal(region, plain)
    assert not torch.equal(plain, both(tiny_model))


class WholePicture(Region):
    """A region that turns out to be everything."""

    frame_count = 1

    def render(self, width: int, height: int, frames: Sequence[int] | None = None) -> torch.Tensor:
        assert (width, height) == (128, 128) and list(frames or [0]) == [0]
        return torch.ones(1, height, width)


@pytest.mark.parametrize(("timestep", "is_on"), [(990, False), (501, True), (10, False)])
def test_a_window_is_open_between_its_percents_only(
    tiny_model: Any, identity: Any, both: Predict, timestep: int, is_on: bool
) -> None:
    model = host.apply_adapter(tiny_model, identity, start_percent=0.2, end_percent=0.8)
    wanted = host.apply_adapter(tiny_model, identity) if is_on else tiny_model
    assert torch.equal(both(model, timestep), both(wanted, timestep))


@pytest.mark.parametrize(("timestep", "is_on"), [(990, False), (501, True), (10, False)])
def test_a_window_is_kept_where_a_sampler_tells_the_model_no_sigmas(
    tiny_model: Any, identity: Any, both: Predict, timestep: int, is_on: bool
) -> None:
    def forget(executor: Any, *args: Any, **kwargs: Any) -> Any:
        options = {key: value for key, value in args[5].items() if key != "sigmas"}
        return executor(*args[:5], options, *args[6:], **kwargs)

    outside = tiny_model.clone()
    kind = comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL
    options = outside.model_options["transformer_options"]
    comfy.patcher_extension.add_wrapper_with_key(kind, "forget", forget, options)
    model = host.apply_adapter(outside, identity, start_percent=0.2, end_percent=0.8)
    wanted = host.apply_adapter(tiny_model, identity) if is_on else tiny_model
    assert torch.equal(both(model, timestep), both(wanted, timestep))


def frozen(value: Any) -> Any:
    """Return the whole of a model's options in a form that can be compared."""
    if isinstance(value, dict):
        return {key: frozen(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [type(value), *(frozen(item) for item in value)]
    return id(value)


def test_an_unpatched_clone_of_the_same_model_makes_no_call(
    tiny_model: Any, identity: Any, both: Predict
) -> None:
    before = both(tiny_model)
    both(host.apply_adapter(tiny_model, identity))
    assert torch.equal(both(tiny_model.clone()), before)


def test_two_identities_add_up_in_either_order(
    tiny_model: Any, identity: Any, second_identity: Any, both: Predict
) -> None:
    left, right = torch.zeros(128, 128), torch.zeros(128, 128)
    left[:, :64], right[:, 64:] = 1.0, 1.0
    one = host.apply_adapter(tiny_model, identity, mask=left)
    ab = both(host.apply_adapter(one, second_identity, mask=right))
    two = host.apply_adapter(tiny_model, second_identity, mask=right)
    ba = both(host.apply_adapter(two, identity, mask=left))
    assert relative_error(ab, ba) < 1e-5
    assert relative_error(ab, both(one)) > 1e-3 < relative_error(ab, both(two))
    twice = host.apply_adapter(
        host.apply_adapter(tiny_model, identity, weight=0.3), identity, weight=0.5
    )
    once = host.apply_adapter(tiny_model, identity, weight=0.8)
    assert relative_error(both(twice), both(once)) < 1e-5


def with_slots(model: Any, fired: list[Any], key: Callable[[Any], Any] = lambda slot: slot) -> Any:
    """Return a clone whose slots hold another pack's callables; they note where they ran."""
    clone = model.clone()

    def attention(q: Any, k: Any, v: Any, extra_options: dict[str, Any]) -> torch.Tensor:
        fired.append((*extra_options["block"], extra_options["block_index"]))
        heads = extra_options["n_heads"]
        return comfy.ldm.modules.attention.optimized_attention(q, k, v * 1.25, heads)

    for slot in SDXL.slots:
        block, id_, index = (*key(slot), None)[:3]
        clone.set_model_attn2_replace(attention, block, id_, index)
    return clone


@pytest.mark.parametrize("key", [lambda slot: slot, lambda slot: slot[:2]], ids=["slot", "block"])
def test_another_packs_patch_before_or_after_gives_the_same_prediction(
    tiny_model: Any, identity: Any, both: Predict, key: Any
) -> None:
    before = both(host.apply_adapter(with_slots(tiny_model, [], key), identity))
    after = both(with_slots(host.apply_adapter(tiny_model, identity), [], key))
    assert torch.equal(before, after)
    assert relative_error(before, both(host.apply_adapter(tiny_model, identity))) > 1e-3


class Addable:
    """A patch object of the kind that other packs share a slot with, by `.add(callback)`."""

    def __init__(self) -> None:
        self.callbacks: list[Any] = []

    def add(self, callback: Any, **settings: Any) -> None:
        self.callbacks.append((callback, settings))

    def __call__(self, q: Any, k: Any, v: Any, extra_options: dict[str, Any]) -> torch.Tensor:
        heads = extra_options["n_heads"]
        out = comfy.ldm.modules.attention.optimized_attention(q, k, v, heads)
        for callback, settings in self.callbacks:
            out = out + callback(q, **settings)
        return out


def add_to_slot(model: Any, callback: Any, **settings: Any) -> None:
    """Do as those packs do: make the object where the slot is free, else call its `.add`."""
    options = model.model_options["transformer_options"] = dict(
        model.model_options["transformer_options"]
    )
    slots = options.setdefault("patches_replace", {}).setdefault("attn2", {})
    for slot in SDXL.slots:
        if slot not in slots:
            slots[slot] = Addable()
        slots[slot].add(callback, **settings)


def test_packs_that_add_to_what_they_find_never_find_ours(
    tiny_model: Any, identity: Any, both: Predict
) -> None:
    def callback(q: torch.Tensor, scale: float) -> torch.Tensor:
        return q * scale

    after = host.apply_adapter(tiny_model, identity)
    add_to_slot(after, callback, scale=0.1)
    add_to_slot(after, callback, scale=0.2)
    before = tiny_model.clone()
    add_to_slot(before, callback, scale=0.1)
    add_to_slot(before, callback, scale=0.2)
    assert torch.equal(both(after), both(host.apply_adapter(before, identity)))


def test_what_somebody_elses_callable_returned_is_not_written_into(
    tiny_model: Any, identity: Any, both: Predict
) -> None:
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []
    model = tiny_model.clone()

    def attention(q: Any, k: Any, v: Any, extra_options: dict[str, Any]) -> torch.Tensor:
        heads = extra_options["n_heads"]
        out = comfy.ldm.modules.attention.optimized_attention(q, k, v, heads)
        kept.append((out, out.clone()))
        return out

    model.set_model_attn2_replace(attention, *SDXL.slots[0])
    both(host.apply_adapter(model, identity))
    assert kept and all(torch.equal(out, copy) for out, copy in kept)


def test_a_bypassed_identity_leaves_the_model_as_it_came(
    tiny_model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="faithful_instantid"), listening() as heard:
        assert host.apply_adapter(tiny_model, NoIdentity("no face in the picture")) is tiny_model
    assert heard.problems == ["The InstantID adapter is not applied: no face in the picture"]
    assert caplog.messages == []


def test_what_is_resident_while_sampling_is_garbage_afterwards(
    tiny_model: Any, identity: Any, official: dict[str, torch.Tensor]
) -> None:
    model = host.apply_adapter(tiny_model, identity, mask=torch.rand(128, 128))
    seen: list[weakref.ref[Any]] = []

    def look(executor: Any, *args: Any, **kwargs: Any) -> Any:
        run = args[5][RUN]
        resident = run.resident(args[0].device, args[0].dtype)
        seen.extend(weakref.ref(held) for held in (run, resident))
        return executor(*args, **kwargs)

    kind = comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL
    options = model.model_options["transformer_options"]
    comfy.patcher_extension.add_wrapper_with_key(kind, "look", look, options)
    guider = nodes_custom_sampler.Guider_Basic(model)
    guider.set_conds(conditioning(official, "positive"))
    noise = torch.zeros(1, 4, 16, 16)
    with torch.inference_mode():
        guider.sample(
            noise, noise, comfy.samplers.sampler_object("euler"), torch.tensor([2.0, 0.0])
        )
    gc.collect()
    assert len(seen) == 2 and all(held() is None for held in seen)
    assert RUN not in guider.model_options["transformer_options"]
    assert RUN not in model.model_options["transformer_options"]


def test_what_is_resident_is_k_and_v_of_each_side_once_the_negative_shared(
    tiny_model: Any, identity: Any, second_identity: Any
) -> None:
    model = tiny_model
    for who in (identity, second_identity, identity):
        model = host.apply_adapter(model, who, weight=0.3)
    run = AdapterRun(model.model_options["transformer_options"][TERMS])
    held = run.resident(torch.device("cpu"), torch.float16).nbytes
    side = 2 * identity.positive.kv.numel()  # bytes in 16 bit
    assert held == 3 * side  # two people and one negative, however often applied
    # At full size: 16 tokens, 10 layers of width 640 and 60 of 1280; positive and negative.
    assert 2 * 2 * (2 * 16 * (10 * 640 + 60 * 1280)) <= 12_000_000


def test_what_another_pack_gives_is_not_written_to_where_a_mask_leaves_a_layer_out() -> None:
    """The first mask is too fine for the layer's grid, so the first identity adds nothing there."""
    fine, half = torch.zeros(2, 1, 128, 128)
    fine[0, 1, 1] = 1.0
    half[0, :, :64] = 1.0
    view = View((16, 16), (Rectangle(0, 0, 16, 16),) * 2, (0, 0))
    k, v = torch.randn(2, 2, 16, 64, generator=torch.Generator().manual_seed(0))
    terms = tuple(
        SlotTerm((k, v), 0.8, CallMask(MaskLayout(mask), 0, view, {}), False)
        for mask in (fine, half)
    )
    lent = torch.ones(2, 64, 64)
    slot = SlotAttention(lambda *_: lent, terms, 2)
    q = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(1))
    extra = {"n_heads": 2, "attn_precision": None, "activations_shape": [2, 64, 8, 8]}
    out = slot(q, q, q, extra)
    assert torch.equal(lent, torch.ones(2, 64, 64))
    assert not torch.equal(out, lent)


def test_the_masks_of_all_layers_are_laid_at_once(
    official: dict[str, torch.Tensor],
    tiny_model: Any,
    identity: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not layer by layer: each time a mask would be moved to the device on its own."""
    asked: list[int] = []
    over = MaskLayout.over

    def counted(layout: MaskLayout, grids: list[Any], view: View) -> list[torch.Tensor]:
        asked.append(len(grids))
        return over(layout, grids, view)

    monkeypatch.setattr(MaskLayout, "over", counted)
    mask = torch.zeros(128, 128)
    mask[:, :64] = 1.0
    model = host.apply_adapter(tiny_model, identity, mask=mask)
    texts = [conditioning(official, side) for side in SIDES]
    predict(model, *texts, torch.zeros(1, 4, 16, 16), 501)
    assert asked == [2]  # the two sizes of layers that look at the text
