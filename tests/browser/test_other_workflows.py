"""The blueprint becomes one node that runs, and a workflow of the old pack runs unchanged."""

from __future__ import annotations

import json

from faithful_instantid.devtools.frontend import Frontend

from .conftest import ROOT, SCREENSHOTS
from .old_workflow import old_workflow

BLUEPRINT = "Portrait from one photo"
QUICK = {"steps": 1, "width": 256, "height": 256}  # only to be quick: all else is as it comes


def test_a_workflow_of_the_old_pack_opens_and_runs_unchanged(frontend: Frontend) -> None:
    frontend.load(old_workflow(), "old")
    frontend.call("fit")
    frontend.screenshot(SCREENSHOTS / frontend.renderer / "old_workflow.png")
    assert frontend.complaints() == []
    api = frontend.api_form()
    widgets = {"weight": 0.8, "start_at": 0, "end_at": 1}
    assert {name: api["60"]["inputs"][name] for name in widgets} == widgets
    entry = frontend.run()
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1][1][
        "exception_message"
    ]
    assert entry["outputs"]["9"]["images"]


def test_the_blueprint_is_offered_in_the_node_library(frontend: Frontend) -> None:
    offered = frontend.call("blueprints")
    assert BLUEPRINT in offered


def test_the_blueprint_is_one_node_that_runs(frontend: Frontend) -> None:
    path = ROOT / "subgraphs" / f"{BLUEPRINT}.json"
    frontend.call("useBlueprint", json.loads(path.read_text(encoding="utf-8")), "example.png")
    frontend.call("fit")
    frontend.screenshot(SCREENSHOTS / frontend.renderer / "blueprint.png")
    assert frontend.complaints() == []
    frontend.call("setWidgets", {"prompt": "a sailor with a red cap", **QUICK})
    api = frontend.api_form()
    (apply,) = (node["inputs"] for node in api.values() if node["class_type"] == "IID_Apply")
    assert (apply["weight"], apply["strength"], apply["face_region"]) == (0.8, 0.8, True)
    texts = [node["inputs"]["text"] for node in api.values() if "text" in node["inputs"]]
    assert "a sailor with a red cap" in texts
    entry = frontend.run()
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"][-1][1][
        "exception_message"
    ]
    assert any("images" in output for output in entry["outputs"].values())
    assert frontend.complaints() == []
