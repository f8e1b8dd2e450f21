"""The helper that asks for one prediction asks for the right one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from .comparing import relative_error
from .predict import SIDES, conditioning, noise_of, predict


@pytest.mark.parametrize("timestep", [21, 501, 981])
def test_a_prediction_without_instantid_is_the_bare_unets(
    official: dict[str, torch.Tensor], tiny_model: Any, timestep: int
) -> None:
    positive, negative = (conditioning(official, side) for side in SIDES)
    x = noise_of(official, tiny_model, timestep)
    found = predict(tiny_model, positive, negative, x, timestep)
    model = tiny_model.model
    for side in SIDES:
        y = model.encode_adm(pooled_output=official[f"in.{side}_pooled"], width=128, height=128)
        with torch.inference_mode():
            wanted = model.diffusion_model(
                official["in.x"],
                torch.tensor([float(timestep)]),
                context=official[f"in.{side}"],
                y=y,
            )
        assert relative_error(found[side], wanted) < 1e-5  # fp32 rounding of the input scaling
