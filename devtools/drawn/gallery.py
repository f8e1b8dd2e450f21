"""The example workflows, made in the drawn world: what goes in, and the picture that comes out.

Each API form is taken as it is; photos, prompts, sizes and the sampler's settings become those of
the drawn world. Models that it lacks (a depth ControlNet, a Lightning LoRA) are left out.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from . import world
from .sheet import CFG, POSE, SEED, STEPS, TWO_POSES, Prompt
from .world import SIZE, Picture, Pose, Scene

PHOTOS = {  # photo of an example: picture of the drawn world
    "instantid-example-astronaut.jpg": "first.png",
    "instantid-example-officer.jpg": "second.png",
    "instantid-example-two.jpg": "two_poses.png",
    "instantid-example-style.jpg": "style.png",
    "instantid-example-depth.jpg": "depth.png",
}
FILM, FRAMES = "film.mp4", 12
FIRST_AGAIN = ("first.png", "first_left.png", "first_right.png")  # where photos are of one person
LOOKING = ("IID_EncodeFace", "IID_FaceKeypoints", "IID_PersonFromPhotos", "IID_FollowFace")
SCENE, OTHER = Scene("blue", "yellow"), Scene("orange", "purple")
SAMPLER = {"steps": STEPS, "cfg": CFG, "scheduler": "simple", "sampler_name": "euler"}
SIDES = ("width", "height")
ANYWHERE = {"weight": 1.0, "strength": 1.0, "face_region": False, "end_percent": 1.0}


def pictures() -> dict[str, Picture]:
    """Return what the graphs load: two people nobody trained on, and pictures of others."""
    first, second, *strangers = world.sitters(5)
    both = zip((who.identity for who in strangers[1:]), TWO_POSES, strict=True)
    own = Scene("white", "green")

    def alone(who: world.Sitter, pose: Pose, scene: Scene = own) -> Picture:
        return world.draw([(who.identity, pose)], scene)

    return {
        "first.png": alone(first, POSE),
        "first_left.png": alone(first, Pose(58, 62, 70, tilt=-8, turn=0.7), Scene("purple", "red")),
        "first_right.png": alone(first, Pose(70, 60, 78, tilt=4, turn=-0.8), OTHER),
        "second.png": alone(second, Pose(72, 64, 68, tilt=9, turn=0.5), OTHER),
        "two_poses.png": world.draw(list(both), Scene("white", "black")),
        "style.png": alone(strangers[0], Pose(64, 60, 70), OTHER),
        "depth.png": _depth_of(alone(first, POSE)),
    }


def film() -> list[Picture]:
    """Return what the graphs about videos load: the first person, who looks from side to side."""
    (first,) = world.sitters(1)
    turns = [Pose(56 + 16 * n / (FRAMES - 1), 62, 74, turn=0.7 - 1.4 * n / (FRAMES - 1)) for n in
             range(FRAMES)]  # fmt: skip
    return [world.draw([(first.identity, pose)], Scene("white", "green")) for pose in turns]


def _depth_of(picture: Picture) -> Picture:
    """Return grey where somebody stands and black elsewhere, as a depth map shows it."""
    somebody = np.abs(picture.astype(int) - picture[2, 2]).sum(-1) > 30
    grey = cv2.GaussianBlur(np.where(somebody, 200, 25).astype(np.uint8), (0, 0), 2)
    return np.repeat(grey[..., None], 3, -1)


def prompt_of(kind: str, people: int) -> str:
    scene = OTHER if kind in ("instantid_style_ipadapter", "instantid_img2img") else SCENE
    return scene.prompt(people)


def in_drawn_world(prompt: Prompt, name: str, files: Mapping[str, str]) -> Prompt:
    """Return an example's API form for the drawn world.

    name: of the example. files: names of `checkpoint`, `identitynet` and `adapter`.
    """
    made = _without_missing_models(copy.deepcopy(prompt))
    again = iter(FIRST_AGAIN if name == "instantid_several_references" else ())
    sampling = [n for n in made.values() if _is(n, "KSampler") or _is(n, "DualCFGGuider")]
    negative = {node["inputs"]["negative"][0] for node in sampling}
    for key, node in made.items():
        empty = key in _texts_behind(made, negative) or node["inputs"].get("text") == ""
        _adapt(node, name, files, empty=empty)
        if _is(node, "LoadImage"):
            node["inputs"]["image"] = next(again, node["inputs"]["image"])
    return made


def _is(node: dict[str, Any], kind: str) -> bool:
    return node["class_type"] == kind


def _texts_behind(prompt: Prompt, keys: set[str]) -> set[str]:
    """Return the CLIPTextEncode nodes that the sampler's negative comes from."""
    found: set[str] = set()
    for key in keys:
        node = prompt[key]
        if _is(node, "CLIPTextEncode"):
            found.add(key)
        elif "negative" in node["inputs"]:
            found |= _texts_behind(prompt, {node["inputs"]["negative"][0]})
    return found


def _adapt(node: dict[str, Any], name: str, files: Mapping[str, str], empty: bool) -> None:
    inputs, kind = node["inputs"], node["class_type"]
    people = 2 if "two_people" in name or "regional" in name else 1
    settings: dict[str, dict[str, Any]] = {
        "CheckpointLoaderSimple": {"ckpt_name": files["checkpoint"]},
        "IID_LoadInstantID": {
            "file": files["adapter"],
            "identitynet": files["identitynet"],
            "provider": "CPU",
        },
        "CLIPTextEncode": {"text": "" if empty else prompt_of(name, people)},
        "KSampler": {**SAMPLER, "seed": SEED},
        "BasicScheduler": {"steps": STEPS, "scheduler": "simple"},
        "DualCFGGuider": {"cfg_conds": CFG, "cfg_cond2_negative": CFG},
        "RandomNoise": {"noise_seed": SEED},
        "IID_CropFace": {"long_side": SIZE},
        "IID_Apply": ANYWHERE,
        "IID_ApplyAdapter": {"weight": 1.0, "end_percent": 1.0},
        "IID_ApplyIdentityNet": {"strength": 1.0, "end_percent": 1.0},
    }
    inputs.update(settings.get(kind, {}))
    if kind == "LoadImage":
        inputs["image"] = PHOTOS[inputs["image"]]
    if kind == "LoadVideo":
        inputs["file"] = FILM
    if kind in LOOKING:  # a threshold of its own for each: what is cached shows no picture
        inputs["threshold"] = 0.3 + (sum(name.encode()) % 97) / 1000
    if all(side in inputs for side in SIDES) and kind != "ConditioningSetAreaPercentage":
        inputs.update(dict.fromkeys(SIDES, SIZE))


def _without_missing_models(prompt: Prompt) -> Prompt:
    """Lead the links past the LoRA and the depth ControlNet."""
    past: dict[tuple[str, int], list[Any]] = {}
    for key, node in prompt.items():
        if _is(node, "LoraLoaderModelOnly"):
            past[key, 0] = node["inputs"]["model"]
        if _is(node, "ControlNetApplyAdvanced"):
            past[key, 0] = node["inputs"]["positive"]
            past[key, 1] = node["inputs"]["negative"]
    gone = {key for key, _ in past} | {k for k, n in prompt.items() if _is(n, "ControlNetLoader")}
    kept = {key: node for key, node in prompt.items() if key not in gone}
    for node in kept.values():
        for slot, value in node["inputs"].items():
            if isinstance(value, list) and tuple(value) in past:
                node["inputs"][slot] = past[tuple(value)]
    return kept
