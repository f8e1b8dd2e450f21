"""SDXL, IdentityNet and identities with random weights, in this process, at full size or tiny."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import comfy.model_base
import comfy.model_management
import comfy.samplers
import numpy as np
import torch
from torch import Tensor

from ...instantid_core.identity import Identity, IdentitySide
from ...instantid_core.keypoints import FacePoints, Keypoints
from ...instantid_core.unet_layout import measure_unet
from .. import tiny_sdxl
from ..full_size import files, layouts

TOKENS = 16
# Five points of a face in units of its width, from its middle.
FACE = np.array([(-0.2, -0.15), (0.2, -0.15), (0, 0.05), (-0.15, 0.25), (0.15, 0.25)], np.float32)
CFG = 5.0
TIMESTEP = 500
FALL = 30  # timesteps from a call to the next, where noise levels fall
CPU = torch.device("cpu")
Size = int | tuple[int, int]  # pixels of a square picture's side, or width and height


@dataclass(frozen=True)
class Models:
    """What the cases measure with. positive, negative: ComfyUI's CONDITIONING."""

    model: Any
    control_net: Any
    positive: list[Any]
    negative: list[Any]
    dtype: torch.dtype

    @property
    def device(self) -> torch.device:
        return comfy.model_management.get_torch_device()

    def identity(self, seed: int) -> Identity:
        """An identity of random numbers; each seed is another person."""
        layout = measure_unet(self.model.model.diffusion_model)
        generator = torch.Generator().manual_seed(seed)

        def side() -> IdentitySide:
            tokens = torch.randn(1, TOKENS, layout.context_width, generator=generator)
            return IdentitySide(tokens, torch.randn(layout.kv_size(TOKENS), generator=generator))

        embedding = torch.randn(512, generator=generator)
        return Identity(embedding, torch.zeros(512), side(), side())


def make(size: str, dtype: torch.dtype, device: torch.device = CPU) -> Models:
    """Build `tiny` or `full` models; full-size ones need about 8 GB in 16 bit.

    device: where they are made. On a GPU that takes seconds, and ComfyUI must be told to keep
    models there.
    """
    tiny = size == "tiny"
    config = tiny_sdxl.TinySDXL(dict(tiny_sdxl.UNET_CONFIG)) if tiny else layouts.config()
    config.set_inference_dtype(dtype, None)
    model = comfy.model_base.SDXL(config, device=device)
    unet = dict(config.unet_config)
    fill(model.diffusion_model)
    generator = torch.Generator().manual_seed(0)
    pooled = unet["adm_in_channels"] - 6 * 256

    def text() -> list[Any]:
        context = torch.randn(1, 77, unet["context_dim"], generator=generator)
        return [[context, {"pooled_output": torch.randn(1, pooled, generator=generator)}]]

    control = tiny_sdxl.controlnet(unet, dtype, device)
    fill(control)
    nets = tiny_sdxl.patcher(model), tiny_sdxl.wrapped(control)
    return Models(*nets, text(), text(), dtype)


def fill(module: torch.nn.Module) -> None:
    """Give every parameter random numbers that keep activations finite, as the files have them."""
    block = torch.from_numpy(files.normal_block(0)).to(next(module.parameters()).device)
    for name, parameter in module.named_parameters():
        mean, spread = files.scale_of(name, tuple(parameter.shape))
        scaled = block[: parameter.numel()].mul(spread).add_(mean).to(parameter.dtype)
        for part in parameter.data.view(-1).split(len(block)):
            part.copy_(scaled[: len(part)])


def width_and_height(size: Size) -> tuple[int, int]:
    """Return (width, height) of a picture, in pixels."""
    return (size, size) if isinstance(size, int) else size


def keypoints(size: Size, place: int = 0, places: int = 1) -> Keypoints:
    """One face in the place-th of `places` equal columns of a picture."""
    width, height = width_and_height(size)
    column = width / places
    middle = np.array([(place + 0.5) * column, height / 2], np.float32)
    kps = middle + FACE * 0.6 * column
    half = 0.3 * column
    face = FacePoints(kps, np.concatenate([middle - half, middle + half]))
    return Keypoints(width, height, ((face,),))


def noise(size: Size, batch: int) -> Tensor:
    """(batch, 4, h, w) of random numbers, for pictures of that size."""
    width, height = width_and_height(size)
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, 4, height // 8, width // 8, generator=generator)


def calls(
    model: Any, positive: Any, negative: Any, x: Tensor, count: int, clock: Any, falling: int = 0
) -> tuple[list[float], Tensor]:
    """Evaluate both sides `count` times in one sampling; return each call's seconds, and the last.

    One more call goes before, in which models, K and V are moved to the device. falling: timesteps
    from a call to the next, as in a sampling.
    """
    sampling = model.get_model_object("model_sampling")
    sigmas = [sampling.sigmas[TIMESTEP - falling * number] for number in range(count + 1)]
    sampler = _Calls(sigmas, clock)
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(CFG)
    with torch.inference_mode():
        steps = torch.stack([sigmas[0], torch.zeros_like(sigmas[0])])
        guider.sample(x, torch.zeros_like(x), sampler, steps)
    return sampler.seconds[1:], sampler.denoised


class _Calls(comfy.samplers.Sampler):
    """A sampler of no steps: asks for the same prediction again and again, with a clock."""

    def __init__(self, sigmas: list[Tensor], clock: Any) -> None:
        self.sigmas, self.clock = sigmas, clock
        self.seconds: list[float] = []
        self.denoised = torch.zeros(())

    def sample(self, model_wrap: Any, sigmas: Tensor, extra_args: Any, *more: Any) -> Tensor:
        _, noise, *_ = more  # after ComfyUI's callback
        conds = [model_wrap.conds[side] for side in ("positive", "negative")]
        net, options = model_wrap.inner_model, extra_args["model_options"]
        x = noise * (sigmas[0] ** 2 + 1).sqrt()

        def call(sigma: Tensor) -> None:
            repeated = sigma.to(sigmas).repeat(x.shape[0])
            sides = comfy.samplers.calc_cond_batch(net, conds, x, repeated, options)
            self.denoised = torch.cat(sides)

        self.seconds = [self.clock.time(functools.partial(call, s)) for s in self.sigmas]
        return noise
