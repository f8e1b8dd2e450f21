"""A real SDXL at a thousandth of the size: all 70 cross-attentions, 32 channels instead of 320.

Needs ComfyUI on sys.path. Weights come from the caller, under the names diffusers uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.supported_models
import comfy.utils
import torch

Weights = Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]]

CONTEXT_WIDTH = 64
POOLED_WIDTH = 32
ADM_WIDTH = 6 * 256 + POOLED_WIDTH

UNET_CONFIG: dict[str, Any] = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [2, 2, 2],
    "channel_mult": [1, 2, 4],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "transformer_depth_middle": 10,
    "num_heads": -1,
    "num_head_channels": 32,
    "context_dim": CONTEXT_WIDTH,
    "adm_in_channels": ADM_WIDTH,
    "num_classes": "sequential",
    "use_linear_in_transformer": True,
    "use_spatial_transformer": True,
    "legacy": False,
    "use_temporal_attention": False,
    "use_temporal_resblock": False,
}


class TinySDXL(comfy.supported_models.SDXL):
    """ComfyUI's own SDXL configuration with the small widths."""

    unet_config: dict[str, Any] = {
        **comfy.supported_models.SDXL.unet_config,
        "model_channels": 32,
        "context_dim": CONTEXT_WIDTH,
        "adm_in_channels": ADM_WIDTH,
    }
    unet_extra_config: dict[str, Any] = {"num_heads": -1, "num_head_channels": 32}


def build_model(
    weights: Weights,
    dtype: torch.dtype = torch.float32,
    *,
    in_channels: int = 4,
    compute_dtype: torch.dtype | None = None,
) -> Any:
    """Return a ModelPatcher around a tiny SDXL UNet whose weights `weights` makes.

    in_channels: 9 makes an inpainting model, which also sees a mask and the masked picture.
    compute_dtype: what weights are cast to at each use, for a `dtype` of 8 bit.
    """
    config = TinySDXL({**UNET_CONFIG, "in_channels": in_channels})
    config.set_inference_dtype(dtype, compute_dtype)
    model = comfy.model_base.SDXL(config, device=torch.device("cpu"))
    if in_channels == 9:
        model.set_inpaint()
    names = _diffusers_names()
    load(model.diffusion_model, names, weights)
    return patcher(model)


def patcher(model: Any) -> Any:
    """Return ComfyUI's ModelPatcher around a model."""
    kind = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
    return kind(
        model,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def build_controlnet(weights: Weights, dtype: torch.dtype = torch.float32) -> Any:
    """Return ComfyUI's ControlNet object around a tiny SDXL ControlNet (IdentityNet's shape)."""
    module = controlnet(UNET_CONFIG, dtype)
    load(module, controlnet_names(), weights)
    return wrapped(module)


def wrapped(module: torch.nn.Module) -> Any:
    """Return ComfyUI's ControlNet object around a module of `controlnet`."""
    return comfy.controlnet.ControlNet(
        module.eval(),
        load_device=comfy.model_management.get_torch_device(),
        manual_cast_dtype=None,
    )


_UNET_ONLY = ("out_channels", "transformer_depth_output", "dtype", "disable_unet_model_creation")


def controlnet(
    unet_config: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> torch.nn.Module:
    """Return the module of a ControlNet for a UNet of this configuration."""
    return comfy.cldm.cldm.ControlNet(
        **{k: v for k, v in unet_config.items() if k not in _UNET_ONLY},
        hint_channels=3,
        dtype=dtype,
        device=torch.device(device),
        operations=comfy.ops.manual_cast,
    )


def _diffusers_names() -> dict[str, str]:
    """Map diffusers' names to ComfyUI's, without the second name it has for add_embedding."""
    names = comfy.utils.unet_to_diffusers(dict(UNET_CONFIG))
    return {a: b for a, b in names.items() if not a.startswith("class_embedding.")}


def controlnet_names() -> dict[str, str]:
    """Map diffusers' names of a ControlNetModel to ComfyUI's."""
    return names_of_controlnet(_diffusers_names(), 9)


def names_of_controlnet(unet: Mapping[str, str], residuals: int) -> dict[str, str]:
    """Do so by a UNet's names; residuals: how many the net gives, besides the middle one."""
    names = {
        name: target
        for name, target in unet.items()
        if not name.startswith(("up_blocks.", "conv_out.", "conv_norm_out."))
    }
    for part in ("weight", "bias"):
        names[f"controlnet_mid_block.{part}"] = f"middle_block_out.0.{part}"
        names[f"controlnet_cond_embedding.conv_in.{part}"] = f"input_hint_block.0.{part}"
        for i in range(6):
            names[f"controlnet_cond_embedding.blocks.{i}.{part}"] = (
                f"input_hint_block.{2 * (i + 1)}.{part}"
            )
        names[f"controlnet_cond_embedding.conv_out.{part}"] = f"input_hint_block.14.{part}"
        for i in range(residuals):
            names[f"controlnet_down_blocks.{i}.{part}"] = f"zero_convs.{i}.0.{part}"
    return names


def load(module: torch.nn.Module, names: Mapping[str, str], weights: Weights) -> None:
    """Load what `weights` makes for the diffusers names that the module has; nothing may miss."""
    own = module.state_dict()
    shapes = {name: own[target] for name, target in names.items() if target in own}
    made = weights(shapes)
    module.load_state_dict({names[name]: tensor for name, tensor in made.items()}, strict=True)
