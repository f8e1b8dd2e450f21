"""The number widgets that several nodes have: each kind has its range and its step here, once."""

from __future__ import annotations

from comfy_api.latest import io

from ..instantid_core.head import MOST_FRAMES
from ..instantid_core.weighting import Adding

LABELS = {"weight": "weight (likeness)", "strength": "strength (place)"}


def percent_input(
    name: str, default: float, tooltip: str, *, advanced: bool | None = None
) -> io.Float.Input:
    """A moment of the sampling: 0 is its begin, 1 its end."""
    return io.Float.Input(
        name, default=default, min=0.0, max=1.0, step=0.001, tooltip=tooltip, advanced=advanced
    )


def window_inputs(what: str, *, advanced: bool | None = None) -> list[io.Float.Input]:
    """Begin and end of the part of the sampling in which `what` works."""
    return [
        percent_input(
            name,
            default,
            f"When {what} {does}: a share of the sampling, 0 is its begin, 1 its end.",
            advanced=advanced,
        )
        for name, default, does in (
            ("start_percent", 0.0, "begins to work"),
            ("end_percent", 1.0, "stops working"),
        )
    ]


def weight_input(tooltip: str) -> io.Float.Input:
    """The weight of the adapter."""
    return io.Float.Input(
        "weight",
        default=0.8,
        min=-1.0,
        max=5.0,
        step=0.01,
        tooltip=tooltip,
        display_name=LABELS["weight"],
    )


def strength_input(tooltip: str) -> io.Float.Input:
    """The strength of IdentityNet."""
    return io.Float.Input(
        "strength",
        default=0.8,
        min=0.0,
        max=10.0,
        step=0.01,
        tooltip=tooltip,
        display_name=LABELS["strength"],
    )


def adding_input() -> io.Combo.Input:
    """How the identity's share of a layer gets to the text's."""
    return io.Combo.Input(
        "adding",
        options=[adding.value for adding in Adding],
        default=Adding.PLAIN.value,
        optional=True,
        advanced=True,
        tooltip="How the face is added to what the prompt gives in a layer. plain: as published. "
        "keep length: brought to the length of the prompt's share first, so that neither drowns "
        "the other.",
    )


def factor_input(name: str, tooltip: str, *, least: float = 0.0) -> io.Float.Input:
    """A factor on a weight or a strength: 1 leaves it as it is."""
    return io.Float.Input(
        name,
        default=1.0,
        min=least,
        max=5.0,
        step=0.01,
        tooltip=tooltip,
        display_name=LABELS.get(name),
    )


def turning_inputs() -> list[io.Input]:
    """How far heads are turned, over the frames of a batch."""
    angles = {
        "yaw": "Turn the head to the right of the picture, in degrees; negative to the left. What "
        "comes in counts as 0.",
        "pitch": "Turn the head up, in degrees; negative down. What comes in counts as 0.",
        "yaw_change": "How much further to the right the head has turned by the last frame, in "
        "degrees, evenly over the frames; negative to the left.",
        "pitch_change": "How much further up the head has turned by the last frame, in degrees, "
        "evenly over the frames; negative down.",
    }
    floats: list[io.Input] = [
        io.Float.Input(
            name,
            default=0.0,
            min=-180.0,
            max=180.0,
            step=1.0,
            optional=True,
            advanced=name.endswith("change") or None,
            tooltip=tooltip,
        )
        for name, tooltip in angles.items()
    ]
    return [
        *floats,
        io.Int.Input(
            "frames",
            default=1,
            min=1,
            max=MOST_FRAMES,
            optional=True,
            advanced=True,
            tooltip="How many frames to make of one, for a head that turns. A batch of several "
            "stays as it is.",
        ),
    ]
