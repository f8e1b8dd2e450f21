"""A newcomer finds nodes, examples and help inside ComfyUI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from faithful_instantid.devtools.example_files import workflow, workflows
from faithful_instantid.devtools.frontend import Frontend, get

from .conftest import ROOT, SCREENSHOTS

EXAMPLES = [path.stem for path in workflows()]
THUMBNAIL = 640  # pixels: the width of our cards; the frontend's own placeholder is smaller
SHOWN = 20  # results: what a person looks through
# What people type, in four languages, and the node that serves it.
WANTED: dict[str, str] = json.loads(
    Path(__file__).with_name("words.json").read_text(encoding="utf-8")
)
# What people look for among the templates, and the one that does it.
TEMPLATES = {
    "portrait": "instantid_basic",
    "face swap": "instantid_swap_face",
    "swap": "instantid_swap_face",
    "older": "instantid_two_scales",
    "small faces": "instantid_small_faces",
    "group photo": "instantid_group_photo",
    "style": "instantid_style_ipadapter",
    "pose": "instantid_pose_photo",
    "two people": "instantid_two_people",
    "likeness": "instantid_several_references",
    "most alike": "instantid_most_alike",
    "phone": "instantid_app",
    "app": "instantid_app",
    "lightning": "instantid_lightning",
    "depth": "instantid_depth",
    "head that turns": "instantid_turning_head",
}


@pytest.fixture(scope="module")
def nodes(frontend: Frontend) -> dict[str, Any]:
    """Every node of this pack as `/object_info` declares it."""
    found = get(f"{frontend.url}/object_info")
    module = found["IID_Apply"]["python_module"]
    return {name: info for name, info in found.items() if info["python_module"] == module}


def test_templates_appear_in_the_template_browser_with_their_thumbnails(
    frontend: Frontend,
) -> None:
    page = frontend.page
    frontend.call("command", "Comfy.BrowseTemplates")
    for name in EXAMPLES:
        card = page.get_by_test_id(f"template-workflow-{name}")
        card.scroll_into_view_if_needed()
        image = card.locator("img").first
        image.wait_for()
        image.evaluate("(img) => img.decode()")
        assert image.evaluate("(img) => img.naturalWidth") == THUMBNAIL, name
    frontend.screenshot(SCREENSHOTS / frontend.renderer / "templates.png")
    frontend.call("closeDialogs")


def test_a_template_is_found_by_what_it_is_for(frontend: Frontend) -> None:
    page = frontend.page
    frontend.call("command", "Comfy.BrowseTemplates")
    page.get_by_test_id(f"template-workflow-{EXAMPLES[0]}").wait_for()
    field = page.get_by_role("dialog").locator("input").first
    for words, name in TEMPLATES.items():
        field.fill(words)
        page.get_by_test_id(f"template-workflow-{workflow(name).stem}").wait_for(timeout=10_000)
    field.fill("")
    frontend.call("closeDialogs")


def test_a_template_opens_with_a_click(frontend: Frontend) -> None:
    page = frontend.page
    frontend.call("empty")
    frontend.call("command", "Comfy.BrowseTemplates")
    page.get_by_test_id(f"template-workflow-{workflow('instantid_basic').stem}").click()
    page.wait_for_function("() => app.graph.nodes.some((node) => node.type === 'IID_Apply')")
    assert frontend.complaints() == []


@pytest.mark.parametrize(("words", "wanted"), WANTED.items())
def test_a_node_is_found_by_what_people_call_it(
    frontend: Frontend, words: str, wanted: str
) -> None:
    found = frontend.call("search", words)[:SHOWN]
    assert wanted in found, f"{words!r} finds {found}"


def test_a_node_opens_its_help_page_with_a_picture(frontend: Frontend) -> None:
    text, images = frontend.help_page("IID_Apply")
    assert "Apply InstantID" in text and "Good values" in text
    assert len(images) == 1 and images[0] > 300


def test_every_input_and_output_of_a_node_is_explained(nodes: dict[str, Any]) -> None:
    silent: list[str] = []
    for name, info in nodes.items():
        page = (ROOT / "web" / "docs" / f"{name}.md").read_text(encoding="utf-8")
        assert info["description"], f"{name} has no description"
        for kind in ("required", "optional"):
            for key, spec in info["input"].get(kind, {}).items():
                if len(spec) < 2 or not spec[1].get("tooltip"):
                    silent.append(f"{name}.{key} has no tooltip")
                if f"`{key}`" not in page:
                    silent.append(f"{name}.{key} is not on the help page")
    assert silent == []


def test_a_link_with_a_short_name_opens_the_template(page: Frontend) -> None:
    link = "?template=instantid_two_people&source=faithful-instantid"
    browser = page.page.context.browser
    assert browser is not None
    own = browser.new_page()
    try:
        own.goto(f"{page.url}/{link}", wait_until="domcontentloaded")
        own.wait_for_function(
            "() => window.app?.graph?.nodes.some((node) => node.type === 'IID_PersonFromPhotos')"
        )
    finally:
        own.close()
