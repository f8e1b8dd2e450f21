"""The inputs that several nodes about faces have: which face, how to look, how to combine."""

from __future__ import annotations

from comfy_api.latest import io

from ..instantid_core.embeddings import COMBINES, MEAN
from ..instantid_core.faces import PICKS, THRESHOLD
from ..instantid_core.faces.frames import ON_MISSING_FRAME
from . import sockets

PICK_TOOLTIP = (
    "The order in which the faces of a picture are numbered, beginning at 0; the preview shows the "
    "numbers. most_like needs an identity in `like`."
)
INDEX_TOOLTIP = "The number of the face to take, counted from 0 in the order of `pick`."
LIKE_TOOLTIP = "Whom to look for with pick = most_like, for example from Load Identity."


def pick_inputs(*more: str) -> list[io.Input]:
    """Which face: the same two widgets on every node that has them."""
    return [
        io.Combo.Input("pick", options=[*PICKS, *more], default=PICKS[0], tooltip=PICK_TOOLTIP),
        io.Int.Input("index", default=0, min=0, max=255, tooltip=INDEX_TOOLTIP),
    ]


def missing_frame_input() -> io.Combo.Input:
    """What becomes of a frame without the face: the same on every node that has it."""
    return io.Combo.Input(
        "on_missing",
        options=list(ON_MISSING_FRAME),
        default=ON_MISSING_FRAME[0],
        tooltip="What to do with a frame that has no such face. error: stop. hold: take the frame "
        "before. interpolate: move evenly between the frames before and after. blank: no face in "
        "that frame. Every frame keeps its place.",
    )


def look_inputs() -> list[io.Input]:
    """How to look: the same two widgets on every node that has them."""
    return [
        io.Float.Input(
            "threshold",
            default=THRESHOLD,
            min=0.05,
            max=0.95,
            step=0.01,
            optional=True,
            advanced=True,
            tooltip="Least score of a face, 0 to 1. Lower finds blurred and covered faces, and "
            "things that are none.",
        ),
        io.Boolean.Input(
            "thorough",
            default=False,
            optional=True,
            advanced=True,
            tooltip="Look at the picture at every size, even where the usual sizes found a face. "
            "Finds the tiny faces of a large group photo; takes longer.",
        ),
    ]


def landmarks_input() -> io.Boolean.Input:
    """Whether landmarks are found too: the same on every node that has it."""
    return io.Boolean.Input(
        "landmarks",
        default=False,
        optional=True,
        advanced=True,
        tooltip="Find 106 landmarks of each face, too. IdentityNet for SD1.5 is shown them; for "
        "SDXL they change nothing. The face pack needs 2d106det.onnx of antelopev2.",
    )


def combine_input() -> io.Combo.Input:
    """How several become one: the same on every node that has it."""
    return io.Combo.Input(
        "combine",
        options=list(COMBINES),
        default=MEAN,
        tooltip="mean: of the raw embeddings, the published way; the more they differ, the weaker "
        "the face. norm_kept_mean: the same direction at full strength.",
    )


def negative_inputs() -> list[io.Input]:
    """Whom to lead away from: the same on every node that has it."""
    return [
        sockets.FaceEmbeds.Input(
            "negative_identity",
            optional=True,
            advanced=True,
            tooltip="A person to lead away from: stands on the negative side, where the published "
            "method has zeros.",
        ),
        io.Float.Input(
            "negative_weight",
            default=0.5,
            min=0.0,
            max=1.0,
            step=0.01,
            optional=True,
            advanced=True,
            tooltip="How far the negative side goes from zeros, 0, to `negative_identity`, 1.",
        ),
    ]
