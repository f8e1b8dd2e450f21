"""For every node: inputs to start from, what the same values give without the node, other values.

A case of an input is a value that must matter, and what else must be set so that it can. `World`
has what values are made of. What a node gives is compared as numbers, a MODEL and CONDITIONING by
what they predict.
"""

from __future__ import annotations

import torch
from faithful_instantid.instantid_core.faces.pick import make_pick
from faithful_instantid.instantid_core.faces.references import references_of
from faithful_instantid.instantid_core.fitting import transform
from faithful_instantid.instantid_core.host.legacy import old_pack
from faithful_instantid.instantid_core.host.people import (
    carry_person,
)

from . import finish_inputs, video_inputs
from .input_world import Blind, Case, Inputs, NodeCases, given, of, posed
from .node_cores import (
    adapter_on,
    both_on,
    curve_made,
    face_encoded,
    faces_edited,
    faces_of_pose,
    identities_mixed,
    identitynet_on,
    keypoints_drawn,
    keypoints_found,
    layers_made,
    moved,
    of_both,
    of_carried,
    of_conditioning,
    of_model,
    old_adapter,
    old_both,
    old_identitynet,
    person_added,
    person_of_photos,
    placed,
    region_mask,
)

# Values that several nodes share.

WINDOW = {"start_percent": Case(0.9), "end_percent": Case(0.1)}
OUTLINE = {"shape": Case("ellipse"), "padding": Case(0.3), "feather": Case(0.4)}
SIZE = {"width": Case(192), "height": Case(256)}
LOOK = {
    "threshold": Case(0.95),
    "thorough": Case(True, given(image=of("one_small"), pick="top_to_bottom")),
}
TURNING = {
    "yaw": Case(25.0),
    "pitch": Case(-15.0),
    "yaw_change": Case(30.0, given(frames=3)),
    "pitch_change": Case(20.0, given(frames=3)),
    "frames": Case(2),
}
NEGATIVE = {
    "negative_identity": Case(of("bob")),
    "negative_weight": Case(0.9, given(negative_identity=of("bob"))),
}
OLD_SOCKETS = {
    "instantid": Case(of("other_adapter")),
    "insightface": Case(of("other_analyzer")),
    "control_net": Case(of("other_net")),
    "image": Case(of("other_group")),
    "model": Case(of("other_model")),
    "positive": Case(of("other_positive")),
    "negative": Case(of("other_negative")),
    "start_at": Case(0.9),
    "end_at": Case(0.1),
    "image_kps": Case(lambda w: w.group.flip(2)),
    "mask": Case(of("left")),
}
OLD_BASE = given(
    instantid=of("adapter"), insightface=of("analyzer"), control_net=of("net"), image=of("group"),
    model=of("model"), positive=of("positive"), negative=of("negative"), start_at=0.0, end_at=1.0,
)  # fmt: skip
PERSON_BASE: Inputs = {"order": "left_to_right", "index": 0, "shape": "box", "padding": 0.0}
PERSON_BASE |= {"feather": 0.0, "weight": 1.0, "strength": 1.0}
PERSON_CASES = {"index": Case(1), **OUTLINE, "weight": Case(0.6), "strength": Case(0.4)}

# Inputs that change what a node shows and nothing that it gives, and which tests look at that.
SHOWN_ONLY = {"IID_EditKeypoints": {"image": "test_pose_nodes"}}

NODES: dict[str, NodeCases] = {
    "IID_EncodeFace": NodeCases(
        given(
            face_analyzer=of("analyzer"), adapter=of("adapter"), image=of("group"),
            pick="left_to_right", index=0, combine="mean", on_missing="error",
            negative_noise=0.3, noise_seed=1,
        ),
        face_encoded,
        {
            "face_analyzer": Case(of("other_analyzer")),
            "adapter": Case(of("other_adapter")),
            "image": Case(lambda w: w.group.flip(2)),
            "pick": Case("top_to_bottom"),
            "index": Case(1),
            "combine": Case("norm_kept_mean", given(image=of("two_photos"))),
            "on_missing": Case("skip", given(image=lambda w: torch.cat([w.group, w.empty]))),
            "references": Case(of("references")),
            "weights": Case("1, 3", given(image=of("two_photos"))),
            "like": Case(of("bob"), given(pick="most_like", like=of("ann"))),
            **LOOK,
            "negative_noise": Case(0.7),
            "noise_seed": Case(2),
            **NEGATIVE,
        },
    ),
    "IID_FaceReference": NodeCases(
        given(image=of("group"), weight=1.0, pick="left_to_right", index=0),
        lambda w, **i: (
            references_of(
                i["image"], i["weight"], make_pick(i["pick"], i["index"], i.get("like")),
                i.get("references", ()),
            ),
        ),
        {
            "image": Case(of("other_group")),
            "weight": Case(0.5),
            "pick": Case("top_to_bottom"),
            "index": Case(1),
            "references": Case(of("references")),
            "like": Case(of("bob"), given(pick="most_like", like=of("ann"))),
        },
    ),
    "IID_MixIdentities": NodeCases(
        given(adapter=of("adapter"), first=of("identity"), second=of("other_identity"),
              amount=0.3, combine="mean"),
        identities_mixed,
        {
            "adapter": Case(of("other_adapter")),
            "first": Case(of("ann")),
            "second": Case(of("ann")),
            "amount": Case(0.7),
            "combine": Case("norm_kept_mean"),
            **NEGATIVE,
        },
    ),
    "IID_FaceKeypoints": NodeCases(
        given(face_analyzer=of("analyzer"), image=of("group"), pick="left_to_right", index=0,
              on_missing="error"),
        keypoints_found,
        {
            "face_analyzer": Case(
                of("other_analyzer"), given(pick="most_like", like=of("ann"))
            ),
            "image": Case(lambda w: w.group.flip(2)),
            "pick": Case("top_to_bottom"),
            "index": Case(1),
            "on_missing": Case("blank", given(image=lambda w: torch.cat([w.group, w.empty]))),
            "threshold": Case(0.95),
            "thorough": LOOK["thorough"],
            "like": Case(of("bob"), given(pick="most_like", like=of("ann"))),
            "landmarks": Case(True),
        },
    ),
    "IID_DrawKeypoints": NodeCases(
        given(keypoints=of("face"), width=128, height=192, fit="crop"),
        keypoints_drawn,
        {
            "keypoints": Case(of("other_face")),
            **SIZE,
            "fit": Case("pad"),
            "family": Case("SD1.5"),
        },
    ),
    "IID_TransformKeypoints": NodeCases(
        given(mirror=False, move_x=0.0, move_y=0.0, scale=1.0, rotate=0.0, keypoints=of("face")),
        moved,
        {
            "mirror": Case(True),
            "move_x": Case(0.2),
            "move_y": Case(-0.1),
            "scale": Case(0.7),
            "rotate": Case(25.0),
            "keypoints": Case(of("other_face")),
            "face_crop": Case(of("crop_of_face")),
            **TURNING,
        },
    ),
    "IID_PlaceKeypoints": NodeCases(
        given(width=640, height=480, x=0.4, y=0.6, size=0.5, keypoints=of("two_faces")),
        placed,
        {
            "width": Case(512),
            "height": Case(512),
            "x": Case(0.7),
            "y": Case(0.3),
            "size": Case(0.3),
            "keypoints": Case(of("other_face")),
            **TURNING,
        },
    ),
    "IID_EditKeypoints": NodeCases(
        given(width=128, height=192, edit=of("edit"), keypoints=of("face")),
        faces_edited,
        {
            **SIZE,
            "edit": Case(""),
            "keypoints": Case(of("other_face"), given(edit="")),
        },
    ),
    "IID_KeypointsFromPose": NodeCases(
        given(pose=of("pose"), pick="largest", index=0, on_missing="hold"),
        faces_of_pose,
        {
            "pose": Case(lambda w: posed(transform(w.two_faces, rotate=9))),
            "pick": Case("left_to_right"),
            "index": Case(1),
            "on_missing": Case("blank"),
            "threshold": Case(0.995, given(on_missing="blank")),
        },
    ),
    "IID_FaceRegionMask": NodeCases(
        given(keypoints=of("face"), width=128, height=192, fit="crop", shape="box", padding=0.0,
              feather=0.0),
        region_mask,
        {"keypoints": Case(of("other_face")), **SIZE, "fit": Case("pad"), **OUTLINE},
    ),
    "IID_Person": NodeCases(
        lambda w: {**PERSON_BASE, "face_embeds": w.identity, "keypoints": w.two_faces},
        person_added,
        {
            "face_embeds": Case(of("other_identity")),
            "keypoints": Case(of("face")),
            "mask": Case(of("left")),
            "order": Case("largest"),
            **PERSON_CASES,
            "people": Case(of("masked_people")),
        },
    ),
    "IID_PersonFromPhotos": NodeCases(
        lambda w: {
            **PERSON_BASE,
            "face_analyzer": w.analyzer,
            "adapter": w.adapter,
            "portrait": w.group,
            "pose": w.group,
        },
        person_of_photos,
        {
            "face_analyzer": Case(of("other_analyzer")),
            "adapter": Case(of("other_adapter")),
            "portrait": Case(of("other_group")),
            "pose": Case(lambda w: w.group.flip(2)),
            "order": Case("top_to_bottom"),
            **PERSON_CASES,
            "people": Case(of("masked_people")),
            "landmarks": Case(True),
        },
    ),
    "IID_ConditioningPerson": NodeCases(
        given(conditioning=of("positive"), face_embeds=of("identity"), weight=0.5),
        lambda w, **i: (carry_person(i["conditioning"], i["face_embeds"], i["weight"]),),
        {
            "conditioning": Case(of("other_positive")),
            "face_embeds": Case(of("other_identity")),
            "weight": Case(-1.0),
        },
        of_carried,
    ),
    "IID_ApplyAdapter": NodeCases(
        given(model=of("model"), face_embeds=of("identity"), weight=0.8, start_percent=0.0,
              end_percent=1.0),
        adapter_on,
        {
            "model": Case(of("other_model")),
            "face_embeds": Case(of("other_identity")),
            "weight": Case(0.4),
            **WINDOW,
            "mask": Case(of("left")),
            "layer_weights": Case(of("layers")),
            "weight_curve": Case(of("curve")),
            "fit": Case("pad", given(face_embeds=of("people"))),
            "adding": Case("keep length"),
            "frame_weights": Case(of("halved")),
        },
        of_model,
    ),
    "IID_ApplyIdentityNet": NodeCases(
        given(positive=of("positive"), negative=of("negative"), control_net=of("net"),
              face_embeds=of("identity"), keypoints=of("face"), strength=0.8, start_percent=0.0,
              end_percent=1.0, fit="crop"),
        identitynet_on,
        {
            "positive": Case(of("other_positive")),
            "negative": Case(of("other_negative")),
            "control_net": Case(of("other_net")),
            "face_embeds": Case(of("other_identity")),
            "keypoints": Case(lambda w: w.drawing.flip(2)),
            "strength": Case(0.4),
            **WINDOW,
            "fit": Case("pad"),
            "mask": Case(of("left")),
            "layer_weights": Case(of("layers")),
            "weight_curve": Case(of("curve")),
            "one_by_one": Case(True, given(face_embeds=of("masked_people"))),
            "middle": Case(of("other_positive")),
            "every": Case(2),
            "frame_weights": Case(of("halved")),
        },
        of_conditioning,
    ),
    "IID_Apply": NodeCases(
        given(model=of("model"), positive=of("positive"), negative=of("negative"),
              control_net=of("net"), face_embeds=of("identity"), keypoints=of("face"), weight=0.8,
              strength=0.7, start_percent=0.0, end_percent=1.0, fit="crop", face_region=True),
        both_on,
        {
            "model": Case(of("other_model")),
            "positive": Case(of("other_positive")),
            "negative": Case(of("other_negative")),
            "control_net": Case(of("other_net")),
            "face_embeds": Case(of("other_identity")),
            "keypoints": Case(of("other_face")),
            "weight": Case(0.4),
            "strength": Case(0.3),
            **WINDOW,
            "fit": Case("pad"),
            "face_region": Case(False),
            "region_shape": Case("ellipse"),
            "region_padding": Case(0.4),
            "region_feather": Case(0.5),
            "layer_weights": Case(of("layers")),
            "weight_curve": Case(of("curve")),
            "identitynet_layer_weights": Case(of("layers")),
            "identitynet_weight_curve": Case(of("curve")),
            "one_by_one": Case(True, given(face_embeds=of("masked_people"))),
            "adding": Case("keep length"),
            "region_curve": Case(of("curve"), given(region_padding=0.4)),
            "preset": Case("more alike"),
            "frame_weights": Case(of("halved")),
        },
        of_both,
    ),
    "IID_LayerWeights": NodeCases(
        given(down=1.0, middle=0.5, up=0.2),
        layers_made,
        {
            "down": Case(0.3),
            "middle": Case(0.9),
            "up": Case(0.8),
            "values": Case("1,1,1,1,0.5,0,0,0,0,0,0.3"),
        },
    ),
    "IID_WeightCurve": NodeCases(
        given(curve="linear", start=1.0, end=0.2),
        curve_made,
        {
            "curve": Case("ease_in"),
            "start": Case(0.7),
            "end": Case(0.5),
            "points": Case("0:1, 0.3:0.2, 1:0", given(curve="points", points="0:1, 1:0")),
        },
    ),
    "FaceKeypointsPreprocessor": NodeCases(
        given(faceanalysis=of("analyzer"), image=of("group")),
        lambda w, **i: (old_pack.draw_found_keypoints(i["faceanalysis"], i["image"]),),
        {
            # Another analyzer that finds the same faces draws the same: it must be the one asked.
            "faceanalysis": Case(lambda w: Blind(*w.analyzer.models.values())),
            "image": Case(lambda w: w.group.flip(2)),
        },
    ),
    "ApplyInstantID": NodeCases(
        lambda w: {**OLD_BASE(w), "weight": 0.8},
        old_both,
        {**OLD_SOCKETS, "weight": Case(0.4)},
        of_both,
    ),
    "ApplyInstantIDAdvanced": NodeCases(
        lambda w: {
            **OLD_BASE(w),
            **{"ip_weight": 0.8, "cn_strength": 0.7, "noise": 0.3, "combine_embeds": "average"},
        },
        old_both,
        {
            **OLD_SOCKETS,
            "ip_weight": Case(0.4),
            "cn_strength": Case(0.3),
            "noise": Case(0.0),
            "combine_embeds": Case("concat", given(image=of("two_photos"))),
        },
        of_both,
    ),
    "InstantIDAttentionPatch": NodeCases(
        lambda w: {
            **{k: v for k, v in OLD_BASE(w).items()
               if k not in ("control_net", "positive", "negative")},
            **{"weight": 0.8, "noise": 0.3},
        },
        old_adapter,
        {
            **{k: OLD_SOCKETS[k] for k in ("instantid", "insightface", "image", "model")},
            **{k: OLD_SOCKETS[k] for k in ("start_at", "end_at", "mask")},
            "weight": Case(0.4),
            "noise": Case(0.7),
        },
        lambda w, made: (of_model(w, made), made[1]),
    ),
    "ApplyInstantIDControlNet": NodeCases(
        given(face_embeds=of("identity"), control_net=of("net"), image_kps=of("drawing"),
              positive=of("positive"), negative=of("negative"), strength=0.8, start_at=0.0,
              end_at=1.0),
        old_identitynet,
        {
            "face_embeds": Case(of("other_identity")),
            **{k: OLD_SOCKETS[k] for k in ("control_net", "positive", "negative", "start_at",
                                           "end_at", "mask")},
            "image_kps": Case(lambda w: w.drawing.flip(2)),
            "strength": Case(0.4),
        },
        of_conditioning,
    ),
    **finish_inputs.NODES,
    **video_inputs.NODES,
}  # fmt: skip
