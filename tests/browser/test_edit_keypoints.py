"""The editor on the node Edit Keypoints: what a person does in it, and what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from faithful_instantid.devtools.frontend import Frontend, get
from faithful_instantid.instantid_core.fitting import fit, standard_face
from faithful_instantid.instantid_core.head import Look, face_of, look, seen
from faithful_instantid.instantid_core.keypoints import Keypoints
from numpy.testing import assert_allclose
from playwright.sync_api import expect

from .conftest import ROOT, SCREENSHOTS
from .editor import LOOKS, NODE, Editor, no_page_errors

WIDTH, HEIGHT = 1024, 640
STANDARD = standard_face(WIDTH, HEIGHT).faces[0].kps.astype(float)
FOREHEAD = [512.0, 160.0]  # within the standard face's region, away from its points
NOSE = 2
PIXEL = 1.5  # canvas pixels: one pixel of the page is about 2.7 of the canvas, and halves are cut
SAVED = {
    "version": 1, "width": 1024, "height": 640, "source": None,
    "faces": [{"points": [[300, 200], [400, 210], [350, 260], [310, 320], [390, 325]]}],
}  # fmt: skip


@pytest.fixture
def editor(frontend: Frontend) -> Iterator[Editor]:
    """The editor on an empty canvas; whatever a test does, the page reports no error."""
    with no_page_errors(frontend):
        opened = Editor(frontend)
        opened.place(WIDTH, HEIGHT)
        yield opened


def points(editor: Editor, face: int = 0) -> np.ndarray:
    return np.array(editor.faces[face])


def test_points_and_faces_are_dragged_sized_and_tilted_and_every_step_goes_back(
    editor: Editor,
) -> None:
    assert editor.text == ""
    steps = [""]

    def stepped() -> np.ndarray:
        assert editor.text != steps[-1], "nothing was changed"
        steps.append(editor.text)
        return points(editor)

    nose = STANDARD[NOSE]
    editor.drag(nose, nose + [60, 30])
    dragged = stepped()
    assert_allclose(dragged[NOSE], nose + [60, 30], atol=PIXEL)
    assert_allclose(np.delete(dragged, NOSE, 0), np.delete(STANDARD, NOSE, 0), atol=0.01)
    editor.drag(FOREHEAD, [412, 220])
    moved = stepped()
    assert_allclose(moved - dragged, [[-100, 60]] * 5, atol=PIXEL)
    editor.wheel([412, 220], -100)
    sized = stepped()
    grown = np.linalg.norm(sized[1] - sized[0]) / np.linalg.norm(moved[1] - moved[0])
    assert 1.05 < grown < 1.2
    x, y, _ = middle_and_side(sized)
    above = seen(sized).box[1] - 22 * WIDTH / editor.width  # where the ring is that tilts
    reach = y - above
    editor.drag([x, above], [x + reach * 0.5, y - reach * 0.866])
    assert abs(seen(stepped()).roll - seen(sized).roll - 30) < 2
    before = points(editor)
    editor.press("ArrowLeft", "Shift+ArrowDown")
    assert_allclose(stepped() - before, [[-1, 10]] * 5, atol=0.01)
    before = points(editor)
    editor.press("2", "ArrowUp")
    change = stepped() - before
    assert_allclose(change, np.eye(5)[:, 1:2] * [0, -1], atol=0.01)
    for text in reversed(steps[:-1]):
        editor.press("Control+z")
        assert editor.text == text
    editor.press("Control+y", "Control+Shift+z")
    assert editor.text == steps[2]


def test_two_fingers_size_tilt_and_move_a_face(editor: Editor) -> None:
    x, y = 512.0, 269.0
    editor.pinch([(x - 60, y), (x + 60, y)], [(x - 100, y - 40), (x + 100, y + 120)])
    expected = np.array([512, 309]) + ((STANDARD - [x, y]) @ [[200, 160], [-160, 200]]) / 120
    assert_allclose(points(editor), expected, atol=2 * PIXEL)


def test_the_keyboard_alone_reaches_every_change(editor: Editor) -> None:
    editor.control("yaw").focus()
    editor.press("ArrowRight", "ArrowRight")
    assert_allclose(points(editor), seen(STANDARD).turned(2, 0).points, atol=0.1)
    editor.pad.focus()
    editor.press("Shift+r", "Shift++", "Delete")
    assert editor.faces == []
    for name in ("add", "add", "mirror"):
        editor.control(name).focus()
        editor.press("Enter")
    editor.pad.focus()
    editor.press("PageUp", "Shift+ArrowLeft")
    first, second = editor.faces
    assert_allclose(np.array(second) - first, [[10, 0]] * 5, atol=0.1)
    silent = editor.root.locator("button, input").evaluate_all(
        "(all) => all.filter((one) => !(one.ariaLabel && one.title && one.tabIndex === 0))"
        ".map((one) => one.outerHTML)"
    )
    assert silent == []


def test_faces_are_added_selected_ordered_and_removed(editor: Editor) -> None:
    editor.control("add").click()
    editor.drag(FOREHEAD, [212, 160])
    here, there = STANDARD, STANDARD + [-300, 0]
    assert_allclose(editor.faces, [here, there], atol=PIXEL)
    editor.click(FOREHEAD)
    pressed = editor.root.locator("[aria-pressed=true]")
    assert pressed.inner_text() == "0"
    editor.control("later").click()
    assert pressed.inner_text() == "1"
    assert_allclose(editor.faces, [there, here], atol=PIXEL)
    editor.root.get_by_role("button", name="Select face 0").click()
    editor.control("remove").focus()
    editor.press("Delete")  # on a button it removes neither the face nor the node
    editor.control("remove").click()
    assert_allclose(editor.faces, [here], atol=PIXEL)
    editor.control("remove").click()
    assert editor.faces == [] and "nobody" in editor.note
    assert editor.frontend.page.evaluate("() => window.app.graph.nodes.length") == 1


def test_a_head_turns_to_every_look_and_back(editor: Editor) -> None:
    for name, where in LOOKS.items():
        editor.control(name).click()
        if where is not Look.FRONTAL:
            assert_allclose(points(editor), look(STANDARD, where), atol=0.1)
    editor.control("frontal").click()
    assert_allclose(points(editor), STANDARD, atol=0.1)
    editor.control("mirror").click()
    editor.control("threeQuarterLeft").click()
    editor.frontend.screenshot(SCREENSHOTS / editor.frontend.renderer / "edit_keypoints.png")
    editor.control("reset").click()
    assert editor.text == ""


def test_a_small_face_is_marked_and_one_outside_is_named(editor: Editor) -> None:
    assert "282 pixels" in editor.note
    editor.control("size").fill("10")
    assert "below 112" in editor.note
    far = [[x - 2000, y] for x, y in SAVED["faces"][0]["points"]]
    editor.write(json.dumps({**SAVED, "faces": [{"points": far}]}))
    assert "outside" in editor.note


SIZE = f"""([width, height]) => {{
    for (const [name, value] of Object.entries({{ width, height }})) {{
        {NODE}.widgets.find((widget) => widget.name === name).value = value
    }}
}}"""


def test_an_edit_follows_the_size_of_the_node_as_a_photo_does(editor: Editor) -> None:
    editor.write(json.dumps(SAVED))
    editor.frontend.page.evaluate(SIZE, [512, 768])
    editor.frontend.call("wait", 0.4)
    box = editor.pad.bounding_box()
    assert box is not None and abs(box["width"] / box["height"] - 512 / 768) < 0.01
    editor.pad.focus()
    editor.press("ArrowLeft")
    frame = (face_of(SAVED["faces"][0]["points"]),)
    (fitted,) = fit(Keypoints(1024, 640, (frame,)), 512, 768).faces
    assert_allclose(points(editor), fitted.kps - [1, 0], atol=0.1)
    assert (editor.state["width"], editor.state["height"]) == (512, 768)


ZOOM = """async () => {
    window.app.canvas.ds.scale = 0.6
    window.app.canvas.setDirty(true, true)
    await window.faithful.settle()
}"""


def test_the_wheel_zooms_the_graph_until_the_picture_has_the_focus(editor: Editor) -> None:
    editor.wheel(FOREHEAD, -100)
    assert editor.text == ""
    assert editor.frontend.page.evaluate("() => window.app.canvas.ds.scale") > 1


def test_a_point_is_dragged_where_the_graph_is_zoomed_out(editor: Editor) -> None:
    editor.frontend.page.evaluate(ZOOM)
    nose = STANDARD[NOSE]
    editor.drag(nose, nose + [-90, 45])
    assert_allclose(points(editor)[NOSE], nose + [-90, 45], atol=2 * PIXEL)
    assert editor.root.locator(".iid-stage canvas").evaluate("(one) => one.width") < WIDTH / 2


BAD = {
    "no JSON": "{{{",
    "a list": "[1, 2]",
    "of another version": json.dumps({**SAVED, "version": 2}),
    "NaN": json.dumps(SAVED).replace("300", "NaN"),
    "a text for a number": json.dumps(SAVED).replace("300", '"300"'),
    "far off": json.dumps(SAVED).replace("300", "1e300"),
    "four points": json.dumps(SAVED).replace("[300, 200], ", ""),
    "no faces": json.dumps({**SAVED, "faces": None}),
    "null": "null",
    "10,000 faces": json.dumps({**SAVED, "faces": SAVED["faces"] * 10_000}),
}


def test_an_edit_that_cannot_be_read_is_kept_named_and_reset(editor: Editor) -> None:
    for name, text in BAD.items():
        editor.write(text)
        assert "Reset begins anew." in editor.note, name
        editor.click(FOREHEAD)
        editor.control("add").click(force=True)
        editor.pad.press("ArrowLeft")
        assert editor.text == text, name
        editor.control("reset").click()
        assert editor.text == "" and "282 pixels" in editor.note, name
    editor.write(json.dumps({**SAVED, "later": True}))
    assert "Face 0" in editor.note


def widget_values(workflow: dict[str, Any]) -> list[str]:
    return [node["widgets_values"][2] for node in workflow["nodes"]]


COPY = f"""async () => {{
    window.app.canvas.selectNode({NODE})
    window.app.canvas.copyToClipboard()
    window.app.canvas.pasteFromClipboard()
    await window.faithful.settle()
}}"""
UNDO = """async () => {
    await window.app.extensionManager.workflow.activeWorkflow.changeTracker.undo()
    await window.faithful.settle()
}"""


def test_an_edit_survives_saving_opening_copying_and_comfyuis_own_undo(editor: Editor) -> None:
    frontend = editor.frontend
    text = json.dumps(SAVED)
    editor.write(text)
    forms = frontend.call("forms")
    assert widget_values(forms["workflow"]) == [text]
    assert [node["inputs"]["edit"] for node in forms["api"].values()] == [text]
    frontend.page.evaluate(COPY)
    assert widget_values(frontend.call("forms")["workflow"]) == [text, text]
    frontend.load(forms["workflow"], "edited")
    assert editor.text == text
    editor.drag([350, 150], [450, 250])
    edited = editor.text
    assert_allclose(points(editor)[0], [400, 300], atol=PIXEL)
    frontend.page.evaluate(UNDO)
    assert editor.text == text
    frontend.page.evaluate(UNDO.replace("undo()", "redo()"))
    assert editor.text == edited


# Link keypoints and hand over what came in with them before the editor can have looked.
COME_IN = f"""(given) => {{
    const finder = window.LiteGraph.createNode('IID_FaceKeypoints')
    window.app.graph.add(finder)
    const input = {NODE}.inputs.findIndex((input) => input.name === 'keypoints')
    finder.connect(0, {NODE}, input)
    {NODE}.onExecuted({{ edit_keypoints: [given] }})
}}"""
CUT = f"""() => {{
    {NODE}.disconnectInput({NODE}.inputs.findIndex((input) => input.name === 'keypoints'))
}}"""


def test_what_comes_in_stays_with_its_link(editor: Editor) -> None:
    (face,) = SAVED["faces"]
    given = {"width": 1024, "height": 640, "source": "1a2b3c4d", "photo": None}
    editor.frontend.page.evaluate(COME_IN, {**given, "faces": [face["points"]], "backdrop": None})
    editor.frontend.call("wait", 0.4)
    editor.pad.focus()
    editor.press("ArrowLeft")
    assert_allclose(points(editor), np.array(face["points"]) - [1, 0], atol=0.01)
    assert editor.state["source"] == "1a2b3c4d"
    editor.control("reset").click()
    editor.frontend.page.evaluate(CUT)
    editor.frontend.call("wait", 0.4)
    assert "282 pixels" in editor.note  # a standard face again


def run_alone(editor: Editor, press: str) -> dict[str, Any]:
    """Press a button that queues the node; return the outputs of that run by node type."""
    before = set(get(f"{editor.frontend.url}/history"))
    editor.control(press).click()
    for _ in range(300):
        fresh = [v for k, v in get(f"{editor.frontend.url}/history").items() if k not in before]
        if fresh:
            expect(editor.root.get_by_role("status")).not_to_have_text("Looking for faces.")
            editor.rest()  # what is shown below makes room for itself
            assert fresh[0]["status"]["status_str"] == "success"
            prompt = fresh[0]["prompt"][2]
            return {prompt[node]["class_type"]: out for node, out in fresh[0]["outputs"].items()}
        editor.frontend.page.wait_for_timeout(100)
    raise AssertionError(f"nothing ran: {editor.note} {editor.frontend.complaints()}")


def middle_and_side(face: np.ndarray) -> list[float]:
    left, top, right, bottom = seen(face).box.tolist()
    return [(left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top)]


PICK_ALL = """() => {
    const node = window.app.graph.nodes.find((node) => node.type === 'IID_FaceKeypoints')
    node.widgets.find((widget) => widget.name === 'pick').value = 'all'
}"""


PREVIEW = """() => {
    const save = window.LiteGraph.createNode('PreviewImage')
    window.app.graph.add(save)
    window.app.graph.nodes.find((node) => node.type === 'LoadImage').connect(0, save, 0)
}"""
INVERT = f"""() => {{
    const invert = window.LiteGraph.createNode('ImageInvert')
    window.app.graph.add(invert)
    window.app.graph.nodes.find((node) => node.type === 'LoadImage').connect(0, invert, 0)
    const input = {NODE}.inputs.findIndex((input) => input.name === 'image')
    invert.connect(0, {NODE}, input)
}}"""


def test_faces_are_found_edited_run_and_taken_anew(editor: Editor) -> None:
    frontend = editor.frontend
    editor.control("find").click()
    assert "Load Image" in editor.note and "Load Face Analyzer" in editor.note
    editor.place(WIDTH, HEIGHT, finder=True)
    frontend.page.evaluate(PREVIEW)
    assert editor.shows(editor.laid())  # without a run
    outputs = run_alone(editor, "find")
    assert "IID_EditKeypoints" in outputs and "PreviewImage" not in outputs
    (given,) = outputs["IID_EditKeypoints"]["edit_keypoints"]
    assert len(given["faces"]) == 1 and editor.text == ""
    assert editor.shows(editor.laid(given["photo"]))
    face = np.array(given["faces"][0])
    editor.drag(face[NOSE], face[NOSE] + [20, 20])
    assert_allclose(points(editor)[NOSE], face[NOSE] + [20, 20], atol=PIXEL)
    assert editor.state["source"] == given["source"]
    editor.control("size").fill("20")
    editor.control("fit").click()
    assert_allclose(middle_and_side(points(editor)), middle_and_side(face), atol=0.1)
    edit = editor.text
    frontend.page.evaluate(PICK_ALL)
    frontend.page.evaluate(INVERT)
    outputs = run_alone(editor, "find")
    (newer,) = outputs["IID_EditKeypoints"]["edit_keypoints"]
    assert len(newer["faces"]) == 2 and editor.text == edit and "Other faces" in editor.note
    assert editor.shows(127.5 - editor.laid(newer["photo"]))  # that of the run
    frontend.call("fit")
    frontend.screenshot(SCREENSHOTS / frontend.renderer / "edit_keypoints_found.png")
    editor.control("take").click()
    assert_allclose(editor.faces, newer["faces"], atol=0.01)
    assert editor.state["source"] == newer["source"] and not editor.control("take").is_visible()


SAID = "(all) => all.map((one) => [one.dataset.control, one.ariaLabel, one.title])"
# Change the language of the interface; the frontend then opens the workflow anew.
SPEAK = f"""async (locale) => {{
    {NODE}.isOld = true
    window.app.canvas.emitBeforeChange()
    window.app.canvas.emitAfterChange()
    await window.app.extensionManager.setting.set('Comfy.Locale', locale)
}}"""
ANEW = f"() => {NODE} && !{NODE}.isOld"


def test_the_words_are_those_of_the_interface(editor: Editor) -> None:
    page = editor.frontend.page
    try:
        for language in ("ja", "en"):
            page.evaluate(SPEAK, language)
            page.wait_for_function(ANEW)
            editor.frontend.call("wait", 0.4)
            path = ROOT / "locales" / language / "main.json"
            words = json.loads(path.read_text(encoding="utf-8"))["instantidEditor"]
            assert editor.pad.get_attribute("aria-label") == words["picture"]
            names = editor.root.locator("[data-control]").evaluate_all(SAID)
            assert len(names) == 22
            for name, label, tooltip in names:
                assert (label, tooltip) == (words[name], words[f"{name}Tip"])
    finally:
        page.evaluate(SPEAK, "en")
