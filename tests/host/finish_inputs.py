"""Cases of every input of the nodes that finish a picture; as `every_input` has them."""

from __future__ import annotations

from typing import Any

from faithful_instantid.instantid_core.crops import CropSettings, crop_masks, cut, plan_crops
from faithful_instantid.instantid_core.faces.references import LookSettings
from faithful_instantid.instantid_core.faces.scoring import judge_of, score
from faithful_instantid.instantid_core.pasting import paste
from faithful_instantid.instantid_core.regions import Outline, Shape
from faithful_instantid.nodes import folders

from .input_world import Case, Inputs, NodeCases, World, given, of

SCORING = {
    "face_analyzer": Case(of("other_analyzer"), given(identity=of("ann"))),
    "images": Case(lambda w: w.two_photos.flip(0)),
    "recogniser": Case("no such pack"),
    "identity": Case(of("bob")),
    "reference": Case(lambda w: w.group.flip(2)),
    "threshold": Case(0.95),
    "thorough": Case(True, given(images=of("one_small"), identity=of("bob"))),
}
SCORED: Inputs = {"recogniser": "face_analyzer"}
OUTLINE = {"shape": Case("box"), "padding": Case(0.3), "feather": Case(0.4)}
HEAD: Inputs = {"shape": "ellipse", "padding": 0.1, "feather": 0.15}


def outline_of(i: Inputs) -> Outline:
    return Outline(Shape(i["shape"]), i["padding"], i["feather"])


def face_cropped(world: World, **i: Any) -> Any:
    grid = int(i["multiple_of"])
    settings = CropSettings(i["context"], i["long_side"], i["aspect"], grid, i["upright"])
    crop = plan_crops(i["keypoints"], i["image"], i["order"], i["index"], settings)
    return cut(i["image"], crop), crop_masks(crop, outline_of(i)), crop.keypoints, crop


def face_pasted(world: World, **i: Any) -> Any:
    return (paste(i["image"], i["crop"], i["face_crop"], outline_of(i), i["colour_match"]),)


def scored(world: World, **i: Any) -> Any:
    path = folders.recogniser_path(i["recogniser"])
    settings = LookSettings(i.get("threshold", 0.5), i.get("thorough", False))
    judge = judge_of(i["face_analyzer"], path)
    return score(judge, i["images"], i.get("identity"), i.get("reference"), settings)


def likeness_told(world: World, **i: Any) -> Any:
    made = scored(world, **i)
    return made.values, made.preview, made.report


def most_alike(world: World, **i: Any) -> Any:
    made = scored(world, **i)
    order = made.order[: i["count"]]
    return i["images"][order], order, made.report


NODES: dict[str, NodeCases] = {
    "IID_CropFace": NodeCases(
        given(image=of("group"), keypoints=of("group_faces"), order="left_to_right", index=0,
              context=2.0, long_side=128, aspect=1.0, multiple_of="8", upright=True, **HEAD),
        face_cropped,
        {
            "image": Case(of("other_group")),
            "keypoints": Case(of("moved_faces")),
            "order": Case("top_to_bottom"),
            "index": Case(-1),
            "context": Case(2.5),
            "long_side": Case(192),
            "aspect": Case(0.75),
            "multiple_of": Case("64", given(aspect=0.75)),
            "upright": Case(False),
            **OUTLINE,
        },
    ),
    "IID_PasteFace": NodeCases(
        given(image=of("group"), crop=lambda w: w.group[:, :64, :64] / 2, face_crop=of("face_crop"),
              colour_match=0.2, **HEAD),
        face_pasted,
        {
            "image": Case(lambda w: w.group.flip(2)),
            "crop": Case(lambda w: w.group[:, 100:228, 100:228]),
            "face_crop": Case(of("other_face_crop")),
            **OUTLINE,
            "colour_match": Case(0.8),
        },
    ),
    "IID_Likeness": NodeCases(
        given(face_analyzer=of("analyzer"), images=of("two_photos"), identity=of("ann"), **SCORED),
        likeness_told,
        SCORING,
    ),
    "IID_KeepMostAlike": NodeCases(
        given(face_analyzer=of("analyzer"), images=of("two_photos"), identity=of("ann"), count=2,
              **SCORED),
        most_alike,
        {**SCORING, "count": Case(1)},
    ),
}  # fmt: skip
