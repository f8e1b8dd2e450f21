"""Describe a ComfyUI workflow in a few lines: nodes with their widgets and links, in columns."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from example_files import LINK_NAME

# Graph units. A column is a coloured group; its nodes stand one below the other.
# The Vue renderer draws the nodes of packs taller than the classic one, by `packExtra`.
LAYOUT = {"gap": 40, "margin": 20, "title": 40, "columnGap": 40, "packExtra": 40}
# Room below the widgets for what a node shows once it has run: a text, and a picture.
TEXT, PICTURE = 70, 290
SHOWING = (
    *("IID_EncodeFace", "IID_FaceKeypoints", "IID_DrawKeypoints", "IID_TransformKeypoints"),
    *("IID_PlaceKeypoints", "IID_FaceRegionMask", "IID_PersonFromPhotos", "IID_LoadIdentity"),
    *("IID_LayerWeights", "IID_WeightCurve", "IID_CropFace", "IID_PasteFace"),
    *("IID_Likeness", "IID_KeepMostAlike", "IID_EditKeypoints", "IID_KeypointsFromPose"),
)
SIZES = {
    "LoadImage": (320, 360),
    "SaveImage": (420, 480),
    "PreviewImage": (320, 340),
    "CLIPTextEncode": (380, 150),
    "MarkdownNote": (340, 200),
}
NARROW = (320, 0)
COLOURS = ("#3f789e", "#8a6d3b", "#4f7d53", "#6b5b95", "#88524f", "#3f789e", "#4f7d53")
NAMESPACE = uuid.UUID("6f3b4a52-0c5e-4d0e-9a53-1f1b7f1d7a10")


def room_for(type: str) -> int:
    """Return how much taller a node is made, in graph units, for what it will show."""
    if not type.startswith("IID_"):
        return 0
    return TEXT + (PICTURE if type in SHOWING else 0)


@dataclass(frozen=True)
class Output:
    """One output of a node, to be given to another node's input."""

    key: str
    name: str


@dataclass(frozen=True)
class Node:
    """A node that was added; `node["MODEL"]` is its output of that name."""

    key: str

    def __getitem__(self, name: str) -> Output:
        return Output(self.key, name)


@dataclass
class Graph:
    """A workflow under construction. `column` starts a group; `add` puts a node into it."""

    name: str
    title: str
    groups: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    shown: dict[str, Any] = field(default_factory=dict)  # by ComfyUI's app mode

    def column(self, title: str) -> None:
        colour = COLOURS[len(self.groups) % len(COLOURS)]
        number = len(self.groups) + 1
        self.groups.append({"key": str(number), "title": f"{number}. {title}", "color": colour})

    def add(
        self,
        type: str,
        title: str | None = None,
        box: tuple[int, int] | None = None,
        models: list[dict[str, str]] | None = None,
        **inputs: Any,
    ) -> Node:
        """Add a node; an `Output` among `inputs` becomes a link, anything else a widget's value."""
        key = str(len(self.steps) + 1)
        links = {n: [v.key, v.name] for n, v in inputs.items() if isinstance(v, Output)}
        self.steps.append(
            {
                "key": key,
                "type": type,
                "group": self.groups[-1]["key"],
                "title": title,
                "size": list(box or SIZES.get(type, NARROW)),
                "room": room_for(type),
                "models": models or [],
                "links": links,
                "widgets": {n: v for n, v in inputs.items() if n not in links},
                "kind": "note" if type == "MarkdownNote" else "node",
            }
        )
        return Node(key)

    def note(self, text: str, height: int = 200, width: int = 340) -> None:
        self.add("MarkdownNote", title="Read me", box=(width, height), text=text.strip())

    def app(self, inputs: tuple[tuple[Node, str], ...], outputs: tuple[Node, ...]) -> None:
        """Open in ComfyUI's app mode, with these widgets and the pictures of these nodes."""
        self.shown = {
            "inputs": [[int(node.key), widget] for node, widget in inputs],
            "outputs": [int(node.key) for node in outputs],
        }

    def extra(self) -> dict[str, Any]:
        """Return the workflow's `extra`: its name in links, and what the app mode shows.

        The keys of nodes are the numbers that the frontend gives them, in the order of adding.
        """
        app = {"linearMode": True, "linearData": self.shown} if self.shown else {}
        return {LINK_NAME: self.name, **app}

    def spec(self) -> dict[str, Any]:
        """Return what frontend.js builds from."""
        return {
            "id": str(uuid.uuid5(NAMESPACE, self.name)),
            "layout": LAYOUT,
            "groups": self.groups,
            "steps": self.steps,
        }
