"""IdentityNet onto conditioning: chained behind the ControlNets that are there."""

from __future__ import annotations

from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
from torch import Tensor

from .. import masks
from ..errors import WrongInputError, WrongModelError
from ..fitting import Fit
from ..identity import Identity, NoIdentity
from ..keypoints import Keypoints
from ..log import log
from . import roles
from .hints import hint_of
from .identitynet import FaceControl, IdentityNet

Conditioning = list[Any]

FAMILY_OF_WIDTH = {
    768: "Stable Diffusion 1.x",
    1024: "Stable Diffusion 2.x",
    1280: "the SDXL refiner",
    2048: "SDXL",
}
WHERE_FROM = (
    "Load IdentityNet with Load ControlNet Model: ControlNetModel/"
    "diffusion_pytorch_model.safetensors (2.5 GB) of InstantX/InstantID on Hugging Face."
)


def apply_identitynet(
    positive: Conditioning,
    negative: Conditioning,
    control_net: Any,
    identity: Identity | NoIdentity,
    hint: Tensor | Keypoints,
    *,
    strength: float = 0.8,
    start_percent: float = 0.0,
    end_percent: float = 1.0,
    mask: Tensor | masks.Region | None = None,
    fit: Fit = Fit.CROP,
) -> tuple[Conditioning, Conditioning]:
    """Return both conditionings with IdentityNet behind the ControlNets they have.

    positive, negative: ComfyUI's CONDITIONING; either may be empty or left out of the sampling.
    control_net: the CONTROL_NET of an SDXL ControlNet file, IdentityNet's.
    hint: Keypoints, drawn for the picture's size and fitted as `fit` says, or an IMAGE tensor
    (B,H,W,3) in 0..1. strength: 0 is off, 0.8 the published default. start_percent, end_percent:
    0..1 of the sampling. mask: (H,W) or (B,H,W) in 0..1 of any size, or a Region; None is the
    whole picture.
    With nothing to do (strength 0, a window that never opens, an empty mask, no identity, no face
    in the keypoints) the conditionings are returned as they came.
    Errors: WrongModelError for another kind of ControlNet, WrongInputError.
    """
    reason = _reason_to_do_nothing(identity, hint)
    if reason:
        log.info("IdentityNet is not applied: %s", reason)
        return positive, negative
    face = _face_control(control_net, identity, hint, mask, fit)
    never_open = start_percent >= 1.0 or end_percent <= 0.0 or start_percent > end_percent
    if strength == 0 or never_open or _is_all(mask, 0.0):
        return positive, negative
    chain = _Chain(control_net, face, float(strength), (float(start_percent), float(end_percent)))
    return (
        [chain.attached(entry, roles.POSITIVE) for entry in positive],
        [chain.attached(entry, roles.NEGATIVE) for entry in negative],
    )


class _Chain:
    """Makes one IdentityNet for each chain it meets, so that both sides are batched together."""

    def __init__(
        self, control_net: Any, face: FaceControl, strength: float, window: tuple[float, float]
    ) -> None:
        self._source = control_net
        self._face = face
        self._strength = strength
        self._window = window
        self._made: dict[Any, IdentityNet] = {}

    def attached(self, entry: Any, role: int) -> list[Any]:
        """Return one entry of a conditioning, tagged with its role, with IdentityNet behind."""
        text, options = entry
        net = self._behind(options.get("control"))
        control = {"control": net, "control_apply_to_uncond": False}
        return [text, {**roles.tagged(options, role), **control}]

    def _behind(self, previous: Any) -> IdentityNet:
        if previous not in self._made:
            net = IdentityNet(self._source, self._face)
            net.strength = self._strength
            net.timestep_percent_range = self._window
            net.set_previous_controlnet(previous)
            self._made[previous] = net
        return self._made[previous]


def _reason_to_do_nothing(identity: object, hint: object) -> str:
    if isinstance(identity, NoIdentity):
        return identity.reason
    if isinstance(hint, Keypoints) and not hint.faces:
        return "the keypoints hold no face."
    return ""


def _face_control(
    control_net: Any, identity: object, hint: object, mask: object, fit: Fit
) -> FaceControl:
    """Check everything that was given and put it together; raises what `apply_identitynet` does."""
    if not isinstance(identity, Identity):
        raise WrongInputError(
            f"The face embedding is a {type(identity).__name__} of another node pack. "
            "Connect this pack's Encode Face."
        )
    check_control_net(control_net, identity.context_width)
    checked = masks.checked(mask)
    return FaceControl(
        positive=identity.positive.tokens,
        negative=identity.negative.tokens,
        hint=hint_of(hint, fit),
        mask=None if _is_all(checked, 1.0) else checked,
    )


def _is_all(mask: object, value: float) -> bool:
    return isinstance(mask, Tensor) and masks.is_all(mask, value)


def check_control_net(control_net: Any, wanted: int) -> None:
    """Raise WrongModelError unless this is a ControlNet of IdentityNet's structure."""
    network: Any = getattr(control_net, "control_model", None)
    if not isinstance(control_net, comfy.controlnet.ControlNet) or not isinstance(
        network, comfy.cldm.cldm.ControlNet
    ):
        inside = "" if network is None else f" with a {type(network).__module__} network"
        raise WrongModelError(
            f"This CONTROL_NET is a {type(control_net).__name__}{inside}; IdentityNet is a full "
            f"SDXL ControlNet, no T2I adapter, control LoRA or net for Flux or SD3. {WHERE_FROM}"
        )
    if network.control_add_embedding is not None:
        raise WrongModelError(
            "This CONTROL_NET is a union ControlNet with several control types; IdentityNet has "
            f"none. {WHERE_FROM}"
        )
    found = _context_width(network)
    if found != wanted:
        raise WrongModelError(
            f"This ControlNet's cross-attention is {found} wide ({_family(found)}), the face "
            f"tokens are {wanted} wide ({_family(wanted)}). {WHERE_FROM}"
        )


def _context_width(network: Any) -> int:
    """The width of the context a ControlNet's cross-attention reads."""
    return next(
        module.in_features
        for name, module in network.named_modules()
        if name.endswith("attn2.to_k")
    )


def _family(width: int) -> str:
    return FAMILY_OF_WIDTH.get(width, "no known family")
