"""Identity onto a MODEL clone: immutable terms, and the wrappers that apply them.

Nothing is put into any slot: while the UNet runs, the slots are composed on copied dicts, and what
another pack put there is called first.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .. import checks, masks
from ..errors import WrongModelError
from ..fitting import Fit
from ..frame_weights import FrameWeights, WeightedFrames, weighted_frames
from ..identity import FrameIdentities, Identity, NoIdentity, over_frames
from ..log import note_problem, tell
from ..people import People, PeopleMasks, PersonRegion
from ..regions import FaceRegion
from ..unet_layout import UNetLayout, measure_unet
from ..weighting import Adding, LayerWeights, WeightCurve, slot_weights
from . import sampling
from .adapter_call import predict
from .on_node import NodeText, current_node
from .rows import AS_ON_MODEL, CarriedPerson
from .windows import Window


@dataclass(frozen=True, eq=False)
class AdapterTerm:
    """One identity on a MODEL; never changed after it was made. Several terms add up.

    identity: by frame; of a picture that is one. weight: 0 is off. slot_factors: on the weight, one
    per slot, in the order of the family's; 0 leaves that slot alone. window: the part of the
    sampling in which it is at work. mask: (F,H,W) float32 0..1, or a Region; None is everywhere.
    smooth_mask: laid over the layers' grids bilinearly instead of by nearest neighbour. curve: a
    factor over the sampling. node: where words about it are shown. adding: how its share gets to
    the text's. frame_weights: what the mask holds of weights by frame.
    """

    identity: FrameIdentities
    layout: UNetLayout
    weight: float
    slot_factors: tuple[float, ...]
    window: Window
    mask: masks.Mask | None
    smooth_mask: bool = False
    curve: WeightCurve | None = None
    node: NodeText | None = None
    adding: Adding = Adding.PLAIN
    frame_weights: FrameWeights | None = None

    @property
    def reason_to_do_nothing(self) -> str:
        """Why the term can have no effect, so that the model stays as it is; empty if it can."""
        if not any(self.slot_factors) or self.weight == 0:
            return "its weight is 0."
        if self.window.never_opens:
            return self.window.reason
        if masks.is_all(self.mask, 0.0):
            return "its mask is empty."
        region = self.mask.mask if isinstance(self.mask, WeightedFrames) else self.mask
        if isinstance(region, FaceRegion) and not region.keypoints.faces:
            return "the keypoints hold no face."
        if self.curve is not None and self.curve.is_off:
            return "its weight curve is 0 all the time."
        if self.frame_weights is not None and self.frame_weights.is_off:
            return "its weight is 0 in every frame."
        return ""

    def carried(self, person: CarriedPerson) -> AdapterTerm:
        """Return the term of a person that a conditioning brings along to this one's model.

        It works in all of its conditioning's part, at the same time, in the same layers and frames.
        """
        identity = fitting(person.identity, self.layout)
        weight = self.weight if person.weight == AS_ON_MODEL else person.weight
        mask = weighted_frames(None, self.frame_weights)
        return replace(self, identity=identity, weight=weight, mask=mask)


def apply_adapter(
    model: Any,
    identity: Identity | FrameIdentities | NoIdentity | People,
    *,
    weight: float = 0.8,
    start_percent: float = 0.0,
    end_percent: float = 1.0,
    mask: Tensor | masks.Region | None = None,
    blocks: Collection[str] = ("input", "middle", "output"),
    smooth_mask: bool = False,
    layers: LayerWeights | None = None,
    curve: WeightCurve | None = None,
    fit: Fit = Fit.CROP,
    adding: Adding = Adding.PLAIN,
    region_curve: WeightCurve | None = None,
    frame_weights: FrameWeights | None = None,
) -> Any:
    """Return a clone of `model` that draws the identity; `model` itself stays as it is.

    identity: one person, or several, each in the part of the picture that is theirs.
    weight: 0 is off, 0.8 the published default. start_percent, end_percent: 0..1 of the sampling.
    mask: (H,W) or (B,H,W), 0..1, of any size, or a Region; None is the whole picture.
    blocks: the parts of the UNet it acts in. smooth_mask: lay the mask over the layers' grids
    bilinearly, not by nearest neighbour. layers, curve: factors on the weight, by layer and over
    the sampling. fit: how the faces of several people get onto the picture; as for IdentityNet.
    adding: how the identity's share of a layer gets to the text's. region_curve: a factor on
    padding and feather of several people's regions over the sampling; one person's FaceRegion has
    its own. frame_weights: a factor on the weight, by frame.
    Applied again, identities add up. Where nothing would be done, the model is returned as it came.
    Errors: WrongModelError for a model of another family than the identity, WrongInputError.
    """
    if isinstance(identity, NoIdentity):
        note_problem(f"The InstantID adapter is not applied: {identity.reason}")
        return model
    layout = _measured(model)
    curve = checks.part(WeightCurve, curve, "weight_curve", "Weight Curve for InstantID")
    weight, factors = checks.number(weight, "weight"), _slot_factors(layout, layers, blocks)
    window = Window.checked(start_percent, end_percent)
    opening = checks.part(WeightCurve, region_curve, "region_curve", "Weight Curve for InstantID")
    frame_weights = checks.part(FrameWeights, frame_weights, "frame_weights", "Frame Weights")
    limit = weighted_frames(masks.checked(mask), frame_weights)
    for one, factor, region in _one_by_one(identity, limit, fit, opening):
        term = AdapterTerm(
            fitting(one, layout),
            layout,
            factor * weight,
            factors,
            window,
            region,
            smooth_mask,
            curve,
            current_node(),
            adding,
            frame_weights,
        )
        model = attach(model, term)
    return model


def _slot_factors(
    layout: UNetLayout, layers: LayerWeights | None, blocks: Collection[str]
) -> tuple[float, ...]:
    """Return the factor of each slot: 0 for those that are not in `blocks`."""
    layers = checks.part(LayerWeights, layers, "layer_weights", "Layer Weights for InstantID")
    slots = layout.family.slots
    factors = slot_weights(1.0, layers, layout.family)
    return tuple(f if slot[0] in blocks else 0.0 for slot, f in zip(slots, factors, strict=True))


def _one_by_one(
    identity: Identity | FrameIdentities | People,
    mask: masks.Mask | None,
    fit: Fit,
    opening: WeightCurve | None,
) -> list[tuple[Identity | FrameIdentities, float, masks.Mask | None]]:
    """Return each person's identity, factor on the weight, and mask."""
    if not isinstance(identity, People):
        return [(identity, 1.0, mask)]
    everybody = PeopleMasks(identity.persons, fit, mask, opening)
    return [
        (person.identity, checks.number(person.weight, "weight"), PersonRegion(everybody, i))
        for i, person in enumerate(identity.persons)
    ]


def attach(model: Any, term: AdapterTerm) -> Any:
    """Return a clone of `model` with one more term, or `model` itself if the term does nothing."""
    if masks.is_all(term.mask, 1.0):
        term = replace(term, mask=None)
    if term.reason_to_do_nothing:
        tell(f"The InstantID adapter is not applied: {term.reason_to_do_nothing}")
        return model
    clone = model.clone()
    options = clone.model_options.setdefault("transformer_options", {})
    options[sampling.TERMS] = (*options.get(sampling.TERMS, ()), term)
    sampling.add_wrappers(options, predict)
    return clone


def _measured(model: Any) -> UNetLayout:
    unet = getattr(getattr(model, "model", None), "diffusion_model", None)
    if "trt" in type(unet).__name__.lower():
        raise WrongModelError(
            "The model is a TensorRT engine: its layers are compiled, and InstantID cannot act in "
            "them. Connect the MODEL of the checkpoint it was built from, by Load Checkpoint."
        )
    if not isinstance(unet, torch.nn.Module):
        raise WrongModelError(
            f"The model is {checks.kind_of(model)}, without a diffusion model in it. "
            "Connect the MODEL of an SDXL checkpoint, or of SD1.5 with the weights for it."
        )
    return measure_unet(unet)


def fitting(identity: object, layout: UNetLayout) -> FrameIdentities:
    """Return who is shown in which frame, if all of them were made for a UNet of this layout."""
    frames = over_frames(identity, "face_embeds")
    for own in frames.each:
        if own.family != layout.family:
            raise WrongModelError(
                f"The face was encoded for {own.family.name}, this model is {layout.family.name}. "
                f"Load {own.family.checkpoint}, or encode the face with the adapter for "
                f"{layout.family.name}: {layout.family.files}."
            )
        sizes = {side.kv.numel() for side in (own.positive, own.negative)}
        wanted = layout.kv_size(own.positive.tokens.shape[1])
        if own.context_width != layout.context_width or sizes != {wanted}:
            raise WrongModelError(
                f"The face was encoded for a UNet of context width {own.context_width}, this "
                f"model's is {layout.context_width}. Use the adapter file made for this model."
            )
    return frames
