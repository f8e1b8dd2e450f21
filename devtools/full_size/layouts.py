"""The names and shapes of every number in the three large files, from modules without memory.

The modules are ComfyUI's own and this pack's adapter, at full size on no device; names become those
of the published files. Needs ComfyUI on sys.path. The tests hold them to the published numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import comfy.ldm.models.autoencoder
import comfy.model_base
import comfy.sdxl_clip
import comfy.supported_models
import torch

from ...instantid_core.adapter import AdapterSize
from ...instantid_core.resampler import ResamplerSize
from .. import tiny_adapter, tiny_sdxl

Shape = tuple[int, ...]
Layout = dict[str, Shape]

META = torch.device("meta")
POSITION_IDS = "conditioner.embedders.0.transformer.text_model.embeddings.position_ids"
UNET_CONFIG: dict[str, Any] = {
    **tiny_sdxl.UNET_CONFIG,
    **comfy.supported_models.SDXL.unet_config,
    "num_head_channels": 64,
}
VAE_CONFIG = {
    **{"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3},
    **{"ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": []},
    "dropout": 0.0,
}
WIDER = 10  # the channels of SDXL's cross-attentions over those of the tiny one


def _shapes(tensors: Mapping[str, torch.Tensor]) -> Layout:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def config() -> Any:
    """Return ComfyUI's configuration of SDXL."""
    return comfy.supported_models.SDXL(dict(UNET_CONFIG))


def unet() -> Layout:
    """SDXL's UNet under the names of the original checkpoint."""
    model = comfy.model_base.SDXL(config(), device=META)
    return _shapes(config().process_unet_state_dict_for_saving(model.diffusion_model.state_dict()))


def text_encoders() -> Layout:
    """OpenAI's encoder of 12 layers and OpenCLIP's bigG of 32, as the checkpoint names them."""
    clip = comfy.sdxl_clip.SDXLClipModel(device=META)
    return _shapes(config().process_clip_state_dict_for_saving(clip.state_dict()))


def vae() -> Layout:
    """SDXL's VAE under the names of the original checkpoint."""
    with META:
        made = comfy.ldm.models.autoencoder.AutoencoderKL(ddconfig=VAE_CONFIG, embed_dim=4)
    return _shapes(config().process_vae_state_dict_for_saving(made.state_dict()))


def checkpoint() -> Layout:
    """The SDXL base checkpoint: UNet, both text encoders, VAE; 2515 tensors."""
    return {**unet(), **text_encoders(), **vae()}


def identitynet() -> Layout:
    """IdentityNet, an SDXL ControlNet under the names of diffusers; 844 tensors."""
    shapes = _shapes(tiny_sdxl.controlnet(UNET_CONFIG, device="meta").state_dict())
    names = tiny_sdxl.controlnet_names()
    return {name: shapes[own] for name, own in names.items() if own in shapes}


def adapter() -> dict[str, Layout]:
    """ip-adapter.bin: the Resampler as `image_proj`, 70 pairs of projections as `ip_adapter`."""
    channels = tuple(WIDER * width for width in tiny_adapter.SIZE.channels)
    parts = tiny_adapter.state_dict(lambda given, _: given, AdapterSize(ResamplerSize(), channels))
    return {name: _shapes(part) for name, part in parts.items()}
