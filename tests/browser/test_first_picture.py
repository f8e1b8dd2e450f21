"""From nothing to the first picture: by clicks alone, and without a graph on a phone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from faithful_instantid.devtools.example_files import read, workflow
from faithful_instantid.devtools.frontend import Frontend, get
from playwright.sync_api import expect

from .conftest import SCREENSHOTS

APP, BASIC = workflow("instantid_app"), workflow("instantid_basic")
QUICK = {"steps": 1, "width": 256, "height": 256}  # only to be quick: all else is as it comes
PHONE, DESKTOP = {"width": 420, "height": 860}, {"width": 1600, "height": 1000}


def done_after(frontend: Frontend, before: set[str], seconds: int = 120) -> dict[str, Any]:
    """Return the entry of /history that is new."""
    for _ in range(seconds * 5):
        fresh = {k: v for k, v in get(f"{frontend.url}/history").items() if k not in before}
        if fresh:
            return next(iter(fresh.values()))
        assert frontend.complaints() == []
        frontend.page.wait_for_timeout(200)
    raise AssertionError("no picture was made")


def pictures(entry: dict[str, Any]) -> list[str]:
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"]
    images = [image for output in entry["outputs"].values() for image in output.get("images", [])]
    return [image["filename"] for image in images if image["type"] == "output"]


def test_three_clicks_and_no_typing_give_the_first_picture(frontend: Frontend) -> None:
    page = frontend.page
    frontend.call("empty")
    before = set(get(f"{frontend.url}/history"))
    page.locator(".templates-tab-button").first.click()
    page.get_by_test_id(f"template-workflow-{BASIC.stem}").click()
    page.wait_for_function("() => app.graph.nodes.some((node) => node.type === 'IID_Apply')")
    frontend.call("settle")
    frontend.call("setWidgets", {**QUICK, "seed": {"classic": 11, "vue": 12}[frontend.renderer]})
    assert frontend.complaints() == []
    page.get_by_test_id("queue-button").click()
    assert pictures(done_after(frontend, before))


@pytest.fixture
def phone(frontend: Frontend) -> Iterator[Frontend]:
    """The page in a window as narrow as a phone."""
    frontend.page.set_viewport_size(PHONE)
    yield frontend
    frontend.page.set_viewport_size(DESKTOP)
    frontend.set(frontend.renderer)


def test_the_app_runs_in_a_window_as_narrow_as_a_phone(phone: Frontend) -> None:
    page = phone.page
    phone.load(read(APP), APP.stem)
    page.get_by_test_id("linear-mobile").wait_for()
    phone.call("setWidgets", QUICK)
    page.locator("#mobile-app-control-tab").click()
    panel = page.locator("#mobile-app-control-panel")
    widgets = panel.get_by_test_id("app-mode-widget-item")
    expect(widgets).to_have_count(4)
    prompt = f"a sailor on a ship, {phone.renderer}"
    panel.locator("textarea").first.fill(prompt)
    page.wait_for_timeout(500)
    phone.screenshot(SCREENSHOTS / phone.renderer / "app_on_a_phone.png")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    for index in range(4):
        box = widgets.nth(index).bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
    before = set(get(f"{phone.url}/history"))
    panel.get_by_role("button", name="Run", exact=True).click()
    entry = done_after(phone, before)
    (name,) = pictures(entry)
    assert prompt in json.dumps(entry["prompt"])
    page.locator("#mobile-app-preview-tab").click()
    shown = page.locator(f"#mobile-app-preview-panel img[src*='{name}']").first
    shown.wait_for()
    page.wait_for_timeout(500)
    phone.screenshot(SCREENSHOTS / phone.renderer / "app_on_a_phone_run.png")


def test_the_app_shows_its_inputs_and_runs_in_an_ordinary_window(frontend: Frontend) -> None:
    page = frontend.page
    frontend.load(read(APP), APP.stem)
    frontend.call("setWidgets", QUICK)
    expect(page.get_by_test_id("app-mode-widget-item")).to_have_count(4)
    page.wait_for_timeout(1500)
    welcome = page.get_by_role("button", name="Skip", exact=True)  # later frontends offer a tour
    if welcome.is_visible():
        welcome.click()
    frontend.screenshot(SCREENSHOTS / frontend.renderer / "app.png")
    before = set(get(f"{frontend.url}/history"))
    page.get_by_role("button", name="Run", exact=True).last.click()
    assert pictures(done_after(frontend, before))
    frontend.set(frontend.renderer)
