"""The identity follows the conditioning: every row of every guider gets the side it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.samplers
import pytest
import torch
from comfy_extras import (
    nodes_context_windows,
    nodes_custom_sampler,
    nodes_model_advanced,
    nodes_pag,
    nodes_perpneg,
    nodes_sag,
)
from faithful_instantid.instantid_core.host import rows
from faithful_instantid.instantid_core.log import log_once

from .comparing import relative_error
from .scene import CFG, Scene


@pytest.mark.parametrize("batch", range(1, 9))
def test_plain_cfg_at_any_batch_size(scene: Scene, batch: int) -> None:
    scene.sample(scene.guider(), batch)
    assert scene.check() == {"positive": 2 * batch, "negative": 2 * batch}


def test_cfg_1_evaluates_only_the_positive_side(scene: Scene) -> None:
    guider = scene.guider()
    guider.set_cfg(1.0)
    scene.sample(guider, 2)
    assert scene.check() == {"positive": 4, "negative": 0}


def test_masked_conditioning(scene: Scene) -> None:
    mask = torch.zeros(1, 128, 128)
    mask[:, :64] = 1.0
    guider = comfy.samplers.CFGGuider(scene.model)
    positive = scene.texts.make("positive", mask=mask, set_area_to_bounds=False)
    positive += scene.texts.make("positive", mask=1.0 - mask, set_area_to_bounds=True)
    guider.set_conds(positive, scene.texts.make("negative"))
    guider.set_cfg(CFG)
    scene.sample(guider)
    counts = scene.check()
    assert counts["positive"] == 4 and counts["negative"] >= 2


def test_area_conditioning(scene: Scene) -> None:
    guider = comfy.samplers.CFGGuider(scene.model)
    positive = scene.texts.make("positive", area=(8, 16, 0, 0), strength=1.0)
    positive += scene.texts.make("positive", area=(8, 16, 8, 0), strength=1.0)
    guider.set_conds(positive, scene.texts.make("negative"))
    guider.set_cfg(CFG)
    scene.sample(guider, 2)
    counts = scene.check()
    assert counts["positive"] == 8 and counts["negative"] >= 4
    assert {row.x.shape[-2] for row in scene.recorder.rows} >= {8}


class OneByOne(comfy.samplers.CFGGuider):
    """Evaluates each side alone, as guiders with a model for each side do."""

    def predict_noise(
        self, x: torch.Tensor, timestep: Any, model_options: Any = None, seed: Any = None
    ) -> torch.Tensor:
        positive, negative = (
            comfy.samplers.calc_cond_batch(
                self.inner_model, [self.conds[side]], x, timestep, model_options
            )[0]
            for side in ("positive", "negative")
        )
        return negative + CFG * (positive - negative)


@pytest.mark.parametrize("where", ["area", "mask"])
def test_the_negative_that_comfyui_makes_for_a_positive_s_area_is_a_negative(
    scene: Scene, where: str
) -> None:
    """ComfyUI gives it a copy of the positive's id: only the tag tells the side."""
    mask = torch.zeros(1, 128, 128)
    mask[:, :64] = 1.0
    places: dict[str, dict[str, Any]] = {
        "area": {"area": (8, 16, 0, 0), "strength": 1.0},
        "mask": {"mask": mask, "set_area_to_bounds": True},
    }
    guider = OneByOne(scene.model)
    positive = scene.texts.make("positive", **places[where]) + scene.texts.make("positive")
    guider.set_conds(positive, scene.texts.make("negative"))
    scene.sample(guider)
    assert scene.recorder.calls == [1] * 8
    assert scene.check() == {"positive": 4, "negative": 4}


def test_several_positives_of_different_length_are_batched_together(scene: Scene) -> None:
    guider = comfy.samplers.CFGGuider(scene.model)
    positive = scene.texts.make("positive") + scene.texts.make("positive", tokens=154)
    guider.set_conds(positive, scene.texts.make("negative"))
    guider.set_cfg(CFG)
    scene.sample(guider)
    assert scene.recorder.calls == [3, 3]
    assert scene.check() == {"positive": 4, "negative": 2}


@pytest.mark.parametrize("style", ["regular", "nested"])
def test_dual_cfg_guider(scene: Scene, style: str) -> None:
    texts = scene.texts
    guider = nodes_custom_sampler.Guider_DualCFG(scene.model)
    guider.set_conds(texts.make("positive"), texts.make("positive"), texts.make("negative"))
    guider.set_cfg(3.0, 5.0, nested=style == "nested")
    scene.sample(guider)
    assert scene.check() == {"positive": 4, "negative": 2}


@pytest.mark.skipif(
    not hasattr(nodes_custom_sampler, "Guider_DualModel"), reason="this ComfyUI has no such guider"
)
def test_dual_model_guider_evaluates_the_negative_at_place_0(scene: Scene) -> None:
    guider = nodes_custom_sampler.Guider_DualModel(scene.model, scene.bare.clone())
    guider.set_conds(scene.texts.make("positive"), scene.texts.make("negative"))
    guider.set_cfg(CFG)
    scene.sample(guider, 2)
    assert scene.check() == {"positive": 4, "negative": 4}


def test_perp_neg_guider(scene: Scene) -> None:
    guider = nodes_perpneg.Guider_PerpNeg(scene.model)
    make = scene.texts.make
    guider.set_conds(make("positive"), make("negative"), make("negative"))
    guider.set_cfg(CFG, 1.0)
    scene.sample(guider)
    assert scene.check() == {"positive": 2, "negative": 4}


def test_self_attention_guidance_evaluates_the_negative_once_more(scene: Scene) -> None:
    patched = nodes_sag.SelfAttentionGuidance.execute(scene.model, 0.5, 2.0)[0]
    scene.sample(scene.guider(patched))
    assert scene.check() == {"positive": 2, "negative": 4}


def test_rescale_cfg(scene: Scene) -> None:
    patched = nodes_model_advanced.RescaleCFG().patch(scene.model, 0.7)[0]
    scene.sample(scene.guider(patched), 2)
    assert scene.check() == {"positive": 4, "negative": 4}


def test_perturbed_attention_guidance_keeps_the_identity_in_its_extra_pass(
    scene: Scene, official: Any
) -> None:
    patched = nodes_pag.PerturbedAttentionGuidance.execute(scene.model, 3.0)[0]
    scene.sample(scene.guider(patched))
    # In order: both sides together, then the positive alone with perturbed self-attention.
    assert scene.recorder.calls == [2, 1, 2, 1]
    perturbed = scene.recorder.rows[2]
    del scene.recorder.rows[5], scene.recorder.rows[2]
    assert scene.check() == {"positive": 2, "negative": 2}
    sides = {
        side: scene.naive.predict(perturbed, official[f"out.tokens_{side}"])
        for side in ("positive", "negative")
    }
    errors = {side: relative_error(perturbed.out, out) for side, out in sides.items()}
    assert errors["positive"] < errors["negative"]


def test_context_windows(scene: Scene) -> None:
    patched = nodes_context_windows.ContextWindowsManualNode.execute(
        scene.model, 3, 1, "standard_static", 1, False, "pyramid", 0, False
    )[0]
    scene.sample(scene.guider(patched), 5)
    counts = scene.check()
    assert counts["positive"] == counts["negative"] >= 10
    assert max(scene.recorder.calls) < 10


def test_two_samplers_in_a_row_on_one_model(scene: Scene) -> None:
    scene.sample(scene.guider())
    scene.sample(scene.guider(), 3)
    assert scene.check() == {"positive": 8, "negative": 8}


def test_the_ksampler_path(scene: Scene, official: Any) -> None:
    sampler = comfy.samplers.KSampler(scene.model, 2, torch.device("cpu"), "dpmpp_2m", "karras")
    noise = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        sampler.sample(
            noise,
            scene.texts.make("positive"),
            scene.texts.make("negative"),
            cfg=CFG,
            latent_image=torch.zeros_like(noise),
            disable_pbar=True,
            seed=3,
        )
    assert scene.check() == {"positive": 4, "negative": 4}


def test_names_of_a_guider_nobody_knows_go_by_their_tag_and_are_positive_without_one(
    scene: Scene,
) -> None:
    guider = UnknownGuider(scene.model)
    make: Callable[..., list[Any]] = scene.texts.make
    ((text, extra),) = make("negative")
    tagged = [[text, rows.tagged(extra, rows.NEGATIVE)]]
    guider.inner_set_conds({"my_uncond": tagged, "subject": make("positive")})
    scene.sample(guider)
    assert scene.check() == {"positive": 2, "negative": 2}


def test_known_names_decide_whatever_a_tag_says(scene: Scene) -> None:
    """A positive that goes through Conditioning Zero Out into the negative keeps its tag."""
    guider = comfy.samplers.CFGGuider(scene.model)
    ((text, extra),) = scene.texts.make("negative")
    guider.set_conds(scene.texts.make("positive"), [[text, rows.tagged(extra, rows.POSITIVE)]])
    guider.set_cfg(CFG)
    scene.sample(guider)
    assert scene.check() == {"positive": 2, "negative": 2}


class UnknownGuider(comfy.samplers.CFGGuider):
    """A guider of another pack, with names of its own."""

    def predict_noise(
        self, x: torch.Tensor, timestep: Any, model_options: Any = None, seed: Any = None
    ) -> torch.Tensor:
        both = [self.conds["my_uncond"], self.conds["subject"]]
        out = comfy.samplers.calc_cond_batch(self.inner_model, both, x, timestep, model_options)
        return out[0] + 2.0 * (out[1] - out[0])


def test_a_caller_without_tags_is_told_by_position_and_said_once(
    scene: Scene, official: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log_once.cache_clear()
    positive, negative = scene.texts.make("positive"), scene.texts.make("negative")
    context = torch.cat([negative[0][0], positive[0][0]])
    y = scene.model.model.encode_adm(
        pooled_output=torch.cat([official["in.negative_pooled"], official["in.positive_pooled"]]),
        width=128,
        height=128,
    )
    options = {**scene.model.model_options["transformer_options"], "cond_or_uncond": [1, 0]}
    with torch.inference_mode(), caplog.at_level("INFO", logger="faithful_instantid"):
        for _ in range(2):
            scene.model.model.diffusion_model(
                torch.cat([official["in.x"]] * 2),
                torch.tensor([501.0, 501.0]),
                context=context,
                y=y,
                transformer_options=options,
            )
    assert scene.check() == {"positive": 2, "negative": 2}
    assert sum("without InstantID's tags" in message for message in caplog.messages) == 1
