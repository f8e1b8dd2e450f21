"""The quickstart's sheet of drawn people: the pictures that go in, the graph, and the tiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from . import world
from .judging import likeness
from .world import SIZE, Picture, Pose, Scene

Prompt = dict[str, dict[str, Any]]
TILE, LINE, GAP = 2 * SIZE, 20, 6
SEED, STEPS, CFG = 5, 8, 1.5
FIRST, OTHER = Scene("blue", "yellow"), Scene("green", "white")
POSE = Pose(0.5 * SIZE, 0.46 * SIZE, 0.58 * SIZE, tilt=6, turn=-0.4)
TWO_POSES = (
    Pose(0.26 * SIZE, 0.47 * SIZE, 0.44 * SIZE, tilt=-6, turn=0.4),
    Pose(0.74 * SIZE, 0.5 * SIZE, 0.42 * SIZE, tilt=5, turn=-0.3),
)


RESULTS = ("with_instantid", "without", "another_prompt", "another_person", "two_people")
WHAT_IT_IS = (
    "These are drawn people in a small world of their own: a detector, recogniser, VAE, UNet, "
    "adapter and IdentityNet of the real structure, trained on drawings for two hours. The "
    "pictures are soft, and docs/proof.md says how often they show the right person. The sheet "
    "says nothing about how real photos come out: for those, name a folder of real models with "
    "--models."
)


@dataclass(frozen=True)
class Sheet:
    """Two people nobody trained on, and the pose pictures, which show other people."""

    first: world.Sitter
    second: world.Sitter
    pose: Picture
    two_poses: Picture

    def inputs(self) -> dict[str, Picture]:
        """Return what the graph loads, by file name."""
        return {
            "first.png": self.first.portrait,
            "second.png": self.second.portrait,
            "pose.png": self.pose,
            "two_poses.png": self.two_poses,
        }


def make_sheet() -> Sheet:
    first, second, *strangers = world.sitters(5)
    scene = Scene("white", "black")
    pose = world.draw([(strangers[0].identity, POSE)], scene)
    both = zip((who.identity for who in strangers[1:]), TWO_POSES, strict=True)
    return Sheet(first, second, pose, world.draw(list(both), scene))


def graph(files: Mapping[str, str], seed: int = SEED, steps: int = STEPS) -> Prompt:
    """Return the API graph; every result is a SaveImage whose id is its name.

    files: names of `checkpoint`, `identitynet` and `adapter`.
    """
    g: Prompt = {}

    def node(name: str, kind: str, **inputs: Any) -> str:
        g[name] = {"class_type": kind, "inputs": inputs}
        return name

    node("model", "CheckpointLoaderSimple", ckpt_name=files["checkpoint"])
    node(
        *("instantid", "IID_LoadInstantID"),
        pack="antelopev2",
        file=files["adapter"],
        identitynet=files["identitynet"],
        provider="CPU",
    )
    for name in ("first", "second", "pose", "two_poses"):
        node(f"{name}_photo", "LoadImage", image=f"{name}.png")
    for name in ("first", "second"):
        node(
            *(f"{name}_identity", "IID_EncodeFace"),
            face_analyzer=["instantid", 0],
            adapter=["instantid", 1],
            image=[f"{name}_photo", 0],
            **{"pick": "largest", "index": 0, "combine": "mean", "on_missing": "error"},
        )
    node(
        *("points", "IID_FaceKeypoints"),
        face_analyzer=["instantid", 0],
        image=["pose_photo", 0],
        **{"pick": "largest", "index": 0, "on_missing": "error"},
    )
    people = None
    for name in ("first", "second"):
        people = node(
            *(f"{name}_person", "IID_PersonFromPhotos"),
            face_analyzer=["instantid", 0],
            adapter=["instantid", 1],
            portrait=[f"{name}_photo", 0],
            pose=["two_poses_photo", 0],
            **{"order": "left_to_right", "index": -1, "shape": "box", "padding": 0.1},
            **{"feather": 0.0, "weight": 1.0, "strength": 1.0},
            **({"people": [people, 0]} if people else {}),
        )
    _texts(node)
    node("latent", "EmptyLatentImage", width=SIZE, height=SIZE, batch_size=1)
    _pictures(node, seed, steps)
    node("drawn", "IID_DrawKeypoints", keypoints=["points", 0], width=SIZE, height=SIZE, fit="crop")
    node("keypoints", "SaveImage", images=["drawn", 0], filename_prefix="drawn_keypoints")
    return g


def _texts(node: Any) -> None:
    for name, scene, people in (("one", FIRST, 1), ("other", OTHER, 1), ("two", FIRST, 2)):
        node(f"{name}_text", "CLIPTextEncode", text=scene.prompt(people), clip=["model", 1])
    node("no_text", "CLIPTextEncode", text="", clip=["model", 1])


def _pictures(node: Any, seed: int, steps: int) -> None:
    for name, text, identity in (
        ("with_instantid", "one_text", "first_identity"),
        ("without", "one_text", None),
        ("another_prompt", "other_text", "first_identity"),
        ("another_person", "one_text", "second_identity"),
        ("two_people", "two_text", "second_person"),
    ):
        model, positive, negative = ["model", 0], [text, 0], ["no_text", 0]
        if identity is not None:
            points = {} if name == "two_people" else {"keypoints": ["points", 0]}
            node(
                *(f"{name}_apply", "IID_Apply"),
                **{"model": model, "positive": positive, "negative": negative},
                control_net=["instantid", 2],
                face_embeds=[identity, 0],
                **{"weight": 1.0, "strength": 1.0, "start_percent": 0.0, "end_percent": 1.0},
                **{"fit": "crop", "face_region": False},
                **points,
            )
            model, positive, negative = ([f"{name}_apply", i] for i in range(3))
        node(
            *(f"{name}_sampler", "KSampler"),
            **{"model": model, "positive": positive, "negative": negative},
            latent_image=["latent", 0],
            **{"seed": seed, "steps": steps, "cfg": CFG, "denoise": 1.0},
            **{"sampler_name": "euler", "scheduler": "simple"},
        )
        node(f"{name}_decode", "VAEDecode", samples=[f"{name}_sampler", 0], vae=["model", 2])
        node(name, "SaveImage", images=[f"{name}_decode", 0], filename_prefix=f"drawn_{name}")


def compose(given: Sheet, made: Mapping[str, Picture], columns: int = 5) -> Picture:
    """Return one picture of what went in and what came out, each with a line of text below."""
    tiles = [
        ("a person nobody trained on", given.first.portrait),
        ("keypoints of another picture", made["keypoints"]),
        ("that person, InstantID", made["with_instantid"]),
        ("same seed, without", made["without"]),
        (f"prompt: {OTHER.background}, {OTHER.clothes}", made["another_prompt"]),
        ("another person", given.second.portrait),
        ("same seed, that one", made["another_person"]),
        ("a pose for two", given.two_poses),
        ("both in one picture", made["two_people"]),
    ]
    rows = -(-len(tiles) // columns)
    height, width = TILE + LINE + GAP, TILE + GAP
    out = np.full((rows * height + GAP, columns * width + GAP, 3), 255, np.uint8)
    for number, (words, picture) in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = row * height + GAP, column * width + GAP
        large = cv2.resize(picture, (TILE, TILE), interpolation=cv2.INTER_CUBIC)
        out[top : top + TILE, left : left + TILE] = large
        place = (left + 2, top + TILE + LINE - 6)
        cv2.putText(*(out, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA))
    return out


def likenesses(given: Sheet, made: Mapping[str, Picture], analyzer: Any) -> list[str]:
    """Return a line for each picture: how like its faces are to either person, as cosines."""
    people = [_faces(analyzer, who.portrait)[0] for who in (given.first, given.second)]
    lines = []
    for name in RESULTS:
        each = [
            " and ".join(f"{likeness(face, person):.2f}" for person in people)
            for face in _faces(analyzer, made[name])
        ]
        told = "; then ".join(each) if each else "no face found"
        lines.append(f"Likeness to the first and the second person, {name}: {told}")
    return lines


def _faces(analyzer: Any, picture: Picture) -> list[Any]:
    """Return the embeddings of the faces in a picture, from left to right."""
    bgr = np.ascontiguousarray(picture[..., ::-1])
    found = sorted(analyzer.find(bgr).faces, key=lambda face: face.center[0])
    return [analyzer.embed(bgr, face) for face in found]
