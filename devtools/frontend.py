"""Drive ComfyUI's real frontend in a headless Chromium."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
]
SCRIPT = Path(__file__).with_suffix(".js")
READY = "() => window.app?.vueAppReady && window.app.extensionManager && window.app.graph"
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Minimap.Visible": False,
    "Comfy.RightSidePanel.IsOpen": False,
    "Comfy.Notification.ShowVersionUpdates": False,
    "Comfy.Workflow.ConfirmDelete": False,
    "Comfy.Workflow.Persist": False,
    "Comfy.Graph.CanvasInfo": False,
}
VIEWPORT = {"width": 1600, "height": 1000}
LIMIT_MS = 90_000  # of one wait in the page: machines may be busy
# ComfyUI's own 500 templates cost more time than all the rest of the page; none is looked at.
CORE_TEMPLATES = re.compile(r"/templates/index[^/]*\.json")
# Where a help page is shown: by the frontends up to 1.47, and by later ones.
HELP = ".node-help-content :is(.markdown-content, .comfy-markdown-content)"
RENDERERS = ("classic", "vue")
WIDTHS = """(all) => Promise.all(
    all.map((img) => img.decode().catch(() => {}).then(() => img.naturalWidth))
)"""


@dataclass
class Frontend:
    """One page with ComfyUI in it."""

    page: Page
    url: str
    renderer: str = "classic"

    def set(self, renderer: str = "classic", locale: str = "en") -> None:
        """Choose the node renderer (`classic` or `vue`) and the language, then load the page."""
        wanted = {**SETTINGS, "Comfy.VueNodes.Enabled": renderer == "vue", "Comfy.Locale": locale}
        settings = json.dumps(wanted).encode()
        urllib.request.urlopen(f"{self.url}/settings", settings, timeout=30).close()
        self.page.goto(self.url, wait_until="domcontentloaded")
        self.page.wait_for_function(READY, timeout=120_000)
        self.page.evaluate(SCRIPT.read_text(encoding="utf-8"))
        self.call("settle", 10)
        self.renderer = renderer

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of frontend.js and return what it returns."""
        return self.page.evaluate(
            "([name, list]) => window.faithful[name](...list)", [name, list(arguments)]
        )

    def load(self, workflow: dict[str, Any], name: str | None = None) -> None:
        self.call("load", workflow, name)

    def api_form(self) -> dict[str, Any]:
        """Return the open workflow as the frontend would queue it."""
        return self.call("forms")["api"]

    def complaints(self) -> list[str]:
        """Return everything the page complains about: toasts, missing nodes, models and files."""
        return self.call("complaints")

    def run(self, seconds: int = 120) -> dict[str, Any]:
        """Queue the open workflow once, as the Run button does; return its entry of /history.

        Raises RuntimeError when the server refuses it or is not done in `seconds`.
        """
        before = get(f"{self.url}/history").keys()
        self.page.evaluate("() => window.app.queuePrompt(0, 1)")
        for _ in range(seconds * 5):
            history = get(f"{self.url}/history")
            for key in history.keys() - before:
                self.call("settle")
                return history[key]
            if complaints := self.complaints():
                raise RuntimeError(f"The workflow was not queued: {complaints}")
            self.page.wait_for_timeout(200)
        raise RuntimeError(f"The workflow was not done in {seconds} seconds.")

    def help_page(self, type: str) -> tuple[str, list[int]]:
        """Open the help of a node with its info button; return its text and pictures' widths."""
        self.call("select", type)
        self.page.get_by_test_id("info-button").click()
        content = self.page.locator(HELP)
        content.locator("h1").first.wait_for()
        widths = content.locator("img").evaluate_all(WIDTHS)
        return content.inner_text(), widths

    def screenshot(self, path: Path, **options: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=path, **options)


@contextmanager
def open_frontend(url: str) -> Iterator[Frontend]:
    """Open a page on the ComfyUI server at `url`; call `set` on it to load the frontend.

    CHROMIUM names the browser; without it, `chromium` of the system is used.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS
        )
        try:
            page = browser.new_page(viewport=VIEWPORT, reduced_motion="reduce")
            page.set_default_timeout(LIMIT_MS)
            page.route(CORE_TEMPLATES, lambda route: route.fulfill(json=[]))
            yield Frontend(page, url)
        finally:
            browser.close()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)
