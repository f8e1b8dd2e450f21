"""Write the cases by which the editor's JavaScript is held to the core.

    <environment's python> devtools/edit_cases.py

tests/golden/edit_keypoints.json: 200 of them, the same at every run. What stands for a face is
five points of x and y:

    turn   points, yaw, pitch -> turned: the points turned by degrees; pose: yaw, pitch, roll, size
           and place of the points before
    look   points, where -> turned: the points that look there
    box    points -> box: left, top, right, bottom of a face whose points were put by hand
    fit    faces, from, to: [width, height] -> fitted: the points of an edit on another canvas
    draw   points, canvas: [width, height] -> dots: their centres; radius; half_width; sticks:
           centre, half length and angle of each, in the order of LIMBS
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
CASES = ROOT / "tests" / "golden" / "edit_keypoints.json"
COUNTS = {"turn": 70, "look": 21, "box": 30, "fit": 29, "draw": 50}
CANVASES = [(1024, 1024), (832, 1216), (1216, 832), (512, 640), (2048, 1536), (3000, 2000)]
ODD = (
    [[100, 100]] * 5,  # one point
    [[0, 0], [100, 50], [200, 100], [300, 150], [400, 200]],  # one line
    [[600, 404], [400, 390], [500, 500], [580, 600], [420, 600]],  # eyes exchanged
    [[400, 604], [600, 590], [500, 500], [420, 400], [580, 400]],  # upside down
)

Values = Any  # of JSON


def made_faces(head: Any, count: int, seed: int) -> list[list[list[float]]]:
    """Faces of every pose and size, each with a shape of its own; some are hardly faces."""
    random = np.random.default_rng(seed)
    faces: list[Any] = list(ODD)
    while len(faces) < count:
        yaw, pitch, roll = random.uniform(-75, 75), random.uniform(-50, 50), random.normal(0, 20)
        size, place = random.uniform(15, 300), random.uniform(100, 900, 2)
        seen = head.SeenHead(yaw, pitch, roll, np.eye(2) * size, place, head.NOTHING)
        own = random.normal(0, 0.08 * size, (5, 2))
        faces.append((seen.points + own).round(2).tolist())
    return faces[:count]


def listed(values: Any) -> Values:
    return np.asarray(values, float).round(4).tolist()


def turn_cases(core: Any) -> list[Values]:
    random = np.random.default_rng(2)
    found: list[Values] = []
    for points in made_faces(core.head, COUNTS["turn"], 1):
        yaw, pitch = random.uniform(-60, 60, 2).round(1).tolist()
        seen = core.head.seen(points)
        pose = seen.pose
        angles = [pose.yaw, pose.pitch, pose.roll, pose.size, *pose.place]
        found.append(
            {"points": points, "yaw": yaw, "pitch": pitch, "pose": listed(angles),
             "turned": listed(seen.turned(yaw, pitch).points)}
        )  # fmt: skip
    return found


def look_cases(core: Any) -> list[Values]:
    looks = list(core.head.Look) * (COUNTS["look"] // len(core.head.Look))
    return [
        {"points": points, "where": where.value, "turned": listed(core.head.look(points, where))}
        for points, where in zip(made_faces(core.head, len(looks), 3), looks, strict=True)
    ]


def box_cases(core: Any) -> list[Values]:
    faces = made_faces(core.head, COUNTS["box"], 4)
    return [{"points": one, "box": listed(core.head.face_of(one).box)} for one in faces]


def fit_cases(core: Any) -> list[Values]:
    random = np.random.default_rng(5)
    found: list[Values] = []
    for number in range(COUNTS["fit"]):
        before, after = (CANVASES[i] for i in random.integers(0, len(CANVASES), 2))
        faces = made_faces(core.head, 8, 6 + number)[len(ODD) :][: number % 4]
        frame = tuple(core.head.face_of(points) for points in faces)
        source = core.keypoints.Keypoints(*before, (frame,))
        fitted = core.fitting.fit(source, *after).frames[0]
        found.append(
            {"faces": faces, "from": before, "to": after,
             "fitted": [listed(face.kps) for face in fitted]}
        )  # fmt: skip
    return found


def draw_cases(core: Any) -> list[Values]:
    drawing = core.keypoints
    found: list[Values] = []
    for number, points in enumerate(made_faces(core.head, COUNTS["draw"], 7)):
        canvas = CANVASES[number % len(CANVASES)]
        scale, kps = drawing.drawing_scale(*canvas), np.array(points, np.float32)
        found.append(
            {"points": points, "canvas": canvas, "dots": kps.astype(int).tolist(),
             "radius": drawing.dot_radius(scale), "half_width": drawing.stick_half_width(scale),
             "sticks": [drawing.stick(kps[i], kps[drawing.NOSE]) for i in drawing.LIMBS]}
        )  # fmt: skip
    return found


def cases(core: Any) -> dict[str, list[Values]]:
    """Return the cases by kind. core: the package instantid_core, with its modules."""
    made = (turn_cases, look_cases, box_cases, fit_cases, draw_cases)
    found = {kind: make(core) for kind, make in zip(COUNTS, made, strict=True)}
    return json.loads(json.dumps(found))


def text_of(found: dict[str, list[Values]]) -> str:
    """One line for each case, so that a difference reads well."""
    kinds: list[str] = []
    for kind, ones in found.items():
        lines = ",\n".join(f"    {json.dumps(one)}" for one in ones)
        kinds.append(f"  {json.dumps(kind)}: [\n{lines}\n  ]")
    return "{\n" + ",\n".join(kinds) + "\n}\n"


def load_core() -> Any:
    """Return the core's package with the modules that the cases are of."""
    maker = importlib.import_module("make_standins")
    maker.checkout()
    for name in ("fitting", "head", "keypoints"):
        importlib.import_module(f"{maker.PACKAGE}.instantid_core.{name}")
    return importlib.import_module(f"{maker.PACKAGE}.instantid_core")


def main() -> int:
    CASES.write_text(text_of(cases(load_core())), encoding="utf-8", newline="\n")
    print(f"{sum(COUNTS.values())} cases in {CASES.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
