"""Whether a CONTROL_NET can be IdentityNet."""

from __future__ import annotations

from typing import Any

import comfy.cldm.cldm
import comfy.controlnet

from .. import checks
from ..errors import WrongModelError
from ..families import family_of
from ..log import warn
from ..unet_layout import FAMILIES, SDXL, Family, family_of_control_net


def where_from(family: Family | None) -> str:
    """Return where IdentityNet is from, for a message; None: of the first family."""
    return f"Load IdentityNet with Load ControlNet Model: {(family or SDXL).identitynet}."


def check_control_net(control_net: Any, wanted: int, family: Family | None = None) -> None:
    """Raise WrongModelError unless this is a ControlNet of IdentityNet's structure.

    wanted: the width of the face tokens. family: of the base models that the face is for; None
    where nobody knows.
    """
    source = where_from(family)
    network: Any = getattr(control_net, "control_model", None)
    if not isinstance(control_net, comfy.controlnet.ControlNet) or not isinstance(
        network, comfy.cldm.cldm.ControlNet
    ):
        inside = "" if network is None else " with a network of another build"
        raise WrongModelError(
            f"This CONTROL_NET is {checks.kind_of(control_net)}{inside}; IdentityNet is a full "
            f"{_names()} ControlNet, no T2I adapter, control LoRA or net for Flux or SD3. {source}"
        )
    if network.control_add_embedding is not None:
        raise WrongModelError(
            "This CONTROL_NET is a union ControlNet with several control types; IdentityNet has "
            f"none. {source}"
        )
    found = _context_width(network)
    if found != wanted:
        raise WrongModelError(
            f"This ControlNet's cross-attention is {found} wide ({_family(found)}), the face "
            f"tokens are {wanted} wide ({_family(wanted)}). {source}"
        )
    own = family_of_control_net(network)
    if own is not None and family is not None and own != family:
        raise WrongModelError(
            f"This ControlNet is for {own.name}, the face is for {family.name}. {source}"
        )


def _names() -> str:
    return " or ".join(family.name for family in FAMILIES)


def _context_width(network: Any) -> int:
    """The width of the context a ControlNet's cross-attention reads."""
    return next(
        module.in_features
        for name, module in network.named_modules()
        if name.endswith("attn2.to_k")
    )


def _family(width: int) -> str:
    return family_of(width) or "no known family"


def warn_of_keyframes(control_net: Any) -> None:
    """Warn if the net brings Advanced-ControlNet's keyframes, which IdentityNet does not read."""
    keyframes = getattr(getattr(control_net, "timestep_keyframes", None), "keyframes", [])
    parts = ("control_weights", "latent_keyframes", "mask_hint_orig")
    said = [
        keyframe
        for keyframe in keyframes
        if getattr(keyframe, "strength", 1.0) != 1.0
        or any(getattr(keyframe, part, None) is not None for part in parts)
    ]
    if said or len(keyframes) > 1:
        warn(
            "IdentityNet does not read the keyframes of Advanced-ControlNet's loader. Use "
            "start_percent, end_percent, mask, Weight Curve for InstantID and Layer Weights for "
            "InstantID of the Apply node instead, and ComfyUI's Load ControlNet Model."
        )
