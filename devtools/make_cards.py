"""Draw the cards of the example workflows: what goes in and what comes out, in the drawn world.

refresh.py calls this. A server with the models that were trained on drawn people runs every
example (see drawn/gallery.py); a card sets the numbered faces, the other pictures that go in and
the result side by side. Cards hold no words, for their titles stand below them.
"""

from __future__ import annotations

import io
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import make_standins
from comfy_server import Server, default_comfyui, serve, standin_models
from drawn import gallery
from drawn.sheet import Prompt
from example_files import api_form, name_of, workflows
from pictures import keep_or_save
from PIL import Image, ImageDraw, ImageFont

SIDE = 640  # pixels: the template browser shows square cards
PAPER, INK, FRAME = (30, 31, 38), (235, 235, 240), (88, 92, 110)
LARGE = 386
FILES = {
    "checkpoint": Path(make_standins.CHECKPOINT).name,
    "identitynet": Path(make_standins.IDENTITYNET).name,
    "adapter": Path(make_standins.ADAPTER).name,
}
MARKS = {"instantid_lightning": "4", "instantid_hires": "x 1.5", "instantid_most_alike": "1 / 8"}
# What stands on the left: pictures on nodes by class, or `given` for a picture as it goes in, each
# with its number among those.
LEFT: dict[str, tuple[tuple[str, int], ...]] = {
    "instantid_pose_photo": (("IID_EncodeFace", 0), ("IID_FaceKeypoints", 0)),
    "instantid_own_pose": (("IID_EncodeFace", 0), ("IID_EditKeypoints", 0)),
    "instantid_turning_head": (
        *(("IID_EncodeFace", 0), ("IID_PlaceKeypoints", 0), ("IID_PlaceKeypoints", 7)),
    ),
    "instantid_animate_portrait": (
        *(("IID_EncodeFace", 0), ("IID_FollowFace", 0), ("IID_SteadyKeypoints", 4)),
    ),
    "instantid_face_in_video": (("IID_EncodeFace", 0), ("IID_FollowFace", 0), ("IID_CropFace", 2)),
    "instantid_animatediff": (("IID_EncodeFace", 0), ("IID_PlaceKeypoints", 0)),
    "instantid_two_people": (("given", 0), ("given", 1), ("IID_PersonFromPhotos", 0)),
    "instantid_regional_prompts": (("IID_EncodeFace", 0), ("IID_EncodeFace", 1)),
    "instantid_several_references": (("given", 0), ("given", 1), ("given", 2)),
    "instantid_inpaint_face": (
        *(("IID_EncodeFace", 0), ("IID_FaceKeypoints", 0), ("IID_FaceRegionMask", 0)),
    ),
    "instantid_img2img": (("IID_EncodeFace", 0), ("IID_FaceKeypoints", 0)),
    "instantid_style_ipadapter": (("IID_EncodeFace", 0), ("given", 0)),
    "instantid_depth": (("IID_EncodeFace", 0), ("given", 2)),
    "instantid_separate_nodes": (("IID_EncodeFace", 0), ("IID_DrawKeypoints", 0)),
    "instantid_swap_face": (("IID_EncodeFace", 0), ("given", 1), ("IID_CropFace", 0)),
    "instantid_small_faces": (("IID_EncodeFace", 0), ("IID_FaceKeypoints", 0)),
    "instantid_group_photo": (("given", 0), ("given", 1), ("IID_FaceKeypoints", 0)),
    "instantid_most_alike": (("IID_EncodeFace", 0), ("IID_Likeness", 0), ("IID_Likeness", 1)),
}
# Where several of the pictures that come out are shown: their numbers.
SEVERAL: dict[str, tuple[int, ...]] = {
    "instantid_turning_head": (0, 2, 5, 7),
    **dict.fromkeys(("instantid_animate_portrait", "instantid_face_in_video"), (0, 4, 7, 11)),
    "instantid_animatediff": (0, 5, 10, 15),
}
LEFT_SIDE = {1: 220, 2: 210, 3: 190}  # pixels of a picture, by how many there are
PHONE = (214, 420)
SHEET = Path(__file__).resolve().parent.parent / "docs" / "images" / "examples.jpg"


@dataclass(frozen=True)
class Made:
    """What one example gave: its pictures on nodes by class, those that went in, the result."""

    shown: dict[str, list[Image.Image]]
    given: list[Image.Image]
    result: Image.Image


def run(server: Server, name: str, loaded: Mapping[str, Image.Image]) -> Made:
    """Run an example in the drawn world."""
    source: Prompt = json.loads(api_form(name).read_text(encoding="utf-8"))
    prompt = gallery.in_drawn_world(source, name, FILES)
    result = server.run(prompt, seconds=900)
    shown: dict[str, list[Image.Image]] = {}
    for key, node in prompt.items():
        for picture in result.images(key):
            shown.setdefault(node["class_type"], []).extend(all_of(server, picture))
    loaders = [node["inputs"]["image"] for node in prompt.values() if "image" in node["inputs"]]
    given = [loaded[image] for image in loaders if isinstance(image, str)]
    results = [
        shown.get("SaveImage", shown.get("SaveVideo", []))[number]
        for number in SEVERAL.get(name, (0,))
    ]
    return Made(shown, given, squared(results))


def squared(pictures: list[Image.Image]) -> Image.Image:
    """Set one picture, or four of one size, into one."""
    if len(pictures) == 1:
        return pictures[0]
    width, height = pictures[0].size
    paper = Image.new("RGB", (2 * width, 2 * height))
    for index, picture in enumerate(pictures):
        paper.paste(picture, (index % 2 * width, index // 2 * height))
    return paper


def fetched(server: Server, picture: dict[str, str]) -> Image.Image:
    return Image.open(io.BytesIO(server.fetch(picture))).convert("RGB")


def all_of(server: Server, picture: dict[str, str]) -> list[Image.Image]:
    """Return a picture, or the frames of a film."""
    if not picture["filename"].endswith(".mp4"):
        return [fetched(server, picture)]
    with av.open(io.BytesIO(server.fetch(picture))) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def write_film(path: Path, frames: Sequence[Image.Image]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=8, options={"crf": "12"})
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())


def going_in(made: Made, name: str) -> list[Image.Image]:
    """Return the pictures for the left side, from above."""
    wanted = LEFT.get(name, (("IID_EncodeFace", 0),))
    return [(made.given if kind == "given" else made.shown[kind])[n] for kind, n in wanted]


def card(made: Made, name: str) -> Image.Image:
    """Set what went in on the left, an arrow, and the result on the right."""
    paper = Image.new("RGB", (SIDE, SIDE), PAPER)
    draw = ImageDraw.Draw(paper)
    right, middle = SIDE - LARGE - 14, SIDE // 2
    if name == "instantid_app":
        phone(paper, going_in(made, name)[0])
    else:
        column(paper, going_in(made, name), right - 26)
    draw.polygon([(right - 22, middle - 15), (right - 7, middle), (right - 22, middle + 15)], INK)
    place(paper, made.result, (right, (SIDE - LARGE) // 2), LARGE)
    if name in MARKS:
        font = ImageFont.load_default(58)
        draw.text((right + LARGE // 2, 66), MARKS[name], INK, font, anchor="mm")
    return paper


def column(paper: Image.Image, pictures: list[Image.Image], width: int) -> None:
    """Set pictures one below the other into the left `width` pixels."""
    side, gap = min(LEFT_SIDE[len(pictures)], width - 16), 14
    top = (SIDE - len(pictures) * side - (len(pictures) - 1) * gap) // 2
    for index, picture in enumerate(pictures):
        place(paper, picture, ((width - side) // 2, top + index * (side + gap)), side)


def phone(paper: Image.Image, photo: Image.Image) -> None:
    """Draw a phone with a photo, two lines of a prompt, a slider and a button."""
    draw = ImageDraw.Draw(paper)
    width, height = PHONE
    left, top = 6, (SIDE - height) // 2
    draw.rounded_rectangle((left, top, left + width, top + height), 26, (18, 18, 22), INK, 4)
    place(paper, photo, (left + 26, top + 36), width - 52)
    line = top + 222
    for share in (1.0, 0.7):
        end = left + 26 + share * (width - 52)
        draw.rounded_rectangle((left + 26, line, end, line + 14), 7, FRAME)
        line += 28
    draw.rounded_rectangle((left + 26, line + 12, left + width - 26, line + 18), 3, FRAME)
    draw.ellipse((left + 128, line + 2, left + 154, line + 28), INK)
    button = (left + 26, top + height - 84, left + width - 26, top + height - 36)
    draw.rounded_rectangle(button, 12, (52, 110, 220))
    x, y = left + width // 2, top + height - 60
    draw.polygon([(x - 9, y - 12), (x - 9, y + 12), (x + 13, y)], INK)


def place(paper: Image.Image, picture: Image.Image, corner: tuple[int, int], side: int) -> None:
    """Set a picture into a framed square."""
    fitted = picture.copy()
    scale = side / max(fitted.size)
    size = (round(fitted.width * scale), round(fitted.height * scale))
    fitted = fitted.resize(size, Image.Resampling.BICUBIC)
    left = corner[0] + (side - fitted.width) // 2
    top = corner[1] + (side - fitted.height) // 2
    paper.paste(fitted, (left, top))
    box = (left - 2, top - 2, left + fitted.width + 1, top + fitted.height + 1)
    ImageDraw.Draw(paper).rectangle(box, outline=FRAME, width=2)


def update(server: Server, given: Mapping[str, Image.Image], only: set[str]) -> None:
    """Draw the cards of the examples, or of those that are named.

    given: what lies in the server's input folder, by file name.
    """
    for path in workflows():
        name = name_of(path)
        if not only or name in only:
            made = card(run(server, name, given), name)
            keep_or_save(made, path.with_suffix(".jpg"), quality=85)
    keep_or_save(contact_sheet(workflows()), SHEET, quality=85)


def contact_sheet(examples: list[Path]) -> Image.Image:
    """Set all cards on one sheet, each over its title, to be read at the width of a README."""
    side, line, columns = 212, 44, 4
    rows = -(-len(examples) // columns)
    sheet = Image.new("RGB", (side * columns, (side + line) * rows), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for index, path in enumerate(examples):
        left, top = index % columns * side, index // columns * (side + line)
        with Image.open(path.with_suffix(".jpg")) as picture:
            sheet.paste(picture.resize((side, side), Image.Resampling.LANCZOS), (left, top))
        words = "\n".join(textwrap.wrap(path.stem, 26))
        middle = (left + side // 2, top + side + line // 2)
        draw.text(middle, words, INK, font, anchor="mm", align="center")
    return sheet


@contextmanager
def drawn_world() -> Iterator[tuple[Server, dict[str, Image.Image]]]:
    """Give a server with the models of the drawn world, and the pictures in its input folder."""
    models = standin_models(default_comfyui(), sys.executable, make_standins.DRAWN)
    given = {name: Image.fromarray(picture) for name, picture in gallery.pictures().items()}
    with serve(models) as server:
        for name, picture in given.items():
            picture.save(server.base / "input" / name)
        film = [Image.fromarray(picture) for picture in gallery.film()]
        write_film(server.base / "input" / gallery.FILM, film)
        yield server, given
