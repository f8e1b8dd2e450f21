"""The widgets of the old nodes: declared as they were, kinder to what old files hold."""

from __future__ import annotations

from dataclasses import dataclass

from comfy_api.latest import io

from ...instantid_core import checks
from ...instantid_core.host.legacy.old_pack import AVERAGE, COMBINES
from ...instantid_core.log import warn

CATEGORY = "InstantID/old nodes"
ABSENT = object()  # tells an input that is not there from one that is connected
FIRST_WEEKS = (
    "This node was saved with the first version of the old InstantID pack, whose inputs "
    "image_features and attn_mask are gone. Add the node anew, connect the photo to image, the "
    "IdentityNet to control_net and the mask to mask, and use the outputs of the node as positive "
    "and negative; the separate ControlNet apply node is no longer needed."
)


@dataclass(frozen=True)
class Slider:
    """A number widget; a value outside its range is clamped with a note, never refused."""

    id: str
    default: float
    min: float
    max: float
    step: float
    tooltip: str

    def input(self) -> io.Float.Input:
        return io.Float.Input(
            self.id,
            default=self.default,
            min=self.min,
            max=self.max,
            step=self.step,
            tooltip=self.tooltip,
        )

    def clamped(self, value: float) -> float:
        """Return `value` within the declared range."""
        within = min(max(checks.number(value, self.id), self.min), self.max)
        if within != value:
            warn(
                f"{self.id} is {value}; an old node takes {self.min} to {self.max}, so it runs "
                f"with {within}."
            )
        return within


def _start(subject: str) -> Slider:
    tooltip = f"When {subject} begins, as a part of the sampling: 0 is the first step."
    return Slider("start_at", 0.0, 0.0, 1.0, 0.001, tooltip)


def _end(subject: str) -> Slider:
    tooltip = f"When {subject} ends, as a part of the sampling: 1 is the last step."
    return Slider("end_at", 1.0, 0.0, 1.0, 0.001, tooltip)


START, END = _start("InstantID"), _end("InstantID")
WEIGHT = Slider(
    "weight",
    0.8,
    0.0,
    5.0,
    0.01,
    "How strongly adapter and IdentityNet pull towards the face. 0 is off; above 1 burns easily.",
)
IP_WEIGHT = Slider(
    "ip_weight",
    0.8,
    0.0,
    3.0,
    0.01,
    "How strongly the adapter pulls towards the face. 0 is off; above 1 burns easily.",
)
CN_STRENGTH = Slider(
    "cn_strength",
    0.8,
    0.0,
    10.0,
    0.01,
    "How strongly IdentityNet holds face and keypoints. 0 is off; above 1 burns easily.",
)
ATTENTION_WEIGHT = Slider(
    "weight",
    1.0,
    -1.0,
    3.0,
    0.01,
    "How strongly the adapter pulls towards the face. 0 is off; below 0 pushes away from it.",
)
STRENGTH = Slider(
    "strength",
    1.0,
    0.0,
    10.0,
    0.01,
    "How strongly IdentityNet holds face and keypoints. 0 hands the conditioning on unchanged.",
)
NOISE = Slider(
    "noise",
    0.0,
    0.0,
    1.0,
    0.1,
    "Random numbers in place of the empty face on the negative side: 0 is none, 1 is most. "
    "A little can take burnt colours back.",
)


def first_weeks(*gone: object) -> bool | str:
    """Return the message for a node that still has an input of the first weeks, else True."""
    return True if all(value is ABSENT for value in gone) else FIRST_WEEKS


def known_combine(combine_embeds: str) -> str:
    """Return a way of combining that exists; an unknown one is replaced with a note."""
    if combine_embeds in COMBINES:
        return combine_embeds
    warn(
        f"combine_embeds is {checks.shown(combine_embeds)}; known are {', '.join(COMBINES)}, so "
        "the node runs with average."
    )
    return AVERAGE


def combine_input() -> io.Combo.Input:
    return io.Combo.Input(
        "combine_embeds",
        options=list(COMBINES),
        default=AVERAGE,
        tooltip="How several reference photos become one face: their mean, the mean after each "
        "number is scaled over the photos, or all of them side by side.",
    )


def image_kps_input() -> io.Image.Input:
    return io.Image.Input(
        "image_kps",
        optional=True,
        tooltip="Picture whose face gives pose and place. A drawn keypoint picture is used as it "
        "is. Left empty, the first reference photo is used.",
    )


def mask_input(effect: str) -> io.Mask.Input:
    return io.Mask.Input("mask", optional=True, tooltip=f"{effect} Left empty, everywhere.")
