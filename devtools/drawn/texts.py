"""Prompts of drawn pictures through the tiny SDXL's text encoders, whose weights are random."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import comfy.sd
import torch

from ..standins import sdxl
from ..standins.weights import fill
from .chain_training import Texts
from .world import COLOUR_NAMES, SIZE, Scene


def all_prompts() -> list[str]:
    """Background by background, clothes by clothes, one person and two; the empty prompt last."""
    scenes = [Scene(a, b) for a in COLOUR_NAMES for b in COLOUR_NAMES]
    return [*(scene.prompt(people) for scene in scenes for people in (1, 2)), ""]


def encoded() -> Texts:
    """Encode every prompt as ComfyUI does for a picture of SIZE x SIZE."""
    sdxl.register()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        sdxl.make_checkpoint(path, fill)
        model, clip, *_ = comfy.sd.load_checkpoint_guess_config(str(path))
    contexts, ys = zip(*(_encode(model, clip, prompt) for prompt in all_prompts()), strict=True)
    return Texts(torch.cat(contexts), torch.cat(ys))


def _encode(model: Any, clip: Any, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
    context, pooled = clip.encode_from_tokens(clip.tokenize(prompt), return_pooled=True)
    y = model.model.encode_adm(pooled_output=pooled, width=SIZE, height=SIZE, device="cpu")
    return context.float().clone(), y.float().clone()
