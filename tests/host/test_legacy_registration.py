"""The old ids are registered only where no other pack holds them, through ComfyUI's own loading."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faithful_instantid.nodes import FaithfulInstantID, folders, legacy
from faithful_instantid.nodes.legacy.replacements import replacements

import nodes as comfyui

ROOT = Path(__file__).resolve().parent.parent.parent
OLD_IDS = list(legacy.NODES)
OURS_FOREVER = "IID_LoadAdapter"

STUB = """
def node(name):
    return type(name, (), {{
        "INPUT_TYPES": classmethod(lambda cls: {{"required": {{}}}}),
        "RETURN_TYPES": (), "FUNCTION": "run", "CATEGORY": "stub", "run": lambda self: (),
    }})

NODE_CLASS_MAPPINGS = {{name: node(name) for name in {ids!r}}}
"""


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Load a folder as ComfyUI loads custom nodes; what it registered is forgotten afterwards."""
    for name in ("NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "EXTENSION_WEB_DIRS"):
        monkeypatch.setattr(comfyui, name, dict(getattr(comfyui, name)))

    def load_folder(folder: Path) -> None:
        assert asyncio.run(comfyui.load_custom_node(str(folder)))

    yield load_folder


@pytest.fixture
def old_pack(tmp_path: Path) -> Path:
    """A pack that brings the seven ids."""
    return stub(tmp_path / "old_pack", OLD_IDS)


def stub(folder: Path, ids: list[str]) -> Path:
    folder.mkdir()
    (folder / "__init__.py").write_text(STUB.format(ids=ids))
    return folder


def holders(ids: list[str]) -> set[str]:
    """Where the classes registered under these ids come from."""
    return {comfyui.NODE_CLASS_MAPPINGS[name].__module__ for name in ids}


def test_the_seven_ids_are_ours_where_no_other_pack_has_them(load: Callable[[Path], None]) -> None:
    load(ROOT)
    assert all("legacy" in module for module in holders(OLD_IDS))
    assert OURS_FOREVER in comfyui.NODE_CLASS_MAPPINGS


def test_the_old_packs_nodes_stay_when_it_was_loaded_before(
    load: Callable[[Path], None], old_pack: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load(old_pack)
    before = {name: comfyui.NODE_CLASS_MAPPINGS[name] for name in OLD_IDS}
    with caplog.at_level(logging.INFO, "faithful_instantid"):
        load(ROOT)
    assert {name: comfyui.NODE_CLASS_MAPPINGS[name] for name in OLD_IDS} == before
    assert OURS_FOREVER in comfyui.NODE_CLASS_MAPPINGS
    ours = [r.getMessage() for r in caplog.records if r.name == "faithful_instantid"]
    assert ours == [
        f"Another InstantID pack is loaded; its nodes stay as they are: {', '.join(OLD_IDS)}."
    ]


def test_the_old_pack_may_be_loaded_afterwards(
    load: Callable[[Path], None], old_pack: Path
) -> None:
    load(ROOT)
    load(old_pack)
    assert len(holders(OLD_IDS)) == 1 and "legacy" not in holders(OLD_IDS).pop()
    assert comfyui.NODE_CLASS_MAPPINGS[OURS_FOREVER].GET_NODE_INFO_V1()["name"] == OURS_FOREVER


def test_a_fork_with_some_of_the_ids_keeps_them_and_we_bring_the_rest(
    load: Callable[[Path], None], tmp_path: Path
) -> None:
    load(stub(tmp_path / "fork", OLD_IDS[:3]))
    load(ROOT)
    assert not any("legacy" in module for module in holders(OLD_IDS[:3]))
    assert all("legacy" in module for module in holders(OLD_IDS[3:]))


def test_loading_the_pack_again_keeps_its_own_ids(
    load: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    load(ROOT)
    load(ROOT)
    assert all("legacy" in module for module in holders(OLD_IDS))
    assert "Another InstantID pack" not in caplog.text


def schemas() -> dict[str, Any]:
    folders.register()
    listed = asyncio.run(FaithfulInstantID().get_node_list())
    return {schema.node_id: schema for schema in (node.GET_SCHEMA() for node in listed)}


@pytest.mark.parametrize("offer", replacements(), ids=lambda r: r.old_node_id)
def test_an_exchange_on_offer_fits_both_nodes(offer: Any) -> None:
    found = schemas()
    old, new = found[offer.old_node_id], found[offer.new_node_id]
    old_inputs, new_inputs = ({i.id: i for i in schema.inputs} for schema in (old, new))
    filled = {one["new_id"]: one for one in offer.input_mapping}
    assert {one["old_id"] for one in filled.values() if "old_id" in one} <= set(old_inputs)
    required = {name for name, one in new_inputs.items() if not one.optional}
    assert required <= set(filled) <= set(new_inputs)
    for name, one in filled.items():
        options = getattr(new_inputs[name], "options", None)
        assert "set_value" not in one or not options or one["set_value"] in options
    for pair in offer.output_mapping:
        kinds = (old.outputs[pair["old_idx"]].io_type, new.outputs[pair["new_idx"]].io_type)
        assert kinds[0] == kinds[1]


def test_an_exchange_names_the_old_widgets_in_their_order() -> None:
    found = schemas()
    for offer in replacements():
        widgets = [i.id for i in found[offer.old_node_id].inputs if hasattr(i, "default")]
        assert offer.old_widget_ids == widgets
