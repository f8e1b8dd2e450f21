"""What the inputs of each node say to the core, written a second time, and what is compared."""

from __future__ import annotations

from typing import Any

from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.crops import on_crop
from faithful_instantid.instantid_core.editing import edited
from faithful_instantid.instantid_core.faces.finding import find_keypoints
from faithful_instantid.instantid_core.faces.openpose import keypoints_of_pose
from faithful_instantid.instantid_core.faces.pick import make_pick
from faithful_instantid.instantid_core.faces.references import LookSettings, references_of
from faithful_instantid.instantid_core.fitting import Fit, place, standard_face, transform
from faithful_instantid.instantid_core.head import Turning, turn_all
from faithful_instantid.instantid_core.host.faces import (
    encode_references,
    mix_identities,
    watched,
)
from faithful_instantid.instantid_core.host.hints import drawn
from faithful_instantid.instantid_core.host.identitynet import IdentityNet
from faithful_instantid.instantid_core.host.legacy import old_pack
from faithful_instantid.instantid_core.host.people import (
    PersonSettings,
    person_from_photos,
    with_person,
)
from faithful_instantid.instantid_core.host.rows import PERSON
from faithful_instantid.instantid_core.images import rgb_to_images
from faithful_instantid.instantid_core.plots import plot_curve, plot_layers
from faithful_instantid.instantid_core.presets import PRESETS, Preset
from faithful_instantid.instantid_core.regions import FaceRegion, Outline, Shape
from faithful_instantid.instantid_core.weighting import Adding, LayerWeights, eased, parse_curve

from .input_world import Inputs, World


def keypoints_found(world: World, **i: Any) -> Any:
    return find_keypoints(
        i["face_analyzer"],
        i["image"],
        make_pick(i["pick"], i["index"], i.get("like")),
        on_missing=i["on_missing"],
        settings=LookSettings(
            i.get("threshold", 0.5), i.get("thorough", False), i.get("landmarks", False)
        ),
        watched=watched,
    )


def keypoints_drawn(world: World, **i: Any) -> Any:
    given = (i["keypoints"], i["width"], i["height"], Fit(i["fit"]))
    return (drawn(*given, i.get("family", "SDXL")),)


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
        negative=against(i),
    )
    return made.identity, made.preview, made.report


def against(i: Inputs) -> Any:
    other, weight = i.get("negative_identity"), i.get("negative_weight", 0.5)
    return None if other is None else other.face_embedding * weight


def identities_mixed(world: World, **i: Any) -> Any:
    given = (i["adapter"], i["first"], i["second"], i["amount"], i["combine"])
    return (mix_identities(*given, against(i)),)


def turning_of(i: Inputs) -> Turning:
    given = {name: i.pop(name) for name in ("yaw", "pitch", "frames") if name in i}
    changes = {name: i.pop(name) for name in ("yaw_change", "pitch_change") if name in i}
    return Turning(**given, **changes)


def moved(world: World, keypoints: Any = None, face_crop: Any = None, **i: Any) -> Any:
    turning = turning_of(i)
    made = transform(standard_face() if keypoints is None else keypoints, turning=turning, **i)
    return (made if face_crop is None else on_crop(made, face_crop),)


def placed(world: World, keypoints: Any = None, **i: Any) -> Any:
    source = turn_all(standard_face() if keypoints is None else keypoints, turning_of(i))
    return (place(source, i["width"], i["height"], i["x"], i["y"], i["size"]),)


def faces_edited(world: World, **i: Any) -> Any:
    return (edited(i["edit"], i["width"], i["height"], i["keypoints"]),)


def faces_of_pose(world: World, **i: Any) -> Any:
    return (keypoints_of_pose(i.pop("pose"), **i),)


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
    people, look = i.get("people"), LookSettings(landmarks=i.get("landmarks", False))
    return person_from_photos(analyzer, adapter, i["portrait"], i["pose"], settings, people, look)


def adapter_on(world: World, model: Any, face_embeds: Any, **i: Any) -> Any:
    i["layers"], i["curve"] = i.pop("layer_weights", None), i.pop("weight_curve", None)
    i["fit"], i["adding"] = Fit(i.get("fit", "crop")), Adding(i.get("adding", "plain"))
    return (host.apply_adapter(model, face_embeds, **i),)


def identitynet_on(world: World, **i: Any) -> Any:
    sides = (i.pop("positive"), i.pop("negative"), i.pop("control_net"), i.pop("face_embeds"))
    i["layers"], i["curve"] = i.pop("layer_weights", None), i.pop("weight_curve", None)
    where = i.pop("keypoints", None)
    made = host.apply_identitynet(*sides, where, **{**i, "fit": Fit(i["fit"])})
    return made if len(made) == 3 else (*made, made[0])


def both_on(world: World, **i: Any) -> Any:
    who, where, fit = i["face_embeds"], i.get("keypoints"), Fit(i["fit"])
    shape = Shape(i.get("region_shape", "box"))
    outline = Outline(shape, i.get("region_padding", 0.0), i.get("region_feather", 0.0))
    one_person = who in (world.identity, world.other_identity)
    opening = i.get("region_curve")
    mask = FaceRegion(where, fit, outline, opening) if i["face_region"] and one_person else None
    window = {"start_percent": i["start_percent"], "end_percent": i["end_percent"]}
    values = Preset(i["weight"], i["strength"], Adding(i.get("adding", "plain")))
    values = PRESETS.get(i.get("preset", "as set"), values)
    window["frame_weights"] = i.get("frame_weights")
    model = host.apply_adapter(
        i["model"], who, weight=values.weight, adding=values.adding, region_curve=opening,
        mask=mask, fit=fit, **window,
        layers=i.get("layer_weights"), curve=i.get("weight_curve"),
    )  # fmt: skip
    sides = host.apply_identitynet(
        i["positive"], i["negative"], i["control_net"], who, where, strength=values.strength,
        region_curve=opening, mask=mask, fit=fit, **window,
        layers=i.get("identitynet_layer_weights"),
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
    """What both sides predict, a middle in the place of the positive, and how often nets run."""
    positive, negative, *more = made
    nets = [entry[1].get("control") for side in made for entry in side]
    every = [net.face.every for net in nets if isinstance(net, IdentityNet)]
    thirds = [world.predicted(world.model, m, negative) for m in more if m is not positive]
    return world.predicted(world.model, positive, negative), thirds, every


def of_both(world: World, made: Any) -> Any:
    return world.predicted(*made)


def of_carried(world: World, made: Any) -> Any:
    return [(text, options[PERSON].identity, options[PERSON].weight) for text, options in made[0]]
