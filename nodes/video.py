"""Nodes for videos: a person followed, steady keypoints, and what changes from frame to frame."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..instantid_core.faces import THRESHOLD, as_analyzer
from ..instantid_core.faces.cuts import CUT_THRESHOLD, CUT_WAYS, CutSettings, nth_cut
from ..instantid_core.faces.following import TrackChoice, follow
from ..instantid_core.faces.pick import make_pick
from ..instantid_core.faces.references import LookSettings
from ..instantid_core.faces.steady import (
    GAPS,
    LONGEST_GAP,
    SMOOTHINGS,
    WINDOW,
    Steadying,
    steady,
)
from ..instantid_core.faces.tracks import ONE_PERSON, TRACK_CHOICES
from ..instantid_core.frame_weights import ENDLESS, parse_frame_weights
from ..instantid_core.host.faces import change_identity, watched
from ..instantid_core.host.footage import footage_of
from ..instantid_core.host.on_node import told_on_node
from ..instantid_core.images import rgb_to_images
from ..instantid_core.keypoints import checked
from ..instantid_core.plots import plot_frames
from . import search_words, sockets
from .face_inputs import landmarks_input, look_inputs
from .showing import shown, shown_keypoints

LAST_FRAME = ENDLESS - 1


def cut_frames_input(tooltip: str) -> io.String.Input:
    """Numbers of frames at which another shot begins."""
    return io.String.Input("cut_frames", default="", optional=True, advanced=True, tooltip=tooltip)


class FollowFace(io.ComfyNode):
    """One person through a video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_FollowFace",
            display_name="Follow Face",
            category="InstantID/video",
            description="Follow every face through a video, by place and likeness, and give out "
            "the keypoints of one person. Cuts are found. Another choice of person looks at "
            "nothing anew.",
            search_aliases=search_words.of("IID_FollowFace"),
            inputs=[
                sockets.FaceAnalysis.Input("face_analyzer", tooltip="From Load Face Analyzer."),
                io.MultiType.Input(
                    "video",
                    types=[io.Image, io.Video],
                    tooltip="The frames as one batch of pictures, or a VIDEO from Load Video, "
                    "which is read frame by frame and never whole.",
                ),
                io.Combo.Input(
                    "track",
                    options=list(TRACK_CHOICES),
                    default=TRACK_CHOICES[0],
                    tooltip="The order in which `index` counts the persons. longest: who is seen "
                    "in most frames. largest: whose face is largest. most_like: who looks most "
                    "like `like`. number: the number in the preview. all: everybody.",
                ),
                io.Int.Input(
                    "index",
                    default=0,
                    min=0,
                    max=255,
                    tooltip="The number of the person to take, counted from 0 in the order of "
                    "`track`.",
                ),
                io.Combo.Input(
                    "cuts",
                    options=list(CUT_WAYS),
                    default=CUT_WAYS[0],
                    tooltip="How cuts become known. find: by a sudden change of colours. none: "
                    "there are none. list: as `cut_frames` says.",
                ),
                sockets.FaceEmbeds.Input(
                    "like",
                    optional=True,
                    tooltip="Whom to look for with track = most_like, for example from Load "
                    "Identity.",
                ),
                cut_frames_input(
                    "With cuts = list: the frames at which another shot begins, counted from 0, "
                    "with commas between, such as 48, 120."
                ),
                io.Float.Input(
                    "cut_threshold",
                    default=CUT_THRESHOLD,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip="With cuts = find: how much the colours change from one frame to the "
                    "next at a cut, 0 to 1. The report says what was found.",
                ),
                io.Float.Input(
                    "same_person",
                    default=ONE_PERSON,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip="How alike two stretches of the video must be to show one person, 0 "
                    "to 1. Raise it where two people become one, lower it where one becomes two.",
                ),
                *look_inputs(),
                landmarks_input(),
            ],
            outputs=[
                sockets.FaceKeypoints.Output(
                    display_name="keypoints",
                    tooltip="The person's face in every frame; none where it is not seen. Steady "
                    "Keypoints fills gaps.",
                ),
                io.Image.Output(
                    display_name="tracks",
                    tooltip="Who is seen when and where: a lane for each person, green who is "
                    "taken; lines are cuts.",
                ),
                io.String.Output(
                    display_name="cut_frames",
                    tooltip="The frames at which another shot begins, such as 48, 120.",
                ),
                io.String.Output(display_name="report", tooltip="Cuts, and one line a person."),
            ],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        face_analyzer: Any,
        video: Any,
        track: str,
        index: int,
        cuts: str,
        like: Any = None,
        cut_frames: str = "",
        cut_threshold: float = CUT_THRESHOLD,
        same_person: float = ONE_PERSON,
        threshold: float = THRESHOLD,
        thorough: bool = False,
        landmarks: bool = False,
    ) -> io.NodeOutput:
        whom = make_pick(track, index, like)
        made = follow(
            as_analyzer(face_analyzer),
            footage_of(video),
            TrackChoice(track, index, whom.like, whom.order),
            CutSettings.checked(cuts, cut_threshold, cut_frames),
            alike=same_person,
            settings=LookSettings(threshold, thorough, landmarks),
            watched=watched,
        )
        listed = ", ".join(map(str, made.cuts))
        picture = shown(cls, made.preview)
        return io.NodeOutput(made.keypoints, made.preview, listed, made.report, ui=picture)


class SteadyKeypoints(io.ComfyNode):
    """Keypoints of a video without shivers and gaps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_SteadyKeypoints",
            display_name="Steady Keypoints",
            category="InstantID/video",
            description="Smooth the keypoints of a video and fill frames without a face, person by "
            "person, never across a cut. Looks at no picture.",
            search_aliases=search_words.of("IID_SteadyKeypoints"),
            inputs=[
                sockets.FaceKeypoints.Input(
                    "keypoints", tooltip="From Follow Face, or from Face Keypoints."
                ),
                io.Combo.Input(
                    "smoothing",
                    options=list(SMOOTHINGS),
                    default=SMOOTHINGS[0],
                    tooltip="one_euro: strong at rest, weak in motion. savitzky_golay: a parabola "
                    "through the frames around each. none: points stay. Neither lags behind.",
                ),
                io.Int.Input(
                    "window",
                    default=WINDOW,
                    min=1,
                    max=999,
                    step=2,
                    tooltip="How many frames the smoothing looks at. More is steadier, and rounds "
                    "off quick movements; about a second of video is good.",
                ),
                io.Combo.Input(
                    "gaps",
                    options=list(GAPS),
                    default=GAPS[0],
                    tooltip="What to do with frames in which the face was not found. interpolate: "
                    "move evenly from before to after. hold: the face before. blank: no face.",
                ),
                io.Int.Input(
                    "longest_gap",
                    default=LONGEST_GAP,
                    min=0,
                    max=9999,
                    tooltip="Gaps of more frames stay blank, and nothing is smoothed across them.",
                ),
                cut_frames_input(
                    "Frames at which another shot begins, besides those that Follow Face found, "
                    "counted from 0, with commas between."
                ),
            ],
            outputs=[sockets.FaceKeypoints.Output(display_name="keypoints")],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        keypoints: Any,
        smoothing: str,
        window: int,
        gaps: str,
        longest_gap: int,
        cut_frames: str = "",
    ) -> io.NodeOutput:
        how = Steadying.checked(smoothing, window, gaps, longest_gap, cut_frames)
        made = steady(checked(keypoints), how)
        return io.NodeOutput(made, ui=shown_keypoints(cls, made))


class ChangeIdentity(io.ComfyNode):
    """Another person from a frame on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_ChangeIdentity",
            display_name="Change Identity",
            category="InstantID/video",
            description="Show one person up to a frame of a video and another one from there on, "
            "at once or by mixing. Chain several for several changes, in the order of the frames.",
            search_aliases=search_words.of("IID_ChangeIdentity"),
            inputs=[
                sockets.Adapter.Input("adapter", tooltip="From Load InstantID Adapter."),
                sockets.FaceEmbeds.Input(
                    "before", tooltip="Who is shown first: an identity, or another Change Identity."
                ),
                sockets.FaceEmbeds.Input("after", tooltip="Who is shown from the change on."),
                io.Int.Input(
                    "frame",
                    default=0,
                    min=0,
                    max=LAST_FRAME,
                    tooltip="The frame at which the change begins, counted from 0.",
                ),
                io.Int.Input(
                    "over",
                    default=0,
                    min=0,
                    max=LAST_FRAME,
                    tooltip="How many frames the change takes: 0 is at once; else the faces are "
                    "mixed evenly, in 16 steps at most.",
                ),
                cut_frames_input(
                    "From Follow Face, or written: the frames at which another shot begins. Only "
                    "with `cut`."
                ),
                io.Int.Input(
                    "cut",
                    default=0,
                    min=0,
                    max=LAST_FRAME,
                    optional=True,
                    advanced=True,
                    tooltip="1 and more: begin at this cut of `cut_frames`, counted from 1, "
                    "whatever `frame` says. 0: at `frame`.",
                ),
            ],
            outputs=[
                sockets.FaceEmbeds.Output(
                    display_name="identity", tooltip="For the nodes that apply InstantID."
                )
            ],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        adapter: Any,
        before: Any,
        after: Any,
        frame: int,
        over: int,
        cut_frames: str = "",
        cut: int = 0,
    ) -> io.NodeOutput:
        begin = frame if cut == 0 else nth_cut(cut_frames, cut)
        return io.NodeOutput(change_identity(adapter, before, after, begin, over))


class FrameWeightsNode(io.ComfyNode):
    """A factor by frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_FrameWeights",
            display_name="Frame Weights",
            category="InstantID/video",
            description="Let InstantID act more strongly in some frames of a video than in others.",
            search_aliases=search_words.of("IID_FrameWeights"),
            inputs=[
                io.String.Input(
                    "points",
                    default="0:1, 24:0.5",
                    tooltip="frame : factor, with commas between; straight between the points, and "
                    "the last one holds. 1 leaves the weight as it is, 0 is off.",
                )
            ],
            outputs=[
                sockets.FrameWeights.Output(display_name="frame_weights"),
                io.Image.Output(display_name="plot"),
            ],
        )

    @classmethod
    def execute(cls, points: str) -> io.NodeOutput:
        made = parse_frame_weights(points)
        plot = rgb_to_images(plot_frames(made))
        return io.NodeOutput(made, plot, ui=shown(cls, plot))


NODES: list[type[io.ComfyNode]] = [
    FollowFace,
    SteadyKeypoints,
    ChangeIdentity,
    FrameWeightsNode,
]
