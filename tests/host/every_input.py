"""For every node: inputs to start from, what the same values give without the node, other values.

A case of an input is a value that must matter, and what else must be set so that it can. `World`
has what values are made of. What a node gives is compared as numbers, a MODEL and CONDITIONING by
what they predict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.faces.finding import find_keypoints
from faithful_instantid.instantid_core.faces.pick import make_pick
from faithful_instantid.instantid_core.faces.references import LookSettings, references_of
from faithful_instantid.instantid_core.fitting import Fit, place, standard_face, transform
from faithful_instantid.instantid_core.host.faces import encode_references, mix_identities, watched
from faithful_instantid.instantid_core.host.hints import drawn
from faithful_instantid.instantid_core.host.legacy import old_pack
from faithful_instantid.instantid_core.host.people import (
    PersonSettings,
    carry_person,
    person_from_photos,
    with_person,
)
from faithful_instantid.instantid_core.host.rows import PERSON
from faithful_instantid.instantid_core.images import rgb_to_images
from faithful_instantid.instantid_core.plots import plot_curve, plot_layers
from faithful_instantid.instantid_core.regions import FaceRegion, Outline, Shape
from faithful_instantid.instantid_core.weighting import LayerWeights, eased, parse_curve

from .input_world import Blind, Inputs, World


@dataclass(frozen=True)
class Case:
    """Another value of an input, and what is set besides. Values may be made of the world."""

    value: Any
    given: Callable[[World], Inputs] = field(default=lambda _: {})


@dataclass(frozen=True)
class NodeCases:
    """base: inputs to start from. core: what the same inputs give without the node.

    numbers: what is compared of the node's outputs and of what core gives; all of it if None.
    cases: for every input. A value that is callable is called with the world.
    """

    base: Callable[[World], Inputs]
    core: Callable[..., Any]
    cases: dict[str, Case]
    numbers: Callable[[World, Any], Any] | None = None


def of(name: str) -> Callable[[World], Any]:
    """The world's thing of a name."""
    return lambda world: getattr(world, name)


def given(**inputs: Any) -> Callable[[World], Inputs]:
    """Inputs set besides; a callable one is called with the world."""
    return lambda world: {k: v(world) if callable(v) else v for k, v in inputs.items()}


# What the inputs of each node say to the core, written down a second time.


def keypoints_found(world: World, **i: Any) -> Any:
    return find_keypoints(
        i["face_analyzer"],
        i["image"],
        make_pick(i["pick"], i["index"], i.get("like")),
        on_missing=i["on_missing"],
        settings=LookSettings(i.get("threshold", 0.5), i.get("thorough", False)),
        watched=watched,
    )


def face_encoded(world: World, **i: Any) -> Any:
    pick = make_pick(i["pick"], i["index"], i.get("like"))
    made = encode_references(
        i["face_analyzer"],
        i["adapter"],
        [*references_of(i["image"], i.get("weights", ""), pick), *i.get("references", ())],
        combine=i["combine"],
        on_missing=i["on_missing"],
        settings=LookSettings(i.get("threshold", 0.5), i.get("thorough", False)),
        noise=i.get("negative_noise", 0.0),
        noise_seed=i.get("noise_seed", 0),
    )
    return made.identity, made.preview, made.report


def moved(world: World, keypoints: Any = None, **numbers: Any) -> Any:
    return (transform(standard_face() if keypoints is None else keypoints, **numbers),)


def placed(world: World, keypoints: Any = None, **i: Any) -> Any:
    source = standard_face() if keypoints is None else keypoints
    return (place(source, i["width"], i["height"], i["x"], i["y"], i["size"]),)


def region_mask(world: World, **i: Any) -> Any:
    outline = Outline(Shape(i["shape"]), i["padding"], i["feather"])
    region = FaceRegion(i["keypoints"], Fit(i["fit"]), outline)
    return (region.render(i["width"], i["height"]),)


def settings_of(i: Inputs) -> PersonSettings:
    outline = Outline(Shape(i["shape"]), i["padding"], i["feather"])
    return PersonSettings(i["order"], i["index"], outline, i["weight"], i["strength"])


def person_added(world: World, **i: Any) -> Any:
    who, where, mask = i["face_embeds"], i.get("keypoints"), i.get("mask")
    return (with_person(i.get("people"), who, where, mask, settings_of(i)),)


def person_of_photos(world: World, **i: Any) -> Any:
    analyzer, adapter, settings = i["face_analyzer"], i["adapter"], settings_of(i)
    people = i.get("people")
    return person_from_photos(analyzer, adapter, i["portrait"], i["pose"], settings, people)


def adapter_on(world: World, model: Any, face_embeds: Any, **i: Any) -> Any:
    i["layers"], i["curve"] = i.pop("layer_weights", None), i.pop("weight_curve", None)
    return (host.apply_adapter(model, face_embeds, **{**i, "fit": Fit(i.get("fit", "crop"))}),)


def identitynet_on(world: World, **i: Any) -> Any:
    sides = (i.pop("positive"), i.pop("negative"), i.pop("control_net"), i.pop("face_embeds"))
    i["layers"], i["curve"] = i.pop("layer_weights", None), i.pop("weight_curve", None)
    where = i.pop("keypoints", None)
    return host.apply_identitynet(*sides, where, **{**i, "fit": Fit(i["fit"])})


def both_on(world: World, **i: Any) -> Any:
    who, where, fit = i["face_embeds"], i.get("keypoints"), Fit(i["fit"])
    shape = Shape(i.get("region_shape", "box"))
    outline = Outline(shape, i.get("region_padding", 0.0), i.get("region_feather", 0.0))
    one_person = who in (world.identity, world.other_identity)
    mask = FaceRegion(where, fit, outline) if i["face_region"] and one_person else None
    window = {"start_percent": i["start_percent"], "end_percent": i["end_percent"]}
    model = host.apply_adapter(
        i["model"], who, weight=i["weight"], mask=mask, fit=fit, **window,
        layers=i.get("layer_weights"), curve=i.get("weight_curve"),
    )  # fmt: skip
    sides = host.apply_identitynet(
        i["positive"], i["negative"], i["control_net"], who, where, strength=i["strength"],
        mask=mask, fit=fit, **window, layers=i.get("identitynet_layer_weights"),
        curve=i.get("identitynet_weight_curve"), one_by_one=i.get("one_by_one", False),
    )  # fmt: skip
    return model, *sides


def layers_made(world: World, **i: Any) -> Any:
    parts = (i["down"], i["middle"], i["up"])
    made = LayerWeights.parsed(i["values"]) if i.get("values") else LayerWeights.of_parts(*parts)
    return made, rgb_to_images(plot_layers(made))


def curve_made(world: World, curve: str, start: float, end: float, points: str = "") -> Any:
    made = parse_curve(points) if curve == "points" else eased(curve, start, end)
    return made, rgb_to_images(plot_curve(made))


def old_both(world: World, **i: Any) -> Any:
    weight = i.get("weight")
    settings = old_pack.OldSettings(
        weight=i["ip_weight"] if weight is None else weight,
        strength=i["cn_strength"] if weight is None else weight,
        start_percent=i["start_at"],
        end_percent=i["end_at"],
        noise=i.get("noise", 0.35),
        combine=i.get("combine_embeds", "average"),
        mask=i.get("mask"),
    )
    return old_pack.apply_old_pack(
        i["instantid"], i["insightface"], i["control_net"], i["image"], i.get("image_kps"),
        i["model"], i["positive"], i["negative"], settings,
    )  # fmt: skip


def old_adapter(world: World, **i: Any) -> Any:
    return old_pack.patch_old_attention(
        i["instantid"], i["insightface"], i["image"], i["model"], weight=i["weight"],
        start_percent=i["start_at"], end_percent=i["end_at"], noise=i["noise"],
        mask=i.get("mask"),
    )  # fmt: skip


def old_identitynet(world: World, **i: Any) -> Any:
    return old_pack.apply_old_controlnet(
        i["face_embeds"], i["control_net"], i["image_kps"], i["positive"], i["negative"],
        strength=i["strength"], start_percent=i["start_at"], end_percent=i["end_at"],
        mask=i.get("mask"),
    )  # fmt: skip


# What is compared.


def of_model(world: World, made: Any) -> Any:
    return world.predicted(made[0], world.positive, world.negative)


def of_conditioning(world: World, made: Any) -> Any:
    return world.predicted(world.model, *made)


def of_both(world: World, made: Any) -> Any:
    return world.predicted(*made)


def of_carried(world: World, made: Any) -> Any:
    return [(text, options[PERSON].identity, options[PERSON].weight) for text, options in made[0]]


# Values that several nodes share.

WINDOW = {"start_percent": Case(0.9), "end_percent": Case(0.1)}
OUTLINE = {"shape": Case("ellipse"), "padding": Case(0.3), "feather": Case(0.4)}
SIZE = {"width": Case(192), "height": Case(256)}
LOOK = {
    "threshold": Case(0.95),
    "thorough": Case(True, given(image=of("one_small"), pick="top_to_bottom")),
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
        lambda w, **i: (
            mix_identities(i["adapter"], i["first"], i["second"], i["amount"], i["combine"]),
        ),
        {
            "adapter": Case(of("other_adapter")),
            "first": Case(of("ann")),
            "second": Case(of("ann")),
            "amount": Case(0.7),
            "combine": Case("norm_kept_mean"),
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
        },
    ),
    "IID_DrawKeypoints": NodeCases(
        given(keypoints=of("face"), width=128, height=192, fit="crop"),
        lambda w, **i: (drawn(i["keypoints"], i["width"], i["height"], Fit(i["fit"])),),
        {"keypoints": Case(of("other_face")), **SIZE, "fit": Case("pad")},
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
}  # fmt: skip
