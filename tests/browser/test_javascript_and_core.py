"""What the editor's JavaScript repeats of the core comes to the same, and it stays small."""

from __future__ import annotations

import json
from base64 import b64decode
from io import BytesIO
from typing import Any

import numpy as np
from faithful_instantid.devtools.frontend import Frontend
from faithful_instantid.instantid_core.fitting import standard_face
from faithful_instantid.instantid_core.head import seen
from faithful_instantid.instantid_core.keypoints import draw_keypoints
from numpy.testing import assert_allclose
from PIL import Image

from .conftest import ROOT
from .editor import LOOKS

WIDTH, HEIGHT = 1024, 640
STANDARD = standard_face(WIDTH, HEIGHT).faces[0].kps.astype(float)
LIMIT = 40_000  # bytes of all JavaScript

SHARED: dict[str, list[Any]] = json.loads(
    (ROOT / "tests" / "golden" / "edit_keypoints.json").read_text(encoding="utf-8")
)
# What the JavaScript makes of the shared cases, kind by kind, in the shape of what is expected.
EVALUATE = """async (cases) => {
    const load = (name) => import(`/extensions/faithful-instantid/js/${name}.js`)
    const [head, faces, drawing] = await Promise.all(['head', 'faces', 'drawing'].map(load))
    const pose = ({ yaw, pitch, roll }) => [yaw, pitch, roll]
    const size = ([width, height]) => ({ width, height })
    const drawn = ({ points, canvas }) => {
        const sticks = [0, 1, 3, 4].map((index) => drawing.stick(points[index], points[2]))
        return [points.map(drawing.dot), drawing.thickness(...canvas), sticks].flat(3)
    }
    return {
        pose: cases.turn.map(({ points }) => pose(head.seen(points))),
        turn: cases.turn.map(({ points, to }) => head.looking(points, ...to)),
        look: cases.look.map(({ points, to }) => head.looking(points, ...head.LOOKS[to])),
        box: cases.box.map(({ points }) => head.faceBox(points)),
        fit: cases.fit.map(({ faces: all, from, to }) => faces.fitted(all, size(from), size(to))),
        draw: cases.draw.map(drawn)
    }
}"""


def expected_drawing(case: dict[str, Any]) -> list[float]:
    sticks = [[*centre, length, angle] for centre, length, angle in case["sticks"]]
    rows = [*case["dots"], [case["radius"], case["half_width"]], *sticks]
    return [value for row in rows for value in row]


def test_the_javascript_turns_and_draws_as_the_core_does(frontend: Frontend) -> None:
    named = {where.value: name for name, where in LOOKS.items()}
    turned = [seen(case["points"]).turned(case["yaw"], case["pitch"]) for case in SHARED["turn"]]
    cases = {
        **SHARED,
        "turn": [
            {**case, "to": [head.yaw, head.pitch]}
            for case, head in zip(SHARED["turn"], turned, strict=True)
        ],
        "look": [{**case, "to": named[case["where"]]} for case in SHARED["look"]],
    }
    found = frontend.page.evaluate(EVALUATE, cases)
    for one, case in zip(found["pose"], SHARED["turn"], strict=True):
        away = (np.array(one) - case["pose"][:3] + 180) % 360 - 180
        assert_allclose(away, 0, atol=0.01)
    for kind, key in {"turn": "turned", "look": "turned", "box": "box", "fit": "fitted"}.items():
        for one, case in zip(found[kind], SHARED[kind], strict=True):
            assert_allclose(np.array(one), np.array(case[key]), atol=0.1, err_msg=kind)
    for one, case in zip(found["draw"], SHARED["draw"], strict=True):
        assert_allclose(one, expected_drawing(case), atol=1)
    assert sum(map(len, SHARED.values())) == 200


DRAW = """async ([faces, width, height]) => {
    const drawing = await import('/extensions/faithful-instantid/js/drawing.js')
    const canvas = Object.assign(document.createElement('canvas'), { width, height })
    const context = canvas.getContext('2d')
    context.fillRect(0, 0, width, height)
    drawing.drawFaces(context, faces, width, height)
    return canvas.toDataURL()
}"""


def test_the_drawing_in_the_page_is_the_official_one(frontend: Frontend) -> None:
    small = (STANDARD - STANDARD.mean(0)) * 0.5 + STANDARD.mean(0) + [20, 10]  # under the other
    url = frontend.page.evaluate(DRAW, [[STANDARD.tolist(), small.tolist()], WIDTH, HEIGHT])
    picture = Image.open(BytesIO(b64decode(url.split(",")[1]))).convert("RGB")
    found = np.asarray(picture).astype(float)
    wanted = draw_keypoints(np.stack([small, STANDARD]), WIDTH, HEIGHT).astype(float)
    off = np.abs(found - wanted).max(axis=2) > 80
    assert off.sum() < 0.1 * (wanted.max(axis=2) > 0).sum()  # edges, which the page smoothes


def test_all_javascript_is_small_and_comes_from_the_pack() -> None:
    scripts = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "web").rglob("*.js")}
    sizes = {name: len(text.encode()) for name, text in scripts.items()}
    assert sizes.pop("node_text.js") < 2_000
    assert sum(sizes.values()) < LIMIT  # the editor's
    assert not any("http://" in text or "https://" in text for text in scripts.values())
