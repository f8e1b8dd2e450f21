"""Say what a wrong file is, by telling keys and shapes, and where it goes.

Each kind is told by keys that every file of that kind has and no other kind has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .checks import readable
from .families import family_of

Shapes = Mapping[str, tuple[int, ...]]


class Kind(NamedTuple):
    """What a file is, and a sentence that says where it goes."""

    name: str
    place: str


IPADAPTER = "This file goes into models/ipadapter, for the nodes of an IP-Adapter pack."
PULID = Kind("a PuLID adapter", "This file goes into models/pulid, for the nodes of a PuLID pack.")
LORA = Kind("a LoRA", "This file goes into models/loras: load it with Load LoRA.")
CONTROLNET_PLACE = (
    "This file goes into models/controlnet: load it with Load ControlNet Model. "
    "InstantID needs both files, the adapter here and IdentityNet there."
)
CHECKPOINT = Kind(
    "a checkpoint (a whole model)",
    "This file goes into models/checkpoints: load it with Load Checkpoint.",
)
UNET = Kind(
    "a diffusion model (a UNet or transformer alone)",
    "This file goes into models/diffusion_models: load it with Load Diffusion Model.",
)


def what_it_is(shapes: Shapes) -> Kind | None:
    """Return what the file is, or None where it has the keys of an InstantID adapter."""
    if not shapes:
        return Kind("a file without any tensor in it", "")
    if _has(shapes, "image_proj."):
        return _kind_of_adapter(shapes)
    for recogniser in (_pulid, _lora, _controlnet, _layers, _whole_model):
        kind = recogniser(shapes)
        if kind is not None:
            return kind
    return Kind(f"a model file of an unknown kind ({_some(shapes)})", "")


def _some(shapes: Shapes) -> str:
    """Return how many tensors a file has, and the first ten keys."""
    return f"{len(shapes)} tensors, such as {', '.join(map(readable, list(shapes)[:10]))}"


def _has(shapes: Shapes, *prefixes: str) -> bool:
    return any(key.startswith(prefixes) for key in shapes)


def _any(shapes: Shapes, *parts: str) -> bool:
    return any(part in key for key in shapes for part in parts)


def _family(shapes: Shapes) -> str:
    """Name the base model by the width of the text that a cross-attention takes."""
    widths = {
        shape[1]
        for key, shape in shapes.items()
        if key.endswith(("attn2.to_k.weight", "to_k_ip.weight")) and len(shape) == 2
    }
    return next(filter(None, map(family_of, sorted(widths))), "unknown base")


def _kind_of_adapter(shapes: Shapes) -> Kind | None:
    """Tell InstantID's adapter from the IP-Adapters, which share its key names."""
    family = _family(shapes)
    if _any(shapes, "_lora.") or _has(shapes, "image_proj.proj.0.", "image_proj.perceiver"):
        return Kind(f"an IP-Adapter FaceID ({family})", IPADAPTER)
    if "image_proj.proj.weight" in shapes:
        return Kind(f"an IP-Adapter ({family})", IPADAPTER)
    proj_in = shapes.get("image_proj.proj_in.weight")
    if proj_in is not None and proj_in[1] != 512:
        return Kind(
            f"an IP-Adapter Plus ({family}): it takes image features of width {proj_in[1]}, "
            "not face embeddings of width 512",
            IPADAPTER,
        )
    if "image_proj.latents" in shapes and _has(shapes, "ip_adapter."):
        return None
    return Kind(f"an image adapter of an unknown kind ({family}, {_some(shapes)})", "")


def _pulid(shapes: Shapes) -> Kind | None:
    names = ("id_adapter.", "id_adapter_attn_layers.", "pulid_encoder.", "pulid_ca.")
    return PULID if _has(shapes, *names) else None


def _lora(shapes: Shapes) -> Kind | None:
    names = (".lora_up.", ".lora_down.", ".lora_A.", ".lora_B.", ".lora.up.", ".lora.down.")
    older = ("_lora.up.", "_lora.down.", ".lora_linear_layer.")
    return LORA if _any(shapes, *names, *older, ".hada_w1_a", ".lokr_w1", ".dora_scale") else None


def _controlnet(shapes: Shapes) -> Kind | None:
    names = ("controlnet_cond_embedding.", "input_hint_block.", "control_model.", "lora_controlnet")
    if not _has(shapes, *names):
        return None
    family = _family(shapes)
    if family == "SDXL":
        return Kind("an SDXL ControlNet (IdentityNet has this structure)", CONTROLNET_PLACE)
    return Kind(f"a ControlNet ({family})", CONTROLNET_PLACE.split(". ")[0] + ".")


def _layers(shapes: Shapes) -> Kind | None:
    own = {key: shape for key, shape in shapes.items() if key.endswith("_ip.weight")}
    if not own:
        return None
    return Kind(f"layers of an adapter that fit neither SDXL's nor SD1.5's ({_some(own)})", "")


def _whole_model(shapes: Shapes) -> Kind | None:
    text_or_vae = ("first_stage_model.", "conditioner.", "cond_stage_model.")
    if _has(shapes, "model.diffusion_model.") or _has(shapes, *text_or_vae):
        return CHECKPOINT
    names = (
        "input_blocks.",
        "down_blocks.",
        "double_blocks.",
        "joint_blocks.",
        "transformer_blocks.",
    )
    return UNET if _has(shapes, *names) else None
