"""What helps a newcomer to find the way: search words, photos in the input folder, link names."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import folder_paths
import pytest
from faithful_instantid.devtools.example_files import name_of, workflows
from faithful_instantid.nodes import FaithfulInstantID, examples, folders, search_words

ROOT = Path(__file__).resolve().parent.parent.parent
WORDS = json.loads((ROOT / "nodes" / "search_words.json").read_text(encoding="utf-8"))
PHOTOS = sorted(path.name for path in (examples.PHOTOS).iterdir())


def test_every_node_that_is_not_old_is_found_by_words_of_four_languages() -> None:
    folders.register()
    nodes: list[Any] = asyncio.run(FaithfulInstantID().get_node_list())
    for node in nodes:
        info = node.GET_NODE_INFO_V1()
        if info["deprecated"]:
            continue
        name = info["name"]
        assert "instantid" in info["search_aliases"], name
        if name in WORDS:
            assert set(WORDS[name]) == {"en", "fr", "ja", "zh"}, name
            assert info["search_aliases"] == search_words.of(name)
            every = [word for words in WORDS[name].values() for word in words]
            assert sorted(set(every)) == sorted(info["search_aliases"]), name


def test_every_node_but_plain_numbers_shows_on_itself_what_it_says() -> None:
    folders.register()
    nodes: list[Any] = asyncio.run(FaithfulInstantID().get_node_list())
    silent = {
        node.define_schema().node_id for node in nodes if not hasattr(node.execute, "__wrapped__")
    }
    assert silent == {"IID_FrameWeights", "IID_LayerWeights", "IID_WeightCurve"}


@pytest.fixture
def input_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(folder_paths, "get_input_directory", lambda: str(tmp_path / "input"))
    return tmp_path / "input"


def test_the_photos_of_the_examples_are_put_into_the_input_folder_once(input_folder: Path) -> None:
    examples.lay_out_photos()
    assert sorted(path.name for path in input_folder.iterdir()) == PHOTOS
    own = input_folder / PHOTOS[0]
    own.write_bytes(b"somebody's own")
    (input_folder / PHOTOS[1]).unlink()
    examples.lay_out_photos()
    assert own.read_bytes() == b"somebody's own"
    assert (input_folder / PHOTOS[1]).is_file()


def test_an_input_folder_that_cannot_be_written_to_is_told_and_stops_nothing(
    input_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    input_folder.write_bytes(b"a file where the folder should be")
    examples.lay_out_photos()
    assert "The photos of the examples cannot be put into" in caplog.text
    assert caplog.text.count("cannot be put") == 1


def test_every_example_has_a_name_for_links_that_is_not_its_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = examples.link_names()
    assert names == {name_of(path): path.name for path in workflows()}
    assert all(f"{name}.json" != file for name, file in names.items())
    monkeypatch.delitem(sys.modules, "server", raising=False)
    examples.register_links()  # without a server there is nothing to do
