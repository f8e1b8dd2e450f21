"""A real SD1.5 at a hundredth of the size: all 16 cross-attentions, 32 channels instead of 320.

Needs ComfyUI on sys.path. Weights come from the caller, under the names diffusers uses, and so do
those of the adapter, in the two files that SD1.5's InstantID has.
"""

from __future__ import annotations

from typing import Any

import comfy.model_base
import comfy.supported_models
import comfy.utils
import torch

from ..instantid_core.resampler import Resampler, ResamplerSize
from .tiny_adapter import PartWeights
from .tiny_sdxl import Weights, controlnet, load, names_of_controlnet, patcher, wrapped

CONTEXT_WIDTH = 48
LEVELS = (32, 64, 128, 128)  # channels
UNET_CONFIG: dict[str, Any] = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
    "num_heads": 8,
    "num_head_channels": -1,
    "context_dim": CONTEXT_WIDTH,
    "adm_in_channels": None,
    "use_linear_in_transformer": False,
    "use_spatial_transformer": True,
    "legacy": False,
    "use_temporal_attention": False,
    "use_temporal_resblock": False,
}
RESAMPLER = ResamplerSize(output_width=CONTEXT_WIDTH)
RESIDUALS = 12  # of the ControlNet, besides the middle one


class TinySD15(comfy.supported_models.SD15):
    """ComfyUI's own SD1.5 configuration with the small widths."""

    unet_config: dict[str, Any] = {
        **comfy.supported_models.SD15.unet_config,
        "model_channels": 32,
        "context_dim": CONTEXT_WIDTH,
    }


def build_model(weights: Weights, dtype: torch.dtype = torch.float32) -> Any:
    """Return a ModelPatcher around a tiny SD1.5 UNet whose weights `weights` makes."""
    config = TinySD15(dict(UNET_CONFIG))
    config.set_inference_dtype(dtype, None)
    model = comfy.model_base.BaseModel(config, device=torch.device("cpu"))
    load(model.diffusion_model, _diffusers_names(), weights)
    return patcher(model)


def build_controlnet(weights: Weights, dtype: torch.dtype = torch.float32) -> Any:
    """Return ComfyUI's ControlNet object around a tiny SD1.5 ControlNet (IdentityNet's shape)."""
    module = controlnet(UNET_CONFIG, dtype)
    load(module, controlnet_names(), weights)
    return wrapped(module)


def _diffusers_names() -> dict[str, str]:
    """Map diffusers' names to ComfyUI's."""
    return comfy.utils.unet_to_diffusers(dict(UNET_CONFIG))


def controlnet_names() -> dict[str, str]:
    """Map diffusers' names of a ControlNetModel to ComfyUI's."""
    return names_of_controlnet(_diffusers_names(), RESIDUALS)


def layer_shapes(levels: tuple[int, ...] = LEVELS, width: int = CONTEXT_WIDTH) -> dict[str, Any]:
    """Return the names of ip-state.ckpt's layers and their shapes, as tensors without values."""
    channels = {f"down_blocks.{b}.attentions.{i}": levels[b] for b in (0, 1, 2) for i in (0, 1)}
    channels["mid_block.attentions.0"] = levels[3]
    ups = {f"up_blocks.{b}.attentions.{i}": levels[3 - b] for b in (1, 2, 3) for i in (0, 1, 2)}
    return {
        f"{attention}.transformer_blocks.0.attn2.processor.{part}.weight": torch.empty(
            own, width, device="meta"
        )
        for attention, own in (channels | ups).items()
        for part in ("to_k_ip", "to_v_ip")
    }


def adapter_files(weights: PartWeights) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the contents of a tiny image_proj.ckpt and of a tiny ip-state.ckpt."""
    resampler = Resampler(RESAMPLER, torch.nn, device=torch.device("meta"))
    return (
        {"state_dict": weights(resampler.state_dict(), "sd15 image_proj")},
        {"state_dict": weights(layer_shapes(), "sd15 ip-state")},
    )
