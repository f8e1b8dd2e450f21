"""Make the example workflows with ComfyUI's real frontend; refresh.py calls this.

Builds every workflow of `example_graphs.py` in the page, and writes for each the UI form and a
thumbnail to example_workflows/, the API form to example_workflows/api/. Then makes the contact
sheet docs/images/examples.jpg and the blueprint in subgraphs/.
"""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import example_graphs
from example_dsl import NAMESPACE, Graph
from frontend import Frontend, photograph
from pictures import keep_or_save
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "example_workflows"
BLUEPRINTS = ROOT / "subgraphs"
RANDOM_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SHEET = ROOT / "docs" / "images" / "examples.jpg"
WINDOW = {"width": 2400, "height": 1350}  # pixels of the page for pictures of whole graphs
PAPER = (24, 24, 27)
INK = (230, 230, 230)
CARD = 640  # pixels: the template browser shows square cards


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def tidy(workflow: dict[str, Any]) -> dict[str, Any]:
    """Drop what depends on this machine: the view and the frontend's version."""
    kept = {key: value for key, value in workflow.items() if key != "extra"}
    kept["extra"] = {}
    return kept


def card(image: Image.Image, title: str) -> Image.Image:
    """Set a graph's picture and its title on a square card."""
    paper = Image.new("RGB", (CARD, CARD), PAPER)
    room = CARD - 40
    image = image.copy()
    image.thumbnail((room, room - 80), Image.Resampling.LANCZOS)
    paper.paste(image, ((CARD - image.width) // 2, 90 + (CARD - 110 - image.height) // 2))
    font = ImageFont.load_default(30)
    ImageDraw.Draw(paper).text((CARD // 2, 50), title, INK, font, anchor="mm")
    return paper


def contact_sheet(pictures: list[tuple[str, Image.Image]]) -> Image.Image:
    """Set all graphs on one sheet, three in a row, each under its title."""
    width, height, columns = 620, 400, 3
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (width * columns, height * rows), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (title, image) in enumerate(pictures):
        left, top = index % columns * width, index // columns * height
        draw.text((left + width // 2, top + 30), title, INK, ImageFont.load_default(24), "mm")
        small = image.copy()
        small.thumbnail((width - 30, height - 70), Image.Resampling.LANCZOS)
        sheet.paste(small, (left + (width - small.width) // 2, top + 55))
    return sheet


def make(frontend: Frontend, graph: Graph) -> Image.Image:
    forms = frontend.call("build", graph.spec())
    write_json(FOLDER / f"{graph.name}.json", tidy(forms["workflow"]))
    write_json(FOLDER / "api" / f"{graph.name}.json", forms["api"])
    image = photograph(frontend)
    keep_or_save(card(image, graph.title), FOLDER / f"{graph.name}.jpg", quality=85)
    return image


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
    """Make every example, the blueprint and the contact sheet; or the named examples alone."""
    frontend.page.set_viewport_size(WINDOW)
    graphs = [graph for graph in example_graphs.all_graphs() if not only or graph.name in only]
    pictures = [(graph.title, make(frontend, graph)) for graph in graphs]
    if not only:
        make_blueprint(frontend)
        keep_or_save(contact_sheet(pictures), SHEET, quality=82)
