"""A newcomer finds nodes, examples and help inside ComfyUI."""

from __future__ import annotations

from typing import Any

import pytest
from faithful_instantid.devtools.frontend import Frontend, get

from .conftest import ROOT, SCREENSHOTS

EXAMPLES = sorted(path.stem for path in (ROOT / "example_workflows").glob("*.json"))
THUMBNAIL = 640  # pixels: the width of our cards; the frontend's own placeholder is smaller
WANTED = {
    "face embed": "IID_EncodeFace",
    "antelopev2": "IID_LoadFaceAnalyzer",
    "insightface": "IID_LoadFaceAnalyzer",
    "instantid": "IID_Apply",
    "ip-adapter": "IID_LoadAdapter",
    "landmarks": "IID_FaceKeypoints",
    "two people": "IID_Person",
    "face mask": "IID_FaceRegionMask",
    "block weight": "IID_LayerWeights",
    "face swap": "IID_CropFace",
    "uncrop": "IID_PasteFace",
    "face similarity": "IID_Likeness",
    "pick best": "IID_KeepMostAlike",
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


def test_a_template_opens_with_a_click(frontend: Frontend) -> None:
    page = frontend.page
    frontend.call("empty")
    frontend.call("command", "Comfy.BrowseTemplates")
    page.get_by_test_id("template-workflow-instantid_basic").click()
    page.wait_for_function("() => app.graph.nodes.some((node) => node.type === 'IID_Apply')")
    assert frontend.complaints() == []


@pytest.mark.parametrize(("words", "wanted"), WANTED.items())
def test_a_node_is_found_by_what_people_call_it(
    frontend: Frontend, words: str, wanted: str
) -> None:
    found = frontend.call("search", words)[:12]
    assert wanted in found, f"{words!r} finds {found}"


def test_every_node_opens_its_help_page_with_a_picture(
    frontend: Frontend, nodes: dict[str, Any]
) -> None:
    for name, info in nodes.items():
        text, images = frontend.help_page(name)
        assert info["display_name"] in text, name
        assert images, f"the help page of {name} has no picture"
        assert all(width > 0 for width in images), f"a picture of {name} does not load"


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
