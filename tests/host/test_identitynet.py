"""IdentityNet predicts what the official pipeline predicts, and minds its own business."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from faithful_instantid.instantid_core.host.conditioning import apply_identitynet
from faithful_instantid.instantid_core.identity import Identity, IdentitySide

from .conftest import relative_error
from .predict import SIDES, conditioning, noise_of, predict

Official = dict[str, torch.Tensor]
MakeControlNet = Callable[[str], Any]


@pytest.fixture(scope="module")
def identity(official: Official) -> Identity:
    """The golden tokens; IdentityNet needs no K and V."""
    positive, negative = (
        IdentitySide(official[f"out.tokens_{side}"], torch.empty(0)) for side in SIDES
    )
    embedding = official["in.face_embedding"]
    return Identity(embedding, torch.zeros_like(embedding), positive, negative)


@pytest.mark.parametrize("timestep", [21, 501, 981])
def test_plain_golden_numbers_without_adapter(
    official: Official,
    tiny_model: Any,
    make_controlnet: MakeControlNet,
    identity: Identity,
    timestep: int,
) -> None:
    positive, negative = apply_identitynet(
        conditioning(official, "positive"),
        conditioning(official, "negative"),
        make_controlnet("identitynet"),
        identity,
        official["in.hint"].movedim(1, -1),
        strength=0.8,
    )
    found = predict(
        tiny_model, positive, negative, noise_of(official, tiny_model, timestep), timestep
    )
    for side in SIDES:
        wanted = official[f"out.eps_{side}.t{timestep}.ip0.0.cn0.8.plain"]
        print(relative_error(found[side], wanted))
        assert relative_error(found[side], wanted) < 1e-5
