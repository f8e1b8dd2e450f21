"""A tiny SD1.5 with InstantID's files for it, the adapter loaded as users load it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from faithful_instantid.devtools import tiny_sd15
from faithful_instantid.instantid_core import host
from faithful_instantid.tests.golden.weights import fill

from . import plain_sd15
from .plain_sd15 import PlainPerson
from .predict import SIDES, conditioning, noise_of, predict

TIMESTEP = 501
HEIGHT, WIDTH = 16, 24  # latent cells: not square
Tensors = dict[str, torch.Tensor]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True, eq=False)
class World:
    """A model, its parts as weights under diffusers' names, and everything that is put in.

    given: `in.x` and the texts, as the helpers of `predict` want them. image_proj, layers: what is
    in the two files.
    """

    model: Any
    net: Any
    adapter: Any
    unet: Tensors
    controlnet: Tensors
    image_proj: Tensors
    layers: Tensors
    given: Tensors
    hint: torch.Tensor  # (B,H,W,3)

    def identity(self, seed: int = 7) -> Any:
        return host.encode_identity(self.adapter, noise(512, seed=seed))

    def tokens(self, side: str, seed: int = 7) -> torch.Tensor:
        face = noise(512, seed=seed)
        return plain_sd15.resampler(
            self.image_proj, face if side == "positive" else torch.zeros_like(face)
        )

    def share(self, side: str, seed: int = 7, **more: Any) -> PlainPerson:
        return PlainPerson(self.tokens(side, seed), self.layers, **more)

    def conditionings(self) -> list[Any]:
        return [conditioning(self.given, side) for side in SIDES]

    def predicted(self, model: Any, pair: list[Any] | None = None) -> Tensors:
        """Return what ComfyUI predicts for each side."""
        x = noise_of(self.given, model, TIMESTEP)
        return predict(model, *(pair or self.conditionings()), x, TIMESTEP)

    def plain(self, side: str, shares: list[PlainPerson] | None = None, residuals: Any = ()) -> Any:
        """Return what the plain SD1.5 predicts for a side."""
        x, text = self.given["in.x"], self.given[f"in.{side}"]
        return plain_sd15.unet(self.unet, x, TIMESTEP, text, shares or (), residuals)

    def residuals(self, side: str, seed: int = 7, **more: Any) -> list[torch.Tensor]:
        people = more.pop("people", [(self.tokens(side, seed), None)])
        return plain_sd15.controlnet(
            self.controlnet,
            self.given["in.x"],
            TIMESTEP,
            people,
            self.hint.movedim(-1, 1),
            **more,
        )


def make_world(folder: Path) -> World:
    """Make everything; the adapter is loaded from its two files."""
    kept: dict[str, Tensors] = {}

    def keep(tag: str) -> Any:
        def weights(shapes: Tensors) -> Tensors:
            kept[tag] = fill(shapes, f"sd15 {tag}")
            return kept[tag]

        return weights

    model = tiny_sd15.build_model(keep("unet"))
    net = tiny_sd15.build_controlnet(keep("identitynet"))
    image_proj, layers = tiny_sd15.adapter_files(fill)
    torch.save(image_proj, folder / "image_proj.ckpt")
    torch.save(layers, folder / "ip-state.ckpt")
    width = tiny_sd15.CONTEXT_WIDTH
    given = {"in.x": noise(2, 4, HEIGHT, WIDTH, seed=1)}
    for number, side in enumerate(SIDES):
        given[f"in.{side}"] = noise(1, 77, width, seed=2 + number)
        given[f"in.{side}_pooled"] = noise(1, width, seed=4 + number)
    return World(
        model,
        net,
        host.load_adapter(folder / "image_proj.ckpt"),
        kept["unet"],
        kept["identitynet"],
        image_proj["state_dict"],
        layers["state_dict"],
        given,
        noise(2, 8 * HEIGHT, 8 * WIDTH, 3, seed=6).clamp(0, 1),
    )
