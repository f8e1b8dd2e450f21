"""What the inputs of nodes are made of, and when two outcomes are the same, number for number."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import torch
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.crops import CropSettings, plan_crops
from faithful_instantid.instantid_core.editing import written
from faithful_instantid.instantid_core.errors import InstantIDError
from faithful_instantid.instantid_core.faces import FaceAnalyzer, FoundFace
from faithful_instantid.instantid_core.faces.pick import make_pick
from faithful_instantid.instantid_core.faces.references import references_of
from faithful_instantid.instantid_core.fitting import Fit, place, standard_face, transform
from faithful_instantid.instantid_core.frame_weights import FrameWeights
from faithful_instantid.instantid_core.host.faces import encode_references
from faithful_instantid.instantid_core.host.hints import DrawnHint
from faithful_instantid.instantid_core.host.people import (
    PersonSettings,
    with_person,
)
from faithful_instantid.instantid_core.images import ChannelOrder, Picture
from faithful_instantid.instantid_core.keypoints import FacePoints, Keypoints
from faithful_instantid.instantid_core.regions import Outline
from faithful_instantid.instantid_core.weighting import LayerWeights, parse_curve

from .predict import SIDES, conditioning, predict

HEIGHT, WIDTH = 12, 8  # latent cells: not square
TIMESTEP = 501  # about the middle of the sampling
Inputs = dict[str, Any]


class OtherFace(FaceAnalyzer):
    """Finds the same faces and takes them for other people."""

    def embed(
        self, picture: Picture, face: FoundFace, order: ChannelOrder = ChannelOrder.BGR
    ) -> np.ndarray:
        return -super().embed(picture, face, order)


class Blind(FaceAnalyzer):
    """Finds nobody."""

    def find(self, picture: Picture, **settings: Any) -> Any:
        return super().find(np.zeros_like(picture), **settings)

    def find_as_insightface(self, picture: Picture) -> Any:
        return super().find_as_insightface(np.zeros_like(picture))


def photo(*faces: DrawnFace, width: int = 600, height: int = 400) -> torch.Tensor:
    return torch.from_numpy(draw_faces(list(faces), width, height)).float()[None] / 255


def posed(keypoints: Keypoints) -> list[dict[str, Any]]:
    """The faces of a frame as poses of bodies, and a frame with nobody."""
    people: list[dict[str, Any]] = []
    for face, score in zip(keypoints.frames[0], (0.9, 0.99), strict=False):
        body = np.full((18, 3), 0.5)
        body[[14, 15, 0], :2], body[:, 2] = face.kps[:3], score
        people.append({"pose_keypoints_2d": body.ravel().tolist()})
    size = {"canvas_width": keypoints.width, "canvas_height": keypoints.height}
    return [{"people": people, **size}, {"people": [], **size}]


@dataclass
class World:
    """What inputs are made of; `other_*` is a second one that differs."""

    official: dict[str, torch.Tensor]
    model: Any
    adapter: Any
    other_adapter: Any
    net: Any
    other_net: Any
    analyzer: FaceAnalyzer
    identity: Any
    other_identity: Any

    unchanged: dict[str, Any] = field(default_factory=dict)  # outcomes by node, made once

    def __post_init__(self) -> None:
        ann, bob = DrawnFace(150, 200, 210, 4, 1), DrawnFace(450, 190, 160, -8, 2)
        self.group = photo(ann, bob)
        self.other_group = photo(dataclasses.replace(ann, person=5), bob)
        faces = tuple(FacePoints(face.kps, face.box) for face in (ann, bob))
        self.group_faces = Keypoints(600, 400, (faces,))
        self.moved_faces = transform(self.group_faces, move_x=0.02, rotate=5)
        self.face_crop, self.other_face_crop = (
            plan_crops(self.group_faces, self.group, "left_to_right", n, CropSettings(long_side=96))
            for n in (0, 1)
        )
        self.empty = photo()
        far = DrawnFace(2500, 300, 60, 9, 2)  # only a thorough look finds it
        self.one_small = photo(DrawnFace(600, 500, 700, 9, 1), far, width=3000, height=1000)
        self.two_photos = torch.cat([self.group, self.group.flip(2)])
        self.positive, self.negative = (conditioning(self.official, side) for side in SIDES)
        self.other_positive = [[self.positive[0][0] * 1.2, self.positive[0][1]]]
        self.other_negative = [[self.negative[0][0] * 0.7, self.negative[0][1]]]
        self.face = place(standard_face(), 200, 120, 0.45, 0.5, 0.6)  # wide: crop is not pad
        blank = torch.zeros(1, 120, 200, 3)
        self.crop_of_face = plan_crops(self.face, blank, "largest", 0, CropSettings(long_side=64))
        self.other_face = transform(self.face, move_x=0.1, rotate=30)
        self.two_faces = dataclasses.replace(
            self.face,
            frames=(
                (
                    *place(standard_face(), 200, 120, 0.3, 0.5, 0.4).frames[0],
                    *place(standard_face(), 200, 120, 0.7, 0.45, 0.5).frames[0],
                ),
            ),
        )
        self.edit = written(self.other_face.faces, 200, 120, None)
        self.pose = posed(self.two_faces)
        self.left = torch.zeros(1, HEIGHT, WIDTH)
        self.left[..., : 2 * WIDTH // 3] = 1.0
        self.right = self.left.flip(-1)
        self.upper = torch.zeros(1, HEIGHT, WIDTH)
        self.upper[:, : HEIGHT // 2] = 1.0
        self.other_model = host.apply_adapter(self.model, self.other_identity, weight=0.5)
        self.other_analyzer = OtherFace(
            self.analyzer.models["detection"], self.analyzer.models["recognition"]
        )
        face_of = encode_references(
            self.analyzer, self.adapter, references_of(self.group, "", LEFT)
        )
        self.ann = face_of.identity
        self.bob = encode_references(
            self.analyzer, self.adapter, references_of(self.group.flip(2), "", LEFT)
        ).identity
        self.people = self.crowd(Outline())
        self.masked_people = self.crowd(Outline(), self.left, self.right)
        self.layers = LayerWeights.of_parts(0.2, 0.5, 0.9)
        self.curve = parse_curve("0:0.3, 1:0.3")
        self.halved = FrameWeights(((0, 0.5),))
        self.drawing = DrawnHint(self.face, Fit.CROP).at(64, 96).movedim(1, -1)
        self.references = references_of(self.other_group, 2.0, LEFT)

    def crowd(self, outline: Outline, *masks: torch.Tensor) -> Any:
        """Two people, at the two faces or at masks."""
        made = None
        for number, who in enumerate((self.identity, self.other_identity)):
            mask = masks[number] if masks else None
            settings = PersonSettings("left_to_right", number, outline)
            made = with_person(made, who, self.two_faces, mask, settings)
        return made

    def predicted(self, model: Any, positive: Any, negative: Any) -> list[torch.Tensor]:
        """What a sampling predicts, (1, 4, HEIGHT, WIDTH) for either side."""
        generator = torch.Generator().manual_seed(3)
        x = torch.randn(1, 4, HEIGHT, WIDTH, generator=generator) * 5
        return list(predict(model, positive, negative, x, TIMESTEP).values())


LEFT = make_pick("left_to_right", 0)


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


def flat(value: Any) -> Iterator[Any]:
    """The tensors, numbers and texts that a value is made of, in a fixed order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, np.ndarray):
        yield torch.from_numpy(np.ascontiguousarray(value))
    elif isinstance(value, Enum | str | int | float | bool | None):
        yield value
    elif isinstance(value, dict):
        for key in value:
            yield key
            yield from flat(value[key])
    elif isinstance(value, list | tuple):
        yield len(value)
        for one in value:
            yield from flat(one)
    else:
        names = getattr(value, "__dict__", None) or {
            field.name: getattr(value, field.name) for field in dataclasses.fields(value)
        }
        yield type(value).__name__
        yield from flat({name: names[name] for name in sorted(names)})


def same(a: Any, b: Any) -> bool:
    """Whether two values are made of the same, bit for bit."""

    def equal(x: Any, y: Any) -> bool:
        if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor):
            return x.shape == y.shape and torch.equal(x, y)
        return type(x) is type(y) and x == y

    left, right = list(flat(a)), list(flat(b))
    return len(left) == len(right) and all(map(equal, left, right))


def outcome(make: Callable[[], Any]) -> Any:
    """What a call gives; a refusal is an outcome, too."""
    try:
        return make()
    except InstantIDError as error:
        return ("refused", str(error))
