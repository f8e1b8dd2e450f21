"""The command as a user runs it, against a real server, on drawn people."""

from __future__ import annotations

import csv
import html.parser
import json
import os
import random
import subprocess
import sys
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from faithful_instantid.devtools import quality
from faithful_instantid.devtools.comfy_server import Server
from faithful_instantid.devtools.likeness_bench import command, rehearsal
from faithful_instantid.devtools.likeness_bench.errors import NotReadyError, QualityError
from faithful_instantid.devtools.likeness_bench.making import Store, make_pictures
from faithful_instantid.devtools.likeness_bench.people import read_people
from faithful_instantid.devtools.likeness_bench.plan import Plan
from faithful_instantid.devtools.likeness_bench.prompts import read_prompts
from faithful_instantid.devtools.likeness_bench.settings import read_settings
from PIL import Image

from .conftest import ROOT

INSIDE = {"INSTANTID_QUALITY_COMFYUI": "{}"}  # this is the command's environment already
PEOPLE, PROMPTS, SETTINGS = 2, 1, 3


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "devtools" / "quality.py"), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **INSIDE},
    )


def run(*arguments: object) -> str:
    process = start(*arguments)
    said, _ = process.communicate(timeout=280)
    assert process.returncode == 0, said
    return said


@dataclass
class World:
    """The drawn world's photos and prompts, and the options that name them."""

    photos: Path
    options: list[object] = field(default_factory=list)


@pytest.fixture(scope="module")
def drawn(server: Server, models: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    made = rehearsal.rehearse("drawn", tmp_path_factory.mktemp("drawn"), models)
    options = [
        *("--server", server.url, "--photos", made.photos, "--prompts", made.prompts),
        *("--recogniser", made.recogniser, "--people", PEOPLE, "--prompt-count", PROMPTS),
        *("--size", "136x120", "--steps", 1, "--cfg", 1.0),
    ]
    return World(made.photos, options)


def pictures(folder: Path) -> dict[str, int]:
    """Return the pictures that are there with the time of each, to the nanosecond."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in (folder / "pictures").rglob("*.png")
    }


@pytest.fixture(scope="module")
def run_twice(drawn: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, set[str]]:
    """A run that was killed at a random picture and started again.

    Returns its folder, what the second said, and the pictures of the first.
    """
    output = tmp_path_factory.mktemp("run")
    first = start(*drawn.options, "--output", output)
    stop_at = random.randint(1, PEOPLE * PROMPTS * SETTINGS - 2)
    end = time.monotonic() + 200
    while len(pictures(output)) < stop_at:
        assert first.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    first.kill()
    first.communicate()
    before = pictures(output)
    said = run(*drawn.options, "--output", output)
    assert {name: pictures(output)[name] for name in before} == before
    return output, said, set(before)


def test_killed_at_any_picture_and_started_again_only_what_is_missing_is_made(
    run_twice: tuple[Path, str, set[str]],
) -> None:
    output, said, before = run_twice
    assert len(pictures(output)) == PEOPLE * PROMPTS * SETTINGS
    assert 0 < len(before) < PEOPLE * PROMPTS * SETTINGS
    assert f"6 pictures (people 2 x prompts 1 x seeds 1 x settings 3), {len(before)} of" in said
    assert said.rstrip().endswith(f"Page: {output / 'index.html'}")
    made = [Image.open(path) for path in (output / "pictures").rglob("*.png")]
    assert {picture.size for picture in made} == {(136, 120)}
    assert all(np.asarray(picture).std() > 1 for picture in made)


def test_the_tables_have_a_row_for_every_picture_and_every_setting(
    run_twice: tuple[Path, str, set[str]],
) -> None:
    output, _, _ = run_twice
    scores, settings = (
        list(csv.DictReader((output / f"{name}.csv").open(encoding="utf-8", newline="")))
        for name in ("pictures", "settings")
    )
    assert len(scores) == PEOPLE * PROMPTS * SETTINGS
    names = ["published default", "old nodes", "without InstantID"]
    assert [row["setting"] for row in settings] == names
    assert all(row["pictures"] == "2" for row in settings)
    for row in scores:
        assert float(row["seconds"]) > 0
        assert (row["to_reference"] != "") == (int(row["faces"]) > 0)
        assert (row["text"], row["alike"]) == ("", "")  # no CLIP was named
    found = [float(row["to_reference"]) for row in scores if row["to_reference"]]
    assert found and max(found) <= 1


class Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append(urllib.parse.unquote(dict(attrs)["src"] or ""))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_every_setting_and_its_pictures_lie_beside_it(
    run_twice: tuple[Path, str, set[str]],
) -> None:
    output, said, _ = run_twice
    page = Links()
    page.feed((output / "index.html").read_text(encoding="utf-8"))
    for words in ("published default", "old nodes", "without InstantID", "two photos of one perso"):
        assert words in page.text
    assert "CLIP-T and CLIP-I are left out" in page.text
    assert "CLIP-T and CLIP-I are left out" in said
    assert sum(name.startswith("sheets/") for name in page.pictures) == PEOPLE
    for name in page.pictures:
        with Image.open(output / name) as picture:
            assert min(picture.size) > 300
            assert np.asarray(picture.convert("L")).std() > 5


def test_a_photo_that_the_server_cannot_use_does_not_end_the_run_of_the_others(
    drawn: World, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "nobody").mkdir()
    (tmp_path / "nobody" / "1.png").write_bytes(b"no picture at all")
    ann, *_ = read_people(drawn.photos)
    (bob,) = read_people(tmp_path)
    small = {"width": 64, "height": 72, "steps": 1, "cfg": 1.0, "provider": "CPU"}
    published = read_settings(count=1, common=small)
    store = Store(tmp_path / "pictures")
    both = Plan([ann, bob], read_prompts(count=3), published, 1)
    failures = make_pictures(server, store, both.cases, iter)
    assert [failure.case.person.name for failure in failures] == ["nobody"] * 3
    assert str(failures[0]).startswith("published default, nobody, clothes: cannot identify image")
    assert [case.person.name for case in store.missing(both.cases)] == ["nobody"] * 3
    alone = Plan([bob], read_prompts(count=4), published, 1)
    with pytest.raises(QualityError, match="3 pictures in a row .*cannot identify"):
        make_pictures(server, store, alone.cases, iter)


def refused(*arguments: object) -> str:
    """Run the command in this process and return the sentence that ends it."""
    made = quality.parse([*map(str, arguments)])
    with pytest.raises(QualityError) as failure:
        command.run(made, None, None)
    return str(failure.value)


def test_other_values_are_not_mixed_into_a_run_that_is_there(
    drawn: World, run_twice: tuple[Path, str, set[str]]
) -> None:
    output, _, _ = run_twice
    before = pictures(output)
    said = refused(*drawn.options, "--cfg", 1.5, "--output", output)
    assert "was made with other values" in said and "another folder with --output" in said
    assert pictures(output) == before


def test_all_that_is_missing_is_told_before_anything_is_made(drawn: World, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("no colon\n", encoding="utf-8")
    (tmp_path / "settings.json").write_text(json.dumps({"a": 1}), encoding="utf-8")
    output = tmp_path / "out"
    said = refused(
        *drawn.options,
        *("--prompts", tmp_path / "prompts.txt", "--settings", tmp_path / "settings.json"),
        *("--clip", tmp_path, "--output", output),
    )
    assert said.startswith("3 things are missing before the first picture can be made:\n")
    for words in ("wanted `name: text`", "is no list of settings", "lacks config.json"):
        assert words in said
    said = refused(*drawn.options, "--checkpoint", "nothing.ckpt", "--output", output)
    assert "the server has no 'nothing.ckpt'. Choose with --checkpoint: sd_xl_base_1" in said
    nowhere = ("--server", "http://127.0.0.1:9", "--output", output)
    assert "no ComfyUI answers at http://127.0.0.1:9" in refused(*drawn.options, *nowhere)
    lacking = ("--photos", drawn.photos, "--models", tmp_path, "--output", output)
    with pytest.raises(NotReadyError, match="The face pack antelopev2 was not found"):
        command.prepare(quality.parse([*map(str, lacking)]))
    assert not output.exists()
