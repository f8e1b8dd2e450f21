"""IdentityNet onto conditioning: chained behind the ControlNets that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import checks, masks
from ..errors import WrongInputError
from ..fitting import Fit
from ..frame_weights import FrameWeights, weighted_frames
from ..identity import FrameIdentities, Identity, NoIdentity, over_frames
from ..keypoints import DRAWINGS, DrawingStyle, Keypoints
from ..log import note_problem, tell, warn
from ..people import People, PeopleMasks, PeopleRegion, Person, PersonRegion
from ..weighting import LayerWeights, WeightCurve
from . import rows
from .control_net_check import check_control_net, warn_of_keyframes
from .face_control import FaceControl
from .hints import NO_LANDMARKS, Hint, PeopleHint, hint_of
from .identitynet import IdentityNet
from .on_node import current_node
from .windows import Window

Conditioning = list[Any]


def apply_identitynet(
    positive: Conditioning,
    negative: Conditioning,
    control_net: Any,
    identity: Identity | FrameIdentities | NoIdentity | People,
    hint: Tensor | Keypoints | None = None,
    *,
    strength: float = 0.8,
    start_percent: float = 0.0,
    end_percent: float = 1.0,
    mask: Tensor | masks.Region | None = None,
    fit: Fit = Fit.CROP,
    layers: LayerWeights | None = None,
    curve: WeightCurve | None = None,
    one_by_one: bool = False,
    middle: Conditioning | None = None,
    every: int = 1,
    region_curve: WeightCurve | None = None,
    frame_weights: FrameWeights | None = None,
) -> tuple[Conditioning, ...]:
    """Return positive, negative and, where there is one, middle, with IdentityNet behind.

    positive, negative: ComfyUI's CONDITIONING; either may be empty or left out of the sampling.
    middle: a third one, an empty prompt for guidance in two scales, which gets the person as the
    positive does; None: there is none.
    control_net: the CONTROL_NET of IdentityNet's file, for the same base models as the identity.
    identity: one person, or several, each in the part of the picture that is theirs.
    hint: Keypoints, drawn for the picture's size and the identity's family and fitted as `fit`
    says, or an IMAGE tensor (B,H,W,3) in 0..1; None for several people who bring their faces along.
    strength: 0 is off,
    0.8 the published default. start_percent, end_percent: 0..1 of the sampling. mask: (H,W) or
    (B,H,W) in 0..1 of any size, or a Region; None is the whole picture. layers, curve: factors on
    the strength, by block and over the sampling. one_by_one: evaluate IdentityNet once for each
    of several people, exact and slow, instead of once for all. every: evaluate it at every how many
    noise levels; between them the last residuals serve. region_curve: a factor on padding and
    feather of several people's regions over the sampling; one person's FaceRegion has its own.
    frame_weights: a factor on the strength, by frame.
    With nothing to do (strength 0, a window that never opens, an empty mask, no identity, no face
    in the keypoints) the conditionings are returned as they came.
    Errors: WrongModelError for another kind of ControlNet, WrongInputError.
    """
    given = (positive, negative) if middle is None else (positive, negative, middle)
    if isinstance(identity, NoIdentity):
        note_problem(f"IdentityNet is not applied: {identity.reason}")
        return given
    frame_weights = checks.part(FrameWeights, frame_weights, "frame_weights", "Frame Weights")
    if _says_why_not(_reason_to_do_nothing(identity, hint, frame_weights)):
        return given
    window = Window.checked(start_percent, end_percent)
    weighted = weighted_frames(masks.checked(mask), frame_weights)
    how = _How.checked(strength, window, weighted, fit, layers, curve, every, region_curve)
    controls = _controls(identity, hint, how, one_by_one)
    return _attached(given, control_net, controls, how)


@dataclass(frozen=True, eq=False)
class _How:
    """What is the same for everybody; see `apply_identitynet`."""

    strength: float
    window: Window
    mask: masks.Mask | None
    fit: Fit
    layers: LayerWeights | None
    curve: WeightCurve | None
    every: int
    region_curve: WeightCurve | None

    @classmethod
    def checked(
        cls,
        strength: object,
        window: Window,
        mask: object,
        fit: Fit,
        layers: LayerWeights | None,
        curve: WeightCurve | None,
        every: int,
        region_curve: WeightCurve | None,
    ) -> _How:
        """Return what was connected, if it is what was wanted. Raises WrongInputError."""
        layers = checks.part(LayerWeights, layers, "layer_weights", "Layer Weights for InstantID")
        source = "Weight Curve for InstantID"
        curve = checks.part(WeightCurve, curve, "weight_curve", source)
        number = checks.number(strength, "strength")
        opening = checks.part(
            WeightCurve, region_curve, "region_curve", "Weight Curve for InstantID"
        )
        if checks.number(every, "every") < 1 or every != int(every):
            raise WrongInputError(
                f"IdentityNet shall be evaluated at every {every:g} steps. Wanted: a whole number "
                "from 1 on; 1 is at every step, 2 at every second."
            )
        region = masks.checked(mask)
        return cls(number, window, region, fit, layers, curve, int(every), opening)


def _attached(
    given: tuple[Conditioning, ...],
    control_net: Any,
    controls: Sequence[tuple[FaceControl, float]],
    how: _How,
) -> tuple[Conditioning, ...]:
    """Chain a net for each of `controls` behind positive, negative and, if there is one, middle."""
    for face, _ in controls:
        check_control_net(control_net, face.positive.shape[-1], face.family)
    if _says_why_not(_reason_for_no_effect(how)):
        return given
    sides = (rows.POSITIVE, rows.NEGATIVE, rows.POSITIVE)
    names = ("positive", "negative", "middle")
    made = [checks.conditioning(c, name) for c, name in zip(given, names, strict=False)]
    warn_of_keyframes(control_net)
    if any(face.hint.lacks_landmarks for face, _ in controls):
        warn(NO_LANDMARKS)
    for face, factor in controls:
        strength = how.strength * factor
        if strength != 0:
            chain = _Chain(control_net, face, strength, how.window)
            made = [
                [chain.attached(entry, side) for entry in conditioning]
                for conditioning, side in zip(made, sides, strict=False)
            ]
    return tuple(made)


def _controls(
    identity: object, hint: object, how: _How, one_by_one: bool
) -> list[tuple[FaceControl, float]]:
    """Return what is to be chained, each with its factor on the strength."""
    if not isinstance(identity, People):
        single = over_frames(identity, "face_embeds")
        mask = None if masks.is_all(how.mask, 1.0) else how.mask
        shown = hint_of(hint, how.fit, _style_of(single.each[0]))
        return [(_face_control(single, shown, mask, how), 1.0)]
    persons = identity.persons
    everybody = PeopleMasks(persons, how.fit, how.mask, how.region_curve)
    if one_by_one or len(persons) == 1:
        return [
            (
                _face_control(
                    over_frames(person.identity, "face_embeds"),
                    _hint_of_people(persons, hint, how.fit, only=i),
                    PersonRegion(everybody, i),
                    how,
                ),
                person.strength,
            )
            for i, person in enumerate(persons)
        ]
    return [(_group_control(persons, everybody, hint, how), 1.0)]


def _face_control(
    identity: FrameIdentities, hint: Hint, mask: masks.Mask | None, how: _How
) -> FaceControl:
    family = identity.each[0].family
    return FaceControl(
        positive=torch.cat([own.positive.tokens for own in identity.each]),
        negative=torch.cat([own.negative.tokens for own in identity.each]),
        hint=hint,
        mask=mask,
        identities=identity if len(identity.each) > 1 else None,
        layers=how.layers,
        curve=how.curve,
        node=current_node(),
        every=how.every,
        family=family,
    )


def _group_control(
    persons: tuple[Person, ...], everybody: PeopleMasks, hint: object, how: _How
) -> FaceControl:
    """Return the one control of several people."""
    sides = [(p.identity.positive.tokens, p.identity.negative.tokens) for p in persons]
    return FaceControl(
        positive=torch.cat([positive for positive, _ in sides], dim=1),
        negative=torch.cat([negative for _, negative in sides], dim=1),
        hint=_hint_of_people(persons, hint, how.fit),
        mask=PeopleRegion(everybody, tuple(person.strength for person in persons)),
        layers=how.layers,
        curve=how.curve,
        people=PeopleMasks(persons, how.fit, curve=how.region_curve),
        counts=tuple(positive.shape[1] for positive, _ in sides),
        node=current_node(),
        every=how.every,
        family=persons[0].identity.family,
    )


def _hint_of_people(
    persons: tuple[Person, ...], hint: object, fit: Fit, only: int | None = None
) -> Hint:
    """Return the drawing of people's own faces, or the hint that was given instead."""
    style = _style_of(persons[0].identity)
    if hint is None:
        return PeopleHint(persons, fit, only, style)
    return hint_of(hint, fit, style)


def _style_of(identity: Identity) -> DrawingStyle:
    """How keypoints are drawn for the IdentityNet of an identity's family."""
    return DRAWINGS[identity.family.name]


class _Chain:
    """Makes one IdentityNet for each chain it meets, so that both sides are batched everybody."""

    def __init__(
        self, control_net: Any, face: FaceControl, strength: float, window: Window
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
        return [text, {**rows.tagged(options, role), **control}]

    def _behind(self, previous: Any) -> IdentityNet:
        if previous not in self._made:
            net = IdentityNet(self._source, self._face)
            net.strength = self._strength
            net.timestep_percent_range = (self._window.start, self._window.end)
            net.set_previous_controlnet(previous)
            self._made[previous] = net
        return self._made[previous]


def _says_why_not(reason: str) -> bool:
    """Tell why nothing is applied; say whether there is a reason."""
    if reason:
        tell(f"IdentityNet is not applied: {reason}")
    return bool(reason)


def _reason_to_do_nothing(
    identity: object, hint: object, frame_weights: FrameWeights | None
) -> str:
    if frame_weights is not None and frame_weights.is_off:
        return "its strength is 0 in every frame."
    if isinstance(hint, Keypoints) and not hint.faces:
        return "the keypoints hold no face."
    if isinstance(identity, People) and not identity.persons:
        return "the list of people is empty."
    if isinstance(identity, People) and hint is None:
        faces = [p.faces for p in identity.persons if p.faces is not None]
        return "" if any(f.faces for f in faces) else "nobody in the list of people has keypoints."
    return ""


def _reason_for_no_effect(how: _How) -> str:
    if how.strength == 0:
        return "its strength is 0."
    if how.window.never_opens:
        return how.window.reason
    if masks.is_all(how.mask, 0.0):
        return "its mask is empty."
    return "its weight curve is 0 all the time." if how.curve and how.curve.is_off else ""
