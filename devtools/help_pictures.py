"""The pictures of the help pages: what a node's settings do, in the drawn world.

refresh.py calls this. Each picture is tiles with the setting written below. One prompt on
a server with the models that were trained on drawn people makes them all.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import make_standins
from comfy_server import Server
from drawn import gallery
from drawn.sheet import Prompt
from drawn.world import SIZE, Scene
from make_cards import FILES, fetched
from pictures import keep_or_save
from PIL import Image, ImageColor, ImageDraw, ImageFont

FOLDER = Path(__file__).resolve().parent.parent / "web" / "docs" / "images"
TILE, LINE, GAP, PANEL = 150, 28, 8, 330  # pixels
PAPER, INK = (30, 31, 38), (235, 235, 240)
WIDE = (192, 128)
LARGE = 512  # pixels, so that points are drawn as sharp as a picture of that size has them
BONES = ((0, 1), (1, 2), (1, 5), (2, 3), (5, 6), (1, 8), (1, 11))  # of OpenPose's body
HEAD_BONES = ((0, 14), (0, 15), (14, 16), (15, 17))
# A person who looks to the left, as OpenPose numbers bodies, in parts of the picture.
BODY = {
    0: (0.39, 0.40), 1: (0.54, 0.72), 2: (0.24, 0.75), 3: (0.12, 1.1), 5: (0.83, 0.71),
    6: (0.92, 1.1), 8: (0.38, 1.4), 11: (0.70, 1.4), 14: (0.35, 0.27), 15: (0.52, 0.25),
    16: (0.37, 0.31), 17: (0.71, 0.31),
}  # fmt: skip
WEIGHTS, STRENGTHS, AMOUNTS = (
    (0.0, 0.4, 0.8, 1.2),
    (0.0, 0.4, 0.8, 1.2),
    (0.0, 0.25, 0.5, 0.75, 1.0),
)
REGIONS: dict[str, dict[str, Any]] = {
    "box": {"shape": "box", "padding": 0.0, "feather": 0.0},
    "ellipse": {"shape": "ellipse", "padding": 0.0, "feather": 0.0},
    "padding 0.3": {"shape": "ellipse", "padding": 0.3, "feather": 0.0},
    "feather 0.3": {"shape": "ellipse", "padding": 0.0, "feather": 0.3},
}
PLACES: dict[str, dict[str, float]] = {
    "size 0.44": {"x": 0.5, "y": 0.42, "size": 0.44},
    "size 0.25": {"x": 0.5, "y": 0.42, "size": 0.25},
    "x 0.25": {"x": 0.25, "y": 0.42, "size": 0.44},
    "y 0.7": {"x": 0.5, "y": 0.7, "size": 0.44},
}
TURNS: dict[str, dict[str, float]] = {
    "yaw -80": {"yaw": -80.0},
    "yaw -40": {"yaw": -40.0},
    "yaw 0": {},
    "yaw 40": {"yaw": 40.0},
    "yaw 80": {"yaw": 80.0},
    "pitch 25": {"pitch": 25.0},
    "pitch -25": {"pitch": -25.0},
    "yaw 40, pitch 25": {"yaw": 40.0, "pitch": 25.0},
}
CHANGES: dict[str, dict[str, Any]] = {
    "rotate 20": {"rotate": 20.0},
    "mirror": {"mirror": True},
    "scale 1.4": {"scale": 1.4},
    "move_x 0.2": {"move_x": 0.2},
}


@dataclass
class Sketch:
    """A prompt under construction; `save` marks a picture to be had under a name."""

    prompt: Prompt = field(default_factory=dict)

    def node(self, kind: str, **inputs: Any) -> str:
        key = str(len(self.prompt) + 1)
        self.prompt[key] = {"class_type": kind, "inputs": inputs}
        return key

    def save(self, name: str, image: list[Any]) -> None:
        inputs = {"images": image, "filename_prefix": "help"}
        self.prompt[name] = {"class_type": "SaveImage", "inputs": inputs}


class Studio:
    """The nodes that every picture needs."""

    def __init__(self) -> None:
        self.g = g = Sketch()
        self.model = g.node("CheckpointLoaderSimple", ckpt_name=FILES["checkpoint"])
        self.loaded = g.node(
            *("IID_LoadInstantID",),
            **{"pack": "antelopev2", "file": FILES["adapter"], "provider": "CPU"},
            identitynet=FILES["identitynet"],
        )
        self.photos = {
            name: [g.node("LoadImage", image=f"{name}.png"), 0]
            for name in ("first", "second", "two_poses")
        }
        self.text = g.node("CLIPTextEncode", text=gallery.SCENE.prompt(), clip=[self.model, 1])
        self.two = g.node("CLIPTextEncode", text=gallery.SCENE.prompt(2), clip=[self.model, 1])
        self.empty = g.node("CLIPTextEncode", text="", clip=[self.model, 1])
        self.latent = g.node("EmptyLatentImage", width=SIZE, height=SIZE, batch_size=1)

    def encode(self, photo: str) -> str:
        return self.g.node(
            *("IID_EncodeFace",),
            **{"face_analyzer": [self.loaded, 0], "adapter": [self.loaded, 1]},
            image=self.photos[photo],
            **{"pick": "largest", "index": 0, "combine": "mean", "on_missing": "error"},
        )

    def points(self, photo: str) -> str:
        return self.g.node(
            "IID_FaceKeypoints",
            face_analyzer=[self.loaded, 0],
            image=self.photos[photo],
            **{"pick": "largest", "index": 0, "on_missing": "error"},
        )

    def draw(self, name: str, points: list[Any], size: tuple[int, int], fit: str = "crop") -> None:
        drawn = self.g.node(
            "IID_DrawKeypoints", keypoints=points, width=size[0], height=size[1], fit=fit
        )
        self.g.save(name, [drawn, 0])

    def make(
        self,
        name: str,
        who: str,
        points: str | None,
        place: int = 0,
        text: str | None = None,
        **settings: float,
    ) -> str:
        """Sample a picture; a list of people brings its own points.

        place: of the output of `points` that has them. text: a prompt of its own.
        """
        inputs: dict[str, Any] = {
            **{"model": [self.model, 0], "negative": [self.empty, 0]},
            "positive": [text or (self.text if points else self.two), 0],
            **{"control_net": [self.loaded, 2], "face_embeds": [who, 0]},
            **{"start_percent": 0.0, "fit": "crop", **gallery.ANYWHERE, **settings},
            **({"keypoints": [points, place]} if points else {}),
        }
        applied = self.g.node("IID_Apply", **inputs)
        sampled = self.g.node(
            "KSampler",
            **{"model": [applied, 0], "positive": [applied, 1], "negative": [applied, 2]},
            **{"latent_image": [self.latent, 0], "denoise": 1.0, "seed": gallery.SEED},
            **gallery.SAMPLER,
        )
        decoded = self.g.node("VAEDecode", samples=[sampled, 0], vae=[self.model, 2])
        self.g.save(name, [decoded, 0])
        return decoded


def prompt() -> Prompt:
    """Return the prompt whose SaveImage nodes are called by what they show."""
    studio = Studio()
    first, second = studio.encode("first"), studio.encode("second")
    points, group = studio.points("first"), studio.encode("two_poses")
    studio.g.save("faces", [group, 1])
    studio.draw("points", [points, 0], (SIZE, SIZE))
    for fit in ("crop", "pad"):
        studio.draw(f"fit {fit}", [points, 0], WIDE, fit)
    for name, region in REGIONS.items():
        mask = studio.g.node(
            *("IID_FaceRegionMask",),
            **{"keypoints": [points, 0], "width": SIZE, "height": SIZE, "fit": "crop", **region},
        )
        studio.g.save(name, [studio.g.node("MaskToImage", mask=[mask, 0]), 0])
    for name, place in PLACES.items():
        studio.draw(name, [_placed(studio, place), 0], (SIZE, SIZE))
    for name, turn in TURNS.items():
        turned = _placed(studio, {"x": 0.5, "y": 0.5, "size": 0.7, **turn})
        studio.draw(name, [turned, 0], (LARGE, LARGE))
    for name, change in CHANGES.items():
        plain = {"mirror": False, "move_x": 0.0, "move_y": 0.0, "scale": 1.0, "rotate": 0.0}
        turned = studio.g.node(
            "IID_TransformKeypoints", **{**plain, **change, "keypoints": [points, 0]}
        )
        studio.draw(name, [turned, 0], (SIZE, SIZE))
    _samples(studio, first, second, points)
    _crops(studio, first)
    return studio.g.prompt


def _placed(studio: Studio, place: Mapping[str, float]) -> str:
    return studio.g.node("IID_PlaceKeypoints", width=SIZE, height=SIZE, **place)


def _crops(studio: Studio, who: str) -> None:
    """A face of a picture cut out, painted anew as somebody else, and pasted back."""
    g, picture = studio.g, studio.photos["two_poses"]
    faces = g.node(
        "IID_FaceKeypoints",
        face_analyzer=[studio.loaded, 0],
        image=picture,
        **{"pick": "left_to_right", "index": 0, "on_missing": "error"},
    )
    soft = {"shape": "ellipse", "padding": 0.1, "feather": 0.15}
    crop = g.node(
        *("IID_CropFace",),
        **{"image": picture, "keypoints": [faces, 0], "order": "left_to_right", "index": 0},
        **{"context": 2.0, "long_side": SIZE, "aspect": 1.0, "multiple_of": "8"},
        **{"upright": True, **soft},
    )
    g.save("crop", [crop, 0])
    scene = Scene("white", "black").prompt()
    text = g.node("CLIPTextEncode", text=scene, clip=[studio.model, 1])
    painted = studio.make("painted anew", who, crop, 2, text)
    given = {"image": picture, "crop": [painted, 0], "face_crop": [crop, 3]}
    pasted = g.node("IID_PasteFace", **given, **soft, colour_match=0.0)
    g.save("pasted", [pasted, 0])


def _likeness(studio: Studio, made: list[str]) -> None:
    """Pictures of falling weight, with their scores."""
    g, batch = studio.g, made[0]
    for other in made[1:]:
        batch = g.node("ImageBatch", image1=[batch, 0], image2=[other, 0])
    scored = g.node(
        *("IID_Likeness",),
        **{"face_analyzer": [studio.loaded, 0], "images": [batch, 0]},
        recogniser="face_analyzer",
        reference=studio.photos["first"],
    )
    for place in range(len(made)):
        one = g.node("ImageFromBatch", image=[scored, 1], batch_index=place, length=1)
        g.save(f"score {place}", [one, 0])


def _samples(studio: Studio, first: str, second: str, points: str) -> None:
    made = [studio.make(f"weight {w}", first, points, weight=w) for w in WEIGHTS]
    _likeness(studio, made)
    for strength in STRENGTHS:
        studio.make(f"strength {strength}", first, points, strength=strength)
    for amount in AMOUNTS:
        mixed = studio.g.node(
            *("IID_MixIdentities",),
            **{"adapter": [studio.loaded, 1], "first": [first, 0], "second": [second, 0]},
            **{"amount": amount, "combine": "norm_kept_mean"},
        )
        studio.make(f"amount {amount}", mixed, points)
    people: dict[str, Any] = {}
    for name in ("first", "second"):
        person = studio.g.node(
            *("IID_PersonFromPhotos",),
            **{"face_analyzer": [studio.loaded, 0], "adapter": [studio.loaded, 1]},
            **{"portrait": studio.photos[name], "pose": studio.photos["two_poses"]},
            **{"order": "left_to_right", "index": -1, "shape": "box", "padding": 0.1},
            **{"feather": 0.0, "weight": 1.0, "strength": 1.0, **people},
        )
        people = {"people": [person, 0]}
    studio.make("both", person, None)


def grid(tiles: list[tuple[str, Image.Image]]) -> Image.Image:
    """Set pictures into rows that can be read in a narrow panel, each with its words below."""
    width = max(round(TILE * picture.width / picture.height) for _, picture in tiles)
    columns = min(len(tiles), max(1, PANEL // (width + GAP)))
    rows = -(-len(tiles) // columns)
    size = (columns * (width + GAP) + GAP, rows * (TILE + LINE) + GAP)
    paper = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(paper)
    for index, (words, picture) in enumerate(tiles):
        left = GAP + index % columns * (width + GAP)
        top = GAP + index // columns * (TILE + LINE)
        own = round(TILE * picture.width / picture.height)
        fitted = picture.resize((own, TILE), Image.Resampling.BICUBIC)
        paper.paste(fitted, (left + (width - own) // 2, top))
        middle = (left + width // 2, top + TILE + LINE // 2 - 2)
        draw.text(middle, words, INK, ImageFont.load_default(17), anchor="mm")
    return paper


def skeleton() -> Image.Image:
    """Draw the body that the picture about poses begins with."""
    picture = Image.new("RGB", (LARGE, LARGE))
    draw = ImageDraw.Draw(picture)
    places = {number: (LARGE * x, LARGE * y) for number, (x, y) in BODY.items()}
    for number, bone in enumerate((*BONES, *HEAD_BONES)):
        colour = tuple(ImageColor.getrgb(f"hsl({number * 29}, 100%, 45%)"))
        draw.line([places[end] for end in bone], colour, 14)
    for x, y in places.values():
        draw.ellipse((x - 9, y - 9, x + 9, y + 9), INK)
    return picture


def posed() -> Image.Image:
    """Draw the face of that body as Face Keypoints from Pose gives it."""
    make_standins.checkout()
    core = f"{make_standins.PACKAGE}.instantid_core"
    openpose, keypoints = (
        importlib.import_module(f"{core}.{n}") for n in ("faces.openpose", "keypoints")
    )
    listed = [[*BODY.get(number, (0.0, 0.0)), float(number in BODY)] for number in range(18)]
    people = [{"pose_keypoints_2d": [value for point in listed for value in point]}]
    frame = {"people": people, "canvas_width": LARGE, "canvas_height": LARGE}
    made = keypoints.draw_frames(openpose.keypoints_of_pose(frame))
    return Image.fromarray(made[0])


def masked(photo: Image.Image, mask: Image.Image) -> Image.Image:
    """Return a photo that is dark outside a mask."""
    return Image.composite(photo, photo.point(lambda value: value // 4), mask.convert("L"))


def pictures(made: Mapping[str, Image.Image], given: Mapping[str, Image.Image]) -> dict[str, Any]:
    """Return the tiles of every picture, by its file name."""

    def tiles(*names: str) -> list[tuple[str, Image.Image]]:
        return [(name, made[name]) for name in names]

    photo = ("", given["first.png"])
    return {
        "weight": [photo, *tiles(*(f"weight {weight}" for weight in WEIGHTS))],
        "strength": [photo, *tiles(*(f"strength {strength}" for strength in STRENGTHS))],
        "mix": tiles(*(f"amount {amount}" for amount in AMOUNTS)),
        "people": [
            ("1", given["first.png"]),
            ("2", given["second.png"]),
            ("", given["two_poses.png"]),
            ("1 + 2", made["both"]),
        ],
        "swap": [("", given["two_poses.png"]), *tiles("crop", "painted anew", "pasted")],
        "likeness": [photo, *((f"weight {w}", made[f"score {n}"]) for n, w in enumerate(WEIGHTS))],
        "faces": [("", made["faces"])],
        "keypoints": [photo, ("", made["points"])],
        "fit": tiles("fit crop", "fit pad"),
        "place": tiles(*PLACES),
        "turn": tiles(*TURNS),
        "pose": [("POSE_KEYPOINT", skeleton()), ("", posed())],
        "transform": [photo, ("", made["points"]), *tiles(*CHANGES)],
        "region": [(name, masked(given["first.png"], made[name])) for name in REGIONS],
    }


def update(server: Server, given: Mapping[str, Image.Image]) -> None:
    """Make the pictures of the help pages.

    given: what lies in the server's input folder, by file name.
    """
    wanted = prompt()
    result = server.run(wanted, seconds=1800)
    saved = [key for key, node in wanted.items() if node["class_type"] == "SaveImage"]
    made = {key: fetched(server, result.images(key)[0]) for key in saved}
    for name, tiles in pictures(made, given).items():
        keep_or_save(grid(tiles), FOLDER / f"{name}.jpg", quality=88)
