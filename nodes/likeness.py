"""Nodes that say how much pictures look like a person."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..instantid_core.faces import THRESHOLD, as_analyzer
from ..instantid_core.faces.references import LookSettings
from ..instantid_core.faces.scoring import Scores, judge_of, keep, score
from ..instantid_core.host.faces import watched
from ..instantid_core.host.on_node import told_on_node
from . import folders, search_words, sockets
from .face_inputs import look_inputs
from .showing import shown


def scoring_inputs() -> tuple[list[io.Input], list[io.Input]]:
    """What is compared with whom: the same on both nodes; required, then optional."""
    required = [
        sockets.FaceAnalysis.Input("face_analyzer", tooltip="From Load Face Analyzer."),
        io.Image.Input("images", tooltip="The pictures to be scored, as one batch."),
        io.Combo.Input(
            "recogniser",
            options=folders.recognisers(),
            default=folders.OWN_RECOGNISER,
            tooltip="Who compares the faces. face_analyzer: the one that InstantID was trained on, "
            "which flatters. Another face pack, such as buffalo_l or AuraFace, is a fairer judge "
            "and needs a photo on `reference`; it is used for nothing else.",
        ),
    ]
    optional = [
        sockets.FaceEmbeds.Input(
            "identity", optional=True, tooltip="The person, from Encode Face or Load Identity."
        ),
        io.Image.Input(
            "reference",
            optional=True,
            tooltip="A photo of the person, or several as a batch. It counts before `identity`.",
        ),
        *look_inputs(),
    ]
    return required, optional


def scores_of(
    face_analyzer: Any,
    images: torch.Tensor,
    recogniser: str,
    identity: Any = None,
    reference: torch.Tensor | None = None,
    threshold: float = THRESHOLD,
    thorough: bool = False,
) -> Scores:
    """Return what the inputs of `scoring_inputs` ask for."""
    judge = judge_of(as_analyzer(face_analyzer), folders.recogniser_path(recogniser))
    settings = LookSettings(threshold, thorough)
    return score(judge, images, identity, reference, settings, watched)


class Likeness(io.ComfyNode):
    """How much each picture looks like a person."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        required, optional = scoring_inputs()
        return io.Schema(
            node_id="IID_Likeness",
            display_name="Likeness",
            category="InstantID/likeness",
            description="Say how much each picture looks like a person: the cosine of the face "
            "embeddings, from -1 to 1.",
            search_aliases=search_words.of("IID_Likeness"),
            inputs=[*required, *optional],
            outputs=[
                io.Float.Output(
                    display_name="scores",
                    is_output_list=True,
                    tooltip="One number for each picture; -1 where no face was found.",
                ),
                io.Image.Output(display_name="pictures", tooltip="The pictures with their scores."),
                io.String.Output(display_name="report", tooltip="One line for each picture."),
            ],
            is_output_node=True,
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        face_analyzer: Any,
        images: torch.Tensor,
        recogniser: str,
        identity: Any = None,
        reference: torch.Tensor | None = None,
        threshold: float = THRESHOLD,
        thorough: bool = False,
    ) -> io.NodeOutput:
        made = scores_of(
            face_analyzer, images, recogniser, identity, reference, threshold, thorough
        )
        return io.NodeOutput(made.values, made.preview, made.report, ui=shown(cls, made.preview))


class KeepMostAlike(io.ComfyNode):
    """Of many pictures those that look most like a person."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        required, optional = scoring_inputs()
        return io.Schema(
            node_id="IID_KeepMostAlike",
            display_name="Keep Most Alike",
            category="InstantID/likeness",
            description="Of a batch of pictures keep those that look most like a person, the best "
            "one first.",
            search_aliases=search_words.of("IID_KeepMostAlike"),
            inputs=[
                *required,
                io.Int.Input(
                    "count",
                    default=1,
                    min=1,
                    max=4096,
                    tooltip="How many pictures to keep. Pictures without a face come last.",
                ),
                *optional,
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The best ones, the best first."),
                io.Int.Output(
                    display_name="order",
                    is_output_list=True,
                    tooltip="The numbers in the batch of those that were kept, counted from 0.",
                ),
                io.String.Output(display_name="report", tooltip="One line for each picture."),
            ],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        face_analyzer: Any,
        images: torch.Tensor,
        recogniser: str,
        count: int,
        identity: Any = None,
        reference: torch.Tensor | None = None,
        threshold: float = THRESHOLD,
        thorough: bool = False,
    ) -> io.NodeOutput:
        made = scores_of(
            face_analyzer, images, recogniser, identity, reference, threshold, thorough
        )
        kept = keep(made, images, count)
        picture = shown(cls, made.preview[kept.order])
        return io.NodeOutput(kept.images, kept.order, made.report, ui=picture)


NODES: list[type[io.ComfyNode]] = [Likeness, KeepMostAlike]
