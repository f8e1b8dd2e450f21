"""Every example workflow opens, converts and runs in the real frontend, in both renderers."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from faithful_instantid.devtools.example_files import api_form, name_of, read, workflow, workflows
from faithful_instantid.devtools.frontend import Frontend

from .conftest import SCREENSHOTS

EXAMPLES = workflows()
QUICK = {"steps": 1, "width": 256, "height": 256, "long_side": 256, "batch_size": 2, "frames": 2}
ANEW = {"classic": 0.15, "vue": 0.35}  # so that faces are found anew and shown, not cached
NAMED = "widgets_values_named"  # a second form of the values, of newer frontends
LONG = os.environ.get("INSTANTID_TESTS_LONG") == "1"
SHOW_FACES = {"IID_EncodeFace", "IID_FaceKeypoints", "IID_PersonFromPhotos"}  # with their numbers


def overlapping(boxes: list[dict[str, Any]]) -> list[str]:
    """Return the pairs of nodes that cover a common area of more than rounding."""
    pairs: list[str] = []
    for index, a in enumerate(boxes):
        for b in boxes[index + 1 :]:
            across = min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"])
            down = min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"])
            if across > 1 and down > 1:
                pairs.append(f"{a['title']} ({a['id']}) and {b['title']} ({b['id']})")
    return pairs


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_opens_without_a_complaint_converts_to_its_api_form_and_runs(
    frontend: Frontend, path: Path
) -> None:
    frontend.load(read(path), path.stem)
    frontend.call("fit")
    frontend.screenshot(SCREENSHOTS / frontend.renderer / f"{path.stem}.png")
    assert frontend.complaints() == []
    assert overlapping(frontend.call("boxes")) == []
    assert frontend.call("outOfGroups") == []
    api = frontend.api_form()
    assert api == read(api_form(name_of(path)))
    place = EXAMPLES.index(path)
    if not LONG and place % 2 != list(ANEW).index(frontend.renderer):
        return  # it runs in the other renderer, but for the long form
    value = ANEW[frontend.renderer] + place / 100
    anew = dict.fromkeys(("threshold", "padding"), value)
    frontend.call("setWidgets", {**QUICK, **anew})
    entry = frontend.run()
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1][1][
        "exception_message"
    ]
    shown = {
        api[key]["class_type"] for key, output in entry["outputs"].items() if "images" in output
    }
    assert shown & {"SaveImage", "SaveVideo"}
    assert shown & SHOW_FACES, f"no node shows a face that it found: {shown}"
    assert frontend.complaints() == []
    frontend.call("wait", 0.5)  # until pictures are drawn
    frontend.screenshot(SCREENSHOTS / frontend.renderer / f"{path.stem}_run.png")
    assert overlapping(frontend.call("boxes")) == []  # with the texts and pictures it shows
    assert frontend.call("outOfGroups") == []


@pytest.mark.parametrize("frontend", ["classic"], indirect=True)  # which refresh.py uses
def test_an_example_from_before_an_input_was_added_comes_back_whole_and_in_order(
    frontend: Frontend, script_module: Callable[[str], ModuleType]
) -> None:
    tool = script_module("make_examples")
    wanted = read(workflow("instantid_basic"))
    old = copy.deepcopy(wanted)
    old["extra"] = {"ds": {"scale": 0.5, "offset": [7, 9]}}  # the view of whoever saved it
    nodes = {node["type"]: node for node in old["nodes"]}
    apply, loader, note = nodes["IID_Apply"], nodes["IID_LoadInstantID"], old["nodes"][0]
    apply["widgets_values"].pop()
    apply["size"][1] -= 50
    apply["pos"] = [apply["pos"][0] + 9, apply["pos"][1] + 30]
    del loader["properties"]["models"]
    note["widgets_values"][0] = note["widgets_values"][0][:80]
    made, api = tool.refreshed(frontend, old, tool.downloads(map(read, EXAMPLES)))
    heights = {key: [n["size"][1] for n in w["nodes"]] for key, w in (("old", old), ("made", made))}
    place = old["nodes"].index(apply)
    assert heights["made"][place] >= heights["old"][place]
    assert api == read(api_form("instantid_basic"))
    for form in (made, wanted):  # but for heights and what they move, all is as it was
        for one in (*form["nodes"], *form["groups"]):
            for key in ("size", "pos", "bounding", NAMED):
                one.pop(key, None)
            if not one.get("widgets_values"):  # newer frontends leave it out where it is empty
                one.pop("widgets_values", None)
    assert made == wanted
    assert overlapping(frontend.call("boxes")) == []
    assert frontend.call("outOfGroups") == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_reads_left_to_right_and_says_what_it_does(path: Path) -> None:
    workflow = read(path)
    nodes = {node["id"]: node for node in workflow["nodes"]}
    assert any(node["type"] == "MarkdownNote" for node in nodes.values())
    backwards = [
        (nodes[origin]["type"], nodes[target]["type"])
        for _, origin, _, target, _, _ in workflow["links"]
        if nodes[origin]["pos"][0] > nodes[target]["pos"][0]
    ]
    assert backwards == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_names_the_model_files_that_the_frontend_can_fetch(path: Path) -> None:
    for node in read(path)["nodes"]:
        named = {model["name"]: model["url"] for model in node["properties"].get("models", [])}
        for value in node.get("widgets_values", []):
            if isinstance(value, str) and value.endswith(".safetensors"):
                assert named[value].startswith("https://huggingface.co/")


def test_every_example_has_its_api_form_and_its_thumbnail() -> None:
    assert len(EXAMPLES) >= 12
    for path in EXAMPLES:
        assert path.with_suffix(".jpg").is_file(), f"{path.stem} has no thumbnail"
        assert api_form(name_of(path)).is_file(), f"{path.stem} has no API form"
    names = {f"{name_of(path)}.json" for path in EXAMPLES}
    assert {path.name for path in api_form("").parent.glob("*.json")} == names
