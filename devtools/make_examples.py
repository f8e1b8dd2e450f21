"""Make the example workflows with ComfyUI's real frontend; refresh.py calls this.

Builds every workflow of `example_graphs.py` in the page, and writes for each the UI form to
example_workflows/, the API form to example_workflows/api/. Then makes the blueprint in subgraphs/.
The thumbnails are make_cards.py's.
"""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import example_graphs
from example_dsl import NAMESPACE, Graph
from frontend import Frontend

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "example_workflows"
BLUEPRINTS = ROOT / "subgraphs"
RANDOM_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def tidy(workflow: dict[str, Any], graph: Graph) -> dict[str, Any]:
    """Put our own `extra` in place of what depends on this machine: the view, the version."""
    kept = {key: value for key, value in workflow.items() if key != "extra"}
    return {**kept, "extra": graph.extra()}


def file_name(number: int, graph: Graph) -> str:
    """Return an example's file name without its ending: the title of its card in ComfyUI."""
    return f"{number:02} {graph.title}"


def make(frontend: Frontend, graph: Graph, name: str) -> None:
    forms = frontend.call("build", graph.spec())
    write_json(FOLDER / f"{name}.json", tidy(forms["workflow"], graph))
    write_json(FOLDER / "api" / f"{graph.name}.json", forms["api"])


def make_blueprint(frontend: Frontend) -> None:
    """Write the blueprint; ids that the frontend draws at random are replaced by fixed ones."""
    plan = example_graphs.portrait_blueprint()
    made = frontend.call(
        "blueprint",
        plan.graph.spec(),
        plan.graph.title,
        plan.description,
        list(plan.outside),
        [list(entry) for entry in plan.shown],
    )
    text = json.dumps(made)
    for index, found in enumerate(dict.fromkeys(RANDOM_ID.findall(text))):
        text = text.replace(found, str(uuid.uuid5(NAMESPACE, f"blueprint {index}")))
    write_json(BLUEPRINTS / f"{plan.graph.title}.json", json.loads(text))


def update(frontend: Frontend, only: set[str]) -> None:
    """Make every example and the blueprint, or the named examples alone."""
    named = [(file_name(n, g), g) for n, g in enumerate(example_graphs.all_graphs(), 1)]
    for name, graph in named:
        if not only or graph.name in only:
            make(frontend, graph, name)
    if not only:
        make_blueprint(frontend)
        forget_others([name for name, _ in named])


def forget_others(names: list[str]) -> None:
    """Remove examples of other names: a title that changed leaves its old files behind."""
    for path in [*FOLDER.glob("*.json"), *FOLDER.glob("*.jpg")]:
        if path.stem not in names:
            path.unlink()
