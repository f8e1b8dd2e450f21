"""One command brings up to date what is made from the nodes, and changes no more than it must."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from faithful_instantid.devtools.pictures import keep_or_save
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["card.jpg", "node.png"])
def test_a_picture_file_changes_only_where_something_is_to_be_seen(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "new folder" / name
    image = Image.new("RGB", (96, 64), (90, 120, 150))
    keep_or_save(image, path)
    before = path.stat().st_mtime_ns, path.read_bytes()
    keep_or_save(Image.new("RGB", (96, 64), (92, 119, 150)), path)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    ImageDraw.Draw(image).rectangle((10, 10, 18, 18), (255, 255, 255))
    keep_or_save(image, path)
    assert path.read_bytes() != before[1]
    keep_or_save(Image.new("RGB", (96, 32), (255, 255, 255)), path)
    assert Image.open(path).size == (96, 32)


@pytest.mark.parametrize(
    "text",
    [
        "# A node\n\nProse.",
        "# A node\n\nProse.\n\n<!-- lists -->\n",
        "# A node\n\nProse.\n\n<!-- lists -->\nold\n<!-- /lists -->\n",
    ],
    ids=["no mark", "one mark", "both marks"],
)
def test_a_help_page_gets_its_lists_and_keeps_its_prose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "devtools"))
    make_help = importlib.import_module("make_help")
    page = tmp_path / "IID_Node.md"
    assert not make_help.write_lists(page, "new")
    page.write_text(text, encoding="utf-8")
    assert make_help.write_lists(page, "new")
    wanted = "# A node\n\nProse.\n\n<!-- lists -->\nnew\n<!-- /lists -->\n"
    assert page.read_text(encoding="utf-8") == wanted


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["helps"], "no such step: helps (there are frozen, texts, help, examples, cards)"),
        (
            ["--still-right", "fr:nodeDefs/IID_Aply/description"],
            "no such text: fr:nodeDefs/IID_Aply",
        ),
    ],
)
def test_a_name_that_is_not_there_is_refused_before_anything_is_done(
    arguments: list[str], text: str
) -> None:
    command = [sys.executable, str(ROOT / "devtools" / "refresh.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert text in done.stderr
