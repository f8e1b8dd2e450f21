"""Make the example workflows with ComfyUI's real frontend.

    <environment's python> devtools/make_examples.py [name ...]

Starts a ComfyUI server with this pack and stand-in models, builds every workflow of
`example_graphs.py` in the page, and writes for each the UI form and a thumbnail to
example_workflows/, the API form to example_workflows/api/. Then makes the contact sheet
docs/images/examples.jpg and the blueprint in subgraphs/.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import uuid
from pathlib import Path
from typing import Any

import example_graphs
from comfy_server import serve
from example_dsl import NAMESPACE, Graph
from frontend import Frontend, open_frontend
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "example_workflows"
BLUEPRINTS = ROOT / "subgraphs"
RANDOM_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SHEET = ROOT / "docs" / "images" / "examples.jpg"
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


def picture(frontend: Frontend) -> Image.Image:
    """Return a rendering of the open graph alone, without the interface around it."""
    clip = frontend.call("bare", True)
    image = Image.open(io.BytesIO(frontend.page.screenshot(clip=clip))).convert("RGB")
    frontend.call("bare", False)
    return image


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
    image = picture(frontend)
    card(image, graph.title).save(FOLDER / f"{graph.name}.jpg", quality=85)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="only these workflows and the blueprint")
    options = parser.parse_args()
    graphs = example_graphs.all_graphs()
    if options.names:
        graphs = [graph for graph in graphs if graph.name in options.names]
    with serve() as server, open_frontend(server.url, width=2400, height=1350) as frontend:
        frontend.set()
        pictures = [(graph.title, make(frontend, graph)) for graph in graphs]
        make_blueprint(frontend)
        if not options.names:
            SHEET.parent.mkdir(parents=True, exist_ok=True)
            contact_sheet(pictures).save(SHEET, quality=82)


if __name__ == "__main__":
    main()
