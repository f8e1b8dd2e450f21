"""Adapter and IdentityNet together predict what the official pipeline predicts, in every mode."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from faithful_instantid.instantid_core.host import apply_adapter, apply_identitynet
from safetensors import safe_open

import nodes as comfy_nodes

from .comparing import relative_error
from .conftest import GOLDEN
from .predict import SIDES, conditioning, noise_of, predict

Official = dict[str, torch.Tensor]
NAME = re.compile(r"out\.eps_positive\.t(\d+)\.ip([\d.]+)\.cn([\d.]+)\.(plain|region|depth)$")
TOLERANCE = 1e-5  # fp32 rounding over two implementations; 3e-6 was measured


def cases() -> list[tuple[int, float, float, str]]:
    """Timestep, weight, strength and mode of every golden prediction with IdentityNet in it."""
    with safe_open(GOLDEN / "official.safetensors", "pt") as file:
        found = [match.groups() for name in list(file.keys()) if (match := NAME.match(name))]
    return [(int(t), float(ip), float(cn), mode) for t, ip, cn, mode in found if float(cn)]


def test_all_modes_are_among_the_golden_numbers() -> None:
    assert {mode for *_, mode in cases()} == {"plain", "region", "depth"}
    assert len(cases()) == 11


@pytest.mark.parametrize(("timestep", "weight", "strength", "mode"), cases())
def test_the_golden_numbers(
    official: Official,
    tiny_model: Any,
    make_controlnet: Callable[[str], Any],
    identity: Any,
    timestep: int,
    weight: float,
    strength: float,
    mode: str,
) -> None:
    mask = official["in.region_mask"] if mode == "region" else None
    positive, negative = apply_identitynet(
        *(conditioning(official, side) for side in SIDES),
        make_controlnet("identitynet"),
        identity,
        official["in.hint"].movedim(1, -1),
        strength=strength,
        mask=mask,
    )
    if mode == "depth":
        positive, negative = comfy_nodes.ControlNetApplyAdvanced().apply_controlnet(
            *(positive, negative, make_controlnet("depthnet")),
            official["in.depth_hint"].movedim(1, -1),
            *(0.4, 0.0, 1.0),
        )
    model = apply_adapter(tiny_model, identity, weight=weight, mask=mask)
    found = predict(model, positive, negative, noise_of(official, model, timestep), timestep)
    for side in SIDES:
        wanted = official[f"out.eps_{side}.t{timestep}.ip{weight}.cn{strength}.{mode}"]
        assert relative_error(found[side], wanted) < TOLERANCE
