"""Drive the editor on the node Edit Keypoints as a person does: with a mouse, fingers and keys."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.request import urlopen

import numpy as np
from faithful_instantid.devtools.comfy_server import PHOTO
from faithful_instantid.devtools.frontend import Frontend
from faithful_instantid.instantid_core.head import Look
from PIL import Image
from playwright.sync_api import ConsoleMessage, Locator

Point = tuple[float, float]
Faces = list[list[list[float]]]

# The names of the looks in JavaScript, which are those of their buttons.
LOOKS = {
    "frontal": Look.FRONTAL,
    "threeQuarterLeft": Look.THREE_QUARTER_LEFT,
    "threeQuarterRight": Look.THREE_QUARTER_RIGHT,
    "profileLeft": Look.PROFILE_LEFT,
    "profileRight": Look.PROFILE_RIGHT,
    "up": Look.UP,
    "down": Look.DOWN,
}
# An empty canvas with a photo, what finds faces, and the editor: [width, height, with the finder].
PLACE = """async ([width, height, finder, photo]) => {
    await window.faithful.empty()
    const add = (type, x, y) => {
        const node = window.LiteGraph.createNode(type)
        window.app.graph.add(node)
        node.pos = [x, y]
        return node
    }
    const editor = add('IID_EditKeypoints', 420, 0)
    const set = (node, name, value) => {
        node.widgets.find((widget) => widget.name === name).value = value
    }
    set(editor, 'width', width)
    set(editor, 'height', height)
    if (finder) {
        const image = add('LoadImage', 0, 0)
        set(image, 'image', photo)
        image.connect(0, editor, editor.inputs.findIndex((input) => input.name === 'image'))
        add('IID_LoadFaceAnalyzer', 0, 420)
    }
    window.app.canvas.ds.scale = 1
    window.app.canvas.ds.offset = [100, 80]
    window.app.canvas.setDirty(true, true)
    await window.faithful.settle()
    await window.faithful.wait(0.4)
}"""
NODE = "window.app.graph.nodes.find((node) => node.type === 'IID_EditKeypoints')"
WIDGET = f"{NODE}.widgets.find((widget) => widget.name === 'edit')"


@dataclass
class Editor:
    """The editor of the one Edit Keypoints node in the page."""

    frontend: Frontend

    @property
    def root(self) -> Locator:
        return self.frontend.page.locator(".iid-editor")

    @property
    def pad(self) -> Locator:
        return self.root.locator(".iid-pad")

    @property
    def note(self) -> str:
        return self.root.get_by_role("status").inner_text()

    def control(self, name: str) -> Locator:
        return self.root.locator(f"[data-control='{name}']")

    @property
    def text(self) -> str:
        """The value of the input `edit`."""
        return self.frontend.page.evaluate(f"() => {WIDGET}.value")

    def write(self, text: str) -> None:
        self.frontend.page.evaluate(f"(text) => {{ {WIDGET}.value = text }}", text)

    @property
    def state(self) -> dict[str, Any]:
        return json.loads(self.text)

    @property
    def faces(self) -> Faces:
        return [face["points"] for face in self.state["faces"]]

    def place(self, width: int = 1024, height: int = 640, finder: bool = False) -> None:
        """Begin with an empty canvas and the editor on it."""
        self.frontend.page.evaluate(PLACE, [width, height, finder, PHOTO])
        self.size = (width, height)

    @property
    def width(self) -> float:
        """Of the picture, in pixels of the page."""
        box = self.pad.bounding_box()
        assert box is not None
        return box["width"]

    def at(self, point: Sequence[float]) -> Point:
        """Where a pixel of the node's canvas lies in the page."""
        box = self.pad.bounding_box()
        assert box is not None
        x, y = (point[axis] / self.size[axis] for axis in range(2))
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    @property
    def picture(self) -> np.ndarray:
        """What the picture shows, (height, width, 3) of the node's canvas, 0..255."""
        url = self.root.locator(".iid-stage canvas").evaluate("(canvas) => canvas.toDataURL()")
        shown = Image.open(BytesIO(b64decode(url.split(",")[1]))).convert("RGBA")
        behind = Image.new("RGBA", shown.size, "black")
        shown = Image.alpha_composite(behind, shown).convert("RGB").resize(self.size)
        return np.asarray(shown).astype(float)

    def laid(self, photo: dict[str, Any] | None = None) -> np.ndarray:
        """The input photo, half as bright, as `photo` lays it on the canvas; else it fills it."""
        with urlopen(f"{self.frontend.url}/view?filename={PHOTO}&type=input") as answer:
            image = Image.open(BytesIO(answer.read())).convert("RGB")
        canvas = np.array(self.size)
        scale = photo["scale"] if photo else (canvas / image.size).max()
        size = (np.array(image.size) * scale).round().astype(int)
        offset = np.round(photo["offset"] if photo else (canvas - size) / 2).astype(int)
        behind = Image.new("RGB", self.size)
        behind.paste(image.resize(size), tuple(offset))
        return np.asarray(behind) * 0.5

    def shows(self, picture: np.ndarray) -> bool:
        """Whether most of the picture becomes, within some seconds, what it should be."""
        for _ in range(50):
            if np.median(np.abs(self.picture - picture)) < 4:
                return True
            self.frontend.page.wait_for_timeout(100)
        return False

    def rest(self) -> None:
        """Wait until the picture has kept its place for a while."""
        kept, place = 0, None
        while kept < 5:
            self.frontend.page.wait_for_timeout(100)
            now = self.pad.bounding_box()
            kept, place = (kept + 1 if now == place else 0), now

    def drag(self, start: Sequence[float], end: Sequence[float]) -> None:
        mouse = self.frontend.page.mouse
        mouse.move(*self.at(start))
        mouse.down()
        mouse.move(*self.at([(a + b) / 2 for a, b in zip(start, end, strict=True)]))
        mouse.move(*self.at(end))
        mouse.up()

    def click(self, point: Sequence[float]) -> None:
        self.frontend.page.mouse.click(*self.at(point))

    def wheel(self, point: Sequence[float], by: float) -> None:
        self.frontend.page.mouse.move(*self.at(point))
        self.frontend.page.mouse.wheel(0, by)

    def pinch(self, starts: Sequence[Point], ends: Sequence[Point]) -> None:
        """Move two fingers, both at once, from where they start to where they end."""
        session = self.frontend.page.context.new_cdp_session(self.frontend.page)

        def touch(kind: str, points: Sequence[Point]) -> None:
            fingers = [dict(zip("xy", self.at(point), strict=True)) for point in points]
            named = [{**finger, "id": number} for number, finger in enumerate(fingers)]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": named})

        touch("touchStart", starts)
        touch("touchMove", ends)
        touch("touchEnd", [])
        session.detach()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.frontend.page.keyboard.press(key)


@contextmanager
def no_page_errors(frontend: Frontend) -> Iterator[None]:
    """Fail where the page throws, or says an error that names this pack's JavaScript."""
    found: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error" and "faithful-instantid/js" in str(message.location):
            found.append(message.text)

    def thrown(error: Any) -> None:
        found.append(str(error))

    frontend.page.on("pageerror", thrown)
    frontend.page.on("console", heard)
    try:
        yield
        assert found == []
        assert frontend.complaints() == []
    finally:
        frontend.page.remove_listener("pageerror", thrown)
        frontend.page.remove_listener("console", heard)
