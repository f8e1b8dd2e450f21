"""Every kind of SDXL model: number formats, few-step models, cut-down relatives, compiled ones."""

from __future__ import annotations

from typing import Any

import comfy.samplers
import pytest
import torch
from comfy_extras import nodes_model_advanced
from faithful_instantid.devtools import tiny_sdxl
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.errors import WrongModelError
from faithful_instantid.instantid_core.unet_layout import measure_unet
from faithful_instantid.nodes.apply import ApplyAdapter
from faithful_instantid.tests.golden.weights import fill

from .comparing import relative_error
from .naive_adapter import NaiveAdapter
from .predict import SIDES
from .scene import Scene
from .test_adapter_inputs import unet_of

OPEN = (0.2, 0.8)
TOLERANCE = 1e-5  # fp32 rounding


# Rounding of the number format in which attention is computed, through 70 layers. An 8 bit model
# is compared with itself: its weights are what they are, and the identity comes on top of them.
FORMATS = {
    "fp16": (torch.float16, None, 5e-3),
    "bf16": (torch.bfloat16, None, 4e-2),
    "fp8 in bf16": (torch.float8_e4m3fn, torch.bfloat16, 4e-2),
    "fp8 in fp32": (torch.float8_e5m2, torch.float32, 1e-5),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_model_of_any_number_format_gets_the_identity_on_top_of_what_it_is(
    official: dict[str, torch.Tensor], identity: Any, adapter_weights: Any, kind: str
) -> None:
    dtype, compute_dtype, tolerance = FORMATS[kind]
    model = tiny_sdxl.build_model(
        lambda shapes: fill(shapes, "unet"), dtype, compute_dtype=compute_dtype
    )
    assert model.model.diffusion_model.input_blocks[4][1].proj_in.weight.dtype == dtype
    scene = Scene(official, model, identity, NaiveAdapter(model, adapter_weights["ip_adapter"]))
    guider = scene.guider()
    guider.set_cfg(1.0)
    scene.sample(guider)
    row = scene.recorder.rows[-1]
    wanted = scene.naive.predict(row, official["out.tokens_positive"])
    bare = scene.naive.predict(row, official["out.tokens_positive"], weight=0.0)
    assert relative_error(row.out, wanted) < tolerance < relative_error(row.out, bare) / 3


FEW_STEPS = {
    # name: (how the model is sampled, sampler, scheduler, steps)
    "lcm": ("lcm", "lcm", "sgm_uniform", 4),
    "lightning": (None, "euler", "sgm_uniform", 4),
    "turbo": (None, "euler_ancestral", "normal", 1),
}


@pytest.mark.parametrize("kind", FEW_STEPS)
def test_models_of_few_steps_draw_the_identity_at_cfg_1_within_its_window(
    scene: Scene, kind: str
) -> None:
    sampling, sampler, scheduler, steps = FEW_STEPS[kind]
    start, end = OPEN if steps > 1 else (0.0, 1.0)
    model = scene.bare
    if sampling is not None:
        model = nodes_model_advanced.ModelSamplingDiscrete().patch(model, sampling, False)[0]
    model = host.apply_adapter(model, scene.identity, start_percent=start, end_percent=end)
    device = torch.device("cpu")
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    run = comfy.samplers.KSampler(
        scene.recorder.on(model), steps, device, sampler=sampler, scheduler=scheduler
    )
    with torch.inference_mode():
        run.sample(
            noise,
            *(scene.texts.make(side) for side in SIDES),
            cfg=1.0,
            latent_image=torch.zeros_like(noise),
            disable_pbar=True,
            seed=3,
        )
    assert scene.recorder.calls == [1] * steps
    expected = [0.8 if steps == 1 or is_open(row.timestep) else 0.0 for row in scene.recorder.rows]
    assert 0.8 in expected and (steps == 1 or 0.0 in expected)
    for row, weight in zip(scene.recorder.rows, expected, strict=True):
        wanted = scene.naive.predict(row, scene.official["out.tokens_positive"], weight=weight)
        assert relative_error(row.out, wanted) < TOLERANCE


def is_open(timestep: torch.Tensor) -> bool:
    """Say whether a timestep, 999 to 0, lies in the window."""
    start, end = OPEN
    return (1.0 - end) * 999 <= float(timestep) <= (1.0 - start) * 999


# ComfyUI's own figures of SDXL's smaller relatives (comfy/model_detection.py).
CUT_DOWN: dict[str, dict[str, Any]] = {
    "SSD-1B": {
        "transformer_depth": [0, 0, 2, 2, 4, 4],
        "transformer_depth_output": [0, 0, 0, 1, 1, 2, 10, 4, 4],
        "transformer_depth_middle": -1,
    },
    "Segmind-Vega": {
        "transformer_depth": [0, 0, 1, 1, 2, 2],
        "transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2],
        "transformer_depth_middle": -1,
    },
    "KOALA-700M": {
        "num_res_blocks": [1, 1, 1],
        "transformer_depth": [0, 2, 5],
        "transformer_depth_output": [0, 0, 2, 2, 5, 5],
        "transformer_depth_middle": -2,
    },
    "KOALA-1B": {
        "num_res_blocks": [1, 1, 1],
        "transformer_depth": [0, 2, 6],
        "transformer_depth_output": [0, 0, 2, 2, 6, 6],
        "transformer_depth_middle": 6,
    },
}
REFINER = {
    "channel_mult": [1, 2, 4, 4],
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [0, 0, 4, 4, 4, 4, 0, 0],
    "transformer_depth_output": [0, 0, 0, 4, 4, 4, 4, 4, 4, 0, 0, 0],
    "transformer_depth_middle": 4,
}


@pytest.mark.parametrize("kind", CUT_DOWN)
def test_a_smaller_relative_of_sdxl_is_refused_by_its_real_structure(
    identity: Any, kind: str
) -> None:
    with pytest.raises(WrongModelError, match="is a cut-down SDXL such as SSD-1B") as caught:
        ApplyAdapter.execute(unet_of(2048, **CUT_DOWN[kind]), identity, 0.8, 0.0, 1.0)
    assert "of context width 2048" in str(caught.value)


def test_the_refiner_is_refused_by_its_real_structure(identity: Any) -> None:
    refiner = unet_of(1280, **REFINER)
    with pytest.raises(WrongModelError, match=r"is the SDXL refiner \(\d+ cross-attentions"):
        ApplyAdapter.execute(refiner, identity, 0.8, 0.0, 1.0)


def test_a_model_that_another_pack_has_compiled_is_known_by_what_is_inside(
    tiny_model: Any,
) -> None:
    unet = tiny_model.model.diffusion_model
    assert measure_unet(torch.compile(unet, backend="eager")) == measure_unet(unet)
