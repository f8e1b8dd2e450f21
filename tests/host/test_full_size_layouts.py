"""The tables of the full-size files are those of ComfyUI's own full-size models."""

from __future__ import annotations

from typing import Any

import comfy.cldm.cldm
import comfy.ldm.models.autoencoder
import comfy.model_detection
import comfy.ops
import comfy.utils
import torch
from faithful_instantid.devtools.full_size import layouts

META = torch.device("meta")


def on_meta(layout: layouts.Layout) -> dict[str, torch.Tensor]:
    return {name: torch.empty(shape, device=META) for name, shape in layout.items()}


def shapes_of(module: torch.nn.Module) -> layouts.Layout:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def without(prefix: str, layout: layouts.Layout) -> layouts.Layout:
    return {name.removeprefix(prefix): shape for name, shape in layout.items()}


def unet_config() -> dict[str, Any]:
    prefix = "model.diffusion_model."
    return comfy.model_detection.detect_unet_config(on_meta(layouts.unet()), prefix)


def test_the_checkpoint_s_unet_is_recognised_as_sdxl_and_has_its_parameters() -> None:
    prefix = "model.diffusion_model."
    config = comfy.model_detection.model_config_from_unet(on_meta(layouts.checkpoint()), prefix)
    assert type(config).__name__ == "SDXL"
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, prefix, device=META)
    assert shapes_of(model.diffusion_model) == without(prefix, layouts.unet())


def test_the_checkpoint_s_vae_has_the_parameters_of_comfyui_s() -> None:
    config = {
        "double_z": True,
        "z_channels": 4,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 128,
        "ch_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    with META:
        vae = comfy.ldm.models.autoencoder.AutoencoderKL(ddconfig=config, embed_dim=4)
    assert shapes_of(vae) == without("first_stage_model.", layouts.vae())


def test_identitynet_has_the_parameters_of_comfyui_s_controlnet() -> None:
    unet_only = ("transformer_depth_output", "out_channels")
    net = comfy.cldm.cldm.ControlNet(
        **{k: v for k, v in unet_config().items() if k not in unet_only},
        num_heads=-1,
        num_head_channels=64,
        hint_channels=3,
        device=META,
        operations=comfy.ops.manual_cast,
    )
    own = sorted(shapes_of(net).values())
    assert own == sorted(layouts.identitynet().values())
    names = comfy.utils.unet_to_diffusers(unet_config())
    found = {name: shape for name, shape in layouts.identitynet().items() if name in names}
    assert found == {name: shapes_of(net)[names[name]] for name in found}
    others = {name.split(".")[0] for name in layouts.identitynet() if name not in found}
    assert others == {
        "controlnet_cond_embedding",
        "controlnet_down_blocks",
        "controlnet_mid_block",
    }
