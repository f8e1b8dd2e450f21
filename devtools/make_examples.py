"""Bring the example workflows up to date with the nodes; refresh.py calls this.

The files in example_workflows are the examples. They are made and changed in ComfyUI, and saved
under a number and their title. Here each is opened in ComfyUI's real frontend and saved again:
inputs that its nodes have got since take their defaults, and the API form is written beside it.
Every group becomes a numbered column, the note on the model files says what models_note.md says, a
loader names where its file can be downloaded as the other examples do, and nothing of the machine
it was saved on is left. Its name in links, which never changes, is what Save Image calls its
pictures.

The blueprint in subgraphs/ is opened and saved in the same way; thumbnails are make_cards.py's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from example_files import FOLDER, LINK_NAME, api_form, name_of, read, workflows
from frontend import Frontend
from make_locales import write

BLUEPRINTS = FOLDER.parent / "subgraphs"
NOTE = Path(__file__).with_name("models_note.md").read_text(encoding="utf-8").strip()
APP = ("linearMode", "linearData")  # of a workflow's `extra`: what ComfyUI's app mode shows

Workflow = dict[str, Any]
Download = dict[str, str]  # name, url and directory of a model file, as ComfyUI's frontend reads it


def downloads(examples: Iterable[Workflow]) -> dict[str, Download]:
    """Return what the examples say of where model files can be had, by the file's name.

    SystemExit where two of them say different things.
    """
    found: dict[str, Download] = {}
    for workflow in examples:
        for node in workflow["nodes"]:
            for model in node["properties"].get("models", []):
                if found.setdefault(model["name"], model) != model:
                    raise SystemExit(f"Two examples name another source of {model['name']}.")
    return found


def prepared(workflow: Workflow, known: dict[str, Download]) -> Workflow:
    """Return a workflow with today's note on model files, and with the sources of its files."""
    made = copy.deepcopy(workflow)
    for node in made["nodes"]:
        values = node.get("widgets_values") or []
        texts = [value for value in values if isinstance(value, str)]
        if node["type"] == "MarkdownNote" and texts[0].startswith(NOTE.splitlines()[0]):
            values[0] = NOTE
        named = [known[text] for text in texts if text in known]
        if named:
            node["properties"]["models"] = named
    return made


def link_name(workflow: Workflow) -> str:
    """Return a workflow's name in links: the one it has, else what Save Image calls its pictures.

    SystemExit where neither can be had.
    """
    if LINK_NAME in workflow["extra"]:
        return workflow["extra"][LINK_NAME]
    savers = [node for node in workflow["nodes"] if node["type"] == "SaveImage"]
    names = sorted({saver["widgets_values"][0] for saver in savers})
    if len(names) == 1 and names[0].startswith("instantid_"):
        return names[0]
    raise SystemExit(
        f"A new example needs a name for links to it. Save Image calls its pictures {names}; "
        "wanted is one name that begins with instantid_."
    )


def refreshed(
    frontend: Frontend, workflow: Workflow, known: dict[str, Download]
) -> tuple[Workflow, dict[str, Any]]:
    """Open a workflow and save it again; return its two forms, for the editor and for the API."""
    name, kept = link_name(workflow), workflow["extra"]
    frontend.load(prepared(workflow, known))
    frontend.call("lineUp", workflow)
    forms = frontend.call("forms")
    made = {key: value for key, value in forms["workflow"].items() if key != "extra"}
    app = {key: kept[key] for key in APP if kept.get(key)}
    return {**made, "extra": {LINK_NAME: name, **app}}, forms["api"]


def refreshed_blueprint(frontend: Frontend, blueprint: Workflow) -> Workflow:
    """Open a blueprint and save it again; what the frontend adds to a workflow is left out."""
    frontend.load(blueprint)
    return {**blueprint, **frontend.call("packed")}


def update(frontend: Frontend, only: set[str]) -> None:
    """Bring every example and the blueprint up to date, or the examples that are named."""
    examples = {path: read(path) for path in workflows()}
    known = downloads(examples.values())
    for path, workflow in examples.items():
        name = link_name(workflow)
        if not only or name in only:
            made, api = refreshed(frontend, workflow, known)
            write(path, made)
            write(api_form(name), api)
    if only:
        return
    for path in BLUEPRINTS.glob("*.json"):
        write(path, refreshed_blueprint(frontend, read(path)))
    names = {name_of(path) for path in examples}
    for path in api_form("").parent.glob("*.json"):
        if path.stem not in names:
            path.unlink()
