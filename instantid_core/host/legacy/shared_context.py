"""IdentityNet as the old pack attaches it: the face tokens become every ControlNet's context.

`cross_attn_controlnet` reaches the whole chain of a conditioning, so ControlNets before and after
lose their text, and a second identity overwrites the first. The old node ids keep that, because it
is what their workflows were made with; `identitynet` is the way without it.
"""

from __future__ import annotations

from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
from torch import Tensor

from ... import checks, masks
from ...errors import WrongModelError
from ...fitting import Fit
from ...identity import Identity
from ..control_net_check import check_control_net, where_from
from ..hints import hint_of

Conditioning = list[list[Any]]


def apply_shared_context(
    positive: Conditioning,
    negative: Conditioning,
    control_net: Any,
    contexts: tuple[Tensor, Tensor],
    hint: Tensor,
    *,
    strength: float,
    start_percent: float,
    end_percent: float,
    mask: Tensor | None = None,
) -> tuple[Conditioning, Conditioning]:
    """Return both conditionings with `control_net` chained on and their context replaced.

    contexts: face tokens (M, N, D) of the positive and the negative side; of M references kept
    apart, ComfyUI gives one to each row of a batch.
    hint: (B, H, W, 3) in 0..1; ComfyUI fits it to the sampling size.
    mask: (H, W) or (B, H, W) in 0..1; becomes the mask of the positive conditioning.
    Errors: WrongModelError for a ControlNet that cannot read these tokens.
    """
    _check(control_net, contexts[0].shape[-1])
    positive = checks.conditioning(positive, "positive")
    negative = checks.conditioning(negative, "negative")
    window = (start_percent, end_percent)
    shown = hint_of(hint, Fit.CROP).original
    chain = _Chain(control_net, shown, checks.number(strength, "strength"), window)
    region = {}
    if mask is not None:
        region = {"mask": masks.checked(mask), "set_area_to_bounds": False}
    return (
        [chain.attached(entry, contexts[0], region) for entry in positive],
        [chain.attached(entry, contexts[1], {}) for entry in negative],
    )


def _check(control_net: Any, context_width: int) -> None:
    if isinstance(getattr(control_net, "control_model", None), comfy.cldm.cldm.ControlNet):
        check_control_net(control_net, context_width)
    elif not isinstance(control_net, comfy.controlnet.ControlBase):
        found = checks.kind_of(control_net)
        raise WrongModelError(f"CONTROL_NET brought {found}. {where_from(None)}")


class _Chain:
    """Makes one copy for each chain it meets, so that both sides are batched together."""

    def __init__(
        self, control_net: Any, hint: Tensor, strength: float, window: tuple[float, float]
    ) -> None:
        """hint: (B, 3, H, W) in 0..1."""
        self._source = control_net
        self._settings = (hint, strength, window)
        self._copies: dict[Any, Any] = {}

    def attached(self, entry: list[Any], context: Tensor, region: dict[str, Any]) -> list[Any]:
        """Return one entry of a conditioning with a copy behind its ControlNets."""
        text, options = entry
        control = {
            "control": self._behind(options.get("control")),
            "control_apply_to_uncond": False,
            "cross_attn_controlnet": context,
        }
        return [text, {**options, **control, **region}]

    def _behind(self, previous: Any) -> Any:
        if previous not in self._copies:
            copy = self._source.copy()
            copy.set_cond_hint(*self._settings)
            copy.set_previous_controlnet(previous)
            self._copies[previous] = copy
        return self._copies[previous]


def contexts_of(identity: Identity) -> tuple[Tensor, Tensor]:
    """Return positive and negative face tokens, (M, N, D): each reference kept apart on its own."""
    references = identity.face_embedding.reshape(-1, 512).shape[0]
    positive, negative = (
        side.tokens.reshape(references, -1, identity.context_width)
        for side in (identity.positive, identity.negative)
    )
    return positive, negative
