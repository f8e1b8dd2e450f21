"""What a person finds and reads does not depend on the language of the interface."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faithful_instantid.devtools.frontend import HELP, Frontend
from playwright.sync_api import FloatRect

from .conftest import ROOT, SCREENSHOTS

LANGUAGES = ("en", "fr", "ja", "zh")
WORDS: dict[str, str] = json.loads(
    Path(__file__).with_name("words.json").read_text(encoding="utf-8")
)
# What of an open help page reaches over the panel's width, and would have to be scrolled to.
TOO_WIDE = """() => {
    const page = document.querySelector('.node-help-content')
    const right = page.getBoundingClientRect().right + 1
    const parts = [...page.querySelectorAll('*')]
    return parts.filter((part) => part.getBoundingClientRect().right > right)
        .map((part) => part.outerHTML.slice(0, 80))
}"""
CATEGORIES = """(name) => app.extensionManager && document.querySelector('#vue-app').__vue_app__
    .config.globalProperties.$pinia._s.get('nodeDef').nodeDefsByName[name].category"""


def seen_of(frontend: Frontend, selector: str) -> FloatRect:
    """Return the part of an element that is on the screen."""
    box, screen = frontend.page.locator(selector).bounding_box(), frontend.page.viewport_size
    assert box is not None and screen is not None
    width = min(box["width"], screen["width"] - box["x"])
    height = min(box["height"], screen["height"] - box["y"])
    return {"x": box["x"], "y": box["y"], "width": width, "height": height}


@pytest.fixture(scope="module")
def speaking(page: Frontend) -> Iterator[Callable[[str], Frontend]]:
    """Give the page in a language; afterwards it is as it was."""

    def switch(language: str) -> Frontend:
        page.set(page.renderer, language)
        return page

    yield switch
    page.set(page.renderer)


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_of_every_language_are_found_and_instantid_lists_loading_and_applying_first(
    speaking: Callable[[str], Frontend], language: str
) -> None:
    frontend = speaking(language)
    first = frontend.call("search", "instantid")[:2]
    assert set(first) == {"IID_LoadInstantID", "IID_Apply"}
    for words, wanted in WORDS.items():
        found = frontend.call("search", words)[:20]
        assert wanted in found, f"{words!r} finds {found}"
    menus = json.loads((ROOT / "locales" / language / "main.json").read_text(encoding="utf-8"))
    people = frontend.page.evaluate(CATEGORIES, "IID_Person")
    assert people == f"InstantID/{menus['nodeCategories']['people']}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_opens_its_help_page_in_the_language_and_it_fits_the_panel(
    speaking: Callable[[str], Frontend], language: str
) -> None:
    frontend = speaking(language)
    path = ROOT / "locales" / language / "nodeDefs.json"
    wrong: list[str] = []
    for name, texts in json.loads(path.read_text(encoding="utf-8")).items():
        text, pictures = frontend.help_page(name)
        if not text.startswith(texts["display_name"]):
            wrong.append(f"{name} begins with {text[:40]!r}")
        if not all(width > 0 for width in pictures):
            wrong.append(f"a picture of {name} does not load")
        for entry in texts["inputs"].values():
            for words in (entry["name"], entry.get("tooltip", "").replace("`", "")):
                if words not in text:
                    wrong.append(f"{name} lacks {words!r}")
        wrong += [f"{name}: {part}" for part in frontend.page.evaluate(TOO_WIDE)]
        place = SCREENSHOTS / f"help_{language}" / f"{name}.png"
        frontend.screenshot(place, clip=seen_of(frontend, HELP))
    assert wrong == []
