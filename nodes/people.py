"""Nodes for several people in one picture."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..instantid_core.faces import as_analyzer
from ..instantid_core.faces.pick import MOST_LIKE
from ..instantid_core.faces.references import LookSettings
from ..instantid_core.host.on_node import told_on_node
from ..instantid_core.host.people import (
    PersonSettings,
    carry_person,
    person_from_photos,
    with_person,
)
from ..instantid_core.host.rows import AS_ON_MODEL
from ..instantid_core.people import BY_PLACE, ORDERS
from ..instantid_core.regions import Outline, Shape
from . import search_words, sockets
from .face_inputs import landmarks_input
from .regions import outline_inputs
from .showing import shown
from .sliders import factor_input


def _face_inputs(source: str, *more: str) -> list[io.Input]:
    """Which face is the person's. source: what has the faces."""
    like = " most_like takes the face that looks most like the portrait." if more else ""
    return [
        io.Combo.Input(
            "order",
            options=[*ORDERS, *more],
            default=ORDERS[0],
            tooltip=f"The order in which the faces of {source} are numbered.{like}",
        ),
        io.Int.Input(
            "index",
            default=BY_PLACE,
            min=BY_PLACE,
            max=255,
            tooltip="The number of the face in that order, counted from 0. -1: the person's own "
            "place in the list, so that the first person gets the first face.",
        ),
    ]


def _factor_inputs() -> list[io.Input]:
    """How much one person counts."""
    return [
        factor_input(name, f"Factor on {what}, for this person: 1 leaves it, 0 turns it off.")
        for name, what in (
            ("weight", "the weight of the adapter"),
            ("strength", "the strength of IdentityNet"),
        )
    ]


def _people_input() -> io.Input:
    return sockets.People.Input("people", optional=True, tooltip="The list so far; none: a new one")


class AddPerson(io.ComfyNode):
    """One more person in a list."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_Person",
            display_name="Person",
            category="InstantID/people",
            description="Add a person to a list: who it is, and which face or which part of the "
            "picture is theirs. Connect the list to any Apply node; all people are drawn in one "
            "pass, each in their own region.",
            search_aliases=search_words.of("IID_Person"),
            inputs=[
                sockets.FaceEmbeds.Input(
                    "face_embeds",
                    display_name="identity",
                    tooltip="The person, from Encode Face.",
                ),
                sockets.FaceKeypoints.Input(
                    "keypoints",
                    optional=True,
                    tooltip="The faces of a pose photo (Face Keypoints with pick = all), or one "
                    "placed by hand (Place Keypoints).",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the person may work, of any size. None: the region of the face.",
                ),
                *_face_inputs("the keypoints"),
                *outline_inputs(),
                *_factor_inputs(),
                _people_input(),
            ],
            outputs=[sockets.People.Output(display_name="people")],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        face_embeds: Any,
        order: str,
        index: int,
        shape: str,
        padding: float,
        feather: float,
        weight: float,
        strength: float,
        keypoints: Any = None,
        mask: torch.Tensor | None = None,
        people: Any = None,
    ) -> io.NodeOutput:
        outline = Outline(Shape(shape), padding, feather)
        settings = PersonSettings(order, index, outline, weight, strength)
        return io.NodeOutput(with_person(people, face_embeds, keypoints, mask, settings))


class PersonFromPhotos(io.ComfyNode):
    """A portrait and a pose photo to one more person in a list."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_PersonFromPhotos",
            display_name="Person from Photos",
            category="InstantID/people",
            description="Add a person to a list straight from a portrait and a pose photo. Use the "
            "same pose photo for everybody; no photo is looked at twice.",
            search_aliases=search_words.of("IID_PersonFromPhotos"),
            inputs=[
                sockets.FaceAnalysis.Input("face_analyzer", tooltip="From Load Face Analyzer."),
                sockets.Adapter.Input("adapter", tooltip="From Load InstantID Adapter."),
                io.Image.Input(
                    "portrait",
                    tooltip="Who it is. Several pictures of a batch are several references.",
                ),
                io.Image.Input("pose", tooltip="Where everybody is: a photo with a face for each."),
                *_face_inputs("the pose photo", MOST_LIKE),
                *outline_inputs(),
                *_factor_inputs(),
                _people_input(),
                landmarks_input(),
            ],
            outputs=[
                sockets.People.Output(display_name="people"),
                io.Image.Output(
                    display_name="faces", tooltip="The pose photo with every face numbered."
                ),
            ],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        face_analyzer: Any,
        adapter: Any,
        portrait: torch.Tensor,
        pose: torch.Tensor,
        order: str,
        index: int,
        shape: str,
        padding: float,
        feather: float,
        weight: float,
        strength: float,
        people: Any = None,
        landmarks: bool = False,
    ) -> io.NodeOutput:
        outline = Outline(Shape(shape), padding, feather)
        settings = PersonSettings(order, index, outline, weight, strength)
        analyzer = as_analyzer(face_analyzer)
        look = LookSettings(landmarks=landmarks)
        made = person_from_photos(analyzer, adapter, portrait, pose, settings, people, look)
        return io.NodeOutput(*made, ui=shown(cls, made[1]))


class ConditioningPerson(io.ComfyNode):
    """A person for one regional prompt."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_ConditioningPerson",
            display_name="Set Person of Conditioning",
            category="InstantID/people",
            description="Give a regional prompt (made with ComfyUI's mask or area nodes) a person "
            "of its own: where this conditioning works, the adapter draws this person instead of "
            "the one on the model. It does nothing unless the sampler's model comes from Apply "
            "InstantID or Apply InstantID Adapter.",
            search_aliases=search_words.of("IID_ConditioningPerson"),
            inputs=[
                io.Conditioning.Input("conditioning", tooltip="A positive prompt for a region."),
                sockets.FaceEmbeds.Input(
                    "face_embeds",
                    display_name="identity",
                    tooltip="The person, from Encode Face.",
                ),
                io.Float.Input(
                    "weight",
                    default=AS_ON_MODEL,
                    min=AS_ON_MODEL,
                    max=5.0,
                    step=0.01,
                    optional=True,
                    tooltip="How strongly the adapter draws this person, 0.8 is a good value. -1: "
                    "as strongly as the first person on the model.",
                ),
            ],
            outputs=[io.Conditioning.Output()],
        )

    @classmethod
    @told_on_node
    def execute(
        cls, conditioning: Any, face_embeds: Any, weight: float = AS_ON_MODEL
    ) -> io.NodeOutput:
        return io.NodeOutput(carry_person(conditioning, face_embeds, weight))


NODES: list[type[io.ComfyNode]] = [AddPerson, PersonFromPhotos, ConditioningPerson]
