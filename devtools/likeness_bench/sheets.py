"""Contact sheets: a person's photos, and below them every setting beside every prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from .making import Store
from .people import Person, open_picture
from .plan import Case, Plan, safe

TILE, LINE, GAP, NAMES = 256, 22, 6, 150
PAPER, INK, NOTHING = (255, 255, 255), (20, 20, 20), (225, 225, 225)
FONT = 15


@dataclass(frozen=True)
class Sheet:
    """A sheet's file and what it shows."""

    path: Path
    words: str


def write_sheets(folder: Path, plan: Plan, store: Store) -> list[Sheet]:
    """Write a sheet for each person and seed."""
    folder.mkdir(parents=True, exist_ok=True)
    sheets = []
    for person in plan.people:
        for number in range(plan.seeds):
            more = f", seed {number + 1} of {plan.seeds}" if plan.seeds > 1 else ""
            path = folder / f"{safe(person.name)}-{number + 1}.jpg"
            _compose(plan, store, person, number).save(path, quality=88)
            sheets.append(Sheet(path, f"{person.name}{more}"))
    return sheets


def _compose(plan: Plan, store: Store, person: Person, number: int) -> Image.Image:
    photos = [(path, "reference" if n == 0 else "held out") for n, path in enumerate(person.photos)]
    columns = max(len(plan.prompts), min(len(photos), 6))
    rows: list[tuple[str, list[tuple[Path | None, str]]]] = [("photos", photos[:columns])]
    for setting in plan.settings:
        cases = [Case(setting, person, prompt, number) for prompt in plan.prompts]
        made = [store.made(case) for case in cases]
        tiles = [
            (picture and picture.path, prompt.name)
            for picture, prompt in zip(made, plan.prompts, strict=True)
        ]
        rows.append((setting.name, tiles))
    paper = Image.new("RGB", (NAMES + columns * (TILE + GAP), len(rows) * _row() + GAP), PAPER)
    for row, (name, tiles) in enumerate(rows):
        _draw_row(paper, row, name, tiles)
    return paper


def _row() -> int:
    return TILE + LINE + GAP


def _draw_row(
    paper: Image.Image, row: int, name: str, tiles: Sequence[tuple[Path | None, str]]
) -> None:
    draw, font = ImageDraw.Draw(paper), ImageFont.load_default(FONT)
    top = GAP + row * _row()
    draw.text((GAP, top + 2), "\n".join(name.split()), INK, font)
    for column, (path, words) in enumerate(tiles):
        left = NAMES + column * (TILE + GAP)
        if path is None:
            draw.rectangle((left, top, left + TILE, top + TILE), NOTHING)
            words = f"{words}: not made"
        else:
            tile = _tile(path)
            paper.paste(tile, (left + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
        draw.text((left, top + TILE + 1), words, INK, font)


def _tile(path: Path) -> Image.Image:
    """Return a picture with its long side at TILE pixels."""
    picture = Image.fromarray(open_picture(path))
    scale = TILE / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)
