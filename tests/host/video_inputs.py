"""Cases of every input of the nodes for videos; as `every_input` has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from faithful_instantid.devtools.standins.drawing import DrawnFace
from faithful_instantid.instantid_core.faces.cuts import CutSettings
from faithful_instantid.instantid_core.faces.following import TrackChoice, follow
from faithful_instantid.instantid_core.faces.references import LookSettings
from faithful_instantid.instantid_core.faces.steady import Steadying, steady
from faithful_instantid.instantid_core.frame_weights import parse_frame_weights
from faithful_instantid.instantid_core.host.faces import change_identity
from faithful_instantid.instantid_core.host.footage import footage_of
from faithful_instantid.instantid_core.images import rgb_to_images
from faithful_instantid.instantid_core.keypoints import Keypoints
from faithful_instantid.instantid_core.plots import plot_frames

from .input_world import Case, Inputs, NodeCases, World, given, of, photo

SIZE = {"width": 320, "height": 180}


def film(world: World) -> torch.Tensor:
    """Two persons, of whom the second is there from the second frame on, larger and longer."""
    ann = [DrawnFace(80, 90 + 2 * n, 70, person=1) for n in range(3)]
    bob = [DrawnFace(230 - n, 90, 90, person=2) for n in range(6)]
    frames = [photo(*([ann[n]] if n < 3 else []), *([bob[n]] if n else []), **SIZE) for n in
              range(6)]  # fmt: skip
    return torch.cat(frames)


def alternating(world: World) -> torch.Tensor:
    """One person and another one at the same place, now the one and now the other."""
    return torch.cat([photo(DrawnFace(150, 90, 80, person=1 + n // 3), **SIZE) for n in range(6)])


def shaking(world: World) -> Keypoints:
    """A face that is not seen in frames 3 and 4, and jumps a little."""
    (face,) = world.face.faces
    frames = [
        () if n in (3, 4) else (replace(face, kps=face.kps + (n % 3), box=face.box + n % 2),)
        for n in range(9)
    ]
    return replace(world.face, frames=tuple(frames))


def followed(world: World, **i: Any) -> Any:
    like = i.get("like")
    made = follow(
        i["face_analyzer"],
        footage_of(i["video"]),
        TrackChoice(i["track"], i["index"], None if like is None else like.face_embedding.numpy()),
        CutSettings.checked(i["cuts"], i.get("cut_threshold", 0.35), i.get("cut_frames", "")),
        alike=i.get("same_person", 0.3),
        settings=LookSettings(
            i.get("threshold", 0.5), i.get("thorough", False), i.get("landmarks", False)
        ),
    )
    return made.keypoints, made.preview, ", ".join(map(str, made.cuts)), made.report


def steadied(world: World, **i: Any) -> Any:
    how = Steadying.checked(
        i["smoothing"], i["window"], i["gaps"], i["longest_gap"], i.get("cut_frames", "")
    )
    return (steady(i["keypoints"], how),)


def identity_changed(world: World, **i: Any) -> Any:
    cuts = [int(cut) for cut in i.get("cut_frames", "").split(",") if cut]
    frame = cuts[i["cut"] - 1] if i.get("cut") else i["frame"]
    return (change_identity(i["adapter"], i["before"], i["after"], frame, i["over"]),)


def frames_weighted(world: World, points: str) -> Any:
    made = parse_frame_weights(points)
    return made, rgb_to_images(plot_frames(made))


CHANGE: Inputs = {"frame": 2, "over": 0}

NODES: dict[str, NodeCases] = {
    "IID_FollowFace": NodeCases(
        given(face_analyzer=of("analyzer"), video=film, track="longest", index=0, cuts="find"),
        followed,
        {
            "face_analyzer": Case(of("other_analyzer"), given(track="most_like", like=of("ann"))),
            "video": Case(lambda w: film(w).flip(2)),
            "track": Case("number"),
            "index": Case(1),
            "cuts": Case("none"),
            "like": Case(of("bob"), given(track="most_like", like=of("ann"))),
            "cut_frames": Case("2, 4", given(cuts="list", cut_frames="3")),
            "cut_threshold": Case(0.01),
            "same_person": Case(0.0, given(video=alternating)),
            "threshold": Case(0.95),
            "thorough": Case(True, given(video=of("one_small"), track="all")),
            "landmarks": Case(True),
        },
    ),
    "IID_SteadyKeypoints": NodeCases(
        given(keypoints=shaking, smoothing="one_euro", window=9, gaps="interpolate",
              longest_gap=4),
        steadied,
        {
            "keypoints": Case(of("two_faces")),
            "smoothing": Case("savitzky_golay"),
            "window": Case(5),
            "gaps": Case("blank"),
            "longest_gap": Case(1),
            "cut_frames": Case("6"),
        },
    ),
    "IID_ChangeIdentity": NodeCases(
        lambda w: {"adapter": w.adapter, "before": w.identity, "after": w.other_identity, **CHANGE},
        identity_changed,
        {
            "adapter": Case(of("other_adapter"), given(over=3)),
            "before": Case(of("ann")),
            "after": Case(of("ann")),
            "frame": Case(3),
            "over": Case(2),
            "cut_frames": Case("4,6", given(cut_frames="3,6", cut=1)),
            "cut": Case(2, given(cut_frames="3,6", cut=1)),
        },
    ),
    "IID_FrameWeights": NodeCases(
        given(points="0:1, 24:0.5"), frames_weighted, {"points": Case("0:0.2, 12:1")}
    ),
}  # fmt: skip
