"""Drawn people: who they are, the scene the text tells, where they stand, and the picture of it.

Everything on a face is placed in units of the face's height along its own axes (u to the right of
the picture, v down, 0 the middle of the face), so that the five keypoints are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 128  # pixels of a picture's side
OVERSAMPLING = 3
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 52, 52),
    "green": (58, 160, 72),
    "blue": (52, 92, 210),
    "yellow": (240, 208, 60),
    "white": (238, 238, 238),
    "black": (28, 28, 32),
    "purple": (140, 66, 176),
    "orange": (240, 140, 40),
}
COLOUR_NAMES = tuple(COLOURS)
HAIRS = (
    (30, 24, 22),
    (110, 66, 32),
    (232, 200, 104),
    (178, 62, 28),
    (165, 165, 172),
    (244, 120, 186),
    (66, 120, 230),
    (70, 190, 130),
)
EYES = ((46, 30, 22), (50, 140, 70), (50, 110, 220))
STYLES = ("short", "long", "bald", "bun", "curly")
LIGHT, DARK = np.array([255, 224, 196.0]), np.array([92, 58, 38.0])
TURN = 0.09  # how far the features move across the face at a turn of 1

Picture = NDArray[np.uint8]
Points = NDArray[np.float32]


@dataclass(frozen=True)
class Identity:
    """Who somebody is. skin, hair: RGB. eyes: index of EYES. aspect: width by height of a face."""

    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    style: str
    eyes: int
    glasses: bool
    beard: bool
    aspect: float


@dataclass(frozen=True)
class Scene:
    """What the text tells: the colours of the background and of everybody's clothes."""

    background: str
    clothes: str

    def prompt(self, people: int = 1) -> str:
        who = "one person" if people == 1 else "two people"
        return f"portrait of {who}, {self.background} background, {self.clothes} clothes"


@dataclass(frozen=True)
class Pose:
    """Where a face is. x, y: its middle in pixels. height: in pixels. tilt: degrees, clockwise.

    turn: -1 to 1, how far the face looks to the left or the right of the picture.
    """

    x: float
    y: float
    height: float
    tilt: float = 0.0
    turn: float = 0.0

    @property
    def kps(self) -> Points:
        """(5, 2) float32, x then y in pixels, in the order of face detectors."""
        shift = self.turn * TURN
        parts = np.array(
            [
                (-0.17 + shift, -0.06),
                (0.17 + shift, -0.06),
                (1.7 * shift, 0.1),
                (-0.12 + shift, 0.27),
                (0.12 + shift, 0.27),
            ]
        )
        return self.place(parts).astype(np.float32)

    @property
    def box(self) -> NDArray[np.float32]:
        """(4,) float32: left, top, right, bottom of the face, in pixels."""
        half = np.array([0.44, 0.52]) * self.height
        return np.concatenate([(self.x, self.y) - half, (self.x, self.y) + half]).astype(np.float32)

    def place(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 2) u, v of the face -> (n, 2) x, y in pixels."""
        angle = math.radians(self.tilt)
        cos, sin = math.cos(angle), math.sin(angle)
        turned = parts @ np.array([[cos, sin], [-sin, cos]])
        return np.array([self.x, self.y]) + self.height * turned

    def mirrored(self) -> Pose:
        return replace(self, x=SIZE - 1 - self.x, tilt=-self.tilt, turn=-self.turn)


Person = tuple[Identity, Pose]


def draw_identity(random: np.random.Generator) -> Identity:
    tone = random.random()
    skin = LIGHT * (1 - tone) + DARK * tone + random.normal(0, 6, 3)
    hair = np.array(HAIRS[random.integers(len(HAIRS))]) + random.normal(0, 10, 3)
    return Identity(
        _rgb(skin),
        _rgb(hair),
        STYLES[random.integers(len(STYLES))],
        int(random.integers(len(EYES))),
        bool(random.random() < 0.35),
        bool(random.random() < 0.3),
        float(random.uniform(0.74, 0.92)),
    )


def draw_scene(random: np.random.Generator) -> Scene:
    return Scene(*(COLOUR_NAMES[i] for i in random.integers(len(COLOURS), size=2)))


def draw_pose(random: np.random.Generator) -> Pose:
    """One person's pose, somewhere about the middle."""
    return Pose(
        random.uniform(0.36, 0.64) * SIZE,
        random.uniform(0.40, 0.54) * SIZE,
        random.uniform(0.46, 0.64) * SIZE,
        float(np.clip(random.normal(0, 10), -25, 25)),
        random.uniform(-1, 1),
    )


def draw_two_poses(random: np.random.Generator) -> tuple[Pose, Pose]:
    """Two people's poses, side by side."""
    left, right = (
        Pose(
            random.uniform(middle - 0.03, middle + 0.03) * SIZE,
            random.uniform(0.40, 0.56) * SIZE,
            random.uniform(0.38, 0.47) * SIZE,
            float(np.clip(random.normal(0, 8), -16, 16)),
            random.uniform(-1, 1),
        )
        for middle in (0.26, 0.74)
    )
    return left, right


def halves(poses: Sequence[Pose]) -> NDArray[np.float32]:
    """(P, SIZE, SIZE): 1 where the picture belongs to each of one or two people, else 0."""
    masks = np.ones((len(poses), SIZE, SIZE), np.float32)
    if len(poses) == 2:
        first, second = poses
        column = np.arange(SIZE)
        left = column < (first.x + second.x) / 2
        masks[0] = left if first.x < second.x else ~left
        masks[1] = 1 - masks[0]
    return masks


def draw(people: Sequence[Person], scene: Scene) -> Picture:
    """Return (SIZE, SIZE, 3) uint8 RGB; later people stand in front."""
    side = SIZE * OVERSAMPLING
    canvas = np.empty((side, side, 3), np.uint8)
    canvas[:] = COLOURS[scene.background]
    for identity, pose in people:
        _Brush(canvas, identity, pose).person(COLOURS[scene.clothes])
    return cv2.resize(canvas, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


class _Brush:
    """Draws the parts of one person on an oversampled canvas."""

    def __init__(self, canvas: Picture, identity: Identity, pose: Pose) -> None:
        self.canvas, self.identity, self.pose = canvas, identity, pose
        self.half = identity.aspect / 2
        angle = math.radians(pose.tilt)
        self.cos, self.sin = math.cos(angle), math.sin(angle)
        self.line = max(2, int(pose.height * OVERSAMPLING * 0.032))

    def person(self, clothes: tuple[int, int, int]) -> None:
        who = self.identity
        self._body(clothes)
        if who.style != "bald":
            self._hair_behind()
        self.ellipse(0, 0.03, self.half, 0.47, who.skin)
        if who.beard:
            self.ellipse(0, 0.31, self.half * 0.82, 0.2, who.hair)
            self.ellipse(0, 0.19, self.half * 0.62, 0.13, who.skin)
        if who.style != "bald":
            self.ellipse(0, -0.37, self.half * 0.88, 0.16, who.hair)
        self._features()

    def _body(self, clothes: tuple[int, int, int]) -> None:
        pose, scale = self.pose, OVERSAMPLING
        x, y, height = pose.x * scale, pose.y * scale, pose.height * scale
        middle, axes = (int(x), int(y + 1.02 * height)), (int(0.78 * height), int(0.55 * height))
        cv2.ellipse(self.canvas, middle, axes, 0, 0, 360, clothes, -1, cv2.LINE_AA)
        neck = tuple(int(channel * 0.9) for channel in self.identity.skin)
        chin, collar = self.at(0, 0.35), (int(x), int(y + 0.62 * height))
        cv2.line(self.canvas, chin, collar, neck, int(0.28 * height), cv2.LINE_AA)

    def _hair_behind(self) -> None:
        who, half = self.identity, self.half
        if who.style == "long":
            self.ellipse(0, 0.14, half * 1.34, 0.6, who.hair)
        if who.style == "bun":
            self.ellipse(0, -0.58, 0.2, 0.2, who.hair)
        if who.style == "curly":
            for u, v in ((-1, -0.1), (-0.8, -0.38), (0, -0.48), (0.8, -0.38), (1, -0.1)):
                self.ellipse(u * half, v, 0.22, 0.22, who.hair)
        self.ellipse(0, -0.13, half * 1.14, 0.47, who.hair)

    def _features(self) -> None:
        who, shift = self.identity, self.pose.turn * TURN
        dark = tuple(0.72 * channel for channel in who.skin)
        for u in (-0.17 + shift, 0.17 + shift):
            self.ellipse(u, -0.06, 0.085, 0.06, (250, 250, 250))
            self.ellipse(u + 0.2 * shift, -0.06, 0.052, 0.055, EYES[who.eyes])
            if who.glasses:
                self.ellipse(u, -0.06, 0.13, 0.11, (20, 20, 20), self.line)
        if who.glasses:
            ends = self.at(-0.04 + shift, -0.06), self.at(0.04 + shift, -0.06)
            cv2.line(self.canvas, *ends, (20, 20, 20), self.line, cv2.LINE_AA)
        self.ellipse(1.7 * shift, 0.1, 0.04, 0.055, dark)
        self.ellipse(shift, 0.27, 0.13, 0.04, (170, 50, 60))

    def at(self, u: float, v: float, parts: int = 1) -> tuple[int, int]:
        """Return x, y on the canvas, in `parts` of a pixel."""
        pose, scale = self.pose, OVERSAMPLING
        x = pose.x + pose.height * (self.cos * u - self.sin * v)
        y = pose.y + pose.height * (self.sin * u + self.cos * v)
        return (
            round(((x + 0.5) * scale - 0.5) * parts),
            round(((y + 0.5) * scale - 0.5) * parts),
        )

    def ellipse(
        self,
        u: float,
        v: float,
        half_u: float,
        half_v: float,
        colour: Sequence[float],
        line: int = -1,
    ) -> None:
        unit = self.pose.height * OVERSAMPLING * 16
        cv2.ellipse(
            self.canvas,
            self.at(u, v, 16),
            (int(half_u * unit), int(half_v * unit)),
            self.pose.tilt,
            0,
            360,
            tuple(int(channel) for channel in colour),
            line,
            cv2.LINE_AA,
            4,
        )


def _rgb(colour: NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = colour.clip(0, 255).tolist()
    return red, green, blue


HELD_OUT = 777  # seed of people that no training saw


@dataclass(frozen=True)
class Sitter:
    """Somebody nobody trained on: who they are and one portrait of them."""

    identity: Identity
    portrait: Picture
    pose: Pose
    scene: Scene


def sitters(count: int, seed: int = HELD_OUT) -> list[Sitter]:
    """Return people by a seed, each with a portrait in a scene and pose of its own."""
    random = np.random.default_rng(seed)
    out: list[Sitter] = []
    for _ in range(count):
        identity, pose, scene = draw_identity(random), draw_pose(random), draw_scene(random)
        out.append(Sitter(identity, draw([(identity, pose)], scene), pose, scene))
    return out
