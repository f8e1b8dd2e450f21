"""Where other packs cut the picture: windows, tiles, areas, and rows repeated inside attention."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import comfy.hooks
import comfy.samplers
import pytest
import torch
from comfy_extras import nodes_context_windows
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.errors import WrongInputError
from faithful_instantid.instantid_core.fitting import Fit, place, standard_face
from faithful_instantid.instantid_core.host import identitynet as identitynet_room
from faithful_instantid.instantid_core.host.hints import hint_of
from faithful_instantid.instantid_core.host.rows import Rows
from faithful_instantid.instantid_core.keypoints import Keypoints
from faithful_instantid.instantid_core.mask_layout import Rectangle, View
from faithful_instantid.instantid_core.people import People, Person
from faithful_instantid.instantid_core.regions import FaceRegion, Outline
from faithful_instantid.instantid_core.weighting import Adding

from .comparing import relative_error
from .other_packs import SlidingWindows, TileSampler, cropped_conditioning, cut, repeats_rows
from .predict import SIDES, conditioning, predict

Official = dict[str, torch.Tensor]
MakeNet = Callable[[str], Any]
TIMESTEP = 501
TOLERANCE = 1e-6
HEIGHT, WIDTH = 24, 16  # latent cells
FRAMES = 6
WINDOWS = [[0, 1, 2, 3], [2, 3, 4, 5]]
LEFT_OUT = "does not say where they lie"


def latents(frames: int = 1, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    return torch.randn(frames, 4, height, width, generator=torch.Generator().manual_seed(3)) * 5


def masks(frames: int = FRAMES) -> torch.Tensor:
    """One column of cells after the other, another for each frame."""
    mask = torch.zeros(frames, 8 * HEIGHT, 8 * WIDTH)
    for frame in range(frames):
        mask[frame, :, 16 * frame : 16 * frame + 40] = 1.0
    return mask


def walking_face(frames: int = FRAMES) -> Keypoints:
    """A face at another place in every frame."""
    size = (8 * WIDTH, 8 * HEIGHT)
    steps = [0.3 + 0.07 * i for i in range(frames)]
    faces = [place(standard_face(), *size, x, 0.9 - x, 0.4) for x in steps]
    return Keypoints(*size, tuple(face.frames[0] for face in faces))


def texts(official: Official) -> list[list[Any]]:
    """Both sides, told the whole picture's size, so that a part is told the same."""
    pair = [conditioning(official, side) for side in SIDES]
    for ((_, extra),) in pair:
        extra.update(width=8 * WIDTH, height=8 * HEIGHT)
    return pair


def with_net(official: Official, net: Any, identity: Any, hint: Any, **options: Any) -> Any:
    return host.apply_identitynet(*texts(official), net, identity, hint, **options)


def assert_same(found: Any, wanted: Any, tolerance: float = TOLERANCE) -> None:
    for side in SIDES:
        assert relative_error(found[side], wanted[side]) < tolerance, side


def assert_differ(found: Any, other: Any) -> None:
    assert relative_error(found["positive"], other["positive"]) > 1e-3


class TestWindows:
    """Windowed equals unwindowed, frame by frame."""

    def both_ways(self, model: Any, windowed: Any, conds: Any) -> None:
        x = latents(FRAMES)
        whole = predict(model, *conds, x, TIMESTEP)
        assert_same(predict(windowed, *conds, x, TIMESTEP), whole)

    @pytest.mark.parametrize("cuts_tensors", [True, False], ids=["tensors cut", "only told"])
    def test_masks_of_the_adapter_follow_windows_as_animatediff_makes_them(
        self, official: Official, tiny_model: Any, identity: Any, cuts_tensors: bool
    ) -> None:
        model = host.apply_adapter(tiny_model, identity, mask=masks())
        windows = SlidingWindows(WINDOWS, cuts_tensors=cuts_tensors)
        self.both_ways(model, windows.on(model), texts(official))

    def test_kept_lengths_of_several_people_are_those_of_each_frame(
        self, official: Official, tiny_model: Any, identity: Any, second_identity: Any
    ) -> None:
        people = People((Person(identity, mask=masks()), Person(second_identity, mask=1 - masks())))
        keep = {"weight": 0.7, "adding": Adding.KEEP_LENGTH}
        for who, mask in ((identity, masks()), (people, None)):
            model = host.apply_adapter(tiny_model, who, mask=mask, **keep)
            for windowed in (SlidingWindows(WINDOWS).on(model), context_windows(model)):
                self.both_ways(model, windowed, texts(official))

    def test_keypoints_and_masks_of_identitynet_follow_them_also_behind_another_net(
        self, official: Official, tiny_model: Any, make_controlnet: MakeNet, identity: Any
    ) -> None:
        net = make_controlnet("identitynet")
        first = with_net(official, net, identity, walking_face(), mask=masks())
        conds = host.apply_identitynet(*first, net, identity, standard_face(256, 256), strength=0.3)
        for attached in (first, conds):
            self.both_ways(tiny_model, SlidingWindows(WINDOWS).on(tiny_model), attached)

    @pytest.mark.parametrize("causal", [True, False])
    def test_both_follow_comfyuis_windows_with_an_anchor_frame_and_without(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        causal: bool,
    ) -> None:
        model = host.apply_adapter(tiny_model, identity, mask=masks())
        keypoints = walking_face()
        conds = with_net(
            official,
            make_controlnet("identitynet"),
            identity,
            keypoints,
            mask=FaceRegion(keypoints),
        )
        windowed = context_windows(model, causal=causal)
        for applied, cut_model in ((model, windowed), (tiny_model, None)):
            cut_model = cut_model or context_windows(tiny_model, causal=causal)
            self.both_ways(applied, cut_model, conds)

    def test_people_who_move_follow_them_inside_identitynet(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        second_identity: Any,
    ) -> None:
        """What was laid for the people of one window is not taken for those of the next."""
        first, face = masks(), walking_face()
        people = People((Person(identity, face, first), Person(second_identity, face, 1.0 - first)))
        conds = with_net(official, make_controlnet("identitynet"), people, None)
        self.both_ways(tiny_model, SlidingWindows(WINDOWS).on(tiny_model), conds)

    def test_each_frame_shows_its_own_face(
        self, official: Official, tiny_model: Any, make_controlnet: MakeNet, identity: Any
    ) -> None:
        """Without this, the same wrong frame everywhere would pass the tests above."""
        net = make_controlnet("identitynet")
        conds = with_net(official, net, identity, walking_face())
        x = latents(FRAMES)
        every = predict(SlidingWindows(WINDOWS).on(tiny_model), *conds, x, TIMESTEP)
        for frame in (1, 4):
            own = Keypoints(8 * WIDTH, 8 * HEIGHT, walking_face().frames[frame : frame + 1])
            alone = with_net(official, net, identity, own)
            wanted = predict(tiny_model, *alone, x[frame : frame + 1], TIMESTEP)
            for side in SIDES:
                assert relative_error(every[side][frame], wanted[side][0]) < 1e-5


def context_windows(model: Any, *, causal: bool = True) -> Any:
    node = nodes_context_windows.ContextWindowsManualNode
    made = node.execute(model, 4, 2, "standard_static", 1, False, "flat", 0, False)[0]
    made.model_options["context_handler"].causal_window_fix = causal
    return made


TILES = [(0, 0, 16, 8), (0, 8, 16, 8), (8, 0, 16, 8), (8, 8, 16, 8)]


class TestRegions:
    """A region is the mask that it renders, at the picture's size and frame by frame."""

    def test_a_region_of_either_half_is_its_mask_as_a_tensor(
        self, official: Official, tiny_model: Any, make_controlnet: MakeNet, identity: Any
    ) -> None:
        face, x = walking_face(2), latents(2)
        region = FaceRegion(face, Fit.CROP, Outline(feather=0.3))
        mask = region.render(8 * WIDTH, 8 * HEIGHT)
        net = make_controlnet("identitynet")
        models = [host.apply_adapter(tiny_model, identity, mask=m) for m in (region, mask)]
        conds = [with_net(official, net, identity, face, mask=m) for m in (region, mask)]
        found, wanted = (
            predict(model, *pair, x, TIMESTEP) for model, pair in zip(models, conds, strict=True)
        )
        for side in SIDES:
            assert torch.equal(found[side], wanted[side])

    def test_shorter_masks_start_over(
        self, official: Official, tiny_model: Any, make_controlnet: MakeNet, identity: Any
    ) -> None:
        short, x = masks(2), latents(5)
        net, face = make_controlnet("identitynet"), walking_face(1)
        found, wanted = (
            predict(
                host.apply_adapter(tiny_model, identity, mask=mask),
                *with_net(official, net, identity, face, mask=mask),
                x,
                TIMESTEP,
            )
            for mask in (short, short[[0, 1, 0, 1, 0]])
        )
        for side in SIDES:
            assert torch.equal(found[side], wanted[side])


class TestTilesOfAKnownPlace:
    def test_a_hint_with_a_row_for_each_row_is_used_as_it_is(
        self, official: Official, tiny_model: Any, make_controlnet: MakeNet, identity: Any
    ) -> None:
        conds = with_net(official, make_controlnet("identitynet"), identity, walking_face(1))
        net = conds[0][0][1]["control"]
        found = []
        for at_once in (1, 4):
            sampler = TileSampler(TILES, at_once)
            with sampler.holding(net):
                found.append(predict(sampler.on(tiny_model), *conds, latents(2), TIMESTEP))
        assert_same(found[1], found[0], 1e-5)  # other batch sizes

    @pytest.mark.parametrize("at_once", [1, 4])
    def test_masks_of_the_adapter_lie_where_they_lie_in_the_whole_picture(
        self, official: Official, tiny_model: Any, identity: Any, at_once: int
    ) -> None:
        """Each tile is what a picture of that tile gives under the mask's own cut."""
        x, mask = latents(2), masks(2)
        sampler = TileSampler(TILES, at_once)
        model = sampler.on(host.apply_adapter(tiny_model, identity, mask=mask))
        predict(model, *texts(official), x, TIMESTEP)
        for tiles, made in sampler.calls:
            for tile, piece in zip(tiles, made.split(len(made) // len(tiles)), strict=True):
                own = mask[:, 8 * tile[0] :, 8 * tile[1] :][:, : 8 * tile[2], : 8 * tile[3]]
                alone = TileSampler([(0, 0, *tile[2:])], 1)
                patched = alone.on(host.apply_adapter(tiny_model, identity, mask=own))
                predict(patched, *texts(official), cut(x, tile).contiguous(), TIMESTEP)
                ((_, wanted),) = alone.calls
                assert relative_error(piece, wanted) < 1e-5  # other batch sizes

    def test_the_region_of_identitynet_lies_there_too(
        self, official: Official, tiny_model: Any, make_controlnet: MakeNet, identity: Any
    ) -> None:
        """Tiles without the face get no residuals: they are what they are without IdentityNet."""
        region = torch.zeros(1, 8 * HEIGHT, 8 * WIDTH)
        region[:, :64, :64] = 1.0  # inside the first tile alone
        net = make_controlnet("identitynet")
        conds = with_net(official, net, identity, walking_face(1), mask=region)
        sampler, bare = TileSampler(TILES, 4), TileSampler(TILES, 4)
        with sampler.holding(conds[0][0][1]["control"]):
            predict(sampler.on(tiny_model), *conds, latents(), TIMESTEP)
        predict(bare.on(tiny_model), *texts(official), latents(), TIMESTEP)
        ((_, found),), ((_, plain),) = sampler.calls, bare.calls
        changed = [not torch.equal(a, b) for a, b in zip(found, plain, strict=True)]
        assert changed == [True, True, False, False, False, False, False, False]  # both sides


class TestTilesOfAnUnknownPlace:
    def test_they_are_taken_as_whole_pictures_of_their_own_size(self) -> None:
        tile = Rectangle(0, 0, 9, 14)
        rows = Rows((9, 14), roles=(0, 1, 1), frames=(4, 4, 5), view=None)
        assert rows.known_view == View((9, 14), (tile, tile, tile), (4, 4, 5))

    def test_masks_are_left_out_with_one_warning(
        self,
        official: Official,
        tiny_model: Any,
        identity: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        x = latents()
        silent = [TileSampler(TILES, 2, tells=False) for _ in range(2)]
        masked = silent[0].on(host.apply_adapter(tiny_model, identity, mask=masks(1)))
        found = predict(masked, *texts(official), x, TIMESTEP)
        assert [r.levelname for r in caplog.records if LEFT_OUT in r.message] == ["WARNING"]
        everywhere = silent[1].on(host.apply_adapter(tiny_model, identity))
        assert_same(found, predict(everywhere, *texts(official), x, TIMESTEP))

    def test_a_tile_sampled_as_a_picture_of_its_own_gets_no_region_of_either_half(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        tile, x = (64, 0, 128, 128), latents(1, 16, 16)
        net, face = make_controlnet("identitynet"), walking_face(1)
        region = FaceRegion(face, Fit.CROP, Outline())

        def tiled(region: Any) -> Any:
            model = host.apply_adapter(tiny_model, identity, mask=region)
            conds = with_net(official, net, identity, face, mask=region)
            cropped = [cropped_conditioning(c, tile, (8 * HEIGHT, 8 * WIDTH)) for c in conds]
            shared = cropped[0][0][1]["control"]
            cropped[1][0][1]["control"] = shared
            return predict(model, *cropped, x, TIMESTEP)

        root = logging.getLogger()
        before = root.level
        root.setLevel(logging.CRITICAL + 1)  # as that pack does while it samples
        try:
            found = tiled(region)
        finally:
            root.setLevel(before)
        assert len([r for r in caplog.records if LEFT_OUT in r.message]) == 1  # for both halves
        assert_same(found, tiled(None))


class TestAreas:
    AREA = (12, 8, 8, 4)  # height, width, top, left in latent cells

    def conds(self, official: Official, net: Any, identity: Any, hint: Any, **options: Any) -> Any:
        positive, negative = with_net(official, net, identity, hint, **options)
        text, extra = positive[0]
        return [[text, {**extra, "area": self.AREA, "strength": 1.0}]], negative

    def test_the_hint_is_what_the_whole_canvas_shows_there(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        shown: list[torch.Tensor] = []
        encode = identitynet_room.encode_hint
        monkeypatch.setattr(
            identitynet_room,
            "encode_hint",
            lambda model, hint: shown.append(hint) or encode(model, hint),
        )
        face = walking_face(1)
        conds = self.conds(official, make_controlnet("identitynet"), identity, face)
        predict(tiny_model, *conds, latents(), TIMESTEP)
        whole = hint_of(face, Fit.CROP).at(8 * WIDTH, 8 * HEIGHT)
        height, width, top, left = (8 * side for side in self.AREA)
        part = cut(whole, (top, left, height, width))
        assert part.any() and any(torch.equal(hint, part) for hint in shown)

    def test_a_region_outside_of_the_area_gives_nothing_inside_of_it(
        self, official: Official, tiny_model: Any, make_controlnet: MakeNet, identity: Any
    ) -> None:
        """And one that covers the area is no mask there, whatever lies around it."""
        height, width, top, left = (8 * side for side in self.AREA)
        outside = torch.ones(1, 8 * HEIGHT, 8 * WIDTH)
        cut(outside, (top, left, height, width)).zero_()
        net, face = make_controlnet("identitynet"), walking_face(1)
        x = latents()
        found = [
            predict(tiny_model, *self.conds(official, net, identity, face, mask=m), x, TIMESTEP)
            for m in (outside, 1.0 - outside, None)
        ]
        positive, negative = texts(official)
        bare = [[positive[0][0], {**positive[0][1], "area": self.AREA, "strength": 1.0}]]
        plain = predict(tiny_model, bare, negative, x, TIMESTEP)
        assert torch.equal(found[0]["positive"], plain["positive"])
        assert torch.equal(found[1]["positive"], found[2]["positive"])
        assert_differ(found[0], found[1])

    def test_people_keep_their_places_inside_an_area(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        second_identity: Any,
    ) -> None:
        """The area shows the second person alone: the first has no say in it."""
        halves = torch.zeros(2, 1, 8 * HEIGHT, 8 * WIDTH)
        halves[0, ..., :32], halves[1, ..., 32:] = 1.0, 1.0
        face, net = walking_face(1), make_controlnet("identitynet")
        x = latents()

        def drawn(first: Any) -> Any:
            people = People(
                (Person(first, face, halves[0]), Person(second_identity, face, halves[1]))
            )
            return predict(tiny_model, *self.conds(official, net, people, None), x, TIMESTEP)[
                "positive"
            ]

        assert torch.equal(drawn(identity), drawn(second_identity))


class TestAttentionOfOthers:
    def test_of_what_a_layer_is_told_only_the_number_of_heads_is_needed(
        self, official: Official, tiny_model: Any, identity: Any
    ) -> None:
        """Blocks that another pack runs itself tell attention little."""
        clone = host.apply_adapter(tiny_model, identity).clone()
        kind = comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL
        outs: list[torch.Tensor] = []

        def look(executor: Any, *args: Any, **kwargs: Any) -> Any:
            slot, attention = next(iter(args[5]["patches_replace"]["attn2"].items()))
            rows, channels = len(args[0]), 64
            q = torch.randn(rows, 12, channels, generator=torch.Generator().manual_seed(0))
            told = {"n_heads": 2, "attn_precision": None}
            outs.extend(attention(q, q, q, extra) for extra in (told, {"n_heads": 2}))
            return executor(*args, **kwargs)

        options = clone.model_options["transformer_options"]
        comfy.patcher_extension.add_wrapper_with_key(kind, "look", look, options)
        predict(clone, *texts(official), latents(), TIMESTEP)
        assert torch.equal(outs[0], outs[1])

    def test_rows_that_are_repeated_get_their_own_face_and_mask(
        self, official: Official, tiny_model: Any, identity: Any
    ) -> None:
        model = host.apply_adapter(tiny_model, identity, mask=masks(2))
        x = latents(2)
        once = predict(model, *texts(official), x, TIMESTEP)
        assert_same(predict(repeats_rows(model, 3), *texts(official), x, TIMESTEP), once, 1e-5)

    def test_rows_that_are_no_multiple_get_a_sentence(
        self, official: Official, tiny_model: Any, identity: Any
    ) -> None:
        model = host.apply_adapter(tiny_model, identity).clone()
        model.set_model_attn2_patch(
            lambda n, context, value, _: tuple(
                torch.cat([tensor, tensor[:1]]) for tensor in (n, context, value)
            )
        )
        with pytest.raises(WrongInputError, match="hands 3 rows .* in a call of 2.*couple"):
            predict(model, *texts(official), latents(), TIMESTEP)
