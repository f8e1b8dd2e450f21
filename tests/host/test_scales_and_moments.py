"""Two scales of guidance, regions that open, and IdentityNet at some of the steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.samplers
import pytest
import torch
from comfy_extras import nodes_custom_sampler
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.errors import WrongInputError
from faithful_instantid.instantid_core.fitting import Fit, place, standard_face
from faithful_instantid.instantid_core.host import identitynet as identitynet_room
from faithful_instantid.instantid_core.host import residuals
from faithful_instantid.instantid_core.host.identitynet import IdentityNet
from faithful_instantid.instantid_core.keypoints import Keypoints
from faithful_instantid.instantid_core.people import People, Person
from faithful_instantid.instantid_core.regions import FaceRegion, Outline, Shape
from faithful_instantid.instantid_core.weighting import WeightCurve
from faithful_instantid.nodes.apply import ApplyIdentityNet

from .comparing import relative_error
from .naive_adapter import Recorder
from .other_packs import SlidingWindows
from .predict import SIDES, conditioning, predict, sigma_of

Official = dict[str, torch.Tensor]
MakeNet = Callable[[str], Any]
HEIGHT, WIDTH = 16, 12  # latent cells


def latents(frames: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(frames, 4, HEIGHT, WIDTH, generator=generator) * 5


def texts(official: Official) -> list[list[Any]]:
    return [conditioning(official, side) for side in SIDES]


def face_at(x: float, frames: int = 1) -> Keypoints:
    face = place(standard_face(), 8 * WIDTH, 8 * HEIGHT, x, 0.45, 0.5)
    return Keypoints(8 * WIDTH, 8 * HEIGHT, face.frames * frames)


def walking(frames: int) -> Keypoints:
    steps = [face_at(0.3 + 0.4 * i / frames).frames[0] for i in range(frames)]
    return Keypoints(8 * WIDTH, 8 * HEIGHT, tuple(steps))


def sampled(
    model: Any, conds: list[Any], x: torch.Tensor, sampler: str = "euler", steps: int = 5
) -> torch.Tensor:
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(*conds)
    guider.set_cfg(3.0)
    sigmas = torch.cat([torch.linspace(9.0, 1.0, steps), torch.zeros(1)])
    with torch.inference_mode():
        return guider.sample(x, torch.zeros_like(x), comfy.samplers.sampler_object(sampler), sigmas)


class TestTwoScales:
    A, B = 5.0, 2.5  # scales of the identity and of the text

    def made(
        self, official: Official, tiny_model: Any, net: Any, identity: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        positive, negative = texts(official)
        empty = [[positive[0][0] * 0.1, {"pooled_output": positive[0][1]["pooled_output"] * 0.2}]]
        given = (positive, negative, net, identity, 0.8, 0.0, 1.0, "crop", face_at(0.5))
        conds = ApplyIdentityNet.execute(*given, middle=empty).args
        return host.apply_adapter(tiny_model, identity), conds

    def test_the_prediction_is_the_formula_in_one_call_of_the_unet(
        self, official: Official, tiny_model: Any, make_controlnet: MakeNet, identity: Any
    ) -> None:
        model, conds = self.made(official, tiny_model, make_controlnet("identitynet"), identity)
        positive, negative, middle = conds
        assert len({id(side[0][1]["control"]) for side in conds}) == 1
        recorder = Recorder()
        guider = nodes_custom_sampler.Guider_DualCFG(recorder.on(model))
        guider.set_conds(positive, middle, negative)
        guider.set_cfg(self.B, self.A)
        x, seen = latents(2), []

        def ask_once(
            model: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any, **_: Any
        ) -> torch.Tensor:
            seen.append(model(x, sigmas[:1].repeat(2), **extra_args))
            return x

        sampler = comfy.samplers.KSAMPLER(ask_once)
        sigma = sigma_of(model, 501)
        with torch.inference_mode():
            guider.sample(x / sigma, torch.zeros_like(x), sampler, torch.stack([sigma, sigma * 0]))
        assert recorder.calls == [6]  # two pictures of three conditionings
        given = x / sigma * sigma
        with_text = predict(model, positive, negative, given, 501)
        alone = predict(model, middle, negative, given, 501)
        u, identity_alone, both = (
            given - sigma * side
            for side in (with_text["negative"], alone["positive"], with_text["positive"])
        )
        wanted = u + self.A * (identity_alone - u) + self.B * (both - identity_alone)
        assert relative_error(seen[0], wanted) < 1e-5

    def test_without_a_middle_the_third_is_the_positive(
        self, official: Official, make_controlnet: MakeNet, identity: Any
    ) -> None:
        given = (*texts(official), make_controlnet("identitynet"), identity)
        made = ApplyIdentityNet.execute(*given, 0.8, 0.0, 1.0, "crop", face_at(0.5)).args
        assert made[2] is made[0]
        off = ApplyIdentityNet.execute(*given, 0.0, 0.0, 1.0, "crop", face_at(0.5), middle=[]).args
        assert off[0] is given[0] and off[1] is given[1] and off[2] == []


PLATEAUS = WeightCurve(((0.0, 0.25), (0.4, 0.25), (0.6, 2.0), (1.0, 2.0)))
MOMENTS = {800: 0.25, 150: 2.0}  # timesteps, and the factor at them
OUTLINE = Outline(Shape.ELLIPSE, 0.1, 0.3)
SCALED = {factor: Outline(Shape.ELLIPSE, 0.1 * factor, 0.3 * factor) for factor in (0.25, 2.0)}


class TestRegionsThatOpen:
    @pytest.mark.parametrize("part", ["adapter", "IdentityNet"])
    def test_one_persons_is_at_each_moment_a_region_of_that_size(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        part: str,
    ) -> None:
        net, frames = make_controlnet("identitynet"), walking(2)

        def made(region: FaceRegion) -> tuple[Any, list[Any]]:
            if part == "adapter":
                return host.apply_adapter(tiny_model, identity, mask=region), texts(official)
            conds = host.apply_identitynet(*texts(official), net, identity, frames, mask=region)
            return tiny_model, list(conds)

        opening = made(FaceRegion(frames, Fit.CROP, OUTLINE, PLATEAUS))
        found = {t: predict(opening[0], *opening[1], latents(2), t) for t in MOMENTS}
        for timestep, factor in MOMENTS.items():
            model, conds = made(FaceRegion(frames, Fit.CROP, SCALED[factor]))
            wanted = predict(model, *conds, latents(2), timestep)
            assert all(torch.equal(found[timestep][side], wanted[side]) for side in SIDES)
            fixed, conds = made(FaceRegion(frames, Fit.CROP, OUTLINE))
            unlike = predict(fixed, *conds, latents(2), timestep)
            assert not torch.equal(found[timestep]["positive"], unlike["positive"])

    def test_several_peoples_do_so_too_in_both_halves(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        second_identity: Any,
    ) -> None:
        net = make_controlnet("identitynet")

        def made(outline: Outline, curve: WeightCurve | None) -> tuple[Any, list[Any]]:
            people = People(
                (
                    Person(identity, face_at(0.3), outline=outline),
                    Person(second_identity, face_at(0.7), outline=outline),
                )
            )
            model = host.apply_adapter(tiny_model, people, region_curve=curve)
            conds = host.apply_identitynet(*texts(official), net, people, region_curve=curve)
            return model, list(conds)

        model, conds = made(OUTLINE, PLATEAUS)
        for timestep, factor in MOMENTS.items():
            found = predict(model, *conds, latents(), timestep)
            fixed, fixed_conds = made(SCALED[factor], None)
            wanted = predict(fixed, *fixed_conds, latents(), timestep)
            assert all(torch.equal(found[side], wanted[side]) for side in SIDES)

    def test_it_moves_on_within_one_sampling_also_in_windows(
        self, official: Official, tiny_model: Any, make_controlnet: MakeNet, identity: Any
    ) -> None:
        region = FaceRegion(walking(5), Fit.CROP, OUTLINE, PLATEAUS)
        net = make_controlnet("identitynet")
        conds = host.apply_identitynet(*texts(official), net, identity, walking(5), mask=region)
        model = host.apply_adapter(tiny_model, identity, mask=region)
        whole = sampled(model, list(conds), latents(5), steps=2)
        windows = SlidingWindows([[0, 1, 2], [2, 3, 4]]).on(model)
        assert relative_error(sampled(windows, list(conds), latents(5), steps=2), whole) < 3e-5
        for factor in SCALED:
            fixed = FaceRegion(walking(5), Fit.CROP, SCALED[factor])
            conds = host.apply_identitynet(*texts(official), net, identity, walking(5), mask=fixed)
            model = host.apply_adapter(tiny_model, identity, mask=fixed)
            unlike = sampled(model, list(conds), latents(5), steps=2)
            assert relative_error(unlike, whole) > 1e-3

    def test_only_what_changes_is_made_anew_while_sampling(
        self,
        official: Official,
        tiny_model: Any,
        identity: Any,
        second_identity: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        made: list[tuple[float, int]] = []
        render = FaceRegion.render

        def look(self: FaceRegion, width: int, height: int, frames: Any = None) -> torch.Tensor:
            made.append((round(self.outline.padding, 3), width))
            return render(self, width, height, frames)

        monkeypatch.setattr(FaceRegion, "render", look)
        opening = FaceRegion(face_at(0.3), Fit.CROP, OUTLINE, PLATEAUS)
        fixed = FaceRegion(face_at(0.7), Fit.CROP, Outline(padding=0.05))
        model = host.apply_adapter(tiny_model, identity, mask=opening)
        model = host.apply_adapter(model, second_identity, mask=fixed)
        sampled(model, texts(official), latents(), steps=3)
        width = 8 * WIDTH
        assert made.count((0.05, width)) == 1
        assert len([one for one in made if one[0] != 0.05]) == 3  # three noise levels


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of every evaluation of IdentityNet."""
    seen: list[int] = []
    run = identitynet_room.run_blocks

    def look(*args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs["x"].shape[0])
        return run(*args, **kwargs)

    monkeypatch.setattr(identitynet_room, "run_blocks", look)
    return seen


class Held(IdentityNet):
    """A net that hands out what it gave at the last even call: every second step, plainly."""

    def get_control(self, *args: Any) -> Any:
        if self.call % 2 == 0:
            self.given = super().get_control(*args)
        self.call += 1
        return {part: [x.clone() for x in tensors] for part, tensors in self.given.items()}


class TestEverySoManySteps:
    @pytest.mark.parametrize("count", [1, 2])
    def test_the_last_residuals_serve_between(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        second_identity: Any,
        evaluated: list[int],
        count: int,
    ) -> None:
        net = make_controlnet("identitynet")
        people = People(
            (Person(identity, face_at(0.3)), Person(second_identity, face_at(0.7)))[:count]
        )
        mask = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(4))

        def conds(every: int) -> list[Any]:
            settings: dict[str, Any] = {"strength": 0.6, "mask": mask, "every": every}
            return list(host.apply_identitynet(*texts(official), net, people, **settings))

        found = sampled(tiny_model, conds(2), latents(3))
        assert evaluated == [6] * 3  # of five steps
        plain = conds(1)
        held = plain[0][0][1]["control"]
        held.__class__, held.call = Held, 0
        wanted = sampled(tiny_model, plain, latents(3))
        assert relative_error(found, wanted) < 1e-6
        assert relative_error(sampled(tiny_model, conds(1), latents(3)), wanted) > 1e-4

    def test_a_sampler_of_two_calls_a_step_counts_noise_levels(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        evaluated: list[int],
    ) -> None:
        given = (make_controlnet("identitynet"), identity, face_at(0.5))
        conds = host.apply_identitynet(*texts(official), *given, every=3)
        sampled(tiny_model, list(conds), latents(), "heun")
        assert len(evaluated) == 2  # five noise levels, nine calls
        sampled(tiny_model, list(conds), latents(), "heun")
        assert len(evaluated) == 4  # nothing is left from the sampling before

    def test_windows_in_turn_are_evaluated_at_every_step_and_a_line_says_so(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        evaluated: list[int],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        given = (make_controlnet("identitynet"), identity, walking(4))
        windows = SlidingWindows([[0, 1, 2], [1, 2, 3]]).on(tiny_model)
        made = [
            sampled(
                windows,
                list(host.apply_identitynet(*texts(official), *given, every=every)),
                latents(4),
                steps=3,
            )
            for every in (1, 2)
        ]
        assert torch.equal(*made)
        assert len(evaluated) == 12
        assert caplog.text.count("evaluated at every step although") == 1

    def test_areas_of_a_prompt_are_evaluated_at_every_step_too(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        evaluated: list[int],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """One call of the area, one of the whole, in turn: neither is taken for the other."""
        given = (make_controlnet("identitynet"), identity, face_at(0.5))
        made = []
        for every in (1, 2):
            positive, negative = texts(official)
            positive[0][1].update(area=(8, WIDTH, 8, 0), strength=1.0)
            positive += texts(official)[0]
            conds = host.apply_identitynet(positive, negative, *given, every=every)
            made.append(sampled(tiny_model, list(conds), latents(2), steps=3))
        assert torch.equal(*made)
        assert len(evaluated) % 2 == 0 and len(evaluated) >= 12
        assert caplog.text.count("evaluated at every step although") == 1

    def test_what_would_be_too_large_is_not_kept(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        evaluated: list[int],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(residuals, "REUSED_MEMORY", 1000)
        given = (make_controlnet("identitynet"), identity, face_at(0.5))
        conds = host.apply_identitynet(*texts(official), *given, every=2)
        sampled(tiny_model, list(conds), latents(), steps=3)
        assert len(evaluated) == 3
        assert caplog.text.count("larger than 512 MiB") == 1

    @pytest.mark.parametrize("every", [0, 1.5, -2])
    def test_what_is_no_number_of_steps_is_refused(
        self, official: Official, make_controlnet: MakeNet, identity: Any, every: Any
    ) -> None:
        given = (make_controlnet("identitynet"), identity, face_at(0.5))
        with pytest.raises(WrongInputError, match="whole number from 1"):
            host.apply_identitynet(*texts(official), *given, every=every)
