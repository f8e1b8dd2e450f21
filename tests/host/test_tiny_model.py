"""The tiny SDXL is the one the golden numbers were made with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from .comparing import relative_error


@pytest.mark.parametrize("side", ["positive", "negative"])
@pytest.mark.parametrize("timestep", [21, 501, 981])
def test_tiny_unet_with_plain_controlnet_predicts_the_golden_numbers(
    official: dict[str, torch.Tensor],
    tiny_model: Any,
    make_controlnet: Callable[[str], Any],
    side: str,
    timestep: int,
) -> None:
    model = tiny_model.model
    y = model.encode_adm(
        pooled_output=official[f"in.{side}_pooled"], width=128, height=128, crop_w=0, crop_h=0
    )
    t = torch.tensor([float(timestep)])
    with torch.inference_mode():
        control = make_controlnet("identitynet").control_model(
            x=official["in.x"],
            hint=official["in.hint"],
            timesteps=t,
            context=official[f"out.tokens_{side}"],
            y=y,
        )
        control = {part: [x * 0.8 for x in residuals] for part, residuals in control.items()}
        found = model.diffusion_model(
            official["in.x"], t, context=official[f"in.{side}"], y=y, control=control
        )
    wanted = official[f"out.eps_{side}.t{timestep}.ip0.0.cn0.8.plain"]
    assert relative_error(found, wanted) < 1e-5  # fp32 rounding over two implementations
