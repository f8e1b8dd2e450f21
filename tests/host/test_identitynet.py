"""IdentityNet on its own: hint, region, window, copies and clones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import comfy.controlnet
import comfy.model_management
import comfy.sample
import numpy as np
import pytest
import torch
from faithful_instantid.devtools import tiny_sdxl
from faithful_instantid.instantid_core.errors import WrongInputError, WrongModelError
from faithful_instantid.instantid_core.fitting import Fit, fit, place, standard_face
from faithful_instantid.instantid_core.host import apply_identitynet, rows
from faithful_instantid.instantid_core.host.control_blocks import encode_hint, run_blocks
from faithful_instantid.instantid_core.host.hints import hint_of
from faithful_instantid.instantid_core.host.identitynet import IdentityNet
from faithful_instantid.instantid_core.identity import Identity, NoIdentity
from faithful_instantid.instantid_core.keypoints import FacePoints, Keypoints, draw_keypoints
from faithful_instantid.instantid_core.log import listening
from faithful_instantid.instantid_core.regions import FaceRegion
from faithful_instantid.instantid_core.weighting import LayerWeights
from faithful_instantid.tests.golden.weights import fill
from torch.nn.functional import interpolate

from .comparing import relative_error
from .predict import SIDES, conditioning, noise_of, predict, sigma_of
from .recording import calls_of

Official = dict[str, torch.Tensor]
MakeControlNet = Callable[[str], Any]
TIMESTEP = 501
FACE = standard_face(512, 512)


@pytest.fixture
def make_net(
    official: Official, tiny_model: Any, make_controlnet: MakeControlNet, identity: Identity
) -> Iterator[Callable[..., IdentityNet]]:
    """Return the maker of an IdentityNet as a sampler holds it: attached, and run begun."""
    made: list[IdentityNet] = []

    def make(hint: Any = FACE, **options: Any) -> IdentityNet:
        positive, _ = apply_identitynet(
            *(conditioning(official, side) for side in SIDES),
            *(make_controlnet("identitynet"), identity, hint),
            **options,
        )
        net = positive[0][1]["control"]
        begin(net, tiny_model)
        made.append(net)
        return net

    yield make
    for net in made:
        net.cleanup()


def begin(net: IdentityNet, model: Any) -> None:
    net.pre_run(model.model, model.get_model_object("model_sampling").percent_to_sigma)


def latents(images: int = 1, height: int = 16, width: int = 16) -> torch.Tensor:
    return torch.randn(images, 4, height, width, generator=torch.Generator().manual_seed(1)) * 7


def evaluate(
    net: IdentityNet, model: Any, x: torch.Tensor, timestep: int = TIMESTEP, **options: Any
) -> list[torch.Tensor]:
    """Residuals of x (B,4,h,w) for positive and negative in one batch: each (2B,C,h,w)."""
    found = attempt(net, model, x, timestep, **options)
    assert found is not None
    return [*found["output"], *found["middle"]]


def attempt(
    net: IdentityNet, model: Any, x: torch.Tensor, timestep: int = TIMESTEP, **options: Any
) -> dict[str, list[torch.Tensor]] | None:
    count = 2 * x.shape[0]
    cond = {
        "c_crossattn": torch.zeros(count, 77, 64),
        "y": torch.zeros(count, tiny_sdxl.ADM_WIDTH),
        rows.ROLE: torch.tensor([[1], [0]]).repeat_interleave(x.shape[0], dim=0),
    }
    sigmas = sigma_of(model, timestep).repeat(count)
    with torch.inference_mode():
        return net.get_control(x.repeat(2, 1, 1, 1), sigmas, cond, 2, options)


def same(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def as_image(keypoints: Keypoints, width: int, height: int, mode: Fit = Fit.CROP) -> torch.Tensor:
    """Keypoints drawn by hand: an IMAGE (B,H,W,3)."""
    fitted = fit(keypoints, width, height, mode)
    frames = [
        draw_keypoints(np.array([face.kps for face in frame]).reshape(-1, 5, 2), width, height)
        for frame in fitted.frames
    ]
    return torch.from_numpy(np.stack(frames)).float() / 255.0


class TestHint:
    def test_keypoints_are_drawn_at_the_size_of_the_picture(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        x = latents(height=24, width=16)
        drawn = evaluate(make_net(FACE), tiny_model, x)
        shown = evaluate(make_net(as_image(FACE, 128, 192)), tiny_model, x)
        assert same(drawn, shown)

    def test_the_fit_is_the_one_that_was_chosen(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        x = latents(height=24, width=16)
        padded = evaluate(make_net(FACE, fit=Fit.PAD), tiny_model, x)
        assert same(padded, evaluate(make_net(as_image(FACE, 128, 192, Fit.PAD)), tiny_model, x))
        assert not same(padded, evaluate(make_net(FACE), tiny_model, x))

    def test_another_size_in_the_same_run_is_drawn_anew(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        net = make_net(FACE)
        evaluate(net, tiny_model, latents())
        again = evaluate(net, tiny_model, latents(height=24, width=24))
        assert same(again, evaluate(make_net(FACE), tiny_model, latents(height=24, width=24)))

    def test_the_original_is_a_tensor_before_during_and_after_sampling(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        net = make_net(place(standard_face(), 1920, 1080, 0.5, 0.5, 0.5))
        assert net.cond_hint_original.shape == (1, 3, 704, 1280)
        assert net.cond_hint_original.any()
        evaluate(net, tiny_model, latents())
        net.cleanup()
        assert net.cond_hint_original.shape == (1, 3, 704, 1280)

    @pytest.mark.parametrize("size", [(48, 1), (1, 48)], ids=["one column", "one row"])
    def test_a_strip_that_a_cut_would_leave_nothing_of_is_stretched(
        self, size: tuple[int, int]
    ) -> None:
        shown = hint_of(torch.ones(1, *size, 3), Fit.CROP).at(128, 128)
        assert torch.equal(shown, torch.ones(1, 3, 128, 128))

    def test_an_original_that_somebody_replaced_is_used(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        net, other = make_net(FACE), as_image(FACE, 128, 128).flip(2)
        net.cond_hint_original = net.cond_hint_original.flip(3)
        replaced = evaluate(net, tiny_model, latents())
        assert not same(replaced, evaluate(make_net(FACE), tiny_model, latents()))
        net.cond_hint, net.cond_hint_original = None, other.movedim(-1, 1)
        again = evaluate(net, tiny_model, latents())
        assert same(again, evaluate(make_net(other), tiny_model, latents()))

    def test_the_own_original_set_back_is_drawn_again(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        net = make_net(FACE)
        kept = net.cond_hint_original
        net.cond_hint_original = torch.zeros(1, 3, 64, 64)
        net.cond_hint_original = kept
        assert same(
            evaluate(net, tiny_model, latents()),
            evaluate(make_net(FACE), tiny_model, latents()),
        )

    def test_a_current_hint_that_somebody_set_is_used_and_no_region_cuts_it(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        tile = as_image(FACE, 128, 128).flip(2)
        net = make_net(FACE, mask=FaceRegion(FACE))
        evaluate(net, tiny_model, latents())
        net.cond_hint = tile.movedim(-1, 1)
        found = evaluate(net, tiny_model, latents())
        assert same(found, evaluate(make_net(tile), tiny_model, latents()))

    def test_one_picture_is_encoded_once_while_sampling(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        net = make_net(FACE)
        with calls_of(net.control_model.input_hint_block) as calls:
            for timestep in (901, 501, 101):
                evaluate(net, tiny_model, latents(images=2), timestep)
        assert calls == [1]

    def test_each_picture_of_a_batch_gets_its_frame_and_short_videos_start_over(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        two = [FACE, place(FACE, 512, 512, 0.3, 0.6, 0.5)]
        video = Keypoints(512, 512, tuple(face.frames[0] for face in two))
        x = latents(images=3)
        found = evaluate(make_net(video), tiny_model, x)
        for row in range(3):
            alone = evaluate(make_net(two[row % 2]), tiny_model, x[row : row + 1])
            for both, one in zip(found, alone, strict=True):
                assert relative_error(both[[row, row + 3]], one) < 1e-5  # other batch size

    def test_a_context_window_gets_the_frames_it_lists(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        class Window:
            index_list = (2, 0)

        places = [place(FACE, 512, 512, x, 0.5, 0.5) for x in (0.3, 0.5, 0.7)]
        video = Keypoints(512, 512, tuple(face.frames[0] for face in places))
        x = latents(images=2)
        found = evaluate(make_net(video), tiny_model, x, context_window=Window())
        reordered = Keypoints(512, 512, (video.frames[2], video.frames[0]))
        assert same(found, evaluate(make_net(reordered), tiny_model, x))

    def test_windows_that_come_again_are_encoded_once_while_sampling(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        class Window:
            def __init__(self, *frames: int) -> None:
                self.index_list = frames

        video = Keypoints(512, 512, FACE.frames * 4)
        net = make_net(video)
        with calls_of(net.control_model.input_hint_block) as calls:
            for timestep in (901, 501):
                for window in (Window(0, 1), Window(2, 3)):
                    evaluate(net, tiny_model, latents(images=2), timestep, context_window=window)
        assert calls == [2, 2]

    def test_everything_is_brought_to_the_device_of_the_sampling(
        self, make_net: Callable[..., IdentityNet], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A device without numbers: what is left on the CPU cannot be reckoned with there."""
        ask = comfy.model_management.get_free_memory
        monkeypatch.setattr(  # such a device does not know how much memory it has
            comfy.model_management,
            "get_free_memory",
            lambda _, *what: ask(torch.device("cpu"), *what),
        )
        net = make_net(FACE, mask=FaceRegion(FACE))
        for name in ("control_model", "model_sampling_current"):
            setattr(net, name, copy.deepcopy(getattr(net, name)).to("meta"))
        x = latents(images=2).to("meta")
        cond = {
            "c_crossattn": torch.zeros(4, 77, 64, device="meta"),
            "y": torch.zeros(4, tiny_sdxl.ADM_WIDTH, device="meta"),
            rows.ROLE: torch.tensor([[1], [1], [0], [0]]),
        }
        found = net.get_control(x.repeat(2, 1, 1, 1), torch.ones(4, device="meta"), cond, 2, {})
        assert found is not None
        assert {one.device.type for one in (*found["output"], *found["middle"])} == {"meta"}

    def test_a_face_that_is_too_small_is_told_with_numbers(
        self,
        tiny_model: Any,
        make_net: Callable[..., IdentityNet],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        net = make_net(place(FACE, 512, 512, 0.5, 0.5, 0.4))
        for timestep in (501, 101):
            evaluate(net, tiny_model, latents(), timestep)
        warnings = [
            record.getMessage() for record in caplog.records if record.levelname == "WARNING"
        ]
        assert len(warnings) == 1
        assert "only 51 pixels large on the 128 x 128 picture; below 112 pixels" in warnings[0]


class TestRegion:
    @pytest.mark.parametrize(("height", "width"), [(65, 63), (16, 24), (17, 16)])
    def test_the_right_cells_are_masked_on_every_residuals_own_grid(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet], height: int, width: int
    ) -> None:
        x = latents(height=height, width=width)
        region = FaceRegion(FACE)
        mask = region.render(width * 8, height * 8)
        found = evaluate(make_net(FACE, mask=region), tiny_model, x)
        whole = evaluate(make_net(FACE), tiny_model, x)
        for masked, unmasked in zip(found, whole, strict=True):
            grid = interpolate(mask[:, None], size=masked.shape[-2:], mode="bilinear")
            assert 0 < (grid == 0).sum() < grid.numel()
            assert torch.allclose(masked, unmasked * grid, rtol=0, atol=1e-6)
        sizes = {tuple(residual.shape[-2:]) for residual in found}
        assert (height, width) in sizes
        assert ((height + 1) // 2, (width + 1) // 2) in sizes

    def test_a_region_that_is_empty_at_this_picture_is_bit_equal_to_absence(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        box = np.array([-90, -90, -20, -20], np.float32)
        outside = FacePoints(FACE.faces[0].kps, box)
        net = make_net(FACE, mask=FaceRegion(Keypoints(512, 512, ((outside,),))))
        assert attempt(net, tiny_model, latents()) is None

    def test_a_mask_of_ones_is_no_mask(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        ones = make_net(FACE, mask=torch.ones(64, 64))
        assert ones.face.mask is None
        assert same(
            evaluate(ones, tiny_model, latents()), evaluate(make_net(FACE), tiny_model, latents())
        )

    def test_a_mask_with_a_frame_for_each_picture_goes_with_it(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        mask = torch.stack([torch.zeros(64, 64), torch.ones(64, 64)])
        for residual in evaluate(make_net(FACE, mask=mask), tiny_model, latents(images=2)):
            assert [bool(row.any()) for row in residual] == [False, True, False, True]


class TestNothingToDo:
    @pytest.mark.parametrize(
        "options",
        [
            {"strength": 0.0},
            {"start_percent": 0.6, "end_percent": 0.3},
            {"start_percent": 1.0},
            {"end_percent": 0.0},
            {"mask": torch.zeros(64, 64)},
        ],
        ids=str,
    )
    def test_the_conditioning_is_handed_on_as_it_came(
        self,
        official: Official,
        make_controlnet: MakeControlNet,
        identity: Identity,
        options: dict[str, Any],
    ) -> None:
        positive, negative = (conditioning(official, side) for side in SIDES)
        net = make_controlnet("identitynet")
        found = apply_identitynet(positive, negative, net, identity, FACE, **options)
        assert found[0] is positive
        assert found[1] is negative

    def test_no_identity_and_no_face_hand_on_what_came_and_say_so(
        self,
        official: Official,
        make_controlnet: MakeControlNet,
        identity: Identity,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level("INFO", "faithful_instantid")
        pair = tuple(conditioning(official, side) for side in SIDES)
        net, nobody = make_controlnet("identitynet"), Keypoints(512, 512, ((), ()))
        with listening() as heard:
            assert apply_identitynet(*pair, net, NoIdentity("no face in cat.png."), FACE) == pair
        assert heard.problems == ["IdentityNet is not applied: no face in cat.png."]
        assert apply_identitynet(*pair, net, identity, nobody) == pair
        assert "IdentityNet is not applied: the keypoints hold no face." in caplog.text

    def test_outside_its_window_a_prediction_is_bit_equal_to_none(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeControlNet,
        identity: Identity,
    ) -> None:
        pair = tuple(conditioning(official, side) for side in SIDES)
        net, x = make_controlnet("identitynet"), noise_of(official, tiny_model, TIMESTEP)
        late = apply_identitynet(*pair, net, identity, FACE, start_percent=0.9)
        early = apply_identitynet(*pair, net, identity, FACE, end_percent=0.9)
        without = predict(tiny_model, *pair, x, TIMESTEP)
        closed = predict(tiny_model, *late, x, TIMESTEP)
        open_ = predict(tiny_model, *early, x, TIMESTEP)
        for side in SIDES:
            assert torch.equal(closed[side], without[side])
            assert not torch.equal(open_[side], without[side])

    def test_what_was_given_is_never_changed(
        self, official: Official, make_controlnet: MakeControlNet, identity: Identity
    ) -> None:
        pair = tuple(conditioning(official, side) for side in SIDES)
        net = make_controlnet("identitynet")
        before = dict(vars(net))
        for _ in range(2):
            apply_identitynet(*pair, net, identity, FACE)
        assert [set(side[0][1]) for side in pair] == [{"pooled_output"}] * 2
        assert vars(net) == before


class TestObject:
    def test_both_sides_share_one_object_and_the_network(
        self, official: Official, make_controlnet: MakeControlNet, identity: Identity
    ) -> None:
        source = make_controlnet("identitynet")
        positive, negative = apply_identitynet(
            *(conditioning(official, side) for side in SIDES), source, identity, FACE
        )
        net = positive[0][1]["control"]
        assert negative[0][1]["control"] is net
        assert net.control_model is source.control_model
        assert net.get_models() == [source.control_model_wrapped]

    def test_a_copy_does_the_same(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        net = make_net(FACE, strength=0.6, end_percent=0.7, mask=FaceRegion(FACE))
        copy = net.copy()
        begin(copy, tiny_model)
        assert type(copy) is IdentityNet
        assert copy.previous_controlnet is None
        assert (copy.strength, copy.timestep_percent_range) == (0.6, (0.0, 0.7))
        assert same(evaluate(copy, tiny_model, latents()), evaluate(net, tiny_model, latents()))

    def test_a_copy_keeps_a_replaced_hint(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        net = make_net(FACE)
        net.cond_hint_original = net.cond_hint_original.flip(3)
        copy = net.copy()
        begin(copy, tiny_model)
        assert same(evaluate(copy, tiny_model, latents()), evaluate(net, tiny_model, latents()))

    def test_cleanup_drops_what_one_sampling_made(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        net = make_net(FACE, mask=FaceRegion(FACE))
        before = evaluate(net, tiny_model, latents())
        net.cleanup()
        assert net.cond_hint is None
        assert net._kept is None
        begin(net, tiny_model)
        assert same(evaluate(net, tiny_model, latents()), before)

    @pytest.mark.skipif(
        not hasattr(comfy.controlnet.ControlBase, "deepclone_multigpu"),
        reason="this ComfyUI has no multi-device clones",
    )
    def test_a_clone_for_another_device_does_the_same_with_a_network_of_its_own(
        self, tiny_model: Any, make_net: Callable[..., IdentityNet]
    ) -> None:
        device = torch.device("cpu")
        net = make_net(FACE, mask=FaceRegion(FACE))
        clone = net.deepclone_multigpu(device, autoregister=True)
        begin(clone, tiny_model)
        assert net.get_instance_for_device(device) is clone
        assert clone.control_model is not net.control_model
        assert len(net.get_models()) == 2
        assert same(evaluate(clone, tiny_model, latents()), evaluate(net, tiny_model, latents()))
        net.cleanup()
        assert clone.cond_hint is None

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_files_work(
        self, official: Official, tiny_model: Any, identity: Identity, dtype: torch.dtype
    ) -> None:
        half = tiny_sdxl.build_controlnet(lambda shapes: fill(shapes, "identitynet"), dtype)
        pair = apply_identitynet(
            *(conditioning(official, side) for side in SIDES),
            *(half, identity, official["in.hint"].movedim(1, -1)),
        )
        found = predict(tiny_model, *pair, noise_of(official, tiny_model, TIMESTEP), TIMESTEP)
        for side in SIDES:
            wanted = official[f"out.eps_{side}.t{TIMESTEP}.ip0.0.cn0.8.plain"]
            assert relative_error(found[side], wanted) < 0.03  # bf16 keeps 8 bits


class TestDriver:
    def test_running_the_blocks_is_bit_equal_to_the_networks_own_forward(
        self, official: Official, make_controlnet: MakeControlNet
    ) -> None:
        network = make_controlnet("identitynet").control_model
        given = {
            "x": official["in.x"],
            "timesteps": torch.tensor([501.0]),
            "context": official["out.tokens_positive"],
            "y": torch.randn(1, tiny_sdxl.ADM_WIDTH),
        }
        with torch.inference_mode():
            wanted = network(hint=official["in.hint"], **given)
            guided = encode_hint(network, official["in.hint"])
            found = run_blocks(network, guided_hint=guided, **given)
        for part in ("output", "middle"):
            assert same(found[part], wanted[part])

    def test_options_reach_all_34_cross_attentions_by_their_slots(
        self, official: Official, make_controlnet: MakeControlNet
    ) -> None:
        network = make_controlnet("identitynet").control_model
        seen: list[Any] = []

        def patch(q: Any, k: Any, v: Any, options: dict[str, Any]) -> torch.Tensor:
            seen.append((*options["block"], options["block_index"]))
            return torch.zeros_like(q)

        inputs = {4: 2, 5: 2, 7: 10, 8: 10}
        slots = [("input", i, j) for i, depth in inputs.items() for j in range(depth)]
        slots += [("middle", 0, j) for j in range(10)]
        with torch.inference_mode():
            run_blocks(
                network,
                official["in.x"],
                encode_hint(network, official["in.hint"]),
                torch.tensor([501.0]),
                official["out.tokens_positive"],
                torch.zeros(1, tiny_sdxl.ADM_WIDTH),
                {"patches_replace": {"attn2": {slot: patch for slot in slots}}},
            )
        assert seen == slots
        assert len(seen) == 34


class TestRefusals:
    def refused(self, official: Official, identity: Identity, net: Any) -> str:
        pair = (conditioning(official, side) for side in SIDES)
        with pytest.raises(WrongModelError) as caught:
            apply_identitynet(*pair, net, identity, FACE)
        assert "diffusion_pytorch_model.safetensors (2.5 GB) of InstantX/InstantID" in str(
            caught.value
        )
        return str(caught.value)

    def test_a_net_of_another_context_width_is_named(
        self, official: Official, identity: Identity
    ) -> None:
        text = self.refused(official, identity, control_net(context_dim=768))
        assert "cross-attention is 768 wide (SD1.5)" in text
        assert "face tokens are 64 wide" in text

    def test_a_union_net_is_refused(self, official: Official, identity: Identity) -> None:
        net = control_net(union_controlnet_num_control_type=6)
        assert "union ControlNet" in self.refused(official, identity, net)

    def test_a_net_of_another_architecture_is_refused(
        self, official: Official, identity: Identity
    ) -> None:
        net = comfy.controlnet.ControlNet(torch.nn.PReLU(), load_device=torch.device("cpu"))
        assert "a ControlNet object with a network of another build" in self.refused(
            official, identity, net
        )

    @pytest.mark.parametrize(
        ("made", "name"),
        [
            (lambda: comfy.controlnet.ControlLora({}), "a ControlLora object"),
            (
                lambda: comfy.controlnet.T2IAdapter(None, 3, 8, "nearest-exact"),
                "a T2IAdapter object",
            ),
            (lambda: "file.safetensors", "a text"),
        ],
        ids=["lora", "t2i", "text"],
    )
    def test_other_kinds_of_nets_are_refused(
        self, official: Official, identity: Identity, made: Callable[[], Any], name: str
    ) -> None:
        assert f"This CONTROL_NET is {name};" in self.refused(official, identity, made())

    @pytest.mark.parametrize(
        ("hint", "text"),
        [
            (torch.zeros(1, 64, 64, 4), r"size 1 x 64 x 64 x 4\. An IMAGE of"),
            (torch.zeros(64, 64, 3), r"size 64 x 64 x 3\. An IMAGE of"),
            ({"points": 1}, "keypoints are a dictionary"),
        ],
        ids=["rgba", "one picture", "foreign"],
    )
    def test_a_hint_that_is_none_is_refused(
        self,
        official: Official,
        make_controlnet: MakeControlNet,
        identity: Identity,
        hint: Any,
        text: str,
    ) -> None:
        pair = (conditioning(official, side) for side in SIDES)
        with pytest.raises(WrongInputError, match=text):
            apply_identitynet(*pair, make_controlnet("identitynet"), identity, hint)

    def test_a_foreign_face_embedding_is_refused(
        self, official: Official, make_controlnet: MakeControlNet
    ) -> None:
        pair = (conditioning(official, side) for side in SIDES)
        with pytest.raises(
            WrongInputError, match="`face_embeds` is a dictionary .* from Encode Face"
        ):
            apply_identitynet(*pair, make_controlnet("identitynet"), {"cond": 1}, FACE)

    @pytest.mark.parametrize(
        ("y", "found"),
        [
            (torch.zeros(2, 2560), "2560, as the SDXL refiner does"),
            (torch.zeros(2, 5632), "5632, as Kolors does"),
            (torch.zeros(2, 100), "100"),
            (None, "none, as SD1.5 does"),
        ],
        ids=["refiner", "kolors", "unknown", "sd15"],
    )
    def test_a_model_that_is_no_sdxl_base_is_told(
        self,
        tiny_model: Any,
        make_net: Callable[..., IdentityNet],
        y: torch.Tensor | None,
        found: str,
    ) -> None:
        sigmas = sigma_of(tiny_model, TIMESTEP).repeat(2)
        with pytest.raises(
            WrongModelError, match=f"wants 1568 numbers .*, this model gives {found}\\. Inst"
        ):
            make_net(FACE).get_control(latents(images=2), sigmas, {"y": y}, 2, {})


def control_net(**changes: Any) -> Any:
    """A CONTROL_NET of ComfyUI's own ControlNet class, small and empty, with other measures."""
    config = {k: v for k, v in tiny_sdxl.UNET_CONFIG.items() if k not in tiny_sdxl._UNET_ONLY}
    network = comfy.controlnet.comfy.cldm.cldm.ControlNet(
        **{**config, "transformer_depth": [0, 0, 1, 1, 1, 1], **changes},
        hint_channels=3,
        device=torch.device("meta"),
    )
    return comfy.controlnet.ControlNet(network, load_device=torch.device("cpu"))


def test_layer_weights_scale_the_residuals_of_their_own_block(
    make_net: Callable[..., IdentityNet], tiny_model: Any
) -> None:
    """SDXL's input blocks 4, 5, 7 and 8 have cross-attention; the others go with the next one."""
    factors = (0.2, 0.4, 0.6, 0.8)  # of those four
    layers = LayerWeights((*factors, 0.3, *[1.0] * 6))
    wanted = [*[0.2] * 5, 0.4, 0.6, 0.6, 0.8, 0.3]  # nine input blocks, the middle
    x = latents(height=24)
    plain = evaluate(make_net(), tiny_model, x)
    scaled = evaluate(make_net(layers=layers), tiny_model, x)
    assert len(plain) == len(scaled) == len(wanted)
    for one, other, factor in zip(plain, scaled, wanted, strict=True):
        assert torch.allclose(other, one * factor, rtol=1e-5, atol=1e-7)
