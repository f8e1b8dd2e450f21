"""What the example workflows need beside their files: photos in ComfyUI's input, and old links."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

import folder_paths

from ..instantid_core.log import log

ROOT = Path(__file__).parents[1]
WORKFLOWS = ROOT / "example_workflows"
PHOTOS = WORKFLOWS / "photos"
LINK_NAME = "faithful_instantid_template"  # in a workflow's `extra`: its name in links


def lay_out_photos() -> None:
    """Copy photos and film of the examples into ComfyUI's input folder, where they are missing.

    A file of the same name is left as it is. Where the folder cannot be written to, the log says
    so, and the examples ask for a photo instead.
    """
    target = Path(folder_paths.get_input_directory())
    for photo in sorted([*PHOTOS.glob("*.jpg"), *PHOTOS.glob("*.mp4")]):
        place = target / photo.name
        if place.exists():
            continue
        try:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(photo, place)
        except OSError as error:
            log.warning("The photos of the examples cannot be put into %s: %s", target, error)
            return


def link_names() -> dict[str, str]:
    """Return the file name of every example by its name in links, which never changes.

    Reads all of their files: only when a link is followed.
    """
    names: dict[str, str] = {}
    for path in sorted(WORKFLOWS.glob("*.json")):
        extra = json.loads(path.read_text(encoding="utf-8")).get("extra", {})
        if LINK_NAME in extra:
            names[extra[LINK_NAME]] = path.name
    return names


def register_links() -> None:
    """Let `?template=NAME&source=THIS PACK` in ComfyUI's address open an example.

    Such links cannot hold the titles that are the file names, for they have spaces.
    """
    server = getattr(sys.modules.get("server"), "PromptServer", None)
    instance = getattr(server, "instance", None)
    if instance is None:  # ComfyUI's modules without its server
        return
    from aiohttp import web

    folder = f"/workflow_templates/{ROOT.name}"
    for form in sorted((WORKFLOWS / "api").glob("*.json")):  # called by their names

        async def forward(_: web.Request, name: str = form.stem) -> web.Response:
            raise web.HTTPFound(f"/api{folder}/{quote(link_names()[name])}")

        instance.routes.get(f"{folder}/{form.name}")(forward)
