"""The adapter predicts what the official pipeline predicts, number for number."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from faithful_instantid.instantid_core import host
from safetensors import safe_open

from .comparing import relative_error
from .conftest import GOLDEN
from .predict import SIDES, conditioning, noise_of, predict

# fp32 rounding over two implementations is near 1.5e-6.
TOLERANCE = 1e-5


def golden_cases() -> list[tuple[int, float, str]]:
    """Timestep, weight and mode of each prediction of the adapter without IdentityNet."""
    with safe_open(GOLDEN / "official.safetensors", "pt") as file:
        names = "\n".join(file.keys())
    pattern = r"out\.eps_positive\.t(\d+)\.ip([\d.]+)\.cn0\.0\.(plain|region_ip)$"
    return [(int(t), float(ip), mode) for t, ip, mode in re.findall(pattern, names, re.M)]


@pytest.mark.parametrize("side", SIDES)
def test_the_resampler_gives_the_official_tokens(
    official: dict[str, torch.Tensor], identity: Any, side: str
) -> None:
    found = getattr(identity, side).tokens
    assert found.shape == (1, 16, 64)
    assert relative_error(found, official[f"out.tokens_{side}"]) < TOLERANCE


@pytest.mark.parametrize(("timestep", "weight", "mode"), golden_cases())
def test_the_adapter_predicts_the_official_noise(
    official: dict[str, torch.Tensor],
    tiny_model: Any,
    identity: Any,
    timestep: int,
    weight: float,
    mode: str,
) -> None:
    mask = official["in.region_mask"] if mode == "region_ip" else None
    model = host.apply_adapter(tiny_model, identity, weight=weight, mask=mask)
    positive, negative = (conditioning(official, side) for side in SIDES)
    found = predict(model, positive, negative, noise_of(official, model, timestep), timestep)
    for side in SIDES:
        wanted = official[f"out.eps_{side}.t{timestep}.ip{weight}.cn0.0.{mode}"]
        assert relative_error(found[side], wanted) < TOLERANCE
