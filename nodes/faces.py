"""Nodes that make identities: from pictures, from a file, from two others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from comfy_api.latest import io

from ..instantid_core.faces import THRESHOLD, as_analyzer
from ..instantid_core.faces.pick import make_pick
from ..instantid_core.faces.references import (
    ON_MISSING,
    LookSettings,
    Reference,
    checked_references,
    references_of,
)
from ..instantid_core.host.faces import (
    encode_references,
    load_identity,
    mix_identities,
    negative_side,
)
from ..instantid_core.host.on_node import told_on_node
from ..instantid_core.identity import checked_identity
from ..instantid_core.identity_file import save_identity
from ..instantid_core.identity_picture import load_picture, picture_path, save_picture
from ..instantid_core.log import note
from . import folders, search_words, sockets
from .face_inputs import LIKE_TOOLTIP, combine_input, look_inputs, negative_inputs, pick_inputs
from .showing import shown


class EncodeFace(io.ComfyNode):
    """Pictures of a person to an identity."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_EncodeFace",
            display_name="Encode Face",
            category="InstantID",
            description="Find the person in one or several pictures and encode the face for the "
            "adapter. Several pictures of one person give a better likeness. Runs again only when "
            "something here changes, and finds no face twice.",
            search_aliases=search_words.of("IID_EncodeFace"),
            inputs=[
                sockets.FaceAnalysis.Input("face_analyzer", tooltip="From Load Face Analyzer."),
                sockets.Adapter.Input("adapter", tooltip="From Load InstantID Adapter."),
                io.Image.Input(
                    "image",
                    tooltip="The person. Several pictures of a batch are several references.",
                ),
                *pick_inputs(),
                combine_input(),
                io.Combo.Input(
                    "on_missing",
                    options=list(ON_MISSING),
                    default=ON_MISSING[0],
                    tooltip="What to do with a picture that has no such face. error: stop. skip: "
                    "leave it out, stop when none is left. bypass: leave it out; when none is left "
                    "the graph runs without this identity.",
                ),
                sockets.FaceReferences.Input(
                    "references",
                    optional=True,
                    tooltip="More pictures of the person, of any size, from Face Reference.",
                ),
                io.String.Input(
                    "weights",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="How much each picture of `image` counts, with commas between: 1, 0.5. "
                    "Only the ratios matter. Empty: all the same.",
                ),
                sockets.FaceEmbeds.Input("like", optional=True, tooltip=LIKE_TOOLTIP),
                *look_inputs(),
                io.Float.Input(
                    "negative_noise",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    advanced=True,
                    tooltip="Noise in the negative face embedding: 0 is the published method; 0.35 "
                    "gives softer, less contrasty faces, as other packs do unasked.",
                ),
                io.Int.Input(
                    "noise_seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=False,
                    optional=True,
                    advanced=True,
                    tooltip="Seed of that noise. No other random number depends on it.",
                ),
                *negative_inputs(),
            ],
            outputs=[
                sockets.FaceEmbeds.Output(display_name="identity"),
                io.Image.Output(
                    display_name="faces",
                    tooltip="The pictures with every face numbered, the chosen one in green.",
                ),
                io.String.Output(
                    display_name="report",
                    tooltip="Size, score and likeness of each reference, and warnings.",
                ),
            ],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        face_analyzer: Any,
        adapter: Any,
        image: torch.Tensor,
        pick: str,
        index: int,
        combine: str,
        on_missing: str,
        references: Sequence[Reference] = (),
        weights: str = "",
        like: Any = None,
        threshold: float = THRESHOLD,
        thorough: bool = False,
        negative_noise: float = 0.0,
        noise_seed: int = 0,
        negative_identity: Any = None,
        negative_weight: float = 0.5,
    ) -> io.NodeOutput:
        made = encode_references(
            as_analyzer(face_analyzer),
            adapter,
            [
                *references_of(image, weights, make_pick(pick, index, like)),
                *checked_references(references),
            ],
            combine=combine,
            on_missing=on_missing,
            settings=LookSettings(threshold, thorough),
            noise=negative_noise,
            noise_seed=noise_seed,
            negative=negative_side(adapter, negative_identity, negative_weight),
        )
        picture = shown(cls, made.preview)
        return io.NodeOutput(made.identity, made.preview, made.report, ui=picture)


class FaceReference(io.ComfyNode):
    """One more picture of the person, in a chain."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_FaceReference",
            display_name="Face Reference",
            category="InstantID",
            description="Add pictures of the same person to Encode Face, of any size, with a "
            "weight and a pick of their own. Chain several.",
            search_aliases=search_words.of("IID_FaceReference"),
            inputs=[
                io.Image.Input("image", tooltip="The person. A batch is several references."),
                io.Float.Input(
                    "weight",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="How much this picture counts against the others. Only the ratios "
                    "matter; changing it finds no face again.",
                ),
                *pick_inputs(),
                sockets.FaceReferences.Input(
                    "references", optional=True, tooltip="The chain so far."
                ),
                sockets.FaceEmbeds.Input("like", optional=True, tooltip=LIKE_TOOLTIP),
            ],
            outputs=[sockets.FaceReferences.Output(display_name="references")],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        image: torch.Tensor,
        weight: float,
        pick: str,
        index: int,
        references: Sequence[Reference] = (),
        like: Any = None,
    ) -> io.NodeOutput:
        chosen = make_pick(pick, index, like)
        return io.NodeOutput(references_of(image, weight, chosen, references))


class SaveIdentity(io.ComfyNode):
    """Keep an identity in a small file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_SaveIdentity",
            display_name="Save Identity",
            category="InstantID",
            description="Save the face embedding of an identity as a small file in ComfyUI's "
            "output folder, from where Load Identity reads it. No picture is needed any more.",
            search_aliases=search_words.of("IID_SaveIdentity"),
            inputs=[
                sockets.FaceEmbeds.Input("identity", tooltip="From Encode Face."),
                io.String.Input(
                    "filename_prefix",
                    default=f"{folders.IDENTITIES}/identity",
                    tooltip="A name such as anna; a number is appended, no file is overwritten. A "
                    "folder before it is one of the output folder; Load Identity looks in "
                    "instantid_identities only.",
                ),
                io.Image.Input(
                    "picture",
                    optional=True,
                    tooltip="A picture to keep beside the file, small; Load Identity shows it. "
                    "None: no picture is kept.",
                ),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    @told_on_node
    def execute(
        cls, identity: Any, filename_prefix: str, picture: torch.Tensor | None = None
    ) -> io.NodeOutput:
        checked = checked_identity(identity, "identity")
        path = folders.new_identity_path(filename_prefix)
        save_identity(path, checked, path.stem)
        note(f"Saved {path}")
        if picture is not None:
            save_picture(path, picture)
            note(f"Saved {picture_path(path)}")
        folders.warn_if_not_listed(path)
        return io.NodeOutput(ui={"text": [f"Saved {path}"]})


class LoadIdentity(io.ComfyNode):
    """Read an identity back, for an adapter."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_LoadIdentity",
            display_name="Load Identity",
            category="InstantID",
            description="Load an identity that Save Identity wrote, and encode it for the "
            "adapter. Needs no picture and no face analyzer.",
            search_aliases=search_words.of("IID_LoadIdentity"),
            inputs=[
                sockets.Adapter.Input("adapter", tooltip="From Load InstantID Adapter."),
                io.Combo.Input(
                    "file",
                    options=folders.identity_files(),
                    tooltip="A file in the folder instantid_identities of models, output or input, "
                    "where uploads land.",
                ),
            ],
            outputs=[sockets.FaceEmbeds.Output(display_name="identity")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None = None) -> bool | str:
        return folders.identity_problem(file)

    @classmethod
    def fingerprint_inputs(cls, file: str = "", **linked: Any) -> str:
        return folders.identity_stamp(file)

    @classmethod
    @told_on_node
    def execute(cls, adapter: Any, file: str) -> io.NodeOutput:
        path = folders.identity_path(file)
        picture = load_picture(path)
        note(f"Loaded {path}")
        identity = load_identity(adapter, path)
        return io.NodeOutput(identity, ui=None if picture is None else shown(cls, picture))


class MixIdentities(io.ComfyNode):
    """A person between two."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_MixIdentities",
            display_name="Mix Identities",
            category="InstantID",
            description="Make a person that lies between two others.",
            search_aliases=search_words.of("IID_MixIdentities"),
            inputs=[
                sockets.Adapter.Input("adapter", tooltip="From Load InstantID Adapter."),
                sockets.FaceEmbeds.Input("first", tooltip="The identity at amount 0."),
                sockets.FaceEmbeds.Input("second", tooltip="The identity at amount 1."),
                io.Float.Input(
                    "amount",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="Share of the second: 0 is the first alone, 1 the second alone.",
                ),
                combine_input(),
                *negative_inputs(),
            ],
            outputs=[sockets.FaceEmbeds.Output(display_name="identity")],
        )

    @classmethod
    @told_on_node
    def execute(
        cls,
        adapter: Any,
        first: Any,
        second: Any,
        amount: float,
        combine: str,
        negative_identity: Any = None,
        negative_weight: float = 0.5,
    ) -> io.NodeOutput:
        negative = negative_side(adapter, negative_identity, negative_weight)
        return io.NodeOutput(mix_identities(adapter, first, second, amount, combine, negative))


NODES: list[type[io.ComfyNode]] = [
    EncodeFace,
    FaceReference,
    SaveIdentity,
    LoadIdentity,
    MixIdentities,
]
