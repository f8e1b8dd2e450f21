"""Identity onto a MODEL clone: decoupled cross-attention in every slot, composed at run time.

The clone carries immutable terms and two wrappers, and nothing in any slot. While the UNet runs,
the slots are composed on copied dicts: what another pack put there is called first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import comfy.ldm.modules.attention
import comfy.patcher_extension
import torch
from torch import Tensor

from .. import checks, masks
from ..attention import add_identity
from ..errors import WrongInputError, WrongModelError
from ..fitting import Fit
from ..identity import Identity, NoIdentity
from ..log import log, log_once
from ..people import People, PersonRegion, Together
from ..unet_layout import SLOTS, Slot, UNetLayout, measure_unet
from ..weighting import LayerWeights, WeightCurve, slot_weights
from . import roles
from .sampling_run import AdapterTerm, RunMask, SamplingRun, View

TERMS = "faithful_instantid"
RUN = "faithful_instantid_run"

Attention = Callable[[Tensor, Tensor, Tensor, dict[str, Any]], Tensor]


def apply_adapter(
    model: Any,
    identity: Identity | NoIdentity | People,
    *,
    weight: float = 0.8,
    start_percent: float = 0.0,
    end_percent: float = 1.0,
    mask: Tensor | masks.Region | None = None,
    slots: Collection[Slot] = SLOTS,
    smooth_mask: bool = False,
    layers: LayerWeights | None = None,
    curve: WeightCurve | None = None,
    fit: Fit = Fit.CROP,
) -> Any:
    """Return a clone of `model` that draws the identity; `model` itself stays as it is.

    identity: one person, or several, each in the part of the picture that is theirs.
    weight: 0 is off, 0.8 the published default. start_percent, end_percent: 0..1 of the sampling.
    mask: (H,W) or (B,H,W), 0..1, of any size, or a Region; None is the whole picture.
    slots: the layers it acts in. smooth_mask: lay the mask over the layers' grids bilinearly, not
    by nearest neighbour. layers, curve: factors on the weight, by layer and over the sampling.
    fit: how the faces of several people get onto the picture; as for IdentityNet.
    Applied again, identities add up. With weight 0, an all-zero mask or a window that never opens
    the model is returned as it came.
    Errors: WrongModelError for anything but an SDXL base model, WrongInputError.
    """
    if isinstance(identity, NoIdentity):
        log.info("The InstantID adapter is not applied: %s", identity.reason)
        return model
    layout = _measured(model)
    layers = checks.part(LayerWeights, layers, "layer_weights", "InstantID Layer Weights")
    curve = checks.part(WeightCurve, curve, "weight_curve", "InstantID Weight Curve")
    weights = slot_weights(checks.number(weight, "weight"), layers)
    weights = tuple(w if s in slots else 0.0 for s, w in zip(SLOTS, weights, strict=True))
    window = (
        checks.number(start_percent, "start_percent"),
        checks.number(end_percent, "end_percent"),
    )
    for one, factor, region in _one_by_one(identity, masks.checked(mask), fit):
        term = AdapterTerm(
            _fitting(one, layout),
            layout,
            tuple(factor * w for w in weights),
            *window,
            region,
            smooth_mask,
            curve,
        )
        model = attach(model, term)
    return model


def _one_by_one(
    identity: Identity | People, mask: masks.Mask | None, fit: Fit
) -> list[tuple[Identity, float, masks.Mask | None]]:
    """Return each person's identity, factor on the weight, and mask."""
    if not isinstance(identity, People):
        return [(identity, 1.0, mask)]
    together = Together(identity.persons, fit, mask)
    return [
        (person.identity, checks.number(person.weight, "weight"), PersonRegion(together, i))
        for i, person in enumerate(identity.persons)
    ]


def attach(model: Any, term: AdapterTerm) -> Any:
    """Return a clone of `model` with one more term, or `model` itself if the term does nothing."""
    term = _simplified(term)
    if _does_nothing(term):
        return model
    clone = model.clone()
    options = clone.model_options.setdefault("transformer_options", {})
    options[TERMS] = (*options.get(TERMS, ()), term)
    kinds = comfy.patcher_extension.WrappersMP
    for kind, wrapper in ((kinds.OUTER_SAMPLE, _sample), (kinds.DIFFUSION_MODEL, _predict)):
        if not comfy.patcher_extension.get_wrappers_with_key(kind, TERMS, options):
            comfy.patcher_extension.add_wrapper_with_key(kind, TERMS, wrapper, options)
    return clone


def _measured(model: Any) -> UNetLayout:
    unet = getattr(getattr(model, "model", None), "diffusion_model", None)
    if not isinstance(unet, torch.nn.Module):
        raise WrongModelError(
            f"The model is {checks.kind_of(model)}, without a diffusion model in it. "
            "Connect the MODEL of an SDXL checkpoint."
        )
    return measure_unet(unet)


def _fitting(identity: object, layout: UNetLayout) -> Identity:
    """Return the identity if it was made for a UNet of this layout."""
    if not isinstance(identity, Identity):
        raise WrongInputError(
            f"The face embedding is {checks.kind_of(identity)}, none of this pack. "
            "Connect this pack's Encode Face."
        )
    sides = (identity.positive, identity.negative)
    sizes = {side.kv.numel() for side in sides}
    wanted = layout.kv_size(identity.positive.tokens.shape[1])
    if identity.context_width != layout.context_width or sizes != {wanted}:
        raise WrongModelError(
            f"The face was encoded for a UNet of context width {identity.context_width}, this "
            f"model's is {layout.context_width}. Use the adapter file made for this model."
        )
    return identity


def _simplified(term: AdapterTerm) -> AdapterTerm:
    """Drop a mask that is all ones: it is no mask."""
    if isinstance(term.mask, Tensor) and masks.is_all(term.mask, 1.0):
        return replace(term, mask=None)
    return term


def _does_nothing(term: AdapterTerm) -> bool:
    """Say whether a term can have no effect: then the model stays bit-equal to the unpatched."""
    never_open = (
        term.start_percent >= 1.0
        or term.end_percent <= 0.0
        or term.start_percent > term.end_percent
    )
    masked_out = isinstance(term.mask, Tensor) and masks.is_all(term.mask, 0.0)
    flat = term.curve is not None and term.curve.is_off
    return never_open or masked_out or flat or not any(term.weights)


def _sample(executor: Any, *args: Any, **kwargs: Any) -> Any:
    """OUTER_SAMPLE: tag the conditionings of this run and give it a SamplingRun."""
    guider = executor.class_obj
    carried = roles.tag_all(guider.conds)
    options = guider.model_options["transformer_options"]  # a copy that belongs to this run
    sampling = guider.model_patcher.get_model_object("model_sampling")
    noise: Tensor = args[0] if args else kwargs["noise"]
    canvas = (noise.shape[-2], noise.shape[-1])
    layout = options[TERMS][0].layout
    people = [_fitting(identity, layout) for identity in carried]
    options[RUN] = SamplingRun(options[TERMS], sampling, canvas, people)
    return executor(*args, **kwargs)


def _predict(
    executor: Any,
    x: Tensor,
    timesteps: Tensor,
    context: Tensor | None = None,
    y: Tensor | None = None,
    control: Any = None,
    transformer_options: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Tensor:
    """DIFFUSION_MODEL: run the UNet with every slot composed."""
    tag = kwargs.pop(roles.KEY, None)
    options = transformer_options or {}
    if options.get(TERMS):
        options = _composed(options, x, timesteps, tag)
    return executor(x, timesteps, context, y, control, options, **kwargs)


def _composed(
    options: dict[str, Any], x: Tensor, timesteps: Tensor, tag: Tensor | None
) -> dict[str, Any]:
    """Return a copy of `options` whose attn2 slots also add what the open terms give."""
    terms: tuple[AdapterTerm, ...] = options[TERMS]
    run: SamplingRun = options.get(RUN) or SamplingRun(terms)
    parts = _parts(run, Call(x, timesteps, tag, options))
    replaced = options.get("patches_replace", {})
    attn2 = dict(replaced.get("attn2", {}))
    for position, slot in enumerate(SLOTS):
        shares = tuple(share for part in parts if (share := part.share(position)) is not None)
        if shares:
            before = attn2.get(slot, replaced.get("attn2", {}).get(slot[:2]))
            attn2[tuple(slot)] = SlotAttention(before, shares)
    return {**options, "patches_replace": {**replaced, "attn2": attn2}}


@dataclass(frozen=True, eq=False)
class Call:
    """One call of the UNet.

    x: (B,4,h,w). timesteps: (B,). tag: (B,3), see `roles.RoleTag`; None from foreign samplers.
    options: ComfyUI's transformer_options.
    """

    x: Tensor
    timesteps: Tensor
    tag: Tensor | None
    options: Mapping[str, Any]

    @property
    def latent(self) -> tuple[int, int]:
        """(height, width) in latent cells."""
        return self.x.shape[-2], self.x.shape[-1]

    @property
    def chunks(self) -> Sequence[int]:
        """The place in the guider's list of each conditioning in this batch."""
        return self.options.get("cond_or_uncond") or [0]

    @property
    def row_roles(self) -> Tensor:
        """(B,) int64 on the device of x: the role of each row."""
        rows = self.x.shape[0]
        if self.tag is not None:
            found = self.tag[:, 0].to(device=self.x.device, dtype=torch.int64)
            return found if len(found) == rows else found.repeat(rows // len(found))
        log_once(
            "A sampler calls the model without InstantID's tags: positive and negative are told "
            "by their position, as other packs do."
        )
        order = [roles.POSITIVE if chunk == 0 else roles.NEGATIVE for chunk in self.chunks]
        return torch.tensor(order, device=self.x.device).repeat_interleave(rows // len(order))

    @property
    def frames(self) -> tuple[int, ...]:
        """The batch index of each row; a context window lists those of its own."""
        size = self.x.shape[0] // len(self.chunks)
        window = self.options.get("context_window")
        listed = list(getattr(window, "index_list", ()))
        anchor = getattr(window, "causal_anchor_index", None)
        if anchor is not None and anchor >= 0:
            listed = [anchor, *listed]
        indices = listed if len(listed) == size else range(size)
        return tuple(indices) * len(self.chunks)


def _read(run: SamplingRun, call: Call) -> tuple[float | None, View]:
    """Return the noise level, if a schedule asks for it, and what part of the picture x is.

    Reads from the device once, and only for a window or a curve, or for a mask over a
    conditioning's area.
    """
    rows = call.x.shape[0]
    wanted: list[Tensor] = []
    if run.has_schedule:
        levels = run.noise_levels(call.options.get("sigmas"), call.timesteps)
        wanted.append(levels.flatten()[:1])
    in_areas = run.has_mask and run.canvas not in (None, call.latent)
    if in_areas and call.tag is not None and len(call.tag) == rows:
        wanted.append(call.tag[:, 1:].flatten())
    values = torch.cat([tensor.float() for tensor in wanted]).tolist() if wanted else []
    level = values.pop(0) if run.has_schedule else None
    pairs = [(int(top), int(left)) for top, left in zip(values[::2], values[1::2], strict=True)]
    corners = tuple(None if pair == roles.NO_AREA else pair for pair in pairs) or (None,) * rows
    canvas = run.canvas if run.canvas and any(corners) else call.latent
    return level, View(call.latent, canvas, corners, call.frames)


@dataclass(frozen=True, eq=False)
class Share:
    """What one term adds to one slot.

    sides: (U,2,N,C) K and V. rows: (B,) the side of each row of the batch.
    """

    sides: Tensor
    rows: Tensor
    weight: float
    mask: RunMask
    view: View


@dataclass(frozen=True, eq=False)
class Part:
    """What one term adds to one call of the UNet."""

    term: AdapterTerm
    factor: float
    slots: Sequence[Tensor]
    rows: Tensor
    mask: RunMask
    view: View

    def share(self, position: int) -> Share | None:
        """Return the share of the slot at `position`, None where the term leaves it alone."""
        weight = self.factor * self.term.weights[position]
        if weight == 0.0:
            return None
        return Share(self.slots[position], self.rows, weight, self.mask, self.view)


def _parts(run: SamplingRun, call: Call) -> list[Part]:
    """Return the parts of the terms that are at work in this call; sides are looked up once."""
    level, view = _read(run, call)
    resident = run.resident(call.x.device, call.x.dtype)
    row_roles = call.row_roles
    parts: list[Part] = []
    for i in run.open_terms(level):
        mask = run.mask(i, view.canvas)
        if not mask.is_empty:
            rows = resident.rows[i].index_select(0, row_roles)
            factor = run.factor(i, level)
            parts.append(Part(run.terms[i], factor, resident.slots[i], rows, mask, view))
    return parts


@dataclass(frozen=True, eq=False)
class SlotAttention:
    """The cross-attention of one slot: what was there before, plus the identities."""

    before: Attention | None
    shares: tuple[Share, ...]

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        """q (B,n,C), k and v (B,N,C) of the text -> (B,n,C), before to_out."""
        if self.before is not None:
            return self.added(self.before(q, k, v, extra_options), q, extra_options)
        out = _attend(q, k, v, extra_options)
        own = not out.requires_grad and "optimized_attention_override" not in extra_options
        return self.added(out, q, extra_options, in_place=own)

    def added(
        self, out: Tensor, q: Tensor, extra_options: dict[str, Any], *, in_place: bool = False
    ) -> Tensor:
        """Return the text's share `out` plus the identities; in_place: `out` may be written."""
        activations = extra_options.get("activations_shape")
        attend = functools.partial(_attend, extra_options=extra_options)
        for share in self.shares:
            kv = share.sides.index_select(0, share.rows)  # (B,2,N,C)
            mask = share.mask.on_layer(q, activations, share.view)
            added = add_identity(out, q, kv, share.weight, mask, attend, in_place=in_place)
            in_place = in_place or (added is not out and not added.requires_grad)
            out = added
        return out


def _attend(q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
    """Return what ComfyUI's attention gives, with what it is told for this layer."""
    return comfy.ldm.modules.attention.optimized_attention(
        q,
        k,
        v,
        extra_options["n_heads"],
        attn_precision=extra_options["attn_precision"],
        transformer_options=extra_options,
    )
