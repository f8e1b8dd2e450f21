"""Make the photos that the example workflows open with: example_workflows/photos.

    <environment's python> devtools/make_photos.py GRACE_HOPPER.JPG

Two portraits in the public domain, of two people, and both side by side as a pose photo. The first
is in scikit-image (`data.astronaut`: Eileen Collins, NASA); the second, to be named, in matplotlib
(`sample_data/grace_hopper.jpg`: Grace Hopper, US Navy). The landscape and the depth map of the
first portrait are drawn. The film is the first portrait, moved about.
"""

from __future__ import annotations

import sys
from pathlib import Path

import av
import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

FOLDER = Path(__file__).resolve().parent.parent / "example_workflows" / "photos"
WOMAN, OFFICER, TWO, STYLE, DEPTH = (
    f"instantid-example-{name}.jpg" for name in ("astronaut", "officer", "two", "style", "depth")
)
FACES = {  # left, top, right, bottom of what is kept, in pixels of the source
    WOMAN: (66, 0, 366, 300),
    OFFICER: (106, 0, 466, 360),
}
FILM, FRAMES, RATE = "instantid-example-film.mp4", 12, 8  # frames a second
SIDE = 768
HALF = (608, 832)  # of the photo of two


def portraits(officer: Path) -> dict[str, Image.Image]:
    sources = {
        WOMAN: Image.fromarray(skimage.data.astronaut()),
        OFFICER: Image.open(officer).convert("RGB"),
    }
    return {
        name: source.crop(FACES[name]).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        for name, source in sources.items()
    }


def side_by_side(left: Image.Image, right: Image.Image) -> Image.Image:
    """Return both as one photo, turned to each other."""
    width, height = HALF
    scale = height / SIDE
    both = Image.new("RGB", (2 * width, height))
    for index, picture in enumerate((left.transpose(Image.Transpose.FLIP_LEFT_RIGHT), right)):
        large = picture.resize((round(SIDE * scale), height), Image.Resampling.LANCZOS)
        cut = (large.width - width) // 2
        both.paste(large.crop((cut, 0, cut + width, height)), (index * width, 0))
    return both


def silhouette() -> Image.Image:
    """Return a depth map of the first portrait, drawn by hand: near is white."""
    depth = np.full((SIDE, SIDE), 30, np.uint8)
    body = [
        (0, 768),
        (0, 610),
        (150, 520),
        (200, 390),
        (580, 390),
        (640, 520),
        (768, 590),
        (768, 768),
    ]
    cv2.fillPoly(depth, [np.array(body)], 150)
    cv2.ellipse(depth, (380, 500), (255, 115), 18, 0, 360, 190, -1)  # the helmet's ring
    cv2.ellipse(depth, (415, 190), (195, 160), 0, 0, 360, 170, -1)  # hair
    cv2.ellipse(depth, (400, 290), (125, 180), 4, 0, 360, 215, -1)
    return Image.fromarray(cv2.GaussianBlur(depth, (0, 0), 9)).convert("RGB")


def landscape(size: int = SIDE) -> Image.Image:
    """Return a painted landscape: hills before a low sun."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[0:size, 0:size] / size
    picture = np.stack([0.98 - 0.3 * y, 0.62 - 0.1 * y, 0.35 + 0.35 * y], -1)
    sun = np.hypot(x - 0.68, y - 0.3)[..., None]
    picture = np.where(sun < 0.09, (1.0, 0.93, 0.7), picture + 0.25 * np.exp(-sun * 6))
    near, far = np.array((0.05, 0.12, 0.22)), np.array((0.55, 0.35, 0.5))
    for index in range(6):
        waves = [np.sin(x[0] * (k + 1) * 2.3 + rng.uniform(0, 6.3)) / (k + 1) for k in range(4)]
        ridge = 0.42 + 0.1 * index + 0.05 * np.sum(waves, axis=0)
        share = index / 6
        picture = np.where((y > ridge)[..., None], far * (1 - share) + near * share, picture)
    return stroked(picture, rng)


def stroked(picture: NDArray[np.float64], rng: np.random.Generator) -> Image.Image:
    """Return a picture as short strokes of a brush."""
    size = len(picture)
    out = (np.clip(picture, 0, 1) * 255).astype(np.uint8)
    colours = out.copy()
    for x, y in rng.integers(0, size, (9000, 2)):
        colour = colours[y, x].astype(float) + rng.normal(0, 10, 3)
        angle = 0.25 * np.sin(x / 90) + rng.normal(0, 0.2)
        end = (int(x + 20 * np.cos(angle)), int(y + 20 * np.sin(angle)))
        start = (int(x), int(y))
        cv2.line(out, start, end, np.clip(colour, 0, 255).tolist(), 5, cv2.LINE_AA)
    return Image.fromarray(out)


def write_film(portrait: Image.Image, path: Path) -> None:
    """Write a portrait that sways and nods; what it leaves at the edges is mirrored."""
    picture = np.asarray(portrait)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream(
            "h264", rate=RATE, options={"crf": "26", "preset": "veryslow"}
        )
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for turn in np.linspace(0, 2 * np.pi, FRAMES):
            shift = np.array([[1, 0, 70 * np.sin(turn + 0.6)], [0, 1, 18 * np.sin(2 * turn)]])
            moved = cv2.warpAffine(picture, shift, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="rgb24")))
        container.mux(stream.encode())


def main() -> None:
    made = portraits(Path(sys.argv[1]))
    made[TWO] = side_by_side(made[WOMAN], made[OFFICER])
    made[STYLE], made[DEPTH] = landscape(), silhouette()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, picture in made.items():
        picture.save(FOLDER / name, quality=86)
    write_film(made[WOMAN], FOLDER / FILM)


if __name__ == "__main__":
    main()
