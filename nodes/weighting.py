"""Nodes that say how strongly an identity acts, layer by layer and step by step."""

from __future__ import annotations

from comfy_api.latest import io

from ..instantid_core.images import rgb_to_images
from ..instantid_core.plots import plot_curve, plot_layers
from ..instantid_core.weighting import EASES, LayerWeights, eased, parse_curve
from . import search_words, sockets
from .showing import shown
from .sliders import factor_input

POINTS = "points"
EXAMPLE = "0:1, 0.5:0.8, 1:0"


def weighting_inputs(
    what: str, prefix: str = "", *, advanced: bool | None = None
) -> list[io.Input]:
    """Factors by layer and by step."""
    return [
        sockets.LayerWeights.Input(
            f"{prefix}layer_weights",
            optional=True,
            advanced=advanced,
            tooltip=f"Factors on the {what} by block of the UNet, from Layer Weights for "
            "InstantID.",
        ),
        sockets.WeightCurve.Input(
            f"{prefix}weight_curve",
            optional=True,
            advanced=advanced,
            tooltip=f"Factors on the {what} over the sampling, from Weight Curve for InstantID.",
        ),
    ]


def frame_weights_input(what: str) -> io.Input:
    """Factors by frame."""
    return sockets.FrameWeights.Input(
        "frame_weights",
        optional=True,
        advanced=True,
        tooltip=f"Factors on the {what} by frame of a video, from Frame Weights.",
    )


class LayerWeightsNode(io.ComfyNode):
    """Factors by block of the UNet."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_LayerWeights",
            display_name="Layer Weights for InstantID",
            category="InstantID/control",
            description="Let InstantID act more strongly in some blocks of the UNet than in "
            "others: in its down, middle and up blocks, or in each of eleven.",
            search_aliases=search_words.of("IID_LayerWeights"),
            inputs=[
                *(
                    factor_input(
                        part,
                        f"Factor on the weight in the {part} blocks: 1 leaves it, 0 turns it off.",
                        least=-1.0,
                    )
                    for part in ("down", "middle", "up")
                ),
                io.String.Input(
                    "values",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="Eleven factors with commas between, instead of the three: four for "
                    "the down blocks, one for the middle, six for the up blocks. SD1.5's blocks "
                    "share them. Empty: the three.",
                ),
            ],
            outputs=[
                sockets.LayerWeights.Output(display_name="layer_weights"),
                io.Image.Output(display_name="plot"),
            ],
        )

    @classmethod
    def execute(cls, down: float, middle: float, up: float, values: str = "") -> io.NodeOutput:
        written = bool(values.strip())
        made = LayerWeights.parsed(values) if written else LayerWeights.of_parts(down, middle, up)
        plot = rgb_to_images(plot_layers(made))
        return io.NodeOutput(made, plot, ui=shown(cls, plot))


class WeightCurveNode(io.ComfyNode):
    """A factor over the sampling."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IID_WeightCurve",
            display_name="Weight Curve for InstantID",
            category="InstantID/control",
            description="Let InstantID act more strongly at some steps than at others: from one "
            "factor at the begin of the sampling to another at its end.",
            search_aliases=search_words.of("IID_WeightCurve"),
            inputs=[
                io.Combo.Input(
                    "curve",
                    options=[*EASES, POINTS],
                    default=next(iter(EASES)),
                    tooltip="How it goes from start to end. ease_in: slowly at first. ease_out: "
                    "slowly at last. points: along the points written below.",
                ),
                *(
                    factor_input(
                        name, f"Factor on the weight at the {when} of the sampling: 1 leaves it."
                    )
                    for name, when in (("start", "begin"), ("end", "end"))
                ),
                io.String.Input(
                    "points",
                    default=EXAMPLE,
                    optional=True,
                    advanced=True,
                    tooltip="For curve = points: share of the sampling : factor, with commas "
                    "between.",
                ),
            ],
            outputs=[
                sockets.WeightCurve.Output(display_name="weight_curve"),
                io.Image.Output(display_name="plot"),
            ],
        )

    @classmethod
    def execute(cls, curve: str, start: float, end: float, points: str = EXAMPLE) -> io.NodeOutput:
        made = parse_curve(points) if curve == POINTS else eased(curve, start, end)
        plot = rgb_to_images(plot_curve(made))
        return io.NodeOutput(made, plot, ui=shown(cls, plot))


NODES: list[type[io.ComfyNode]] = [LayerWeightsNode, WeightCurveNode]
