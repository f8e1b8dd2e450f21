"""A tiny SDXL checkpoint, IdentityNet, depth ControlNet and LoRA that ComfyUI's own nodes load.

Needs ComfyUI on sys.path. ComfyUI recognises the files only after `register`, which the
development-only node folder calls.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import comfy.sdxl_clip
import comfy.supported_models
import comfy.supported_models_base
import comfy.taesd.taesd
import torch
from safetensors.torch import save_file

from .. import tiny_sdxl
from ..tiny_sdxl import TinySDXL

CLIP_CONFIG: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "projection_dim": 32,
}


class TinyClip(comfy.sdxl_clip.SDXLClipModel):
    """SDXL's pair of text encoders with 32 channels and three layers each."""

    def __init__(
        self, device: str = "cpu", dtype: Any = None, model_options: dict[str, Any] | None = None
    ) -> None:
        small = {"clip_l_model_config": CLIP_CONFIG, "clip_g_model_config": CLIP_CONFIG}
        options = {**(model_options or {}), **small}
        super().__init__(device=device, dtype=dtype, model_options=options)


class TinyCheckpoint(TinySDXL):
    """The tiny SDXL with text encoders of its size."""

    def clip_target(self, state_dict: dict[str, Any] | None = None) -> Any:
        return comfy.supported_models_base.ClipTarget(comfy.sdxl_clip.SDXLTokenizer, TinyClip)


def register() -> None:
    """Let this process's ComfyUI recognise the tiny files; its own models stay as they are."""
    known = comfy.supported_models.models
    if not any(model.__name__ == TinyCheckpoint.__name__ for model in known):
        known.append(TinyCheckpoint)


def make_checkpoint(path: Path, weights: Any) -> None:
    """Write UNet, text encoders and VAE in the layout of SDXL checkpoints.

    weights: (tensors by name, tag) -> tensors of the same names and shapes.
    """
    config = TinyCheckpoint(dict(tiny_sdxl.UNET_CONFIG))
    model = tiny_sdxl.build_model(lambda shapes: weights(shapes, "unet")).model
    unet = model.diffusion_model.state_dict()
    clip = weights(TinyClip().state_dict(), "clip").items()
    floats = {name: tensor for name, tensor in clip if tensor.is_floating_point()}
    vae = weights(comfy.taesd.taesd.TAESD(latent_channels=4).state_dict(), "vae")
    vae["vae_shift"] = torch.tensor(0.0)
    tensors = {
        **config.process_unet_state_dict_for_saving(unet),
        **config.process_clip_state_dict_for_saving(floats),
        **config.process_vae_state_dict_for_saving(vae),
    }
    _save(path, tensors)


def make_controlnet(path: Path, weights: Any, tag: str) -> None:
    """Write a ControlNet in the ldm layout: `identitynet` or `depthnet`."""
    control = tiny_sdxl.build_controlnet(lambda shapes: weights(shapes, tag))
    _save(path, {f"control_model.{k}": v for k, v in control.control_model.state_dict().items()})


def make_lora(path: Path, weights: Any) -> None:
    """Write a LoRA of rank 4 for the query projections of the first cross-attentions."""
    rank, channels = 4, 64
    shapes: dict[str, torch.Tensor] = {}
    for block in (4, 5):
        name = f"lora_unet_input_blocks_{block}_1_transformer_blocks_0_attn2_to_q"
        shapes[f"{name}.lora_down.weight"] = torch.empty(rank, channels)
        shapes[f"{name}.lora_up.weight"] = torch.empty(channels, rank)
    _save(path, {name: 0.1 * tensor for name, tensor in weights(shapes, "lora").items()})


def _save(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save_file(whole, path, metadata={"note": json.dumps("stand-in, random weights")})
