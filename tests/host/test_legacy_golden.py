"""The old node ids predict what the old pack predicts, number for number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from faithful_instantid.nodes.legacy.apply import ApplyInstantID, ApplyInstantIDAdvanced
from faithful_instantid.nodes.legacy.separate import (
    ApplyInstantIDControlNet,
    InstantIDAttentionPatch,
)
from safetensors.torch import load_file

from nodes import ControlNetApplyAdvanced

from .comparing import relative_error
from .conftest import GOLDEN
from .given_faces import GivenFaces
from .predict import SIDES, conditioning, noise_of, predict

TIMESTEP = 501
TOLERANCE = 1e-4  # what was promised; fp32 rounding over two implementations is near 2e-6

Nodes = tuple[Any, Any, Any]  # model, positive, negative


class Chains:
    """The chains of old nodes that the golden numbers were made with."""

    def __init__(
        self,
        official: dict[str, torch.Tensor],
        second: torch.Tensor,
        model: Any,
        adapter: Any,
        make_controlnet: Callable[[str], Any],
    ) -> None:
        self.official, self.model, self.adapter = official, model, adapter
        self.faces = GivenFaces([official["in.face_embedding"], second])
        self.identitynet, self.depthnet = (
            make_controlnet("identitynet"),
            make_controlnet("depthnet"),
        )
        self.positive, self.negative = (conditioning(official, side) for side in SIDES)
        self.hint = official["in.hint"].movedim(1, -1)

    def plain(self, **more: Any) -> Nodes:
        return ApplyInstantID.execute(*self._inputs(1), 0.8, 0, 1, self.hint, **more).args

    def advanced(self, noise: float, combine: str) -> Nodes:
        widgets = (0.7, 0.9, 0.0, 1.0, noise, combine)
        return ApplyInstantIDAdvanced.execute(*self._inputs(2), *widgets, self.hint).args

    def then_depth(self) -> Nodes:
        model, positive, negative = self.plain()
        image = self.official["in.depth_hint"].movedim(1, -1)
        return model, *ControlNetApplyAdvanced().apply_controlnet(
            positive, negative, self.depthnet, image, 0.4, 0.0, 1.0
        )

    def separate(self) -> Nodes:
        model, embeds = InstantIDAttentionPatch.execute(
            self.adapter, self.faces, self.faces.photos[:1], self.model, 0.8, 0.0, 1.0, 0.2
        ).args
        conditionings = ApplyInstantIDControlNet.execute(
            embeds, self.identitynet, self.hint, self.positive, self.negative, 0.8, 0.0, 1.0
        ).args
        return model, *conditionings

    def _inputs(self, photos: int) -> tuple[Any, ...]:
        return (
            *(self.adapter, self.faces, self.identitynet, self.faces.photos[:photos]),
            *(self.model, self.positive, self.negative),
        )


CASES: dict[str, Callable[[Chains], Nodes]] = {
    "ApplyInstantID": Chains.plain,
    "ApplyInstantID.mask": lambda c: c.plain(mask=c.official["in.region_mask"]),
    "ApplyInstantID.then_depth": Chains.then_depth,
    "Advanced.average": lambda c: c.advanced(0.0, "average"),
    "Advanced.norm_average": lambda c: c.advanced(0.3, "norm average"),
    "Advanced.concat": lambda c: c.advanced(0.0, "concat"),
    "AttentionPatch+ControlNet": Chains.separate,
}


@pytest.fixture(scope="module")
def old() -> dict[str, torch.Tensor]:
    """The old pack's predictions on the tiny model."""
    return load_file(GOLDEN / "legacy.safetensors")


@pytest.fixture(scope="module")
def chains(
    official: dict[str, torch.Tensor],
    old: dict[str, torch.Tensor],
    tiny_model: Any,
    adapter: Any,
    make_controlnet: Callable[[str], Any],
) -> Chains:
    return Chains(official, old["in.face_embedding_2"], tiny_model, adapter, make_controlnet)


def noise_predicted(chains: Chains, case: str) -> dict[str, torch.Tensor]:
    model, positive, negative = CASES[case](chains)
    x = noise_of(chains.official, model, TIMESTEP)
    return predict(model, positive, negative, x, TIMESTEP)


def test_every_golden_entry_of_the_old_pack_is_compared(old: dict[str, torch.Tensor]) -> None:
    entries = {name.split(".", 2)[2] for name in old if name.startswith("out.")}
    assert entries == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_the_old_nodes_predict_the_old_noise(
    chains: Chains, old: dict[str, torch.Tensor], case: str
) -> None:
    found = noise_predicted(chains, case)
    for side in SIDES:
        assert relative_error(found[side], old[f"out.eps_{side}.{case}"]) < TOLERANCE


@pytest.mark.parametrize("case", ["ApplyInstantID.then_depth", "AttentionPatch+ControlNet"])
def test_running_a_chain_five_times_gives_the_same_numbers(chains: Chains, case: str) -> None:
    first = noise_predicted(chains, case)
    for _ in range(4):
        again = noise_predicted(chains, case)
        assert all(torch.equal(first[side], again[side]) for side in SIDES)
