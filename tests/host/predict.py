"""Ask a MODEL for one prediction through ComfyUI's own guider, as a sampler would."""

from __future__ import annotations

from typing import Any

import comfy.samplers
import torch

SIDES = ("positive", "negative")


def conditioning(official: dict[str, torch.Tensor], side: str) -> list[Any]:
    """The golden text of one side as ComfyUI's CONDITIONING."""
    return [[official[f"in.{side}"], {"pooled_output": official[f"in.{side}_pooled"]}]]


def noise_of(official: dict[str, torch.Tensor], model: Any, timestep: int) -> torch.Tensor:
    """What a sampler holds at `timestep` so that the UNet receives `in.x`."""
    sigma = sigma_of(model, timestep)
    return official["in.x"] * (sigma**2 + 1.0).sqrt()


def sigma_of(model: Any, timestep: int) -> torch.Tensor:
    return model.get_model_object("model_sampling").sigmas[timestep]


def predict(
    model: Any,
    positive: list[Any],
    negative: list[Any],
    x: torch.Tensor,
    timestep: int,
    *,
    denoise_mask: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Return the noise predicted for each side at one timestep (0..999).

    x: (B, 4, h, w), what the sampler holds (see `noise_of`). Everything a sampling does is done:
    models are loaded, wrappers run, ControlNets are prepared and cleaned up.
    """
    sampler = OnePrediction(x)
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    sigma = sigma_of(model, timestep)
    with torch.inference_mode():
        guider.sample(
            torch.zeros_like(x),
            torch.zeros_like(x),
            sampler,
            torch.stack([sigma, torch.zeros_like(sigma)]),
            denoise_mask=denoise_mask,
        )
    return {
        side: (x - denoised) / sigma for side, denoised in zip(SIDES, sampler.denoised, strict=True)
    }


class OnePrediction(comfy.samplers.Sampler):
    """A sampler of no steps: evaluates both sides once, in one batch, and keeps the outcome."""

    def __init__(self, x: torch.Tensor) -> None:
        self.x = x
        self.denoised: list[torch.Tensor] = []

    def sample(
        self,
        model_wrap: Any,
        sigmas: torch.Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: torch.Tensor,
        *unused: Any,
        **also_unused: Any,
    ) -> torch.Tensor:
        self.denoised = comfy.samplers.calc_cond_batch(
            model_wrap.inner_model,
            [model_wrap.conds[side] for side in SIDES],
            self.x,
            sigmas[0].repeat(self.x.shape[0]),
            extra_args["model_options"],
        )
        return noise
