"""The old nodes take what old graphs hold, and change nothing they are lent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.errors import NoFaceError, WrongInputError, WrongModelError
from faithful_instantid.instantid_core.host.legacy.old_pack import combined
from faithful_instantid.instantid_core.host.legacy.shared_context import apply_shared_context
from faithful_instantid.instantid_core.host.sampling import TERMS
from faithful_instantid.instantid_core.identity import NoIdentity
from faithful_instantid.instantid_core.keypoints import draw_keypoints
from faithful_instantid.instantid_core.masks import on_grid
from faithful_instantid.instantid_core.unet_layout import SDXL
from faithful_instantid.nodes.legacy.apply import ApplyInstantID, ApplyInstantIDAdvanced
from faithful_instantid.nodes.legacy.faces import FaceKeypointsPreprocessor
from faithful_instantid.nodes.legacy.separate import (
    ApplyInstantIDControlNet,
    InstantIDAttentionPatch,
)

from .given_faces import KPS, GivenFaces
from .predict import SIDES, conditioning, noise_of, predict

LANDSCAPE = torch.linspace(0, 1, 2 * 48 * 80 * 3).reshape(2, 48, 80, 3)  # nobody in it
DRAWN = torch.from_numpy(draw_keypoints(KPS, 64, 64, scale=1.0)).float() / 255


class Bench:
    """What old nodes are connected to, on the tiny model."""

    def __init__(
        self,
        official: dict[str, torch.Tensor],
        model: Any,
        adapter: Any,
        make_controlnet: Callable[[str], Any],
    ) -> None:
        self.official, self.model, self.adapter = official, model, adapter
        self.faces = GivenFaces([official["in.face_embedding"], official["in.face_embedding"] + 1])
        self.photos = self.faces.photos
        self.identitynet = make_controlnet("identitynet")
        self.depthnet = make_controlnet("depthnet")
        self.positive, self.negative = (conditioning(official, side) for side in SIDES)

    def apply(self, image: torch.Tensor | None = None, **more: Any) -> tuple[Any, Any, Any]:
        """Run the plain node as a Python caller does, with its defaults and the noise it hides."""
        image = self.photos[:1] if image is None else image
        before = (self.adapter, self.faces, self.identitynet, image)
        return ApplyInstantID().apply_instantid(
            *before, self.model, self.positive, self.negative, 0.0, 1.0, 0.8, **more
        )

    def hint(self, **more: Any) -> torch.Tensor:
        """What IdentityNet is shown, (B, H, W, 3)."""
        return self.apply(**more)[1][0][1]["control"].cond_hint_original.movedim(1, -1)

    def predicted(self, model: Any, positive: Any, negative: Any) -> dict[str, torch.Tensor]:
        return predict(model, positive, negative, noise_of(self.official, model, 501), 501)


@pytest.fixture(scope="module")
def bench(
    official: dict[str, torch.Tensor],
    tiny_model: Any,
    adapter: Any,
    make_controlnet: Callable[[str], Any],
) -> Bench:
    return Bench(official, tiny_model, adapter, make_controlnet)


def test_python_callers_get_tuples_from_positional_calls(bench: Bench) -> None:
    applied = ApplyInstantID().apply_instantid(
        bench.adapter,
        bench.faces,
        bench.identitynet,
        bench.photos[:1],
        bench.model,
        bench.positive,
        bench.negative,
        0.0,
        1.0,
        0.8,
        0.7,
        0.9,
        0.2,
        bench.photos[:1],
        None,
        "average",
    )
    patched = InstantIDAttentionPatch().patch_attention(
        bench.adapter, bench.faces, bench.photos[:1], bench.model, 0.8, 0.0, 1.0, 0.0, None
    )
    given = (bench.adapter, bench.faces, bench.photos[:1], bench.model, 0.8, 0.0, 1.0)
    plain = InstantIDAttentionPatch().patch_attention(*given)
    assert torch.equal(plain[1].negative_embedding, patched[1].negative_embedding)
    controlled = ApplyInstantIDControlNet().apply_controlnet(
        patched[1], bench.identitynet, LANDSCAPE, bench.positive, bench.negative, 0.8, 0.0, 1.0
    )
    drawn = FaceKeypointsPreprocessor().preprocess_image(bench.faces, bench.photos[:1])
    assert [type(r) for r in (applied, patched, controlled, drawn)] == [tuple] * 4
    assert [len(r) for r in (applied, patched, controlled, drawn)] == [3, 2, 2, 1]


def test_nothing_the_nodes_are_lent_changes(bench: Bench) -> None:
    options = repr(bench.model.model_options)
    pieces = [dict(bench.positive[0][1]), dict(bench.negative[0][1])]
    random = torch.random.get_rng_state()
    bench.apply(noise=0.5, mask=torch.ones(1, 128, 128))
    assert torch.equal(random, torch.random.get_rng_state())
    assert repr(bench.model.model_options) == options
    assert [bench.positive[0][1], bench.negative[0][1]] == pieces
    assert bench.identitynet.cond_hint_original is None


@pytest.mark.parametrize(
    ("value", "runs_with"), [(7, 5.0), (-0.5, 0.0), (1, 1.0), (0.7000000000000001, 0.7), (0, 0.0)]
)
def test_a_weight_out_of_range_is_clamped_with_a_note(
    bench: Bench, caplog: pytest.LogCaptureFixture, value: float, runs_with: float
) -> None:
    before = (bench.adapter, bench.faces, bench.identitynet, bench.photos[:1], bench.model)
    _, positive, _ = ApplyInstantID.execute(
        *before, bench.positive, bench.negative, value, 0, 1
    ).args
    assert positive[0][1]["control"].strength == pytest.approx(runs_with)
    noted = f"weight is {value}; an old node takes 0.0 to 5.0, so it runs with {runs_with}."
    assert (noted in caplog.text) == (value in (7, -0.5))


def test_an_unknown_way_to_combine_becomes_average_with_a_note(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    before = (bench.adapter, bench.faces, bench.identitynet, bench.photos, bench.model)
    results = [
        ApplyInstantIDAdvanced.execute(
            *before, bench.positive, bench.negative, 0.8, 0.8, 0.0, 1.0, 0.0, combine
        ).args[1][0][1]["cross_attn_controlnet"]
        for combine in ("average", "median")
    ]
    assert torch.equal(*results)
    assert "combine_embeds is 'median'; known are average, norm average, concat" in caplog.text


def test_a_drawn_keypoint_picture_is_used_as_it_is_with_a_warning(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    assert torch.equal(bench.hint(image_kps=LANDSCAPE), LANDSCAPE)
    assert "No face was found in image_kps: it is used as drawn keypoints, as it is." in caplog.text


def test_keypoints_made_earlier_in_the_graph_are_the_ones_of_the_photo(bench: Bench) -> None:
    made = FaceKeypointsPreprocessor.execute(bench.faces, bench.photos[:1]).args[0]
    assert torch.equal(made[0], DRAWN)
    assert torch.equal(bench.hint(image_kps=made), bench.hint(image_kps=bench.photos[:1]))
    assert torch.equal(bench.hint(), made)


def test_a_batch_of_pose_photos_gives_a_batch_of_keypoints(bench: Bench) -> None:
    assert bench.hint(image_kps=bench.photos).shape == (2, 64, 64, 3)


def test_frames_without_a_face_are_left_out_as_before_with_a_warning(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    photos = torch.cat([bench.photos, torch.zeros(1, 64, 64, 3)])
    assert bench.hint(image_kps=photos).shape[0] == 2
    assert "1 of 3 pictures have no face; they are left out." in caplog.text


def test_keypoints_of_a_picture_without_a_face_are_black(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    made = FaceKeypointsPreprocessor.execute(bench.faces, LANDSCAPE).args[0]
    assert made.shape == LANDSCAPE.shape and not made.any()
    assert "No face was found in the picture: the keypoint picture stays black." in caplog.text


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_the_alpha_of_a_reference_or_pose_does_not_count(bench: Bench, alpha: float) -> None:
    photo = torch.cat([bench.photos[:1], torch.full((1, 64, 64, 1), alpha)], dim=-1)
    plain, transparent = bench.apply(), bench.apply(photo)
    for side in (1, 2):
        tokens = [out[side][0][1]["cross_attn_controlnet"] for out in (plain, transparent)]
        assert torch.equal(*tokens)
    assert bench.hint(image_kps=torch.ones(1, 48, 80, 4) * 0.5).shape == (1, 48, 80, 3)


def test_a_reference_without_a_face_is_an_error_that_names_its_size(bench: Bench) -> None:
    with pytest.raises(NoFaceError, match=r"No face was found in the reference image \(2 x 80x48"):
        bench.apply(LANDSCAPE)


def test_a_mask_limits_only_the_positive_conditioning(bench: Bench) -> None:
    mask = torch.zeros(128, 128)
    mask[:64] = 1
    _, positive, negative = bench.apply(mask=mask)
    assert torch.equal(positive[0][1]["mask"], mask[None])
    assert positive[0][1]["set_area_to_bounds"] is False
    assert "mask" not in negative[0][1]


def test_a_mask_is_laid_over_the_layers_smoothly_as_before(bench: Bench) -> None:
    mask = torch.zeros(1, 6, 6)
    mask[:, 2:] = 1
    term = bench.apply(mask=mask)[0].model_options["transformer_options"][TERMS][0]
    assert term.smooth_mask
    rows = on_grid(mask, (4, 1), bilinear=term.smooth_mask).flatten().tolist()
    assert rows == pytest.approx([0.0, 0.75, 1.0, 1.0])


def test_the_all_in_one_nodes_leave_the_middle_layers_alone_as_before(bench: Bench) -> None:
    whole = InstantIDAttentionPatch.execute(
        bench.adapter, bench.faces, bench.photos[:1], bench.model, -0.5, 0, 1, 0
    ).args[0]
    used = [
        [slot for slot, factor in zip(SDXL.slots, term.slot_factors, strict=True) if factor != 0]
        for model in (whole, bench.apply()[0])
        for term in model.model_options["transformer_options"][TERMS]
    ]
    assert used[0] == list(SDXL.slots)
    assert used[1] == [slot for slot in SDXL.slots if slot[0] != "middle"]


def controlled(bench: Bench, embeds: object, **more: Any) -> tuple[Any, Any]:
    """The separate ControlNet node; `positive` and `strength` may be others."""
    positive = more.pop("positive", bench.positive)
    strength = more.pop("strength", 0.8)
    return ApplyInstantIDControlNet.execute(
        embeds, bench.identitynet, LANDSCAPE, positive, bench.negative, strength, 0, 1, **more
    ).args


def contexts(conditionings: tuple[Any, Any]) -> list[torch.Tensor]:
    return [entries[0][1]["cross_attn_controlnet"] for entries in conditionings]


def test_a_controlnet_on_one_side_stays_on_that_side(bench: Bench, identity: Any) -> None:
    depth = bench.depthnet.copy().set_cond_hint(torch.zeros(1, 3, 64, 64), 0.4, (0.0, 1.0))
    with_depth = [[text, {**options, "control": depth}] for text, options in bench.positive]
    positive, negative = controlled(bench, identity, positive=with_depth)
    assert positive[0][1]["control"].previous_controlnet is depth
    assert negative[0][1]["control"].previous_controlnet is None


def test_positive_and_negative_share_one_controlnet(bench: Bench, identity: Any) -> None:
    positive, negative = controlled(bench, identity)
    assert positive[0][1]["control"] is negative[0][1]["control"]


def test_strength_and_weight_of_zero_hand_on_what_came(bench: Bench, identity: Any) -> None:
    positive, negative = controlled(bench, identity, strength=0)
    assert positive is bench.positive and negative is bench.negative
    model, embeds = InstantIDAttentionPatch.execute(
        bench.adapter, bench.faces, bench.photos[:1], bench.model, 0, 0, 1, 0
    ).args
    assert model is bench.model
    assert torch.equal(embeds.positive.tokens, identity.positive.tokens)


def test_the_controlnet_node_takes_new_and_old_face_embeds_alike(
    bench: Bench, identity: Any
) -> None:
    as_dict = {"cond": identity.positive.tokens, "uncond": identity.negative.tokens}
    new, old = (contexts(controlled(bench, embeds)) for embeds in (identity, as_dict))
    assert all(torch.equal(*pair) for pair in zip(new, old, strict=True))


def test_the_attention_patch_feeds_the_new_nodes(bench: Bench, identity: Any) -> None:
    _, embeds = InstantIDAttentionPatch.execute(
        bench.adapter, bench.faces, bench.photos[:1], bench.model, 0.8, 0, 1, 0
    ).args
    hint = bench.official["in.hint"].movedim(1, -1)
    net = bench.identitynet
    chains = (
        (
            host.apply_adapter(bench.model, face),
            *host.apply_identitynet(bench.positive, bench.negative, net, face, hint),
        )
        for face in (embeds, identity)
    )
    found, wanted = (bench.predicted(*chain) for chain in chains)
    assert all(torch.equal(found[side], wanted[side]) for side in SIDES)


def test_a_bypassed_identity_hands_on_what_came(bench: Bench) -> None:
    positive, negative = controlled(bench, NoIdentity("Encode Face found nobody."))
    assert positive is bench.positive and negative is bench.negative


@pytest.mark.parametrize(
    ("embeds", "kind"),
    [("a text", "a text"), ({"cond": 1}, "a dictionary .*"), (None, "nothing")],
)
def test_foreign_face_embeds_are_named_and_refused(bench: Bench, embeds: object, kind: str) -> None:
    with pytest.raises(WrongInputError, match=f"FACE_EMBEDS brought {kind}; wanted the face of"):
        controlled(bench, embeds)


def test_old_nodes_name_what_is_no_picture_and_no_controlnet(bench: Bench) -> None:
    with pytest.raises(WrongInputError, match="^The picture has the size 4 x 4; wanted an IMAGE"):
        bench.apply(image=torch.zeros(4, 4))
    tokens = torch.zeros(1, 16, 64)
    with pytest.raises(WrongModelError, match="^CONTROL_NET brought a text. Load IdentityNet"):
        apply_shared_context(
            bench.positive,
            bench.negative,
            "net",
            (tokens, tokens),
            LANDSCAPE,
            strength=1.0,
            start_percent=0.0,
            end_percent=1.0,
        )


def test_a_first_photo_without_a_face_gives_no_keypoints_and_says_so(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    black = torch.zeros_like(bench.photos[:1])
    assert not bench.hint(image=torch.cat([black, bench.photos[:1]])).any()
    assert "No face was found in the first photo: IdentityNet is shown no" in caplog.text


def test_a_controlnet_of_another_width_is_refused_in_words(bench: Bench) -> None:
    tokens = torch.zeros(1, 16, 768)
    with pytest.raises(WrongModelError, match="cross-attention is 64 wide"):
        controlled(bench, {"cond": tokens, "uncond": tokens})


def test_references_kept_apart_reach_the_controlnet_one_for_each_picture(bench: Bench) -> None:
    _, positive, _ = bench.apply(bench.photos, combine_embeds="concat")
    assert positive[0][1]["cross_attn_controlnet"].shape == (2, 16, 64)


def test_norm_average_scales_each_number_over_the_photos() -> None:
    pair = torch.tensor([[3.0, 0.0, -1.0], [4.0, 0.0, 1.0]])
    found = combined(pair, "norm average")
    assert torch.allclose(found, torch.tensor([0.7, 0.0, 0.0]), atol=1e-6)
    assert torch.equal(combined(pair[:1], "norm average"), pair[0])


def test_dots_are_drawn_as_large_as_before_at_the_photos_size(bench: Bench) -> None:
    drawn = FaceKeypointsPreprocessor.execute(bench.faces, bench.photos[:1]).args[0]
    corner = (drawn[0] == torch.tensor([1.0, 0.0, 1.0])).all(dim=-1)  # of the mouth, drawn last
    rows = np.flatnonzero(corner.any(dim=1).numpy())
    assert rows[-1] - KPS[4, 1] == 10  # pixels, at every size of the photo


def test_the_positive_output_may_be_wired_into_the_negative_input(bench: Bench) -> None:
    model, positive, _ = bench.apply()
    both = bench.predicted(model, positive, positive)
    usual = bench.predicted(model, *bench.apply()[1:])
    assert torch.equal(both["positive"], usual["positive"])
    assert both["negative"].isfinite().all()
    assert not torch.equal(both["negative"], both["positive"])  # the adapter's negative side


def test_two_people_in_series_are_joined_later(bench: Bench) -> None:
    left = torch.zeros(128, 128)
    left[:, :64] = 1
    one = bench.apply(mask=left)
    two = ApplyInstantID.execute(
        bench.adapter,
        bench.faces,
        bench.identitynet,
        bench.photos[1:],
        one[0],
        bench.positive,
        bench.negative,
        0.8,
        0,
        1,
        None,
        1 - left,
    ).args
    joined = bench.predicted(two[0], two[1] + one[1], two[2] + one[2])
    alone = bench.predicted(one[0], *one[1:])
    assert all(joined[side].isfinite().all() for side in SIDES)
    assert not torch.equal(joined["positive"], alone["positive"])


@pytest.mark.parametrize(("batch", "height", "width"), [(4, 5, 7), (8, 5, 7), (1, 27, 41)])
def test_batches_and_odd_latents_are_taken(
    bench: Bench, batch: int, height: int, width: int
) -> None:
    mask = torch.zeros(2, 90, 70)
    mask[:, 20:70] = 1
    chain = bench.apply(image_kps=LANDSCAPE, mask=mask)
    x = torch.ones(batch, 4, height, width)
    found = predict(*chain, x, 501)
    assert all(found[side].shape == x.shape and found[side].isfinite().all() for side in SIDES)
